import { useState } from 'preact/hooks';
import { parseDuration } from '../../../src/resources/duration.ts';
import { api } from '../core/api.ts';
import { moment } from '../core/format.ts';
import { policyRevision } from '../core/live.ts';
import { deleteResource, getResources, textOf } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { ConfirmDialog } from '../ui/confirm-dialog.tsx';
import { DurationField, durationProblem } from '../ui/duration-field.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { Dialog, Empty, Field, PageHead, Problem } from '../ui/parts.tsx';

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
      <section class="panel" aria-label="Locks">
        {locks.data === undefined || locks.data.length === 0 ? (
          <Empty>{locks.data === undefined ? 'Loading…' : 'Nothing is locked.'}</Empty>
        ) : (
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col">Message</th>
                <th scope="col">Until</th>
                <th scope="col">By</th>
                {editable && (
                  <th scope="col">
                    <span class="visually-hidden">Action</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {locks.data.map((lock) => {
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
                        <button type="button" class="button slim" onClick={() => setRemoving(lock.metadata.name)}>
                          Unlock<span class="visually-hidden"> {target.map(([, name]) => name).join(', ')}</span>
                        </button>
                      </td>
                    )}
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
      </section>
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
  const [kind, setKind] = useState<string>('user');
  const [name, setName] = useState('');
  const [message, setMessage] = useState('');
  const [ttl, setTtl] = useState('');
  const action = useAction();
  const valid = name !== '' && durationProblem(ttl) === undefined;
  return (
    <Dialog title="New lock" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!valid) return;
          action.run(async () => {
            const ttlMs = ttl.trim() === '' ? 0 : parseDuration(ttl.trim());
            await api('POST', '/locks', {
              target: { [kind]: name },
              ...(message === '' ? {} : { message }),
              ...(ttlMs === 0 ? {} : { ttlMs }),
            });
            onDone();
          });
        }}
      >
        <div class="settings">
          <Field label="What">
            {(ids) => (
              <select {...ids} class="input" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
                {TARGETS.map(([value, label]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field label="Name">
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
        </div>
        <Field label="Message" hint="Shown to whom it concerns">
          {(ids) => (
            <input {...ids} class="input" value={message} onInput={(event) => setMessage(event.currentTarget.value)} />
          )}
        </Field>
        <DurationField label="For how long" hint="empty: until it is removed" value={ttl} onInput={setTtl} />
        <Problem error={action.error} />
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button danger" disabled={action.busy || !valid}>
            Lock
          </button>
        </div>
      </form>
    </Dialog>
  );
}
