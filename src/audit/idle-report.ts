import type { EndCause, StoredAuditEvent } from './events.ts';
import { SettingsHistory, type SettingsRecord } from './idle-settings.ts';

/**
 * How much longer than its limit a session may have been idle before the report calls it over, in milliseconds. The cut itself is
 * measured apart (`lateness`); this is what a busy machine may add without anybody having been let through.
 */
export const OVER_TOLERANCE_MS = 1_000;

/**
 * What is to be said of a session's idleness: `within` its limit; `over` it; `limit_changed`: longer than the limit, but the limit
 * changed while it was open; `no_limit` applied; `open`: no end is recorded.
 */
type IdleVerdict = 'within' | 'over' | 'limit_changed' | 'no_limit' | 'open';

/** One session of the period. Times are RFC 3339; null is "not recorded". */
export interface ReportedSession {
  readonly sid: string;
  readonly user: string;
  readonly login: string;
  readonly kind: string;
  readonly protocol: string;
  readonly target: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly durationMs: number | null;
  /** The limit that applied at the end (or the start, while open) and where it came from; 0 for none. */
  readonly idleTimeoutMs: number;
  readonly timeoutSource: string;
  /** Why idleness did not end it (`kubectl logs -f`), or ''. */
  readonly exempt: string;
  readonly longestIdleMs: number | null;
  readonly cause: EndCause | null;
  /** How long after its deadline a session that ended for idleness was cut. */
  readonly overshootMs: number | null;
  readonly verdict: IdleVerdict;
}

/** The evidence of SPEC 2.5. */
export interface IdleReport {
  readonly from: string;
  readonly to: string;
  readonly totals: {
    readonly sessions: number;
    readonly endedForIdleness: number;
    readonly over: number;
    readonly limitChanged: number;
    readonly noLimit: number;
    readonly open: number;
  };
  /** Of the sessions that ended for idleness, in milliseconds; null where there was none. */
  readonly lateness: {
    readonly count: number;
    readonly medianMs: number;
    readonly p99Ms: number;
    readonly maxMs: number;
  } | null;
  readonly sessions: readonly ReportedSession[];
  /** Idle settings in force when the period began, as far as the log tells, and every change within it. */
  readonly settingsAtStart: readonly SettingsRecord[];
  readonly settingsChanges: readonly SettingsRecord[];
}

interface Gathered {
  start?: StoredAuditEvent;
  disconnect?: StoredAuditEvent;
  end?: StoredAuditEvent;
}

/** Events that the report is made of: what to ask the log for, from some time before the period (open sessions, settings). */
export const IDLE_REPORT_EVENTS: readonly string[] = [
  'session.start',
  'client.disconnect',
  'session.end',
  'auth_preference.update',
  'cluster_networking_config.update',
  'role.created',
  'role.updated',
  'role.deleted',
];

/**
 * The report on [fromMs, toMs) (milliseconds since the epoch). `events` in order of time; those from before the period tell of sessions
 * that were open then and of the settings in force; of those after it, the ends of its sessions are used.
 */
export function idleReport(
  events: Iterable<StoredAuditEvent>,
  { fromMs, toMs }: { fromMs: number; toMs: number },
): IdleReport {
  const bySid = new Map<string, Gathered>();
  const settings = new SettingsHistory(fromMs, toMs);
  for (const event of events) {
    if (settings.note(event)) continue;
    const sid = event['sid'];
    if (typeof sid !== 'string') continue;
    const name = event.event;
    if (name !== 'session.start' && name !== 'client.disconnect' && name !== 'session.end') continue;
    const gathered = bySid.get(sid) ?? {};
    bySid.set(sid, gathered);
    if (name === 'session.start') gathered.start = event;
    else if (name === 'session.end') gathered.end = event;
    else gathered.disconnect = event;
  }
  const sessions: ReportedSession[] = [];
  for (const [sid, gathered] of bySid) {
    const session = reported(sid, gathered, settings);
    const began = session.startedAt === null ? Number.NEGATIVE_INFINITY : Date.parse(session.startedAt);
    const ended = session.endedAt === null ? Number.POSITIVE_INFINITY : Date.parse(session.endedAt);
    if (began < toMs && ended >= fromMs) sessions.push(session);
  }
  const count = (verdict: IdleVerdict) => sessions.filter((session) => session.verdict === verdict).length;
  return {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    totals: {
      sessions: sessions.length,
      endedForIdleness: sessions.filter(({ cause }) => cause === 'idle').length,
      over: count('over'),
      limitChanged: count('limit_changed'),
      noLimit: count('no_limit'),
      open: count('open'),
    },
    lateness: lateness(sessions.flatMap(({ overshootMs }) => (overshootMs === null ? [] : [overshootMs]))),
    sessions,
    settingsAtStart: settings.atStart,
    settingsChanges: settings.changes,
  };
}

function reported(sid: string, { start, disconnect, end }: Gathered, settings: SettingsHistory): ReportedSession {
  // Whatever was written last knows most; a daemon that was killed leaves the start alone.
  const known = [end, disconnect, start].filter((event) => event !== undefined);
  const field = (name: string) => known.find((event) => event[name] !== undefined)?.[name];
  const text = (name: string) => String(field(name) ?? '');
  const number = (name: string) => {
    const value = field(name);
    return typeof value === 'number' && Number.isFinite(value) ? value : null;
  };
  const startedAt = start?.time ?? asTime(end?.['session_start']);
  const endedAt = end === undefined && disconnect === undefined ? null : (end ?? disconnect)!.time;
  const cause = (field('cause') as EndCause | undefined) ?? null;
  const longestIdleMs = number('longest_idle_ms');
  const limits = known.map((event) => event['idle_timeout_ms']).filter((limit) => typeof limit === 'number');
  const session = {
    sid,
    user: text('user'),
    login: text('login'),
    kind: text('session_kind'),
    protocol: text('protocol'),
    target: String(field('server_hostname') ?? field('server_id') ?? field('target') ?? ''),
    startedAt,
    endedAt,
    durationMs: number('duration_ms') ?? between(startedAt, endedAt),
    idleTimeoutMs: limits[0] ?? 0,
    timeoutSource: text('timeout_source'),
    exempt: text('idle_exempt'),
    longestIdleMs,
    cause,
    overshootMs: cause === 'idle' ? number('overshoot_ms') : null,
  };
  const changed = () => settings.timeoutChangedBetween(startedAt, endedAt);
  return { ...session, verdict: verdictOf(endedAt, limits, longestIdleMs, changed) };
}

function verdictOf(
  endedAt: string | null,
  limits: readonly number[],
  longestIdleMs: number | null,
  changed: () => boolean,
): IdleVerdict {
  if (endedAt === null) return 'open';
  const limit = limits[0] ?? 0;
  if (limit === 0) return 'no_limit';
  const over = (allowedMs: number) => allowedMs > 0 && longestIdleMs! > allowedMs + OVER_TOLERANCE_MS;
  if (longestIdleMs === null || !over(limit)) return 'within';
  return !limits.every(over) || changed() ? 'limit_changed' : 'over';
}

function lateness(overshoots: readonly number[]): IdleReport['lateness'] {
  if (overshoots.length === 0) return null;
  const sorted = [...overshoots].sort((a, b) => a - b);
  // Nearest rank: a value that was measured, none in between.
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  return { count: sorted.length, medianMs: rank(0.5), p99Ms: rank(0.99), maxMs: sorted.at(-1)! };
}

function asTime(value: unknown): string | null {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? value : null;
}

function between(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : Math.max(0, Date.parse(to) - Date.parse(from));
}
