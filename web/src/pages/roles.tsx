import { useState } from 'preact/hooks';
import { parse, stringify } from 'yaml';
import type { ResourceMessage, WriteMode } from '../../../src/wire/api/messages.ts';
import { policyRevision } from '../core/live.ts';
import { deleteResource, getResources } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { ConfirmDialog, FormDialog } from '../ui/form-dialog.tsx';
import { useLoad } from '../ui/load.ts';
import { Dialog, Field, PageHead, Problem } from '../ui/parts.tsx';
import { ReviewDialog } from '../ui/review-dialog.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';

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
      <TablePanel
        label="Roles"
        columns={['Role', 'Allows', 'Denies', ACTIONS]}
        rows={roles.data}
        empty="There are no roles."
      >
        {(role) => {
          const { name, description } = role.metadata;
          return (
            <tr key={name}>
              <th scope="row">
                <div>
                  {name}
                  <div class="quiet small">{description}</div>
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
                  <RowButton
                    text={editable ? 'Edit' : 'Show'}
                    about={name}
                    onClick={() => setEditing({ role, text: stringify(withoutRevision(role)) })}
                  />
                  {editable && <RowButton text="Remove" about={name} danger onClick={() => setRemoving(name)} />}
                </div>
              </td>
            </tr>
          );
        }}
      </TablePanel>
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
  const [reviewing, setReviewing] = useState<ResourceMessage | undefined>(undefined);
  const review = async () => {
    const parsed = parse(text) as ResourceMessage | null;
    if (parsed?.kind !== 'role' || typeof parsed.metadata?.name !== 'string') {
      throw new Error('This is no role: kind must be role, and metadata.name its name');
    }
    setReviewing(parsed);
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
  const title = role === undefined ? 'New role' : `Role ${role.metadata.name}`;
  const yaml = (
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
  );
  if (!editable) {
    return (
      <Dialog title={title} broad onClose={onClose}>
        {yaml}
      </Dialog>
    );
  }
  return (
    <FormDialog title={title} action="Review the change" broad onClose={onClose} run={review}>
      {yaml}
    </FormDialog>
  );
}
