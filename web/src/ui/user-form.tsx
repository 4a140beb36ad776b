import { useState } from 'preact/hooks';
import type { InviteResponse, ResourceMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { withFields, writeResource } from '../core/resources.ts';
import { TextField } from './fields.tsx';
import { FormDialog } from './form-dialog.tsx';

/** Inviting a user, or changing one's roles and logins. */
export function UserForm(props: {
  user: ResourceMessage | undefined;
  roles: readonly string[];
  onClose: () => void;
  onDone: (invitation: InviteResponse | undefined) => void;
}) {
  const { user, roles, onClose, onDone } = props;
  const traits = (user?.spec['traits'] ?? {}) as Readonly<Record<string, readonly string[]>>;
  const [name, setName] = useState(user?.metadata.name ?? '');
  const [held, setHeld] = useState<readonly string[]>((user?.spec['roles'] ?? []) as readonly string[]);
  const [logins, setLogins] = useState((traits['logins'] ?? []).join(', '));
  const save = async () => {
    const list = logins
      .split(/[\s,]+/)
      .map((login) => login.trim())
      .filter((login) => login !== '');
    const changed = withFields(traits, { logins: list.length === 0 ? undefined : list });
    if (user === undefined) {
      onDone(await api<InviteResponse>('POST', '/users', { name, roles: held, traits: changed }));
      return;
    }
    await writeResource({ ...user, spec: { ...user.spec, roles: held, traits: changed } }, 'update');
    onDone(undefined);
  };
  return (
    <FormDialog
      title={user === undefined ? 'Invite a user' : `Change ${name}`}
      action={user === undefined ? 'Invite' : 'Save'}
      valid={held.length > 0}
      onClose={onClose}
      run={save}
    >
      {user === undefined && <TextField label="User name" verbatim required value={name} onInput={setName} />}
      <fieldset class="field">
        <legend class="label">Roles</legend>
        <div class="settings">
          {roles.map((role) => (
            <label class="check" key={role}>
              <input
                type="checkbox"
                checked={held.includes(role)}
                onChange={(event) =>
                  setHeld(event.currentTarget.checked ? [...held, role] : held.filter((one) => one !== role))
                }
              />
              {role}
            </label>
          ))}
        </div>
      </fieldset>
      <TextField
        label="Logins on servers"
        hint="Between commas; roles refer to them as {{internal.logins}}"
        verbatim
        value={logins}
        onInput={setLogins}
      />
    </FormDialog>
  );
}
