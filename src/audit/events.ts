/** Why a session ended: the same word in the audit event, the API, the metric label and the message (SPEC 2.4). */
export const END_CAUSES = [
  'idle',
  'cert_expired',
  'max_session_ttl',
  'locked',
  'access_revoked',
  'killed',
  'gateway_shutdown',
  'target_closed',
  'client_closed',
  'error',
] as const;
export type EndCause = (typeof END_CAUSES)[number];

/** An event as given to the log; the log adds `time`, `uid` and `cluster_name`. Field names follow Teleport's. */
export interface AuditEvent {
  /** `session.start`, `client.disconnect`, … */
  readonly event: string;
  /** `T2000I`, … */
  readonly code: string;
  readonly [field: string]: unknown;
}

/** An event as it stands in the log. */
export interface StoredAuditEvent extends AuditEvent {
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** UUID. */
  readonly uid: string;
  readonly cluster_name: string;
}

/** Where audit events go. */
export interface AuditLog {
  /**
   * Resolves when the event is on disk (SPEC 3: before the user sees the consequence). Events keep the order of the calls.
   * @param urgency - `soon`: nobody waits for it, so that it may wait some milliseconds for others to be written with.
   * @throws {NightlatchError} `audit_unavailable` when it cannot be written.
   */
  emit(event: AuditEvent, urgency?: 'now' | 'soon'): Promise<StoredAuditEvent>;
  /** False while the last write failed: no new session starts then. */
  readonly healthy: boolean;
  /** Events in order of time, newest last; `from` inclusive, `to` exclusive (milliseconds since the epoch). */
  query(filter: AuditQuery): StoredAuditEvent[];
}

export interface AuditQuery {
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly events?: readonly string[];
  readonly user?: string;
  /** Session id. */
  readonly sid?: string;
  /** At most so many of the newest. */
  readonly limit?: number;
}
