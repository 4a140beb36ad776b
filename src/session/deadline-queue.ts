import type { Clock, Timer } from '../core/clock.ts';
import { DeadlineHeap } from './deadline-heap.ts';

/** After so many milliseconds of due slots in one go the event loop gets a turn: nobody's key press waits longer than this. */
const BUDGET_MS = 5;
/** The clock is read again after so many slots. */
const SLOTS_A_LOOK = 64;

/**
 * Slots with due times and one timer for all of them. `onDue` is called once the time of a slot has come, never before; it queues
 * the slot again or takes it out, else it is called again at once.
 */
export class DeadlineQueue {
  readonly #clock: Clock;
  readonly #heap: DeadlineHeap;
  readonly #onDue: (slot: number, nowMs: number) => void;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #running = false;

  constructor(clock: Clock, onDue: (slot: number, nowMs: number) => void, capacity?: number) {
    this.#clock = clock;
    this.#onDue = onDue;
    this.#heap = new DeadlineHeap(capacity);
  }

  /** Queues a slot for `due` (monotonic milliseconds), or moves it; Infinity takes it out. */
  set(slot: number, due: number): void {
    this.#heap.set(slot, due);
    this.#arm();
  }

  remove(slot: number): void {
    this.#heap.remove(slot);
    this.#arm();
  }

  dueOf(slot: number): number {
    return this.#heap.dueOf(slot);
  }

  /** Looks now instead of when the timer comes, which may be a turn of the event loop later. Not from within `onDue`. */
  look(): void {
    this.#timer?.cancel();
    this.#run();
  }

  #arm(): void {
    if (this.#running) return;
    const due = this.#heap.firstDue;
    // A timer that finds nothing due costs less than to move it; but an empty queue keeps no process running.
    if (due >= this.#timerAt && this.#timer !== undefined && due !== Number.POSITIVE_INFINITY) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = due;
    if (due !== Number.POSITIVE_INFINITY) this.#timer = this.#clock.at(due, this.#run);
  }

  readonly #run = (): void => {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#running = true;
    try {
      let now = this.#clock.now();
      const stopAt = now + BUDGET_MS;
      let looked = 0;
      while (this.#heap.firstDue <= now) {
        this.#onDue(this.#heap.first, now);
        if (++looked % SLOTS_A_LOOK === 0) {
          now = this.#clock.now();
          if (now >= stopAt) break;
        }
      }
    } finally {
      this.#running = false;
      this.#arm();
    }
  };
}
