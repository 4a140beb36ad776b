import { randomUUID } from 'node:crypto';
import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { findLock } from '../policy/access.ts';
import { effectiveIdlePolicy } from '../policy/idle.ts';
import type { EffectiveIdlePolicy } from '../policy/idle-policy.ts';
import type { LivePolicy, PolicySnapshot } from '../policy/snapshot.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { IdleClock } from './idle-clock.ts';
import { type EndRequest, ManagedSession, type SessionHost } from './live-session.ts';
import { disconnectEvent, type EndTimes, endEvent, identityFields, rejectEvent, startEvent } from './session-events.ts';
import { endText } from './texts.ts';
import type {
  LiveSession,
  OpenResult,
  RehearsedSession,
  SessionControl,
  SessionEnd,
  SessionManager,
  SessionRegistry,
  SessionSpec,
} from './types.ts';

/** Writing the reason to a user who does not read is bounded (SPEC 2.4); then the connection is cut. */
const CLOSE_LIMIT_MS = 2_000;
/** A disk that hangs must not keep an ended session open: after this the session is cut with the event still under way. */
const AUDIT_LIMIT_MS = 2_000;
/** A change of policy is applied to the open sessions in slices of this length, so that no key press waits longer. */
const APPLY_SLICE_MS = 2;

/** What happens to sessions, for metrics. */
export interface SessionObserver {
  opened(session: LiveSession): void;
  rejected(cause: string): void;
  ended(session: LiveSession, cause: string, overshootMs: number | undefined): void;
}

export interface SessionManagerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: AuditLog;
  readonly policy: LivePolicy;
  readonly observer?: SessionObserver;
}

/** The one lifecycle of every session: opening, the idle clock, live policy, locks, expiry, the end. */
export class Sessions implements SessionManager, SessionRegistry, SessionHost {
  readonly clock: Clock;
  readonly idle: IdleClock;
  readonly guards: IdleClock;

  readonly #log: Logger;
  readonly #audit: AuditLog;
  readonly #policy: LivePolicy;
  readonly #observer: SessionObserver | undefined;
  readonly #sessions = new Map<string, ManagedSession>();
  /** Lifetimes (certificate, longest session time) by slot; `#bySlot` finds the session. */
  readonly #lifetimes: DeadlineQueue;
  readonly #bySlot: (ManagedSession | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #stopWatching: () => void;
  /** Sessions open or opening, by protocol and user, for the limit on connections. */
  readonly #counts = new Map<string, number>();
  #draining = false;
  #drained: (() => void)[] = [];
  /** The sessions that a changed policy has still to reach, oldest change first in one pass. */
  #applying: Iterator<ManagedSession> | undefined;
  #applyAgain = false;
  #effective = new Map<string, EffectiveIdlePolicy>();
  #effectiveOf: PolicySnapshot | undefined;

  constructor({ clock, log, audit, policy, observer }: SessionManagerDeps) {
    this.clock = clock;
    this.#log = log;
    this.#audit = audit;
    this.#policy = policy;
    this.#observer = observer;
    this.idle = new IdleClock(clock);
    this.guards = new IdleClock(clock);
    this.#lifetimes = new DeadlineQueue(clock, (slot, nowMs) => this.#lifetimeDue(slot, nowMs));
    this.#stopWatching = policy.onChange(() => this.#policyChanged());
  }

  async open(spec: SessionSpec, control: SessionControl): Promise<OpenResult> {
    const id = randomUUID();
    const refusal = this.#refusal(spec, id);
    if (refusal !== undefined) return this.#reject(spec, id, refusal.cause, refusal.text);
    const countKey = `${spec.protocol} ${spec.user}`;
    const count = this.#counts.get(countKey) ?? 0;
    if (spec.maxConnections !== undefined && spec.maxConnections > 0 && count >= spec.maxConnections) {
      return this.#reject(
        spec,
        id,
        'limit',
        `too many connections: your roles allow ${spec.maxConnections} at a time (max_connections)`,
      );
    }
    this.#counts.set(countKey, count + 1);
    try {
      await this.#audit.emit(startEvent(id, { spec, policy: this.#effectivePolicy(spec.user) }));
    } catch (error) {
      this.#uncount(spec);
      this.#log.error('no session starts while the audit log cannot be written', { error: errorMessage(error) });
      return this.#reject(
        spec,
        id,
        'audit_unavailable',
        'the audit log cannot be written; no session can start. Tell the administrator.',
      );
    }
    const slot = this.#freeSlots.pop() ?? this.#bySlot.length;
    const session = new ManagedSession(this, id, slot, spec, control, this.#effectivePolicy(spec.user));
    this.#bySlot[slot] = session;
    this.#sessions.set(id, session);
    this.#observer?.opened(session.describe());
    // While the event was being written, the policy may have changed under the session.
    this.#apply(session);
    if (this.#draining) session.requestEnd({ cause: 'gateway_shutdown' });
    return { ok: true, session };
  }

  list(): LiveSession[] {
    return [...this.#sessions.values()].map((session) => session.describe());
  }

  async kill(id: string, { by, message }: { by: string; message: string }): Promise<boolean> {
    const session = this.#sessions.get(id);
    if (session === undefined || !session.requestEnd({ cause: 'killed', detail: message, by })) return false;
    await session.ended;
    return true;
  }

  rehearse(snapshot: PolicySnapshot): RehearsedSession[] {
    const policies = new Map<string, EffectiveIdlePolicy>();
    const now = this.clock.now();
    return [...this.#sessions.values()]
      .filter((session) => session.state === 'live')
      .map((session) => {
        const { user } = session.spec;
        const policy = policies.get(user) ?? effectiveIdlePolicy(snapshot, user);
        policies.set(user, policy);
        const deadline = session.deadlineUnder(policy.timeoutMs);
        const past = deadline <= now;
        const denied =
          !session.spec.authorize(snapshot).allowed || this.#lockOf(session.spec, session.id, snapshot) !== undefined;
        const effect = denied
          ? ('revoked' as const)
          : past
            ? ('ends' as const)
            : deadline === session.deadlineUnder(session.policy.timeoutMs)
              ? ('unchanged' as const)
              : ('deadline' as const);
        const newEndsInMs = denied
          ? 0
          : past
            ? policy.warningMs
            : deadline === Number.POSITIVE_INFINITY
              ? null
              : deadline - now;
        return {
          session: session.describe(),
          effect,
          newTimeoutMs: session.spec.exemptFromIdle === undefined ? policy.timeoutMs : 0,
          newTimeoutSource: policy.timeoutSource,
          newEndsInMs,
        };
      });
  }

  drain(graceMs: number): Promise<void> {
    this.#draining = true;
    if (this.#sessions.size === 0) return Promise.resolve();
    const now = this.clock.now();
    for (const session of this.#sessions.values()) {
      if (session.state !== 'live') continue;
      session.control.warn({
        text: `The gateway is shutting down: this session ends in ${Math.max(0, Math.round(graceMs / 1000))}s.`,
        deadlineMs: now + graceMs,
        remainingMs: graceMs,
        policy: session.policy,
      });
    }
    this.clock.at(now + graceMs, () => {
      for (const session of [...this.#sessions.values()]) session.requestEnd({ cause: 'gateway_shutdown' });
    });
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  close(): void {
    this.#stopWatching();
  }

  auditSession(session: ManagedSession, event: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    // What comes with the end of a session is behind the reason for it, which is on disk; the next session's reason is not to wait for it.
    const urgency = session.state === 'live' ? 'now' : 'soon';
    this.#audit
      .emit({ event, code, ...identityFields(session.id, session.spec), ...fields }, urgency)
      .catch((error: unknown) => {
        this.#log.error('an audit event of a session was lost', { event, sid: session.id, error: errorMessage(error) });
      });
  }

  endSession(session: ManagedSession, request: EndRequest): void {
    this.#end(session, request).catch((error: unknown) => {
      this.#log.error('the end of a session failed', { sid: session.id, error: errorMessage(error) });
    });
  }

  async #end(session: ManagedSession, request: EndRequest): Promise<void> {
    const { cause, deadlineMs } = request;
    const { id: sid, spec, policy } = session;
    const described = session.describe();
    const overshootMs = deadlineMs === undefined ? undefined : this.clock.now() - deadlineMs;
    const times: EndTimes = { ...session.leaveClocks(), closedAtWallMs: this.clock.wallMs(), overshootMs };
    this.#lifetimes.remove(session.lifetimeSlot);
    const end: SessionEnd = { cause, text: endText({ ...request, policy }), tell: cause !== 'client_closed' };

    // INVARIANT: a log that cannot be written keeps no session open.
    const lost = (error: unknown): void =>
      this.#log.error('an audit event of the end of a session was lost', { sid, cause, error: errorMessage(error) });
    await this.#atMost(AUDIT_LIMIT_MS, this.#audit.emit(disconnectEvent(session, request, end, times)).catch(lost));

    let cut = false;
    const closing = async (): Promise<void> => session.control.close(end);
    const closed = closing().catch((error: unknown) => {
      this.#log.warn('closing a session failed; it is cut', { sid, error: errorMessage(error) });
      cut = true;
    });
    if (!(await this.#atMost(CLOSE_LIMIT_MS, closed)) || cut) session.control.abort();

    const now = { wallMs: this.clock.wallMs(), ms: this.clock.now() };
    await this.#atMost(AUDIT_LIMIT_MS, this.#audit.emit(endEvent(session, end, times, now), 'soon').catch(lost));

    this.#sessions.delete(sid);
    this.#uncount(spec);
    this.#bySlot[session.lifetimeSlot] = undefined;
    this.#freeSlots.push(session.lifetimeSlot);
    this.#observer?.ended(described, cause, overshootMs);
    session.finished(end);
    if (this.#sessions.size === 0) {
      for (const resolve of this.#drained) resolve();
      this.#drained = [];
    }
  }

  /** Waits for the promise (which never rejects), but no longer than `limitMs`; false when the limit came first. */
  #atMost(limitMs: number, promise: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.clock.at(this.clock.now() + limitMs, () => resolve(false));
      void promise.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  #refusal(
    spec: SessionSpec,
    id: string,
  ): { cause: 'denied' | 'locked' | 'limit' | 'draining' | 'audit_unavailable'; text: string } | undefined {
    if (this.#draining) return { cause: 'draining', text: 'the gateway is shutting down; no session can start' };
    const snapshot = this.#policy.current;
    const lock = this.#lockOf(spec, id, snapshot);
    if (lock !== undefined) return { cause: 'locked', text: lock };
    const answer = spec.authorize(snapshot);
    if (!answer.allowed) {
      const { kind, displayName } = spec.target;
      return { cause: 'denied', text: `access to ${kind} "${displayName}" denied: ${answer.reason}` };
    }
    if (spec.certExpiresAtMs <= this.clock.wallMs())
      return { cause: 'denied', text: 'access denied: your certificate has expired; sign in again with tsh login' };
    return undefined;
  }

  async #reject(
    spec: SessionSpec,
    id: string,
    cause: 'denied' | 'locked' | 'limit' | 'draining' | 'audit_unavailable',
    text: string,
  ): Promise<OpenResult> {
    this.#observer?.rejected(cause);
    if (cause !== 'audit_unavailable') {
      const written = this.#audit.emit(rejectEvent(id, spec, cause, text)).catch((error: unknown) => {
        this.#log.error('the audit event of a refused session was lost', { error: errorMessage(error) });
      });
      await this.#atMost(AUDIT_LIMIT_MS, written);
    }
    return { ok: false, cause, text };
  }

  #uncount(spec: SessionSpec): void {
    const key = `${spec.protocol} ${spec.user}`;
    const count = this.#counts.get(key)! - 1;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }

  #lockOf(spec: SessionSpec, sessionId: string, snapshot: PolicySnapshot): string | undefined {
    if (snapshot.locks.length === 0) return undefined;
    const lock = findLock(snapshot, {
      user: spec.user,
      roles: snapshot.users.get(spec.user)?.spec.roles ?? [],
      login: spec.login,
      serverId: spec.target.name,
      sessionId,
      nowMs: this.clock.wallMs(),
    });
    return lock === undefined ? undefined : lockText(lock);
  }

  #effectivePolicy(user: string): EffectiveIdlePolicy {
    const snapshot = this.#policy.current;
    if (this.#effectiveOf !== snapshot) {
      this.#effective = new Map();
      this.#effectiveOf = snapshot;
    }
    let policy = this.#effective.get(user);
    if (policy === undefined) {
      policy = effectiveIdlePolicy(snapshot, user);
      this.#effective.set(user, policy);
    }
    return policy;
  }

  #policyChanged(): void {
    if (this.#applying !== undefined) {
      this.#applyAgain = true;
      return;
    }
    this.#applying = this.#sessions.values();
    this.#applySlice();
  }

  /** Applies the present policy to as many sessions as fit into a slice, and goes on in the next turn of the event loop. */
  readonly #applySlice = (): void => {
    const stopAt = this.clock.now() + APPLY_SLICE_MS;
    for (let applied = 1; ; applied++) {
      const next = this.#applying!.next();
      if (next.done === true) {
        if (!this.#applyAgain) {
          this.#applying = undefined;
          return;
        }
        this.#applyAgain = false;
        this.#applying = this.#sessions.values();
        continue;
      }
      this.#apply(next.value);
      if (applied % 16 === 0 && this.clock.now() >= stopAt) break;
    }
    this.clock.at(this.clock.now(), this.#applySlice);
  };

  /** What the present policy says of one session: it ends, or its limits are set anew. */
  #apply(session: ManagedSession): void {
    if (session.state !== 'live') return;
    const snapshot = this.#policy.current;
    const lock = this.#lockOf(session.spec, session.id, snapshot);
    if (lock !== undefined) {
      session.requestEnd({ cause: 'locked', detail: lock });
      return;
    }
    const answer = session.spec.authorize(snapshot);
    if (!answer.allowed) {
      session.requestEnd({ cause: 'access_revoked', detail: answer.reason });
      return;
    }
    const policy = this.#effectivePolicy(session.spec.user);
    if (policy !== session.policy) session.applyPolicy(policy);
    this.#lifetimes.set(session.lifetimeSlot, session.lifetimeEnd().atMs);
  }

  #lifetimeDue(slot: number, nowMs: number): void {
    const session = this.#bySlot[slot];
    const end = session?.lifetimeEnd();
    if (session === undefined || end === undefined || session.state !== 'live') {
      this.#lifetimes.remove(slot);
    } else if (end.atMs > nowMs) {
      this.#lifetimes.set(slot, end.atMs);
    } else {
      this.#lifetimes.remove(slot);
      session.requestEnd({ cause: end.cause, deadlineMs: end.atMs });
    }
  }
}

function lockText(lock: { readonly spec: { readonly message?: string | undefined } }): string {
  return lock.spec.message === undefined || lock.spec.message === '' ? 'a lock is in force' : lock.spec.message;
}
