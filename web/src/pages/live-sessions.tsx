import { useState } from 'preact/hooks';
import type { LiveSessionMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { clock, count, sinceText } from '../core/format.ts';
import { liveSessions } from '../core/live.ts';
import { session } from '../core/session.ts';
import { Filters, SelectField, TextField } from '../ui/fields.tsx';
import { FormDialog } from '../ui/form-dialog.tsx';
import { PageHead } from '../ui/parts.tsx';
import { Drain, LimitCell, Sparkline } from '../ui/session-parts.tsx';
import { ACTIONS, Figures, RowButton, TablePanel } from '../ui/table-panel.tsx';

type Order = 'ends' | 'user' | 'target' | 'started';

const ORDERS: Readonly<Record<Order, (a: LiveSessionMessage, b: LiveSessionMessage) => number>> = {
  ends: (a, b) => (a.endsInMs ?? Number.POSITIVE_INFINITY) - (b.endsInMs ?? Number.POSITIVE_INFINITY),
  user: (a, b) => a.user.localeCompare(b.user) || a.startedAtMs - b.startedAtMs,
  target: (a, b) => a.target.displayName.localeCompare(b.target.displayName) || a.startedAtMs - b.startedAtMs,
  started: (a, b) => b.startedAtMs - a.startedAtMs,
};
const ORDER_NAMES = [
  ['started', 'Newest first'],
  ['ends', 'Ending first'],
  ['user', 'By user'],
  ['target', 'By target'],
] as const;
/** More rows than this would only slow the page down; the search finds the rest. */
const MAX_ROWS = 500;

/** Every session that is open, as it stands this second. */
export function LiveSessionsPage() {
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<Order>('started');
  const [ending, setEnding] = useState<LiveSessionMessage | undefined>(undefined);
  const all = liveSessions.value;
  const found = (all ?? []).filter((one) => matches(one, search)).sort(ORDERS[order]);
  const shown = found.slice(0, MAX_ROWS);
  const warned = (all ?? []).filter((one) => one.warned).length;
  const unlimited = (all ?? []).filter((one) => one.endsInMs === null).length;
  const mayEnd = session.value?.permissions.endSessions ?? false;

  return (
    <div class="page">
      <PageHead title="Live sessions" about="Who is connected to what, and when the idle policy will end it." />
      <Figures
        items={[
          ['Open', all?.length ?? '–'],
          ['About to end', all === undefined ? '–' : warned, warned > 0 ? 'warn' : ''],
          ['Without a limit', all === undefined ? '–' : unlimited, unlimited > 0 ? 'warn' : ''],
          ['People', all === undefined ? '–' : new Set(all.map((one) => one.user)).size],
        ]}
      />
      <Filters>
        <TextField
          label="Search"
          grow
          type="search"
          placeholder="User, target, address or id"
          value={search}
          onInput={setSearch}
        />
        <SelectField label="Order" value={order} choices={ORDER_NAMES} onChange={setOrder} />
      </Filters>
      <TablePanel
        label="Sessions"
        columns={['Who', 'Target', 'Since', 'Activity', { figures: 'Idle for' }, 'Ends in', 'Limit', mayEnd && ACTIONS]}
        rows={all === undefined ? undefined : shown}
        empty={all?.length === 0 ? 'Nobody is connected.' : 'Nothing matches.'}
      >
        {(one) => <Row key={one.id} one={one} {...(mayEnd ? { onEnd: () => setEnding(one) } : {})} />}
      </TablePanel>
      {found.length > shown.length && (
        <p class="quiet">{count(found.length - shown.length, 'more session')} match; narrow the search to see them.</p>
      )}
      {ending !== undefined && <EndDialog one={ending} onClose={() => setEnding(undefined)} />}
    </div>
  );
}

function Row({ one, onEnd }: { one: LiveSessionMessage; onEnd?: () => void }) {
  return (
    <tr>
      <th scope="row">
        <span>
          {one.user}
          <span class="quiet small mono" title={`Session ${one.id} from ${one.clientAddr}`}>
            {' '}
            {one.id.slice(0, 8)}
          </span>
        </span>
      </th>
      <td data-label="Target">
        <span>
          {one.login}@{one.target.displayName} <span class="tag">{one.protocol}</span>
        </span>
      </td>
      <td data-label="Since" class="nowrap">
        {sinceText(one.startedAtMs)}
      </td>
      <td data-label="Activity">
        <Sparkline session={one} />
      </td>
      <td data-label="Idle for" class="number">
        {clock(Math.floor(one.idleForMs / 1000) * 1000)}
      </td>
      <td data-label="Ends in">
        <Drain session={one} />
      </td>
      <td data-label="Limit">
        <LimitCell session={one} />
      </td>
      {onEnd !== undefined && (
        <td>
          <div class="row end">
            <RowButton
              text="End…"
              about={`the session of ${one.user} on ${one.target.displayName}`}
              danger
              onClick={onEnd}
            />
          </div>
        </td>
      )}
    </tr>
  );
}

function EndDialog({ one, onClose }: { one: LiveSessionMessage; onClose: () => void }) {
  const [message, setMessage] = useState('');
  return (
    <FormDialog
      title="End this session?"
      action="End session"
      danger
      onClose={onClose}
      run={async () => {
        await api('POST', `/sessions/${one.id}/kill`, { message });
        onClose();
      }}
    >
      <dl class="facts">
        <dt>User</dt>
        <dd>{one.user}</dd>
        <dt>Target</dt>
        <dd>
          {one.login}@{one.target.displayName}
        </dd>
        <dt>From</dt>
        <dd>{one.clientAddr}</dd>
        <dt>Session</dt>
        <dd class="mono">{one.id}</dd>
      </dl>
      <TextField
        label="Message to the user"
        hint="Shown in the session with your name; may be empty"
        maxLength={400}
        value={message}
        onInput={setMessage}
      />
    </FormDialog>
  );
}

function matches(one: LiveSessionMessage, search: string): boolean {
  const text = [one.id, one.user, one.login, one.protocol, one.target.displayName, one.target.addr, one.clientAddr]
    .join('\n')
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
