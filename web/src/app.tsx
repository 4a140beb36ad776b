import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { connectLive, disconnectLive } from './core/live.ts';
import { navigate, path } from './core/router.tsx';
import { session } from './core/session.ts';
import { NotFound } from './pages/not-found.tsx';
import { ResourcesPage } from './pages/resources.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { IdleCountdown } from './ui/idle-countdown.tsx';
import { Shell } from './ui/shell.tsx';

type Page = ComponentType<Record<string, never>>;
type Loader = () => Promise<Page>;

/** Pages within the frame, by the first part of their path; all but the first are loaded when they are first visited. */
const PAGES: Readonly<Record<string, Loader>> = {
  audit: () => import('./pages/audit.tsx').then((m) => m.AuditPage),
  desktops: () => import('./pages/desktops.tsx').then((m) => m.DesktopsPage),
  locks: () => import('./pages/locks.tsx').then((m) => m.LocksPage),
  policy: () => import('./pages/policy.tsx').then((m) => m.PolicyPage),
  report: () => import('./pages/report.tsx').then((m) => m.ReportPage),
  roles: () => import('./pages/roles.tsx').then((m) => m.RolesPage),
  sessions: () => import('./pages/own-sessions.tsx').then((m) => m.OwnSessionsPage),
  live: () => import('./pages/live-sessions.tsx').then((m) => m.LiveSessionsPage),
  users: () => import('./pages/users.tsx').then((m) => m.UsersPage),
};
/** Pages that fill the window, whose path goes on with a name and a login. */
const STAGES: Readonly<Record<string, () => Promise<ComponentType<{ name: string; login: string }>>>> = {
  desktop: () => import('./pages/desktop.tsx').then((m) => m.DesktopPage),
  terminal: () => import('./pages/terminal.tsx').then((m) => m.TerminalPage),
};

export function App() {
  const current = session.value;
  const parts = path.value.split('/').filter((part) => part !== '');
  const signedIn = Boolean(current);
  useEffect(() => {
    if (!signedIn) return;
    connectLive();
    return disconnectLive;
  }, [signedIn]);

  if (parts[0] === 'invite' || parts[0] === 'reset') {
    return <Lazy load={loadInvitation} props={{ token: parts[1] ?? '' }} key={parts[1]} />;
  }
  // Nothing is known yet; what follows comes at once.
  if (current === undefined) return <main class="door" aria-busy="true" />;
  if (parts[0] === 'ticket') return <Lazy load={loadTicket} props={{}} />;
  return (
    <>
      {current === null ? <SignInPage /> : <SignedIn parts={parts} />}
      <IdleCountdown />
    </>
  );
}

const loadInvitation = () => import('./pages/invitation.tsx').then((m) => m.InvitationPage);
const loadTicket = () => import('./pages/ticket.tsx').then((m) => m.TicketPage);

function SignedIn({ parts }: { parts: readonly string[] }) {
  const [first = '', name = '', login = ''] = parts;
  const stage = STAGES[first];
  if (stage !== undefined && name !== '' && login !== '') {
    const props = { name: decodeURIComponent(name), login: decodeURIComponent(login) };
    return <Lazy load={stage} props={props} key={path.value} />;
  }
  if (first === '' || first === 'login') {
    navigate('/resources', { replace: true });
    return null;
  }
  const load = PAGES[first];
  return (
    <Shell>
      {first === 'resources' ? (
        <ResourcesPage />
      ) : load === undefined ? (
        <NotFound />
      ) : (
        <Lazy load={load} props={{}} key={first} />
      )}
    </Shell>
  );
}

function Lazy<P extends object>({ load, props }: { load: () => Promise<ComponentType<P>>; props: P }) {
  const [state, setState] = useState<{ Page?: ComponentType<P>; failed?: boolean }>({});
  useEffect(() => {
    load().then(
      (Page) => setState({ Page }),
      () => setState({ failed: true }),
    );
  }, []);
  const { Page, failed } = state;
  if (failed) {
    return (
      <main class="main">
        <p class="note bad" role="alert">
          This page could not be loaded. The gateway may have been updated: <a href={location.href}>load it again</a>.
        </p>
      </main>
    );
  }
  return Page === undefined ? <div aria-busy="true" /> : <Page {...props} />;
}
