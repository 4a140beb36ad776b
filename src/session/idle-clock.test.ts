import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { IdleClock, type IdleListener } from './idle-clock.ts';

/** A listener that writes down what it was told, with the time. */
class Recorder implements IdleListener {
  readonly said: string[] = [];
  expiredAt: number | undefined;
  deadline: number | undefined;
  readonly #clock: FakeClock;
  constructor(clock: FakeClock) {
    this.#clock = clock;
  }
  idleWarning(deadlineMs: number): void {
    this.said.push(`warn@${this.#clock.now() - 1000} ends ${deadlineMs - 1000}`);
  }
  idleKept(): void {
    this.said.push(`kept@${this.#clock.now() - 1000}`);
  }
  idleExpired(deadlineMs: number, nowMs: number): void {
    this.said.push(`end@${nowMs - 1000}`);
    this.expiredAt = nowMs;
    this.deadline = deadlineMs;
  }
}

function armed(timeoutMs: number, warningMs: number) {
  const clock = new FakeClock();
  const idle = new IdleClock(clock, 2);
  const recorder = new Recorder(clock);
  const slot = idle.add(recorder, clock.now());
  idle.setTimeout(slot, timeoutMs, warningMs, clock.now());
  return { clock, idle, recorder, slot };
}

describe('the idle clock', () => {
  test('warns, then ends exactly at the deadline', async () => {
    const { clock, recorder } = armed(10_000, 2_500);
    await clock.advance(7_499);
    assert.deepEqual(recorder.said, []);
    await clock.advance(1);
    assert.deepEqual(recorder.said, ['warn@7500 ends 10000']);
    await clock.advance(2_499);
    assert.equal(recorder.said.length, 1);
    await clock.advance(1);
    assert.deepEqual(recorder.said, ['warn@7500 ends 10000', 'end@10000']);
  });

  test('activity moves the deadline, and cancels a warning at once', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 2_000);
    await clock.advance(5_000);
    idle.touch(slot, clock.now());
    await clock.advance(8_000);
    assert.deepEqual(recorder.said, ['warn@13000 ends 15000']);
    await clock.advance(1_999);
    idle.touch(slot, clock.now());
    assert.deepEqual(recorder.said, ['warn@13000 ends 15000', 'kept@14999']);
    await clock.advance(10_000);
    assert.deepEqual(recorder.said.slice(2), ['warn@22999 ends 24999', 'end@24999']);
  });

  test('one timer serves all, and activity arms none', async () => {
    const { clock, idle, slot } = armed(10_000, 0);
    for (let i = 0; i < 100; i++)
      idle.setTimeout(idle.add(new Recorder(clock), clock.now()), 20_000 + i, 0, clock.now());
    assert.equal(clock.timers, 1);
    idle.touch(slot, clock.now());
    assert.equal(clock.timers, 1);
  });

  test('work under way holds the deadline, and the clock starts at its end', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 0);
    idle.workStarted(slot, clock.now());
    idle.workStarted(slot, clock.now());
    await clock.advance(60_000);
    idle.workEnded(slot, clock.now());
    await clock.advance(60_000);
    assert.deepEqual(recorder.said, []);
    idle.workEnded(slot, clock.now());
    assert.equal(idle.longestIdle(slot, clock.now()), 0);
    await clock.advance(9_999);
    assert.deepEqual(recorder.said, []);
    await clock.advance(1);
    assert.deepEqual(recorder.said, ['end@130000']);
  });

  test('a limit made shorter counts from the last activity', async () => {
    const { clock, idle, recorder, slot } = armed(600_000, 60_000);
    await clock.advance(50_000);
    idle.setTimeout(slot, 60_000, 15_000, clock.now());
    await clock.advance(1);
    assert.deepEqual(recorder.said, ['warn@50000 ends 60000']);
    await clock.advance(9_999);
    assert.deepEqual(recorder.said.slice(1), ['end@60000']);
  });

  test('a limit whose deadline is past gives the warning and its time first', async () => {
    const { clock, idle, recorder, slot } = armed(600_000, 60_000);
    await clock.advance(100_000);
    idle.setTimeout(slot, 60_000, 15_000, clock.now());
    await clock.advance(14_999);
    assert.deepEqual(recorder.said, ['warn@100000 ends 115000']);
    await clock.advance(1);
    assert.deepEqual(recorder.said.slice(1), ['end@115000']);
  });

  test('a limit taken away disarms, also after the warning', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 2_000);
    await clock.advance(9_000);
    idle.setTimeout(slot, 0, 0, clock.now());
    await clock.advance(1_000_000);
    assert.deepEqual(recorder.said, ['warn@8000 ends 10000', 'kept@9000']);
  });

  test('a longer limit after the warning says that the session goes on', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 2_000);
    await clock.advance(9_000);
    idle.setTimeout(slot, 20_000, 5_000, clock.now());
    await clock.advance(11_000);
    assert.deepEqual(recorder.said, ['warn@8000 ends 10000', 'kept@9000', 'warn@15000 ends 20000', 'end@20000']);
  });

  test('a process that stood still gives the warning it missed instead of ending at once', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 2_000);
    const late = new Recorder(clock);
    // Timers of the fake clock run on time; a stopped process is one whose look comes late.
    const stopped = new Proxy(clock, {
      get: (target, key) =>
        key === 'at'
          ? (atMs: number, fn: () => void) => target.at(atMs > clock.now() ? atMs + 30_000 : atMs, fn)
          : Reflect.get(target, key).bind(target),
    });
    const other = new IdleClock(stopped as FakeClock, 2);
    other.setTimeout(other.add(late, clock.now()), 10_000, 2_000, clock.now());
    await clock.advance(38_000);
    assert.deepEqual(late.said, ['warn@38000 ends 40000']);
    assert.equal(recorder.said.at(-1), 'end@10000');
    assert.equal(idle.isWarned(slot), true);
  });

  test('a key press that is read in the same turn as the deadline is found keeps the session, and nobody is warned', async () => {
    for (const warning of [0, 2_000]) {
      const clock = new FakeClock();
      const recorder = new Recorder(clock);
      let unread = true;
      // The event loop runs timers first and reads the sockets then; what is asked for "now" comes after both.
      const busy = new Proxy(clock, {
        get: (target, key) =>
          key === 'at'
            ? (atMs: number, fn: () => void) => {
                if (atMs <= clock.now() && unread) {
                  unread = false;
                  idle.touch(slot, clock.now());
                }
                return target.at(atMs, fn);
              }
            : Reflect.get(target, key).bind(target),
      });
      const idle = new IdleClock(busy as FakeClock, 2);
      const slot = idle.add(recorder, clock.now());
      idle.setTimeout(slot, 10_000, warning, clock.now());
      await clock.advance(10_000 - warning);
      assert.equal(unread, false);
      await clock.advance(10_000 - warning - 1);
      assert.deepEqual(recorder.said, []);
    }
  });

  test('once the sockets have been read, everybody who is due is ended in that turn, and who comes due later in a turn of his own', async () => {
    const clock = new FakeClock();
    // The queue of what runs "now" is the turns of the event loop: each entry is one.
    const turns: (() => void)[] = [];
    const stepped = new Proxy(clock, {
      get: (target, key) =>
        key === 'at'
          ? (atMs: number, fn: () => void) => {
              if (atMs > clock.now()) return target.at(atMs, fn);
              turns.push(fn);
              return { cancel: () => void turns.splice(0, turns.length, ...turns.filter((other) => other !== fn)) };
            }
          : Reflect.get(target, key).bind(target),
    });
    const idle = new IdleClock(stepped as FakeClock, 2);
    const recorders = [10_000, 10_000, 10_002].map((timeoutMs) => {
      const recorder = new Recorder(clock);
      idle.setTimeout(idle.add(recorder, clock.now()), timeoutMs, 0, clock.now());
      return recorder;
    });
    const said = () => recorders.map((recorder) => recorder.said.join());
    await clock.advance(10_000);
    assert.deepEqual(said(), ['', '', '']);
    await clock.advance(1);
    turns.shift()!();
    assert.deepEqual(said(), ['end@10001', 'end@10001', '']);
    await clock.advance(1);
    assert.deepEqual(said(), ['end@10001', 'end@10001', '']);
    turns.shift()!();
    assert.deepEqual(said(), ['end@10001', 'end@10001', 'end@10002']);
    assert.deepEqual([turns.length, clock.timers], [0, 0]);
  });

  test('slots are used again and forget what they were', async () => {
    const { clock, idle, recorder, slot } = armed(10_000, 0);
    idle.remove(slot);
    const second = new Recorder(clock);
    assert.equal(idle.add(second, clock.now()), slot);
    await clock.advance(100_000);
    assert.deepEqual([...recorder.said, ...second.said], []);
    assert.equal(idle.size, 1);
  });

  test('never early and exactly on time, whatever happens in whatever order', async () => {
    const action = fc.record({
      after: fc.integer({ min: 0, max: 4_000 }),
      what: fc.constantFrom('touch', 'start', 'end', 'limit'),
      limit: fc.integer({ min: 1, max: 5_000 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 30 }),
        fc.integer({ min: 1, max: 5_000 }),
        async (actions, first) => {
          const { clock, idle, recorder, slot } = armed(first, 0);
          let limit = first;
          let last = clock.now();
          let busy = 0;
          let floor = 0;
          for (const { after, what, limit: next } of actions) {
            await clock.advance(after);
            const deadline = busy > 0 ? Number.POSITIVE_INFINITY : Math.max(last + limit, floor);
            if (recorder.expiredAt !== undefined) {
              assert.equal(recorder.expiredAt, deadline);
              return;
            }
            assert.ok(clock.now() < deadline || clock.now() === deadline);
            const now = clock.now();
            if (what === 'touch') last = now;
            if (what === 'start') {
              busy += 1;
              last = now;
            }
            if (what === 'end' && busy > 0) {
              busy -= 1;
              last = now;
            }
            if (what === 'touch') idle.touch(slot, now);
            if (what === 'start') idle.workStarted(slot, now);
            if (what === 'end') idle.workEnded(slot, now);
            if (what === 'limit') {
              limit = next;
              floor = last + next <= now ? now : 0;
              idle.setTimeout(slot, next, 0, now);
            }
          }
          while (busy-- > 0) {
            last = clock.now();
            idle.workEnded(slot, clock.now());
          }
          await clock.advance(20_000);
          assert.equal(recorder.expiredAt, Math.max(last + limit, floor));
        },
      ),
      { numRuns: 300 },
    );
  });

  test('10,000 sessions with activity at random: each ends at its own deadline', async () => {
    const clock = new FakeClock();
    const idle = new IdleClock(clock, 16);
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    const sessions = Array.from({ length: 10_000 }, () => {
      const recorder = new Recorder(clock);
      const limit = 1_000 + Math.floor(random() * 4_000);
      const slot = idle.add(recorder, clock.now());
      idle.setTimeout(slot, limit, 0, clock.now());
      return { recorder, limit, slot, last: clock.now() };
    });
    for (let step = 0; step < 40; step++) {
      await clock.advance(100);
      for (const session of sessions) {
        if (session.recorder.expiredAt === undefined && random() < 0.05) {
          idle.touch(session.slot, clock.now());
          session.last = clock.now();
        }
      }
    }
    await clock.advance(6_000);
    for (const { recorder, last, limit } of sessions) assert.equal(recorder.expiredAt, last + limit);
  });
});
