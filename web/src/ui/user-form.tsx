import { useState } from 'preact/hooks';
import type { InviteResponse, ResourceMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { withFields, writeResource } from '../core/resources.ts';
import { useAction } from './load.ts';
import { Dialog, Field, Problem } from './parts.tsx';

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
  const action = useAction();
  const save = () =>
    action.run(async () => {
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
    });
  return (
    <Dialog title={user === undefined ? 'Invite a user' : `Change ${name}`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        {user === undefined && (
          <Field label="User name">
            {(ids) => (
              <input
                {...ids}
                class="input"
                required
                autocapitalize="none"
                spellcheck={false}
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
            )}
          </Field>
        )}
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
        <Field label="Logins on servers" hint="Between commas; roles refer to them as {{internal.logins}}">
          {(ids) => (
            <input
              {...ids}
              class="input"
              autocapitalize="none"
              spellcheck={false}
              value={logins}
              onInput={(event) => setLogins(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={action.error} />
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={action.busy || held.length === 0}>
            {user === undefined ? 'Invite' : 'Save'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
