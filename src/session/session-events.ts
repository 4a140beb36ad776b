import { EVENTS } from '../audit/catalog.ts';
import type { AuditEvent } from '../audit/events.ts';
import type { EndRequest, ManagedSession } from './live-session.ts';
import type { SessionEnd, SessionSpec } from './types.ts';

/** Times of a session's end, as they go into its events. */
export interface EndTimes {
  /** Milliseconds since the epoch. */
  readonly closedAtWallMs: number;
  readonly lastActivityWallMs: number;
  readonly longestIdleMs: number;
  /** How long after its deadline the session was ended, where a deadline ended it. */
  readonly overshootMs: number | undefined;
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** The fields that every event of a session carries; the names are Teleport's where it has them. */
export function identityFields(id: string, spec: SessionSpec): Record<string, unknown> {
  return {
    sid: id,
    user: spec.user,
    login: spec.login,
    session_kind: spec.kind,
    protocol: spec.protocol,
    target_kind: spec.target.kind,
    server_id: spec.target.name,
    server_hostname: spec.target.displayName,
    server_addr: spec.target.addr,
    'addr.remote': spec.clientAddr,
  };
}

/** The limit that applied, for the idle report; a session that idleness does not end has none. */
function limitFields({ spec, policy }: Pick<ManagedSession, 'spec' | 'policy'>): Record<string, unknown> {
  return {
    idle_timeout_ms: spec.exemptFromIdle === undefined ? policy.timeoutMs : 0,
    timeout_source: policy.timeoutSource,
  };
}

export function startEvent(id: string, session: Pick<ManagedSession, 'spec' | 'policy'>): AuditEvent {
  const { spec } = session;
  return {
    ...EVENTS.sessionStart,
    ...identityFields(id, spec),
    ...limitFields(session),
    ...(spec.exemptFromIdle === undefined ? {} : { idle_exempt: spec.exemptFromIdle }),
    ...spec.auditFields,
  };
}

export function rejectEvent(id: string, spec: SessionSpec, cause: string, reason: string): AuditEvent {
  return { ...EVENTS.sessionReject, ...identityFields(id, spec), cause, reason, ...spec.auditFields };
}

/** `client.disconnect` (SPEC 3): why, by whom, under which limit, and how late. */
export function disconnectEvent(
  session: ManagedSession,
  { by }: EndRequest,
  end: SessionEnd,
  times: EndTimes,
): AuditEvent {
  const { overshootMs, closedAtWallMs } = times;
  return {
    ...EVENTS.clientDisconnect,
    ...identityFields(session.id, session.spec),
    cause: end.cause,
    reason: end.text,
    ...limitFields(session),
    last_activity: iso(times.lastActivityWallMs),
    last_activity_kind: session.lastActivityKind,
    closed_at: iso(closedAtWallMs),
    ...(overshootMs === undefined
      ? {}
      : { deadline: iso(closedAtWallMs - overshootMs), overshoot_ms: Math.round(overshootMs * 1000) / 1000 }),
    ...(session.warnedAtWallMs === undefined ? {} : { warned_at: iso(session.warnedAtWallMs) }),
    ...(by === undefined ? {} : { ended_by: by }),
  };
}

/** `session.end`: both sides are closed. */
export function endEvent(
  session: ManagedSession,
  end: SessionEnd,
  times: EndTimes,
  now: { wallMs: number; ms: number },
): AuditEvent {
  return {
    ...EVENTS.sessionEnd,
    ...identityFields(session.id, session.spec),
    cause: end.cause,
    ...limitFields(session),
    longest_idle_ms: Math.round(times.longestIdleMs),
    session_start: iso(session.startedAtWallMs),
    session_stop: iso(now.wallMs),
    duration_ms: Math.round(now.ms - session.startedAtMs),
    ...session.spec.auditFields,
  };
}
