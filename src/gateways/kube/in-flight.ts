import type { Clock, Timer } from '../../core/clock.ts';
import { effectiveIdlePolicy } from '../../policy/idle.ts';
import type { LivePolicy, PolicySnapshot } from '../../policy/snapshot.ts';
import { admit, lockText } from './admission.ts';
import type { KubeCall } from './context.ts';

interface Entry {
  readonly call: KubeCall;
  readonly login: string;
  readonly cut: () => void;
}

/**
 * Plain requests under way. They are no sessions, but a long one (a download, a stream through the API server's proxy) must not outlive what
 * allows it: a lock, a role taken away, or an expired certificate (`disconnect_expired_cert`) cuts it.
 */
export class InFlightRequests {
  readonly #clock: Clock;
  readonly #policy: LivePolicy;
  readonly #entries = new Set<Entry>();
  readonly #stopWatching: () => void;
  #timer: Timer | undefined;
  #timerAtWallMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, policy: LivePolicy) {
    this.#clock = clock;
    this.#policy = policy;
    this.#stopWatching = policy.onChange((snapshot) => this.#check(snapshot));
  }

  /** Notes a request whose identity, access and locks have been checked; returns what to call when it is over. */
  enter(call: KubeCall, login: string, cut: () => void): () => void {
    const entry = { call, login, cut };
    this.#entries.add(entry);
    this.#wakeAt(call.identity.expiresAtMs);
    return () => {
      this.#entries.delete(entry);
    };
  }

  get size(): number {
    return this.#entries.size;
  }

  close(): void {
    this.#stopWatching();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #check(snapshot: PolicySnapshot): void {
    const now = this.#clock.wallMs();
    for (const entry of this.#entries) {
      const { call, login } = entry;
      const { identity, cluster } = call;
      const expired = identity.expiresAtMs <= now && effectiveIdlePolicy(snapshot, identity.user).disconnectExpiredCert;
      const locked = lockText(snapshot, this.#clock, { user: identity.user, login, cluster }) !== undefined;
      if (!expired && !locked && admit(snapshot, call).ok) continue;
      this.#entries.delete(entry);
      entry.cut();
    }
  }

  /** One timer for the certificate that expires first. */
  #wakeAt(wallMs: number): void {
    const now = this.#clock.wallMs();
    if (wallMs >= this.#timerAtWallMs || wallMs <= now) return;
    this.#timer?.cancel();
    this.#timerAtWallMs = wallMs;
    this.#timer = this.#clock.at(this.#clock.now() + wallMs - now, () => {
      this.#timer = undefined;
      this.#timerAtWallMs = Number.POSITIVE_INFINITY;
      this.#check(this.#policy.current);
      for (const { call } of this.#entries) this.#wakeAt(call.identity.expiresAtMs);
    });
  }
}
