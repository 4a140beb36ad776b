import { signal } from '@preact/signals';
import type { AuditEventMessage, LiveSessionMessage } from '../../../src/wire/api/messages.ts';
import { refreshLimit } from './idle.ts';
import { loadSession, session } from './session.ts';

/** Buckets of the activity history, and their width in milliseconds. */
export const HISTORY_BUCKETS = 48;
const BUCKET_MS = 2_500;
const RETRY_MS = 3_000;

/** The sessions the user may see, as of a moment ago. */
export const liveSessions = signal<readonly LiveSessionMessage[] | undefined>(undefined);
/** Counts up with each change of policy. */
export const policyRevision = signal(0);
/** The newest audit event, for who may read the log. */
export const newestEvent = signal<AuditEventMessage | undefined>(undefined);
export const connected = signal(true);
/** Seconds with activity in each bucket, oldest first, by session. */
const histories = new Map<string, { buckets: number[]; at: number }>();

let source: EventSource | undefined;

/** Listens to the gateway while somebody is signed in. */
export function connectLive(): void {
  if (source !== undefined) return;
  source = new EventSource('/v1/events');
  source.addEventListener('open', () => {
    connected.value = true;
  });
  source.addEventListener('sessions', (event) => {
    connected.value = true;
    const { sessions } = JSON.parse(event.data as string) as { sessions: LiveSessionMessage[] };
    noteHistory(sessions);
    liveSessions.value = sessions;
  });
  source.addEventListener('policy', (event) => {
    const { revision } = JSON.parse(event.data as string) as { revision: number };
    policyRevision.value = revision;
    refreshLimit();
  });
  source.addEventListener('audit', (event) => {
    newestEvent.value = JSON.parse(event.data as string) as AuditEventMessage;
  });
  source.addEventListener('error', () => {
    connected.value = false;
    if (source?.readyState !== EventSource.CLOSED) return;
    // Refused: signed out, or too many views. The browser does not come again by itself.
    disconnectLive();
    setTimeout(() => {
      void loadSession().then(() => {
        if (session.value) connectLive();
      });
    }, RETRY_MS);
  });
}

export function disconnectLive(): void {
  source?.close();
  source = undefined;
}

function noteHistory(sessions: readonly LiveSessionMessage[]): void {
  const at = Math.floor(performance.now() / BUCKET_MS);
  const ids = new Set(sessions.map(({ id }) => id));
  for (const id of histories.keys()) if (!ids.has(id)) histories.delete(id);
  for (const { id, idleForMs } of sessions) {
    const history = histories.get(id) ?? { buckets: Array.from({ length: HISTORY_BUCKETS }, () => 0), at };
    for (let step = Math.min(at - history.at, HISTORY_BUCKETS); step > 0; step--) {
      history.buckets.shift();
      history.buckets.push(0);
    }
    history.at = at;
    // Sent once a second: idle for less than that means activity within it. What was before the page looked is known by its last moment.
    const place = HISTORY_BUCKETS - 1 - Math.floor(idleForMs / BUCKET_MS);
    if (idleForMs < 1_100) history.buckets[place]! += 1;
    else if (history.buckets[place] === 0) history.buckets[place] = 1;
    histories.set(id, history);
  }
}

/** Activity of a session over the last two minutes: one number a bucket, 0 for none. */
export function historyOf(id: string): readonly number[] {
  return histories.get(id)?.buckets ?? [];
}
