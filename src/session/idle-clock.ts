import type { Clock } from '../core/clock.ts';
import { DeadlineQueue } from './deadline-queue.ts';

/** What the idle clock tells its owner. Called from the clock's timer or from `touch`; must not throw. */
export interface IdleListener {
  /** The warning is due: the session ends at `deadlineMs` (monotonic) unless something happens. */
  idleWarning(deadlineMs: number): void;
  /** Something happened after a warning. */
  idleKept(): void;
  /** The deadline has passed: it is `nowMs`, at or after `deadlineMs`, and nothing happened. The owner gives the slot back. */
  idleExpired(deadlineMs: number, nowMs: number): void;
}

const FREE = 0;
const ARMED = 1;
const WARNED = 2;

/** A look that comes this much late means that the process stood still (SIGSTOP, a paused machine). */
const STOOD_STILL_MS = 250;

/**
 * The idle deadlines of all sessions. An activity report writes a timestamp and nothing else; the queue is looked at when a
 * deadline as it stood falls due, and a session that was active meanwhile is queued anew (at most once a timeout). One timer for all.
 *
 * INVARIANT: a slot expires at or after `max(last activity + timeout, notBefore)` and never before it. A timer on a busy machine may
 * run before what came in earlier has been read: a slot that is due is decided on in the turn of the event loop after the one that
 * found it, when every socket has been read once, so that nobody is cut with a key press waiting.
 */
export class IdleClock {
  readonly #clock: Clock;
  readonly #queue: DeadlineQueue;
  #state: Uint8Array;
  /** Monotonic milliseconds of the last activity. */
  #last: Float64Array;
  /** Milliseconds; 0 is never. */
  #timeout: Float64Array;
  #warning: Float64Array;
  /** A deadline is never before this: the time to react after a policy was made shorter. */
  #notBefore: Float64Array;
  /** Longest stretch without activity so far, milliseconds. */
  #longest: Float64Array;
  /** Work under way: while it is not 0 the session is active. */
  #busy: Uint16Array;
  /** 1 once the sockets have been read since the slot was found to be due. */
  #confirmed: Uint8Array;
  /** Slots that are due and wait for that. */
  #waiting: number[] = [];
  #listeners: (IdleListener | undefined)[] = [];
  #freeSlots: number[] = [];
  #used = 0;

  constructor(clock: Clock, capacity = 1024) {
    this.#clock = clock;
    this.#queue = new DeadlineQueue(clock, (slot, nowMs) => this.#check(slot, nowMs), capacity);
    this.#state = new Uint8Array(capacity);
    this.#last = new Float64Array(capacity);
    this.#timeout = new Float64Array(capacity);
    this.#warning = new Float64Array(capacity);
    this.#notBefore = new Float64Array(capacity);
    this.#longest = new Float64Array(capacity);
    this.#busy = new Uint16Array(capacity);
    this.#confirmed = new Uint8Array(capacity);
  }

  /** Number of slots in use. */
  get size(): number {
    return this.#used - this.#freeSlots.length;
  }

  /** Takes a slot whose clock starts now. It has no timeout until `setTimeout`. */
  add(listener: IdleListener, nowMs: number): number {
    const slot = this.#freeSlots.pop() ?? this.#used++;
    if (slot >= this.#state.length) this.#grow();
    this.#state[slot] = ARMED;
    this.#last[slot] = nowMs;
    this.#timeout[slot] = 0;
    this.#warning[slot] = 0;
    this.#notBefore[slot] = 0;
    this.#longest[slot] = 0;
    this.#busy[slot] = 0;
    this.#confirmed[slot] = 0;
    this.#listeners[slot] = listener;
    return slot;
  }

  /** Gives the slot back. */
  remove(slot: number): void {
    if (this.#state[slot] === FREE) return;
    this.#state[slot] = FREE;
    this.#listeners[slot] = undefined;
    this.#queue.remove(slot);
    this.#freeSlots.push(slot);
  }

  /** Activity at `nowMs`: the data path's report. */
  touch(slot: number, nowMs: number): void {
    const idle = nowMs - this.#last[slot]!;
    if (idle > this.#longest[slot]! && this.#busy[slot] === 0) this.#longest[slot] = idle;
    this.#last[slot] = nowMs;
    if (this.#state[slot] === WARNED) this.#keep(slot);
  }

  /** Work begins: the session is active until the matching `workEnded`. */
  workStarted(slot: number, nowMs: number): void {
    this.touch(slot, nowMs);
    if (this.#busy[slot]! < 0xffff) this.#busy[slot]!++;
  }

  /** Work ends: the idle clock starts from `nowMs`. */
  workEnded(slot: number, nowMs: number): void {
    if (this.#busy[slot] === 0) return;
    this.touch(slot, nowMs);
    this.#busy[slot]!--;
  }

  /** The clock starts again, as if the session had just become usable. */
  restart(slot: number, nowMs: number): void {
    this.#last[slot] = nowMs;
    this.#notBefore[slot] = 0;
    this.#longest[slot] = 0;
    this.#schedule(slot, nowMs);
  }

  /**
   * Sets or changes the limit. The deadline is last activity + `timeoutMs`; where that is past, the session first gets the warning
   * and `warningMs` to react. `timeoutMs` 0 disarms.
   */
  setTimeout(slot: number, timeoutMs: number, warningMs: number, nowMs: number): void {
    this.#timeout[slot] = timeoutMs;
    this.#warning[slot] = warningMs;
    const deadline = this.#last[slot]! + timeoutMs;
    this.#notBefore[slot] = timeoutMs > 0 && deadline <= nowMs ? nowMs + warningMs : 0;
    if (this.#state[slot] === WARNED) {
      if (timeoutMs === 0 || nowMs < this.deadline(slot) - warningMs) this.#keep(slot);
      // The user was told of another time: the warning is given again, with the new one.
      else this.#state[slot] = ARMED;
    }
    this.#schedule(slot, nowMs);
  }

  /** The limit of a slot in milliseconds; 0 is never. */
  timeoutOf(slot: number): number {
    return this.#timeout[slot]!;
  }

  /** When the session ends if nothing happens, monotonic milliseconds; Infinity for never or while work is under way. */
  deadline(slot: number): number {
    if (this.#timeout[slot] === 0 || this.#busy[slot]! > 0) return Number.POSITIVE_INFINITY;
    return Math.max(this.#last[slot]! + this.#timeout[slot]!, this.#notBefore[slot]!);
  }

  lastActivity(slot: number): number {
    return this.#last[slot]!;
  }

  isBusy(slot: number): boolean {
    return this.#busy[slot]! > 0;
  }

  isWarned(slot: number): boolean {
    return this.#state[slot] === WARNED;
  }

  /** The longest stretch without activity up to `nowMs`, the present one included. */
  longestIdle(slot: number, nowMs: number): number {
    return this.#busy[slot]! > 0 ? this.#longest[slot]! : Math.max(this.#longest[slot]!, nowMs - this.#last[slot]!);
  }

  #keep(slot: number): void {
    this.#state[slot] = ARMED;
    this.#notBefore[slot] = 0;
    // The queue still holds the deadline of before; `#check` moves it when it comes up.
    this.#listeners[slot]!.idleKept();
  }

  #schedule(slot: number, nowMs: number): void {
    this.#confirmed[slot] = 0;
    this.#queue.set(slot, this.#nextLook(slot, nowMs));
  }

  /** When something may have to be done for this slot: the warning if it is still to come, else the deadline. */
  #nextLook(slot: number, nowMs: number): number {
    const timeout = this.#timeout[slot]!;
    if (timeout === 0) return Number.POSITIVE_INFINITY;
    const warning = this.#state[slot] === WARNED ? 0 : this.#warning[slot]!;
    if (this.#busy[slot]! > 0) return nowMs + timeout - warning;
    return Math.max(this.#last[slot]! + timeout, this.#notBefore[slot]!) - warning;
  }

  #check(slot: number, now: number): void {
    const due = this.#nextLook(slot, now);
    if (due > now) {
      this.#confirmed[slot] = 0;
      this.#queue.set(slot, due);
      return;
    }
    if (this.#confirmed[slot] === 0) {
      this.#queue.remove(slot);
      if (this.#waiting.push(slot) === 1) this.#clock.at(now, this.#confirm);
      return;
    }
    this.#confirmed[slot] = 0;
    const deadline = this.deadline(slot);
    const listener = this.#listeners[slot]!;
    const warning = this.#state[slot] === WARNED ? 0 : this.#warning[slot]!;
    const stoodStill = now - due > STOOD_STILL_MS;
    if (warning > 0 && (deadline > now || stoodStill)) {
      this.#state[slot] = WARNED;
      // A process that was stopped past the deadline never gave the warning: it gives it now, with the time to react.
      if (deadline <= now) this.#notBefore[slot] = now + warning;
      this.#queue.set(slot, this.deadline(slot));
      listener.idleWarning(this.deadline(slot));
      return;
    }
    this.#queue.remove(slot);
    listener.idleExpired(deadline, now);
  }

  /** The sockets have been read: whoever is still due is decided on in this very turn, since a turn of a busy gateway is long. */
  readonly #confirm = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    const now = this.#clock.now();
    for (const slot of waiting) {
      if (this.#state[slot] === FREE) continue;
      const due = this.#nextLook(slot, now);
      this.#confirmed[slot] = due <= now ? 1 : 0;
      this.#queue.set(slot, due);
    }
    this.#queue.look();
  };

  #grow(): void {
    const capacity = this.#state.length * 2;
    const grow = <T extends Uint8Array | Uint16Array | Float64Array>(old: T, fresh: T): T => {
      fresh.set(old);
      return fresh;
    };
    this.#state = grow(this.#state, new Uint8Array(capacity));
    this.#last = grow(this.#last, new Float64Array(capacity));
    this.#timeout = grow(this.#timeout, new Float64Array(capacity));
    this.#warning = grow(this.#warning, new Float64Array(capacity));
    this.#notBefore = grow(this.#notBefore, new Float64Array(capacity));
    this.#longest = grow(this.#longest, new Float64Array(capacity));
    this.#busy = grow(this.#busy, new Uint16Array(capacity));
    this.#confirmed = grow(this.#confirmed, new Uint8Array(capacity));
  }
}
