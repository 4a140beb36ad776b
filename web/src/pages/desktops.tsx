import { useState } from 'preact/hooks';
import type { KeepPasswordRequest, KeptLoginsResponse, ResourceMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { policyRevision } from '../core/live.ts';
import { getResources, textOf } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { ConfirmDialog } from '../ui/confirm-dialog.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { Dialog, Empty, Field, PageHead, Problem } from '../ui/parts.tsx';

type KeptLogin = KeptLoginsResponse['items'][number];

/** Desktops, and for which logins the gateway keeps the password. */
export function DesktopsPage() {
  const desktops = useLoad(() => getResources('windows_desktop'), [policyRevision.value]);
  const kept = useLoad(() => api<KeptLoginsResponse>('GET', '/desktop-passwords'), []);
  const [keeping, setKeeping] = useState<string | undefined>(undefined);
  const [forgetting, setForgetting] = useState<KeptLogin | undefined>(undefined);
  const editable = session.value!.permissions.editDesktops;
  const registered = desktops.data ?? [];
  const logins = kept.data?.items ?? [];
  const names = new Set(registered.map((desktop) => desktop.metadata.name));
  const orphans = [...new Set(logins.map((one) => one.desktop).filter((name) => !names.has(name)))];
  const rows: { name: string; desktop?: ResourceMessage }[] = [
    ...registered.map((desktop) => ({ name: desktop.metadata.name, desktop })),
    ...(desktops.data === undefined ? [] : orphans.map((name) => ({ name }))),
  ];
  return (
    <div class="page">
      <PageHead
        title="Desktops"
        about="Where the gateway keeps the password of a login, it signs in by itself: the user need not know it, and the browser never holds it."
      />
      <Problem error={desktops.error ?? kept.error} />
      <section class="panel" aria-label="Desktops">
        {rows.length === 0 ? (
          <Empty>{desktops.data === undefined ? 'Loading…' : 'No desktop is registered.'}</Empty>
        ) : (
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Desktop</th>
                <th scope="col">Protocol</th>
                <th scope="col">Address</th>
                <th scope="col">Passwords kept for</th>
                {editable && (
                  <th scope="col">
                    <span class="visually-hidden">Action</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {rows.map(({ name, desktop }) => (
                <tr key={name}>
                  <th scope="row">
                    <span>{name}</span>
                  </th>
                  <td data-label="Protocol">
                    {desktop && <span class="tag">{textOf(desktop.spec, 'protocol') || 'rdp'}</span>}
                  </td>
                  <td data-label="Address" class="name">
                    {desktop === undefined ? <span class="quiet">not registered</span> : textOf(desktop.spec, 'addr')}
                  </td>
                  <td data-label="Passwords kept for">
                    <KeptLogins
                      logins={logins.filter((one) => one.desktop === name)}
                      onForget={editable ? setForgetting : undefined}
                    />
                  </td>
                  {editable && (
                    <td>
                      {desktop !== undefined && (
                        <div class="row end">
                          <button type="button" class="button slim" onClick={() => setKeeping(name)}>
                            Keep a password<span class="visually-hidden"> for {name}</span>
                          </button>
                        </div>
                      )}
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      {keeping !== undefined && (
        <PasswordForm
          desktop={keeping}
          onClose={() => setKeeping(undefined)}
          onDone={() => {
            setKeeping(undefined);
            kept.reload();
          }}
        />
      )}
      {forgetting !== undefined && (
        <ConfirmDialog
          title={`Forget the password of ${forgetting.login}?`}
          text={`Whoever opens ${forgetting.desktop} as ${forgetting.login} types it from then on.`}
          action="Forget"
          onClose={() => setForgetting(undefined)}
          run={async () => {
            const { desktop, login } = forgetting;
            await api('DELETE', `/desktop-passwords/${encodeURIComponent(desktop)}/${encodeURIComponent(login)}`);
            setForgetting(undefined);
            kept.reload();
          }}
        />
      )}
    </div>
  );
}

function KeptLogins(props: { logins: readonly KeptLogin[]; onForget: ((login: KeptLogin) => void) | undefined }) {
  const { logins, onForget } = props;
  if (logins.length === 0) return <span class="quiet">none</span>;
  return (
    <ul class="tags" aria-label="Logins">
      {logins.map((one) => (
        <li key={one.login}>
          {onForget === undefined ? (
            <span class="tag">{one.login}</span>
          ) : (
            <button type="button" class="tag" title="Forget this password" onClick={() => onForget(one)}>
              <span class="visually-hidden">Forget the password of </span>
              {one.login}
              <span aria-hidden="true"> ×</span>
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

function PasswordForm(props: { desktop: string; onClose: () => void; onDone: () => void }) {
  const { desktop, onClose, onDone } = props;
  const [login, setLogin] = useState('');
  const [password, setPassword] = useState('');
  const action = useAction();
  return (
    <Dialog title={`Keep a password for ${desktop}`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          action.run(async () => {
            const request: KeepPasswordRequest = { desktop, login, password };
            await api('POST', '/desktop-passwords', request);
            onDone();
          });
        }}
      >
        <Field label="Login">
          {(ids) => (
            <input
              {...ids}
              class="input"
              required
              autocapitalize="none"
              autocomplete="off"
              spellcheck={false}
              value={login}
              onInput={(event) => setLogin(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field
          label="Password"
          hint="Kept encrypted, never shown again, and sent only to the address that the desktop has now."
        >
          {(ids) => (
            <input
              {...ids}
              class="input"
              type="password"
              autocomplete="new-password"
              required
              value={password}
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={action.error} />
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={action.busy}>
            Keep
          </button>
        </div>
      </form>
    </Dialog>
  );
}
