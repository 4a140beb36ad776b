import type { Clock } from '../../core/clock.ts';

/** kubectl repeats a refused WebSocket attempt over SPDY at once. */
const REPEAT_WITHIN_MS = 10_000;
const MAX_REMEMBERED = 1_000;

interface Denial {
  readonly revision: number;
  readonly text: string;
  readonly atMs: number;
}

/**
 * Denied WebSocket attempts, so that their repetition over SPDY gets the same answer and is not recorded a second time. A denial is good for
 * one repetition, under the same policy.
 */
export class Denials {
  readonly #clock: Clock;
  readonly #denials = new Map<string, Denial>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes that a WebSocket attempt was denied. */
  note(key: string, revision: number, text: string): void {
    if (this.#denials.size >= MAX_REMEMBERED) this.#denials.delete(this.#denials.keys().next().value!);
    this.#denials.set(key, { revision, text, atMs: this.#clock.now() });
  }

  /** The text of the denial that this attempt repeats, if it does. */
  take(key: string, revision: number): string | undefined {
    const denial = this.#denials.get(key);
    if (denial === undefined) return undefined;
    this.#denials.delete(key);
    const fresh = this.#clock.now() - denial.atMs <= REPEAT_WITHIN_MS && denial.revision === revision;
    return fresh ? denial.text : undefined;
  }
}
