import type { EndCause } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import type { EffectiveIdlePolicy } from '../policy/idle-policy.ts';
import type { IdleClock, IdleListener } from './idle-clock.ts';
import { connectText, KEPT_TEXT, relaxedText, warningText } from './texts.ts';
import type {
  ActivityKind,
  LiveSession,
  Session,
  SessionControl,
  SessionEnd,
  SessionSpec,
  SilenceGuard,
} from './types.ts';

/** What counts in each mode, as bits of `KIND_BIT` (SPEC 2.3). */
const COUNTED = { input: 0b001, auto: 0b011, traffic: 0b111 } as const;
const KIND_BIT = { input: 0b001, work: 0b010, output: 0b100 } as const;

/** Who asked for the end, and what they said. */
export interface EndRequest {
  readonly cause: EndCause;
  readonly detail?: string;
  readonly by?: string;
  /** Monotonic deadline that passed (idle, expiry), for the lateness in the audit event. */
  readonly deadlineMs?: number;
}

/** What a session needs of the manager that keeps it. */
export interface SessionHost {
  readonly clock: Clock;
  readonly idle: IdleClock;
  /** A second idle clock, for silence guards. */
  readonly guards: IdleClock;
  /** Runs the end path; called once a session. */
  endSession(session: ManagedSession, request: EndRequest): void;
  auditSession(session: ManagedSession, event: string, code: string, fields: Readonly<Record<string, unknown>>): void;
}

/** A session and its place in the idle clock. Everything that ends a session comes through `requestEnd`. */
export class ManagedSession implements Session, IdleListener {
  readonly id: string;
  readonly spec: SessionSpec;
  readonly control: SessionControl;
  readonly ended: Promise<SessionEnd>;
  /** Milliseconds since the epoch, and on the monotonic clock. */
  readonly startedAtWallMs: number;
  readonly startedAtMs: number;
  /** Slot of the lifetime queue (expiry of the certificate, longest session time). */
  readonly lifetimeSlot: number;
  /** Monotonic end of the certificate's validity: fixed at the start, so that a changed date moves nothing. */
  readonly certExpiresAtMs: number;
  policy: EffectiveIdlePolicy;
  lastActivityKind: ActivityKind | 'start' = 'start';
  warnedAtWallMs: number | undefined;
  state: 'live' | 'ending' | 'ended' = 'live';
  /** Whether the gateway has said that the session is usable. */
  usable = false;

  readonly #host: SessionHost;
  readonly #slot: number;
  readonly #guards: number[] = [];
  #counted: number = COUNTED.auto;
  #resolveEnded!: (end: SessionEnd) => void;

  constructor(
    host: SessionHost,
    id: string,
    lifetimeSlot: number,
    spec: SessionSpec,
    control: SessionControl,
    policy: EffectiveIdlePolicy,
  ) {
    this.#host = host;
    this.id = id;
    this.lifetimeSlot = lifetimeSlot;
    this.spec = spec;
    this.control = control;
    this.policy = policy;
    this.startedAtMs = host.clock.now();
    this.startedAtWallMs = host.clock.wallMs();
    this.certExpiresAtMs = this.startedAtMs + spec.certExpiresAtMs - this.startedAtWallMs;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#slot = host.idle.add(this, this.startedAtMs);
    this.#counted = COUNTED[policy.activity];
  }

  get connectText(): string {
    return this.spec.exemptFromIdle === undefined ? connectText(this.policy) : '';
  }

  ready(): void {
    if (this.state !== 'live') return;
    const now = this.#host.clock.now();
    this.usable = true;
    this.#host.idle.restart(this.#slot, now);
    this.#applyTimeout(now);
  }

  activity(kind: ActivityKind): void {
    if (this.state !== 'live' || (this.#counted & KIND_BIT[kind]) === 0) return;
    this.lastActivityKind = kind;
    this.#host.idle.touch(this.#slot, this.#host.clock.now());
  }

  workStarted(): void {
    if (this.state !== 'live') return;
    // In `input` mode the work is counted along all the same, so that a change of mode finds the true state.
    this.#work += 1;
    if (this.#work === 1 && (this.#counted & KIND_BIT.work) !== 0)
      this.#host.idle.workStarted(this.#slot, this.#host.clock.now());
  }

  workEnded(): void {
    if (this.state !== 'live' || this.#work === 0) return;
    this.#work -= 1;
    if (this.#work === 0 && (this.#counted & KIND_BIT.work) !== 0) {
      this.lastActivityKind = 'work';
      this.#host.idle.workEnded(this.#slot, this.#host.clock.now());
    }
  }
  #work = 0;

  silenceGuard(timeoutMs: number, onExpire: () => void): SilenceGuard {
    const { guards, clock } = this.#host;
    const now = clock.now();
    const listener: IdleListener = {
      idleWarning: () => undefined,
      idleKept: () => undefined,
      idleExpired: () => {
        if (this.state === 'live') onExpire();
      },
    };
    const slot = guards.add(listener, now);
    this.#guards.push(slot);
    let armed = false;
    guards.workStarted(slot, now);
    guards.setTimeout(slot, timeoutMs, 0, now);
    return {
      arm: () => {
        if (this.state !== 'live') return;
        if (armed) guards.touch(slot, clock.now());
        else guards.workEnded(slot, clock.now());
        armed = true;
      },
      disarm: () => {
        if (!armed || this.state !== 'live') return;
        armed = false;
        guards.workStarted(slot, clock.now());
      },
    };
  }

  end(cause: 'target_closed' | 'client_closed' | 'error' | 'idle', detail?: string): Promise<void> {
    this.requestEnd(detail === undefined ? { cause } : { cause, detail });
    return this.ended.then(() => undefined);
  }

  audit(event: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    this.#host.auditSession(this, event, code, fields);
  }

  /** Ends the session; the first cause stands. False when it is ending already. */
  requestEnd(request: EndRequest): boolean {
    if (this.state !== 'live') return false;
    this.state = 'ending';
    this.#host.endSession(this, request);
    return true;
  }

  /** Takes the session out of the clocks; its times stay readable through the returned facts. */
  leaveClocks(): { lastActivityWallMs: number; longestIdleMs: number; warned: boolean } {
    const { idle, guards, clock } = this.#host;
    const now = clock.now();
    const facts = {
      lastActivityWallMs: clock.wallMs() - (idle.isBusy(this.#slot) ? 0 : now - idle.lastActivity(this.#slot)),
      longestIdleMs: this.usable ? idle.longestIdle(this.#slot, now) : 0,
      warned: idle.isWarned(this.#slot),
    };
    idle.remove(this.#slot);
    for (const slot of this.#guards) guards.remove(slot);
    return facts;
  }

  finished(end: SessionEnd): void {
    this.state = 'ended';
    this.#resolveEnded(end);
  }

  /** A changed policy takes hold at once. */
  applyPolicy(policy: EffectiveIdlePolicy): void {
    if (this.state !== 'live') return;
    const before = this.policy;
    this.policy = policy;
    const { idle, clock } = this.#host;
    const now = clock.now();
    const counted = COUNTED[policy.activity];
    if (this.#work > 0 && (counted & KIND_BIT.work) !== (this.#counted & KIND_BIT.work)) {
      if ((counted & KIND_BIT.work) !== 0) idle.workStarted(this.#slot, now);
      else idle.workEnded(this.#slot, now);
    }
    this.#counted = counted;
    if (before.timeoutMs !== policy.timeoutMs || before.warningMs !== policy.warningMs) {
      this.#relaxing = true;
      this.#applyTimeout(now);
      this.#relaxing = false;
    }
    this.control.policyChanged?.(policy);
  }
  #relaxing = false;

  #applyTimeout(now: number): void {
    if (!this.usable || this.spec.exemptFromIdle !== undefined) return;
    this.#host.idle.setTimeout(this.#slot, this.policy.timeoutMs, this.policy.warningMs, now);
  }

  /** Until when the session may live at most, monotonic; Infinity for ever. */
  lifetimeEnd(): { atMs: number; cause: 'cert_expired' | 'max_session_ttl' } {
    const certEnd = this.policy.disconnectExpiredCert ? this.certExpiresAtMs : Number.POSITIVE_INFINITY;
    const ttlEnd =
      this.policy.maxSessionTtlMs > 0 ? this.startedAtMs + this.policy.maxSessionTtlMs : Number.POSITIVE_INFINITY;
    return certEnd <= ttlEnd ? { atMs: certEnd, cause: 'cert_expired' } : { atMs: ttlEnd, cause: 'max_session_ttl' };
  }

  idleWarning(deadlineMs: number): void {
    const { clock } = this.#host;
    const remainingMs = deadlineMs - clock.now();
    this.warnedAtWallMs = clock.wallMs();
    this.control.warn({ text: warningText(remainingMs, this.policy), deadlineMs, remainingMs, policy: this.policy });
  }

  idleKept(): void {
    this.warnedAtWallMs = undefined;
    this.control.warningCancelled(this.#relaxing ? relaxedText(this.policy) : KEPT_TEXT);
  }

  idleExpired(deadlineMs: number): void {
    this.requestEnd({ cause: 'idle', deadlineMs });
  }

  /** When it would end under a limit of `timeoutMs`, monotonic; Infinity for never. */
  deadlineUnder(timeoutMs: number): number {
    if (timeoutMs === 0 || this.spec.exemptFromIdle !== undefined || this.#host.idle.isBusy(this.#slot))
      return Number.POSITIVE_INFINITY;
    return this.#host.idle.lastActivity(this.#slot) + timeoutMs;
  }

  describe(): LiveSession {
    const { idle, clock } = this.#host;
    const live = this.state === 'live';
    const now = clock.now();
    const deadline =
      live && this.spec.exemptFromIdle === undefined ? idle.deadline(this.#slot) : Number.POSITIVE_INFINITY;
    const { kind, protocol, user, login, target, clientAddr } = this.spec;
    return {
      id: this.id,
      kind,
      protocol,
      user,
      login,
      target,
      clientAddr,
      startedAtMs: this.startedAtWallMs,
      idleForMs: live && !idle.isBusy(this.#slot) ? now - idle.lastActivity(this.#slot) : 0,
      endsInMs: deadline === Number.POSITIVE_INFINITY ? null : Math.max(0, deadline - now),
      idleTimeoutMs: this.spec.exemptFromIdle === undefined ? this.policy.timeoutMs : 0,
      timeoutSource: this.policy.timeoutSource,
      warned: live && idle.isWarned(this.#slot),
    };
  }
}
