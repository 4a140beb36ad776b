import type { Clock } from '../core/clock.ts';

/** Sessions that are kept in mind; beyond that the one that was looked at longest ago counts as new when it comes again. */
const MAX_KNOWN = 50_000;

/**
 * When the users of web sessions last did something, which `web_idle_timeout` is measured against. In memory and on the monotonic clock: a
 * session that is not known (after a restart) counts as active when it is first looked at.
 */
export class WebActivity {
  readonly #clock: Clock;
  readonly #timeoutMs: () => number;
  readonly #last = new Map<string, number>();

  /** `timeoutMs`: the limit in force, 0 for none; read each time. */
  constructor(clock: Clock, timeoutMs: () => number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** The limit in force in milliseconds, 0 for none. */
  get timeoutMs(): number {
    return this.#timeoutMs();
  }

  /** The session's user did something. */
  touch(id: string): void {
    this.#last.delete(id);
    this.#last.set(id, this.#clock.now());
    if (this.#last.size > MAX_KNOWN) this.#last.delete(this.#last.keys().next().value!);
  }

  /** Milliseconds since the session's user did something. */
  idleForMs(id: string): number {
    const last = this.#last.get(id);
    if (last !== undefined) return this.#clock.now() - last;
    this.touch(id);
    return 0;
  }

  expired(id: string): boolean {
    const limit = this.timeoutMs;
    return limit > 0 && this.idleForMs(id) >= limit;
  }

  forget(id: string): void {
    this.#last.delete(id);
  }
}
