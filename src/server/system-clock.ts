import { performance } from 'node:perf_hooks';
import type { Clock, Timer } from '../core/clock.ts';

/** setTimeout holds 31 bits of milliseconds; a later time is waited for in steps. */
const LONGEST_STEP_MS = 2 ** 31 - 1;

/** The machine's clocks: CLOCK_MONOTONIC for `now`, the date for `wallMs`. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  at(atMs: number, fn: () => void): Timer {
    let cancel: () => void = () => undefined;
    const wait = (): void => {
      const left = atMs - performance.now();
      if (left <= 0) {
        const immediate = setImmediate(fn);
        cancel = () => clearImmediate(immediate);
        return;
      }
      // INVARIANT: never early. Node's timers may fire a fraction of a millisecond before their time, so the time is looked at again.
      const timeout = setTimeout(
        () => (performance.now() >= atMs ? fn() : wait()),
        Math.min(Math.ceil(left), LONGEST_STEP_MS),
      );
      cancel = () => clearTimeout(timeout);
    };
    wait();
    return { cancel: () => cancel() };
  },
};
