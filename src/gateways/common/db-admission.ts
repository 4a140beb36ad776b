import type { Clock, Timer } from '../../core/clock.ts';

/** One connection that has not signed in yet. */
export interface PendingConnection {
  /** It has signed in, or is gone. */
  done(): void;
}

interface Entry {
  readonly deadlineMs: number;
  readonly drop: (why: 'timeout' | 'crowded') => void;
  done: boolean;
}

/**
 * Connections that have not signed in yet, with a bound on their number and on their time. When it is full the oldest gives way, so that
 * those who only hold connections open do not keep others out. One timer for all.
 */
export class DbAdmission {
  readonly #clock: Clock;
  readonly #maxPending: number;
  readonly #timeoutMs: number;
  /** In the order of their deadlines. */
  readonly #entries = new Set<Entry>();
  #timer: Timer | undefined;

  constructor(clock: Clock, limits: { maxPending: number; timeoutMs: number }) {
    this.#clock = clock;
    this.#maxPending = limits.maxPending;
    this.#timeoutMs = limits.timeoutMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Takes a connection in; `drop` closes it when its time is over or its place is needed. */
  enter(drop: (why: 'timeout' | 'crowded') => void): PendingConnection {
    if (this.#entries.size >= this.#maxPending) {
      const [oldest] = this.#entries;
      this.#remove(oldest!);
      oldest!.drop('crowded');
    }
    const entry: Entry = { deadlineMs: this.#clock.now() + this.#timeoutMs, drop, done: false };
    this.#entries.add(entry);
    if (this.#timer === undefined) this.#schedule();
    return { done: () => this.#remove(entry) };
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const entry of this.#entries) {
      this.#remove(entry);
      entry.drop('timeout');
    }
  }

  #remove(entry: Entry): void {
    entry.done = true;
    this.#entries.delete(entry);
  }

  #schedule(): void {
    const [oldest] = this.#entries;
    this.#timer = oldest === undefined ? undefined : this.#clock.at(oldest.deadlineMs, () => this.#expire());
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const entry of this.#entries) {
      if (entry.deadlineMs > now) break;
      this.#remove(entry);
      entry.drop('timeout');
    }
    this.#schedule();
  }
}
