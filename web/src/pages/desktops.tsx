import { useState } from 'preact/hooks';
import type { KeepPasswordRequest, KeptLoginsResponse, ResourceMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { policyRevision } from '../core/live.ts';
import { getResources, textOf } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { TextField } from '../ui/fields.tsx';
import { ConfirmDialog, FormDialog } from '../ui/form-dialog.tsx';
import { useLoad } from '../ui/load.ts';
import { PageHead, Problem } from '../ui/parts.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';

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
    ...orphans.map((name) => ({ name })),
  ];
  return (
    <div class="page">
      <PageHead
        title="Desktops"
        about="Where the gateway keeps the password of a login, it signs in by itself: the user need not know it, and the browser never holds it."
      />
      <Problem error={desktops.error ?? kept.error} />
      <TablePanel
        label="Desktops"
        columns={['Desktop', 'Protocol', 'Address', 'Passwords kept for', editable && ACTIONS]}
        rows={desktops.data === undefined ? undefined : rows}
        empty="No desktop is registered."
      >
        {({ name, desktop }) => (
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
                    <RowButton text="Keep a password" about={`for ${name}`} onClick={() => setKeeping(name)} />
                  </div>
                )}
              </td>
            )}
          </tr>
        )}
      </TablePanel>
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
  return (
    <FormDialog
      title={`Keep a password for ${desktop}`}
      action="Keep"
      onClose={onClose}
      run={async () => {
        const request: KeepPasswordRequest = { desktop, login, password };
        await api('POST', '/desktop-passwords', request);
        onDone();
      }}
    >
      <TextField label="Login" verbatim autocomplete="off" required value={login} onInput={setLogin} />
      <TextField
        label="Password"
        hint="Kept encrypted, never shown again, and sent only to the address that the desktop has now."
        type="password"
        autocomplete="new-password"
        required
        value={password}
        onInput={setPassword}
      />
    </FormDialog>
  );
}
