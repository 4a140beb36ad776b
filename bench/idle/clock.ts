// `npm run bench:idle`: the idle clock alone, a million sessions in one process. Prints a table for bench/results/idle.md.
import { performance } from 'node:perf_hooks';
import { systemClock } from '../../src/server/system-clock.ts';
import { IdleClock, type IdleListener } from '../../src/session/idle-clock.ts';

const SESSIONS = 1_000_000;
const EXPIRIES_A_SECOND = 50_000;
const ROUNDS = 5;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const quiet: IdleListener = { idleWarning: () => undefined, idleKept: () => undefined, idleExpired: () => undefined };

function memory(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const before = memory();
const idle = new IdleClock(systemClock, SESSIONS);
for (let i = 0; i < SESSIONS; i++) {
  const now = performance.now();
  idle.setTimeout(idle.add(quiet, now), 900_000, 60_000, now);
}
const bytes = (memory() - before) / SESSIONS;

const given: number[] = [];
const withClock: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  // A stride that is prime to the count reaches every session in an order that no cache foresees.
  let slot = 0;
  let start = performance.now();
  for (let i = 0; i < SESSIONS; i++) {
    slot = (slot + 7_919) % SESSIONS;
    idle.touch(slot, start);
  }
  given.push(((performance.now() - start) / SESSIONS) * 1e6);
  start = performance.now();
  for (let i = 0; i < SESSIONS; i++) {
    slot = (slot + 7_919) % SESSIONS;
    idle.touch(slot, systemClock.now());
  }
  withClock.push(((performance.now() - start) / SESSIONS) * 1e6);
}

/** Deadlines spread over ten seconds, fifty thousand in each; how late each is found. */
async function expiries(): Promise<{ p99: number; max: number; early: number }> {
  const clock = new IdleClock(systemClock, EXPIRIES_A_SECOND * 10);
  const late: number[] = [];
  let early = 0;
  await new Promise<void>((resolve) => {
    const listener: IdleListener = {
      ...quiet,
      idleExpired(deadlineMs, nowMs) {
        late.push(nowMs - deadlineMs);
        if (nowMs < deadlineMs) early += 1;
        if (late.length === EXPIRIES_A_SECOND * 10) resolve();
      },
    };
    const now = performance.now();
    for (let i = 0; i < EXPIRIES_A_SECOND * 10; i++) {
      clock.setTimeout(clock.add(listener, now), 2_000 + i / (EXPIRIES_A_SECOND / 1_000), 0, now);
    }
  });
  late.sort((a, b) => a - b);
  return { p99: late[Math.floor(late.length * 0.99)]!, max: late.at(-1)!, early };
}

const { p99, max, early } = await expiries();
const row = (what: string, figure: string, goal: string): void => console.log(`| ${what} | ${figure} | ${goal} |`);
console.log('| the idle clock, 1,000,000 sessions | measured | to reach |\n|---|---|---|');
row('an activity report, the time given', `${median(given).toFixed(1)} ns`, '20 ns');
row('the same with reading the machine’s clock', `${median(withClock).toFixed(1)} ns`, '');
row('memory a session', `${bytes.toFixed(0)} bytes`, '100 bytes');
row('50,000 deadlines a second for 10 s: found late, p99', `${p99.toFixed(2)} ms`, '50 ms');
row('the latest', `${max.toFixed(2)} ms`, '');
row('found early', String(early), '0');
process.exit(0);
