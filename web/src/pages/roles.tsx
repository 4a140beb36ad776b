import { useState } from 'preact/hooks';
import { parse, stringify } from 'yaml';
import type { ResourceMessage, WriteMode } from '../../../src/wire/api/messages.ts';
import { policyRevision } from '../core/live.ts';
import { deleteResource, getResources } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { ConfirmDialog } from '../ui/confirm-dialog.tsx';
import { useLoad } from '../ui/load.ts';
import { Dialog, Empty, Field, PageHead, Problem } from '../ui/parts.tsx';
import { ReviewDialog } from '../ui/review-dialog.tsx';

const TEMPLATE = {
  kind: 'role',
  version: 'v7',
  metadata: { name: 'new-role' },
  spec: {
    options: { client_idle_timeout: '15m' },
    allow: { logins: ['{{internal.logins}}'], node_labels: { env: 'dev' } },
  },
};

/** Roles as they are, and as YAML to edit: the same text that tctl edits. */
export function RolesPage() {
  const roles = useLoad(() => getResources('role'), [policyRevision.value]);
  const [editing, setEditing] = useState<{ role?: ResourceMessage; text: string } | undefined>(undefined);
  const [removing, setRemoving] = useState<string | undefined>(undefined);
  const editable = session.value!.permissions.editRoles;
  return (
    <div class="page">
      <PageHead title="Roles" about="What people may reach, and how tight their limits are.">
        {editable && (
          <button type="button" class="button primary" onClick={() => setEditing({ text: stringify(TEMPLATE) })}>
            New role
          </button>
        )}
      </PageHead>
      <Problem error={roles.error} />
      <section class="panel" aria-label="Roles">
        {roles.data === undefined || roles.data.length === 0 ? (
          <Empty>{roles.data === undefined ? 'Loading…' : 'There are no roles.'}</Empty>
        ) : (
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Role</th>
                <th scope="col">Allows</th>
                <th scope="col">Denies</th>
                <th scope="col">
                  <span class="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {roles.data.map((role) => (
                <tr key={role.metadata.name}>
                  <th scope="row">
                    <div>
                      {role.metadata.name}
                      <div class="quiet small">{role.metadata.description}</div>
                    </div>
                  </th>
                  <td data-label="Allows">
                    <Conditions side={role.spec['allow']} />
                  </td>
                  <td data-label="Denies">
                    <Conditions side={role.spec['deny']} />
                  </td>
                  <td>
                    <div class="row end">
                      <button
                        type="button"
                        class="button slim"
                        onClick={() => setEditing({ role, text: stringify(withoutRevision(role)) })}
                      >
                        {editable ? 'Edit' : 'Show'}
                        <span class="visually-hidden"> {role.metadata.name}</span>
                      </button>
                      {editable && (
                        <button
                          type="button"
                          class="button slim danger"
                          onClick={() => setRemoving(role.metadata.name)}
                        >
                          Remove<span class="visually-hidden"> {role.metadata.name}</span>
                        </button>
                      )}
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      {editing !== undefined && (
        <RoleEditor
          {...editing}
          editable={editable}
          onClose={() => setEditing(undefined)}
          onApplied={() => {
            setEditing(undefined);
            roles.reload();
          }}
        />
      )}
      {removing !== undefined && (
        <ConfirmDialog
          title={`Remove the role ${removing}?`}
          text="A role that a user still has cannot be removed."
          action="Remove"
          onClose={() => setRemoving(undefined)}
          run={async () => {
            await deleteResource('role', removing);
            setRemoving(undefined);
            roles.reload();
          }}
        />
      )}
    </div>
  );
}

/** The kinds of things that one side of a role is about. */
function Conditions({ side }: { side: unknown }) {
  const entries = Object.entries((side ?? {}) as Readonly<Record<string, unknown>>).filter(
    ([, value]) => typeof value === 'object' && value !== null && Object.keys(value).length > 0,
  );
  if (entries.length === 0) return <span class="quiet">nothing</span>;
  return (
    <ul class="tags">
      {entries.map(([name]) => (
        <li key={name} class="tag">
          {name.replaceAll('_', ' ')}
        </li>
      ))}
    </ul>
  );
}

function withoutRevision(role: ResourceMessage): ResourceMessage {
  const { revision: _revision, ...metadata } = role.metadata;
  return { ...role, metadata };
}

function RoleEditor(props: {
  role?: ResourceMessage;
  text: string;
  editable: boolean;
  onClose: () => void;
  onApplied: () => void;
}) {
  const { role, editable, onClose, onApplied } = props;
  const [text, setText] = useState(props.text);
  const [error, setError] = useState<unknown>(undefined);
  const [reviewing, setReviewing] = useState<ResourceMessage | undefined>(undefined);
  const review = () => {
    try {
      const parsed = parse(text) as ResourceMessage | null;
      if (parsed?.kind !== 'role' || typeof parsed.metadata?.name !== 'string') {
        throw new Error('This is no role: kind must be role, and metadata.name its name');
      }
      setError(undefined);
      setReviewing(parsed);
    } catch (problem) {
      setError(problem);
    }
  };
  if (reviewing !== undefined) {
    const same = role !== undefined && reviewing.metadata.name === role.metadata.name;
    const mode: WriteMode = same ? 'update' : 'create';
    return (
      <ReviewDialog
        title={`${same ? 'Change' : 'Make'} the role ${reviewing.metadata.name}?`}
        before={same ? role : undefined}
        resource={reviewing}
        mode={mode}
        onClose={() => setReviewing(undefined)}
        onApplied={onApplied}
      />
    );
  }
  return (
    <Dialog title={role === undefined ? 'New role' : `Role ${role.metadata.name}`} broad onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          review();
        }}
      >
        <Field label="YAML" hint="As tctl get and tctl create have it">
          {(ids) => (
            <textarea
              {...ids}
              class="input"
              rows={18}
              spellcheck={false}
              readOnly={!editable}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={error} />
        {editable && (
          <div class="row end">
            <button type="button" class="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="button primary">
              Review the change
            </button>
          </div>
        )}
      </form>
    </Dialog>
  );
}
