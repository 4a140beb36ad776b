import { useState } from 'preact/hooks';
import type { InviteResponse, ResourceMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { moment } from '../core/format.ts';
import { liveSessions, policyRevision } from '../core/live.ts';
import { deleteResource, getResources } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { ConfirmDialog } from '../ui/form-dialog.tsx';
import { useLoad } from '../ui/load.ts';
import { Command, Dialog, PageHead, Problem } from '../ui/parts.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';
import { UserForm } from '../ui/user-form.tsx';

type Asking =
  | { readonly what: 'invite' }
  | { readonly what: 'edit' | 'reset' | 'delete'; readonly user: ResourceMessage };

/** Users: invite, change roles, reset, remove. */
export function UsersPage() {
  const users = useLoad(() => getResources('user'), [policyRevision.value]);
  const roles = useLoad(() => getResources('role'), [policyRevision.value]);
  const [asking, setAsking] = useState<Asking | undefined>(undefined);
  const [link, setLink] = useState<InviteResponse | undefined>(undefined);
  const editable = session.value!.permissions.editUsers;
  const done = () => {
    setAsking(undefined);
    users.reload();
  };
  const open = (name: string) => (liveSessions.value ?? []).filter((one) => one.user === name).length;
  const roleNames = (roles.data ?? []).map((role) => role.metadata.name);
  return (
    <div class="page">
      <PageHead title="Users" about="Who may sign in, and with which roles.">
        {editable && (
          <button type="button" class="button primary" onClick={() => setAsking({ what: 'invite' })}>
            Invite a user
          </button>
        )}
      </PageHead>
      <Problem error={users.error ?? roles.error} />
      <TablePanel
        label="Users"
        columns={['User', 'Roles', 'Logins', { figures: 'Open sessions' }, editable && ACTIONS]}
        rows={users.data}
        empty="There are no users yet."
      >
        {(user) => {
          const { name } = user.metadata;
          return (
            <tr key={name}>
              <th scope="row">
                <span>{name}</span>
              </th>
              <td data-label="Roles">
                <span>{rolesOf(user).join(', ') || <span class="quiet">none</span>}</span>
              </td>
              <td data-label="Logins">
                <span>{loginsOf(user).join(', ') || <span class="quiet">by role</span>}</span>
              </td>
              <td data-label="Open sessions" class="number">
                {open(name)}
              </td>
              {editable && (
                <td>
                  <div class="row end">
                    <RowButton text="Edit" about={name} onClick={() => setAsking({ what: 'edit', user })} />
                    <RowButton text="Reset" about={name} onClick={() => setAsking({ what: 'reset', user })} />
                    <RowButton text="Remove" about={name} danger onClick={() => setAsking({ what: 'delete', user })} />
                  </div>
                </td>
              )}
            </tr>
          );
        }}
      </TablePanel>
      {(asking?.what === 'invite' || asking?.what === 'edit') && (
        <UserForm
          user={asking.what === 'edit' ? asking.user : undefined}
          roles={roleNames}
          onClose={() => setAsking(undefined)}
          onDone={(invitation) => {
            done();
            setLink(invitation);
          }}
        />
      )}
      {asking?.what === 'reset' && (
        <ConfirmDialog
          title={`Reset ${asking.user.metadata.name}?`}
          text="The password and all second factors are forgotten, and the user is signed out everywhere. You get a link with which they set everything anew."
          action="Reset"
          onClose={() => setAsking(undefined)}
          run={async () => {
            const path = `/users/${encodeURIComponent(asking.user.metadata.name)}/reset`;
            setLink(await api<InviteResponse>('POST', path, {}));
            done();
          }}
        />
      )}
      {asking?.what === 'delete' && (
        <ConfirmDialog
          title={`Remove ${asking.user.metadata.name}?`}
          text="The user's open sessions end at once, and nothing of their sign-in is kept."
          action="Remove"
          onClose={() => setAsking(undefined)}
          run={async () => {
            await deleteResource('user', asking.user.metadata.name);
            done();
          }}
        />
      )}
      {link !== undefined && (
        <Dialog title={`Link for ${link.user}`} onClose={() => setLink(undefined)}>
          <p>
            Hand this link to {link.user}. It works once, until {moment(link.expiresAtMs)}, and is not shown again.
          </p>
          <Command text={link.url} />
        </Dialog>
      )}
    </div>
  );
}

function rolesOf(user: ResourceMessage): readonly string[] {
  return (user.spec['roles'] ?? []) as readonly string[];
}

function loginsOf(user: ResourceMessage): readonly string[] {
  return ((user.spec['traits'] ?? {}) as Readonly<Record<string, readonly string[]>>)['logins'] ?? [];
}
