import { useState } from 'preact/hooks';
import type { RehearsedSessionMessage, ResourceMessage, WriteMode } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { clock, count, limit } from '../core/format.ts';
import { originOf, writeResource } from '../core/resources.ts';
import { FormDialog } from './form-dialog.tsx';
import { useLoad } from './load.ts';
import { Problem } from './parts.tsx';

const MAX_ROWS = 50;

/** Shows what a change would do to the sessions that are open, and makes it. */
export function ReviewDialog(props: {
  title: string;
  /** As it is now, for its origin; undefined for a new one. */
  before: ResourceMessage | undefined;
  resource: ResourceMessage;
  mode: WriteMode;
  onClose: () => void;
  onApplied: () => void;
}) {
  const { title, before, resource, mode, onClose, onApplied } = props;
  const rehearsal = useLoad(
    () => api<{ sessions: RehearsedSessionMessage[] }>('POST', '/idle/rehearse', { resources: [resource] }),
    [],
  );
  const [insists, setInsists] = useState(false);
  const fromFile = before !== undefined && originOf(before) === 'config-file';
  return (
    <FormDialog
      title={title}
      action="Apply"
      broad
      valid={rehearsal.data !== undefined && (!fromFile || insists)}
      onClose={onClose}
      run={async () => {
        await writeResource(resource, mode, fromFile);
        onApplied();
      }}
    >
      {before !== undefined && <Differences before={before} after={resource} />}
      <Problem error={rehearsal.error} />
      {rehearsal.data !== undefined && <Rehearsal sessions={rehearsal.data.sessions} />}
      {fromFile && (
        <div class="note warn stack tight">
          <p>
            The configuration file sets this resource: at the next start of the gateway the file's values come back.
            Change the file to make it last.
          </p>
          <label class="check">
            <input type="checkbox" checked={insists} onChange={(event) => setInsists(event.currentTarget.checked)} />
            Change it until the next start
          </label>
        </div>
      )}
    </FormDialog>
  );
}

/** Fields of the spec that differ, by their path. */
function Differences({ before, after }: { before: ResourceMessage; after: ResourceMessage }) {
  const [old, now] = [flat(before.spec), flat(after.spec)];
  const names = [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name)).sort();
  if (names.length === 0) return <p class="quiet">Nothing changes.</p>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Now</th>
            <th scope="col">Then</th>
          </tr>
        </thead>
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row" class="mono">
                {name}
              </th>
              <td>{old.get(name) ?? <span class="quiet">not set</span>}</td>
              <td>{now.get(name) ?? <span class="quiet">not set</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function flat(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flat(inner, path === '' ? key : `${path}.${key}`, into);
  } else if (value !== undefined) into.set(path, typeof value === 'string' ? value : JSON.stringify(value));
  return into;
}

function Rehearsal({ sessions }: { sessions: readonly RehearsedSessionMessage[] }) {
  const of = (effect: RehearsedSessionMessage['effect']) => sessions.filter((one) => one.effect === effect);
  const [ends, revoked, deadline, unchanged] = [of('ends'), of('revoked'), of('deadline'), of('unchanged')];
  const affected = [...revoked, ...ends, ...deadline];
  const soonest = Math.min(...ends.map((one) => one.newEndsInMs ?? Number.POSITIVE_INFINITY));
  return (
    <section class="stack tight" aria-label="What this does to open sessions">
      <ul class="tags">
        {revoked.length > 0 && (
          <li class="tag bad">{count(revoked.length, 'session loses access', 'sessions lose access')}</li>
        )}
        {ends.length > 0 && (
          <li class="tag bad">
            {count(ends.length, 'session ends', 'sessions end')}
            {Number.isFinite(soonest) && ` in ${Math.max(0, Math.ceil(soonest / 1000))} s`}
          </li>
        )}
        {deadline.length > 0 && (
          <li class="tag warn">
            {count(deadline.length, 'session gets another deadline', 'sessions get another deadline')}
          </li>
        )}
        <li class="tag">{unchanged.length} unchanged</li>
      </ul>
      {affected.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Session</th>
                <th scope="col">Limit now</th>
                <th scope="col">Limit then</th>
                <th scope="col">Ends in</th>
              </tr>
            </thead>
            <tbody>
              {affected.slice(0, MAX_ROWS).map((one) => (
                <tr key={one.session.id}>
                  <th scope="row">
                    {one.session.user} <span class="quiet">on {one.session.target.displayName}</span>
                  </th>
                  <td>{limit(one.session.idleTimeoutMs)}</td>
                  <td>
                    {one.effect === 'revoked' ? (
                      <span class="tag bad">access revoked</span>
                    ) : (
                      <>
                        {limit(one.newTimeoutMs)} <span class="quiet small">{one.newTimeoutSource}</span>
                      </>
                    )}
                  </td>
                  <td>
                    {one.effect === 'revoked' ? 'at once' : one.newEndsInMs === null ? 'never' : clock(one.newEndsInMs)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {affected.length > MAX_ROWS && <p class="quiet small">and {affected.length - MAX_ROWS} more</p>}
    </section>
  );
}
