import { useState } from 'preact/hooks';
import type { LiveSessionMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { clock, count, sinceText } from '../core/format.ts';
import { liveSessions } from '../core/live.ts';
import { session } from '../core/session.ts';
import { useAction } from '../ui/load.ts';
import { Dialog, Empty, Field, PageHead, Problem } from '../ui/parts.tsx';
import { Drain, LimitCell, Sparkline } from '../ui/session-parts.tsx';

type Order = 'ends' | 'user' | 'target' | 'started';

const ORDERS: Readonly<Record<Order, (a: LiveSessionMessage, b: LiveSessionMessage) => number>> = {
  ends: (a, b) => (a.endsInMs ?? Number.POSITIVE_INFINITY) - (b.endsInMs ?? Number.POSITIVE_INFINITY),
  user: (a, b) => a.user.localeCompare(b.user) || a.startedAtMs - b.startedAtMs,
  target: (a, b) => a.target.displayName.localeCompare(b.target.displayName) || a.startedAtMs - b.startedAtMs,
  started: (a, b) => b.startedAtMs - a.startedAtMs,
};
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
      <dl class="figures">
        <div>
          <dt>Open</dt>
          <dd>{all?.length ?? '–'}</dd>
        </div>
        <div>
          <dt>About to end</dt>
          <dd class={warned > 0 ? 'warn' : ''}>{all === undefined ? '–' : warned}</dd>
        </div>
        <div>
          <dt>Without a limit</dt>
          <dd class={unlimited > 0 ? 'warn' : ''}>{all === undefined ? '–' : unlimited}</dd>
        </div>
        <div>
          <dt>People</dt>
          <dd>{all === undefined ? '–' : new Set(all.map((one) => one.user)).size}</dd>
        </div>
      </dl>
      <search class="filters">
        <Field label="Search" grow>
          {(ids) => (
            <input
              {...ids}
              class="input"
              type="search"
              placeholder="User, target, address or id"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field label="Order">
          {(ids) => (
            <select
              {...ids}
              class="input"
              value={order}
              onChange={(event) => setOrder(event.currentTarget.value as Order)}
            >
              <option value="started">Newest first</option>
              <option value="ends">Ending first</option>
              <option value="user">By user</option>
              <option value="target">By target</option>
            </select>
          )}
        </Field>
      </search>
      <section class="panel" aria-label="Sessions">
        {shown.length === 0 ? (
          <Empty>
            {all === undefined ? 'Loading…' : all.length === 0 ? 'Nobody is connected.' : 'Nothing matches.'}
          </Empty>
        ) : (
          <div class="scroll">
            <table class="cards">
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">Target</th>
                  <th scope="col">Since</th>
                  <th scope="col">Activity</th>
                  <th scope="col" class="number">
                    Idle for
                  </th>
                  <th scope="col">Ends in</th>
                  <th scope="col">Limit</th>
                  {mayEnd && (
                    <th scope="col">
                      <span class="visually-hidden">Action</span>
                    </th>
                  )}
                </tr>
              </thead>
              <tbody>
                {shown.map((one) => (
                  <Row key={one.id} one={one} {...(mayEnd ? { onEnd: () => setEnding(one) } : {})} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
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
          <button type="button" class="button slim danger" onClick={onEnd}>
            End…
            <span class="visually-hidden">
              {' '}
              the session of {one.user} on {one.target.displayName}
            </span>
          </button>
        </td>
      )}
    </tr>
  );
}

function EndDialog({ one, onClose }: { one: LiveSessionMessage; onClose: () => void }) {
  const [message, setMessage] = useState('');
  const action = useAction();
  return (
    <Dialog title="End this session?" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          action.run(async () => {
            await api('POST', `/sessions/${one.id}/kill`, { message });
            onClose();
          });
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
        <Field label="Message to the user" hint="Shown in the session with your name; may be empty">
          {(ids) => (
            <input
              {...ids}
              class="input"
              maxLength={400}
              value={message}
              onInput={(event) => setMessage(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={action.error} />
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button danger" disabled={action.busy}>
            End session
          </button>
        </div>
      </form>
    </Dialog>
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
