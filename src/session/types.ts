import type { EndCause } from '../audit/events.ts';
import type { EffectiveIdlePolicy } from '../policy/idle-policy.ts';
import type { PolicySnapshot } from '../policy/snapshot.ts';

/**
 * What a gateway saw, by who caused it (SPEC 2.3). The session decides whether it counts:
 *
 * | kind   | examples                                                                     | counts in            |
 * |--------|------------------------------------------------------------------------------|----------------------|
 * | input  | a key press, data from the client, a command, a channel opened by the client | input, auto, traffic |
 * | work   | data from the target without a terminal, a result being read, COPY           | auto, traffic        |
 * | output | terminal output                                                              | traffic              |
 *
 * Machine noise (keepalives, pings, window adjustments, terminal auto-replies) is not reported at all.
 */
export type ActivityKind = 'input' | 'work' | 'output';

export type SessionKind = 'ssh' | 'db' | 'kube' | 'desktop' | 'web';
export type SessionProtocol = 'ssh' | 'postgres' | 'mysql' | 'redis' | 'kube' | 'rdp' | 'vnc' | 'web';

/** What the session reaches. */
export interface SessionTarget {
  readonly kind: 'node' | 'db' | 'kube_cluster' | 'windows_desktop' | 'web';
  /** The resource's name (for a node its UUID or name), as in the store. */
  readonly name: string;
  /** What people call it: hostname, database name, cluster name. */
  readonly displayName: string;
  /** `host:port`, where there is one. */
  readonly addr: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The answer of an access check: a denial is a value and says why. */
export type Authorization = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

/** What a gateway knows of a session when it asks to open it. */
export interface SessionSpec {
  readonly kind: SessionKind;
  readonly protocol: SessionProtocol;
  readonly user: string;
  /** Login, database user, Kubernetes user or desktop user on the target. */
  readonly login: string;
  readonly target: SessionTarget;
  /** Address of the client, `ip:port`. */
  readonly clientAddr: string;
  /** End of the certificate's validity, milliseconds since the epoch; Infinity where there is none. */
  readonly certExpiresAtMs: number;
  /** Access, evaluated at the start and after every change of policy: a session whose answer turns to no is ended. */
  authorize(snapshot: PolicySnapshot): Authorization;
  /** Sessions of this protocol that the user may have at a time (role option `max_connections`); 0 or undefined for no limit. */
  readonly maxConnections?: number;
  /** Why idleness does not end this session (`kubectl logs -f`), or undefined. Expiry, locks and the rest still do. */
  readonly exemptFromIdle?: string;
  /** Further fields for `session.start` and `session.end` (command, database name, pod …). */
  readonly auditFields?: Readonly<Record<string, unknown>>;
}

/** A warning as given to the gateway that shows it. */
export interface IdleWarning {
  /** e.g. `This session ends in 60s: no activity. Press any key to keep it.` */
  readonly text: string;
  /** Monotonic deadline, and the time left in milliseconds when the warning was given. */
  readonly deadlineMs: number;
  readonly remainingMs: number;
  readonly policy: EffectiveIdlePolicy;
}

/** Why and how a session ends, as told to the user, the audit log and the target. */
export interface SessionEnd {
  readonly cause: EndCause;
  /** Whole text for the user: `Session ended: no activity for 10m0s (role admin-role).` plus the administrator's message. */
  readonly text: string;
  /** True when the client's connection is still there to be told. */
  readonly tell: boolean;
}

/**
 * What a gateway carries out for its session. One object a session; it holds no timer.
 */
export interface SessionControl {
  /** Shows the warning to the user, where the protocol has a way. Must not block and must not throw. */
  warn(warning: IdleWarning): void;
  /** Activity cancelled the warning that was shown, or the policy changed under it: `text` says that the session goes on. */
  warningCancelled(text: string): void;
  /** The policy that applies has changed (for overlays that show the limit). */
  policyChanged?(policy: EffectiveIdlePolicy): void;
  /**
   * Tells the user the reason (if `end.tell`) and closes both sides. Resolves when both are closed. The session waits
   * 2 s at most (SPEC 2.4), then calls `abort`.
   */
  close(end: SessionEnd): Promise<void>;
  /** Cuts both sides at once. Idempotent. */
  abort(): void;
}

/** See `Session.silenceGuard`. Freed with its session. */
export interface SilenceGuard {
  /** Starts (or starts again) to count. */
  arm(): void;
  disarm(): void;
}

/** A live session, as its gateway sees it. */
export interface Session {
  readonly id: string;
  readonly spec: SessionSpec;
  readonly policy: EffectiveIdlePolicy;
  /** The session is usable now: the idle clock starts (or starts again). Nothing times out for idleness before. */
  ready(): void;
  /** The data path's report. One timestamp: no allocation, no timer. */
  activity(kind: ActivityKind): void;
  /** Work begins that counts as activity for as long as it runs (a command running, a result being read): `auto` and `traffic` only. Nests. */
  workStarted(): void;
  /** The matching end; the idle clock starts from here. */
  workEnded(): void;
  /**
   * The gateway reports that one side is gone or broken: runs the same end path as everything else
   * (`target_closed` tells the client what happened). Ending twice is harmless: the first cause stands. `idle` is for a silence guard
   * that expired; `detail` says which limit.
   */
  end(cause: 'target_closed' | 'client_closed' | 'error' | 'idle', detail?: string): Promise<void>;
  /** The line that tells the user the limit when the session starts, or '' when nothing times out. */
  readonly connectText: string;
  /**
   * Another limit on silence, beside the idle policy, for a gateway that has one of its own (a transaction left open): `onExpire` runs once
   * it has been armed for `timeoutMs`. Made once a session, armed and disarmed on the data path without a timer of its own.
   */
  silenceGuard(timeoutMs: number, onExpire: () => void): SilenceGuard;
  /** Writes an audit event about this session (`exec`, `sftp`, `port`, `db.session.query`), with sid, user and target filled in. */
  audit(event: string, code: string, fields: Readonly<Record<string, unknown>>): void;
  /** Resolves when the session has ended, both sides closed and `session.end` written. */
  readonly ended: Promise<SessionEnd>;
}

/** The answer to opening a session. `text` is for the user: `access to node "web" denied: …`. */
export type OpenResult =
  | { readonly ok: true; readonly session: Session }
  | {
      readonly ok: false;
      readonly cause: 'denied' | 'locked' | 'limit' | 'draining' | 'audit_unavailable';
      readonly text: string;
    };

/** The one door to every session, whatever the protocol. */
export interface SessionManager {
  /**
   * Checks access, locks and limits, writes `session.start` (or `session.reject`) to disk and registers the session. It must be
   * called before the target is touched on the user's behalf; call `session.ready()` once the session is usable.
   */
  open(spec: SessionSpec, control: SessionControl): Promise<OpenResult>;
}

/** One live session as `tctl sessions ls` and the web application show it. */
export interface LiveSession {
  readonly id: string;
  readonly kind: SessionKind;
  readonly protocol: SessionProtocol;
  readonly user: string;
  readonly login: string;
  readonly target: SessionTarget;
  readonly clientAddr: string;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** Milliseconds since the last activity that counted; 0 while work is under way. */
  readonly idleForMs: number;
  /** Milliseconds until the session ends for idleness if nothing happens; null when it will not. */
  readonly endsInMs: number | null;
  /** The limit in milliseconds, 0 for none, and where it comes from. */
  readonly idleTimeoutMs: number;
  readonly timeoutSource: string;
  readonly warned: boolean;
}

/** What applying a changed policy would do to one session that is open now (`tctl idle rehearse`). */
export interface RehearsedSession {
  readonly session: LiveSession;
  /** `ends` at once after its warning, `revoked` loses access, `deadline` gets another deadline, `unchanged`. */
  readonly effect: 'ends' | 'revoked' | 'deadline' | 'unchanged';
  readonly newTimeoutMs: number;
  readonly newTimeoutSource: string;
  /** Milliseconds until it would end; null when never. */
  readonly newEndsInMs: number | null;
}

/** The sessions of this gateway, for administration. */
export interface SessionRegistry {
  list(): LiveSession[];
  /** Ends a session with cause `killed`; false when there is none of that id. */
  kill(id: string, request: { by: string; message: string }): Promise<boolean>;
  rehearse(snapshot: PolicySnapshot): RehearsedSession[];
  /** No new sessions; the open ones are told and end with `gateway_shutdown` after `graceMs`. Resolves when none is left. */
  drain(graceMs: number): Promise<void>;
}
