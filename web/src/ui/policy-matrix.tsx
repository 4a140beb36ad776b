import { useState } from 'preact/hooks';
import type { MatrixRow } from '../../../src/wire/api/web-messages.ts';
import { count, limit } from '../core/format.ts';
import { Empty, Field } from './parts.tsx';

/** Who gets which effective limit, and why: every place that had a say. */
export function PolicyMatrix({ rows }: { rows: readonly MatrixRow[] }) {
  const [search, setSearch] = useState('');
  const shown = rows.filter((row) =>
    [row.user, ...row.roles, row.idle.timeoutSource].join('\n').toLowerCase().includes(search.toLowerCase()),
  );
  const without = rows.filter((row) => row.idle.timeoutMs === 0).length;
  return (
    <section class="panel" aria-labelledby="matrix">
      <div class="panel-head">
        <h2 id="matrix">Who gets which limit</h2>
        {without > 0 && <span class="tag warn">{count(without, 'user', 'users')} without a limit</span>}
        <Field label="Find a user or a role">
          {(ids) => (
            <input
              {...ids}
              class="input"
              type="search"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          )}
        </Field>
      </div>
      {shown.length === 0 ? (
        <Empty>{rows.length === 0 ? 'There are no users yet.' : 'Nothing matches.'}</Empty>
      ) : (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Roles</th>
              <th scope="col">Ends after</th>
              <th scope="col">Warning</th>
              <th scope="col">Activity</th>
              <th scope="col">Why</th>
              <th scope="col" class="number">
                Open
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row.user}>
                <th scope="row">
                  <span>{row.user}</span>
                </th>
                <td data-label="Roles">{row.roles.join(', ') || <span class="quiet">none</span>}</td>
                <td data-label="Ends after">
                  {row.idle.timeoutMs === 0 ? <span class="tag warn">never</span> : limit(row.idle.timeoutMs)}
                </td>
                <td data-label="Warning">{row.idle.warningMs === 0 ? 'none' : limit(row.idle.warningMs)}</td>
                <td data-label="Activity">{row.idle.activity}</td>
                <td data-label="Why">
                  <Sources row={row} />
                </td>
                <td data-label="Open" class="number">
                  {row.openSessions}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Sources({ row }: { row: MatrixRow }) {
  const { sources } = row.idle;
  if (sources.length === 0) return <span class="quiet">no place sets a limit</span>;
  return (
    <ul class="why">
      {sources.map((source) => (
        <li key={source.name} class={source.wins ? 'wins' : 'quiet'}>
          {source.name}: {limit(source.timeoutMs)}
          {source.wins && <span class="visually-hidden"> (applies)</span>}
        </li>
      ))}
    </ul>
  );
}
