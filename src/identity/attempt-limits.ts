import ipaddr from 'ipaddr.js';
import type { Clock } from '../core/clock.ts';
import { LruMap } from './lru-map.ts';

/** Limits how often something happens by key: `burst` at once, then one every `refillMs`. Bounded: of too many keys the stalest is forgotten. */
export class TokenBuckets {
  readonly #buckets: LruMap<string, { tokens: number; atMs: number }>;
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #refillMs: number;

  constructor(clock: Clock, options: { burst: number; refillMs: number; keys?: number }) {
    this.#clock = clock;
    this.#burst = options.burst;
    this.#refillMs = options.refillMs;
    this.#buckets = new LruMap(options.keys ?? 20_000);
  }

  /** Takes a token; false where there is none. */
  take(key: string): boolean {
    const now = this.#clock.now();
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, atMs: now };
    const tokens = Math.min(this.#burst, bucket.tokens + (now - bucket.atMs) / this.#refillMs);
    const granted = tokens >= 1;
    this.#buckets.set(key, { tokens: granted ? tokens - 1 : tokens, atMs: now });
    return granted;
  }
}

/** What `LockOuts.begin` says. */
export type Attempt =
  | { readonly admitted: true }
  /** `retryInMs`: until the lock-out ends. */
  | { readonly admitted: false; readonly retryInMs: number };

interface Failures {
  /** Monotonic times of the failures that still count. */
  times: number[];
  inFlight: number;
  lockedUntilMs: number;
}

export interface LockOutOptions {
  readonly maxFailures: number;
  readonly windowMs: number;
  readonly lockOutMs: number;
  readonly keys?: number;
}

/**
 * Bars a key for a while after too many failures within a window. An attempt counts from its begin, so that many at once are no way
 * around. Attempts while barred change nothing: nobody can prolong another's lock-out.
 */
export class LockOuts {
  readonly #entries: LruMap<string, Failures>;
  readonly #clock: Clock;
  readonly #options: LockOutOptions;

  constructor(clock: Clock, options: LockOutOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#entries = new LruMap(options.keys ?? 20_000);
  }

  /** Announces an attempt; where it is admitted, `succeed`, `fail` or `cancel` must follow. */
  begin(key: string): Attempt {
    const now = this.#clock.now();
    const entry = this.#entries.get(key) ?? { times: [], inFlight: 0, lockedUntilMs: Number.NEGATIVE_INFINITY };
    if (now < entry.lockedUntilMs) return { admitted: false, retryInMs: entry.lockedUntilMs - now };
    entry.times = entry.times.filter((time) => now - time < this.#options.windowMs);
    if (entry.times.length + entry.inFlight >= this.#options.maxFailures) return { admitted: false, retryInMs: 1_000 };
    entry.inFlight++;
    this.#entries.set(key, entry);
    return { admitted: true };
  }

  succeed(key: string): void {
    const entry = this.#end(key);
    if (entry !== undefined) entry.times = [];
  }

  /** Notes a failure; true where the key is barred from now on. */
  fail(key: string): boolean {
    const entry = this.#end(key);
    if (entry === undefined) return false;
    const now = this.#clock.now();
    entry.times.push(now);
    if (entry.times.length < this.#options.maxFailures) return false;
    entry.times = [];
    entry.lockedUntilMs = now + this.#options.lockOutMs;
    return true;
  }

  /** Takes an attempt back that came to no result. */
  cancel(key: string): void {
    this.#end(key);
  }

  #end(key: string): Failures | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.inFlight = Math.max(0, entry.inFlight - 1);
    return entry;
  }
}

/** What stands for a peer in limits: an IPv4 address, or the /64 that one IPv6 customer has. */
export function networkOf(clientIp: string): string {
  if (!ipaddr.isValid(clientIp)) return clientIp.slice(0, 64);
  const address = ipaddr.process(clientIp);
  if (address instanceof ipaddr.IPv4) return address.toString();
  return `${address.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':')}::/64`;
}
