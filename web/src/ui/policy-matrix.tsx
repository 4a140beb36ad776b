import { useState } from 'preact/hooks';
import type { MatrixRow } from '../../../src/wire/api/web-messages.ts';
import { count, limit } from '../core/format.ts';
import { TextField } from './fields.tsx';
import { TablePanel } from './table-panel.tsx';

/** Who gets which effective limit, and why: every place that had a say. */
export function PolicyMatrix({ rows }: { rows: readonly MatrixRow[] }) {
  const [search, setSearch] = useState('');
  const shown = rows.filter((row) =>
    [row.user, ...row.roles, row.idle.timeoutSource].join('\n').toLowerCase().includes(search.toLowerCase()),
  );
  const without = rows.filter((row) => row.idle.timeoutMs === 0).length;
  return (
    <TablePanel
      label="Who gets which limit"
      head={
        <>
          {without > 0 && <span class="tag warn">{count(without, 'user', 'users')} without a limit</span>}
          <TextField label="Find a user or a role" type="search" value={search} onInput={setSearch} />
        </>
      }
      columns={['User', 'Roles', 'Ends after', 'Warning', 'Activity', 'Why', { figures: 'Open' }]}
      rows={shown}
      empty={rows.length === 0 ? 'There are no users yet.' : 'Nothing matches.'}
    >
      {(row) => (
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
      )}
    </TablePanel>
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
