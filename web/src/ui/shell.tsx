import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { connected, liveSessions } from '../core/live.ts';
import { Link, path } from '../core/router.tsx';
import { session, signOut } from '../core/session.ts';

/** The frame of every page but those that fill the window: menu, user, the page itself. */
export function Shell({ children }: { children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const current = session.value!;
  useEffect(() => {
    setOpen(false);
  }, [path.value]);
  return (
    <div class="shell">
      <header class="topbar">
        <Brand clusterName={current.clusterName} />
        <button
          type="button"
          class="button slim"
          aria-expanded={open}
          aria-controls="menu"
          onClick={() => setOpen(!open)}
        >
          Menu
        </button>
      </header>
      <nav id="menu" class={open ? 'side open' : 'side'} aria-label="Main">
        <Brand clusterName={current.clusterName} />
        <Menu />
        <div class="side-foot">
          <div>
            <strong class="wrap-anywhere">{current.user}</strong>
            <div class="quiet small wrap-anywhere">{current.roles.join(', ')}</div>
          </div>
          <button type="button" class="button slim" onClick={() => void signOut()}>
            Sign out
          </button>
        </div>
      </nav>
      <main class="main" id="main">
        {children}
      </main>
      {!connected.value && (
        <p class="offline" role="status">
          Connection lost. Trying again…
        </p>
      )}
    </div>
  );
}

function Brand({ clusterName }: { clusterName: string }) {
  return (
    <Link to="/resources" class="brand">
      <img src="/web/favicon.svg" alt="" />
      <span>
        <strong>Nightlatch</strong>
        <span>{clusterName}</span>
      </span>
    </Link>
  );
}

function Menu() {
  const { permissions, user } = session.value!;
  const all = liveSessions.value ?? [];
  const own = all.filter((one) => one.user === user).length;
  const groups: { title: string; items: (readonly [to: string, name: string, number?: number])[] }[] = [
    {
      title: 'Access',
      items: [
        ['/resources', 'Resources'],
        ['/sessions', 'My sessions', own],
      ],
    },
    {
      title: 'Oversight',
      items: [
        ...(permissions.sessions ? ([['/live', 'Live sessions', all.length]] as const) : []),
        ...(permissions.audit
          ? ([
              ['/report', 'Idle report'],
              ['/audit', 'Audit log'],
            ] as const)
          : []),
      ],
    },
    {
      title: 'Rules',
      items: [
        ...(permissions.policy ? ([['/policy', 'Idle policy']] as const) : []),
        ...(permissions.roles ? ([['/roles', 'Roles']] as const) : []),
        ...(permissions.users ? ([['/users', 'Users']] as const) : []),
        ...(permissions.desktops ? ([['/desktops', 'Desktops']] as const) : []),
        ...(permissions.locks ? ([['/locks', 'Locks']] as const) : []),
      ],
    },
  ];
  return (
    <>
      {groups
        .filter(({ items }) => items.length > 0)
        .map(({ title, items }) => (
          <div key={title}>
            <div class="menu-title">{title}</div>
            <ul class="menu">
              {items.map(([to, name, number]) => (
                <li key={to}>
                  <Link to={to} aria-current={path.value.startsWith(to) ? 'page' : undefined}>
                    {name}
                    {number !== undefined && number > 0 && <span class="number">{number}</span>}
                  </Link>
                </li>
              ))}
            </ul>
          </div>
        ))}
    </>
  );
}
