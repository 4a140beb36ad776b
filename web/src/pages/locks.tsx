import { useState } from 'preact/hooks';
import { parseDuration } from '../../../src/resources/duration.ts';
import { api } from '../core/api.ts';
import { moment } from '../core/format.ts';
import { policyRevision } from '../core/live.ts';
import { deleteResource, getResources, textOf } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { DurationField, durationProblem } from '../ui/duration-field.tsx';
import { SelectField, TextField } from '../ui/fields.tsx';
import { ConfirmDialog, FormDialog } from '../ui/form-dialog.tsx';
import { useLoad } from '../ui/load.ts';
import { PageHead, Problem } from '../ui/parts.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';

const TARGETS = [
  ['user', 'User'],
  ['role', 'Role'],
  ['login', 'Login'],
  ['server_id', 'Server'],
  ['windows_desktop', 'Desktop'],
  ['session', 'Session'],
] as const;

/** Locks: what they name is barred, and its open sessions end. */
export function LocksPage() {
  const locks = useLoad(() => getResources('lock'), [policyRevision.value]);
  const [making, setMaking] = useState(false);
  const [removing, setRemoving] = useState<string | undefined>(undefined);
  const editable = session.value!.permissions.editLocks;
  return (
    <div class="page">
      <PageHead title="Locks" about="A lock ends the sessions of what it names at once, and bars new ones.">
        {editable && (
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            New lock
          </button>
        )}
      </PageHead>
      <Problem error={locks.error} />
      <TablePanel
        label="Locks"
        columns={['What', 'Message', 'Until', 'By', editable && ACTIONS]}
        rows={locks.data}
        empty="Nothing is locked."
      >
        {(lock) => {
          const target = Object.entries((lock.spec['target'] ?? {}) as Readonly<Record<string, string>>);
          const expires = textOf(lock.spec, 'expires');
          return (
            <tr key={lock.metadata.name}>
              <th scope="row">
                <span>{target.map(([kind, name]) => `${kind} ${name}`).join(', ')}</span>
              </th>
              <td data-label="Message">{textOf(lock.spec, 'message')}</td>
              <td data-label="Until">{expires === '' ? 'removed by hand' : moment(Date.parse(expires))}</td>
              <td data-label="By">{textOf(lock.spec, 'created_by')}</td>
              {editable && (
                <td>
                  <div class="row end">
                    <RowButton
                      text="Unlock"
                      about={target.map(([, name]) => name).join(', ')}
                      onClick={() => setRemoving(lock.metadata.name)}
                    />
                  </div>
                </td>
              )}
            </tr>
          );
        }}
      </TablePanel>
      {making && (
        <LockForm
          onClose={() => setMaking(false)}
          onDone={() => {
            setMaking(false);
            locks.reload();
          }}
        />
      )}
      {removing !== undefined && (
        <ConfirmDialog
          title="Remove this lock?"
          text="What it names may connect again. Sessions that it ended stay ended."
          action="Remove"
          onClose={() => setRemoving(undefined)}
          run={async () => {
            await deleteResource('lock', removing);
            setRemoving(undefined);
            locks.reload();
          }}
        />
      )}
    </div>
  );
}

function LockForm({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [kind, setKind] = useState<(typeof TARGETS)[number][0]>('user');
  const [name, setName] = useState('');
  const [message, setMessage] = useState('');
  const [ttl, setTtl] = useState('');
  const valid = name !== '' && durationProblem(ttl) === undefined;
  return (
    <FormDialog
      title="New lock"
      action="Lock"
      danger
      valid={valid}
      onClose={onClose}
      run={async () => {
        const ttlMs = ttl.trim() === '' ? 0 : parseDuration(ttl.trim());
        await api('POST', '/locks', {
          target: { [kind]: name },
          ...(message === '' ? {} : { message }),
          ...(ttlMs === 0 ? {} : { ttlMs }),
        });
        onDone();
      }}
    >
      <div class="settings">
        <SelectField label="What" value={kind} choices={TARGETS} onChange={setKind} />
        <TextField label="Name" verbatim required value={name} onInput={setName} />
      </div>
      <TextField label="Message" hint="Shown to whom it concerns" value={message} onInput={setMessage} />
      <DurationField label="For how long" hint="empty: until it is removed" value={ttl} onInput={setTtl} />
    </FormDialog>
  );
}
