import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import type { Timer } from '../../core/clock.ts';
import type { SilenceGuard } from '../../session/types.ts';
import { TransactionGuard } from './transaction-guard.ts';

function setUp(timeoutMs: number) {
  const clock = new FakeClock();
  const started = clock.now();
  const limit = { timeoutMs, source: 'role dba' };
  const ended: string[] = [];
  const session = {
    silenceGuard(afterMs: number, onExpire: () => void): SilenceGuard {
      let timer: Timer | undefined;
      return {
        arm: () => {
          timer?.cancel();
          timer = clock.at(clock.now() + afterMs, onExpire);
        },
        disarm: () => timer?.cancel(),
      };
    },
    async end(cause: string, detail?: string): Promise<void> {
      ended.push(`${cause}@${clock.now() - started}: ${detail}`);
    },
  };
  return { clock, limit, ended, guard: new TransactionGuard(session, () => limit) };
}

describe('the guard on an open transaction', () => {
  test('ends a session that leaves one open, counted from the first moment', async () => {
    const { clock, ended, guard } = setUp(60_000);
    guard.arm();
    await clock.advance(30_000);
    guard.arm();
    await clock.advance(29_999);
    assert.deepEqual([ended, guard.expired], [[], false]);
    await clock.advance(1);
    assert.deepEqual(ended, ['idle@60000: a transaction was left open without activity for 1m0s (role dba)']);
    assert.equal(guard.expired, true);
  });

  test('a statement in it starts the count again, its end stops it', async () => {
    const { clock, ended, guard } = setUp(60_000);
    for (let statement = 0; statement < 5; statement++) {
      guard.arm();
      await clock.advance(59_999);
      guard.disarm();
      await clock.advance(1_000);
    }
    await clock.advance(600_000);
    assert.deepEqual(ended, []);
  });

  test('a changed limit counts from the change, one that is taken away and given again too', async () => {
    const { clock, limit, ended, guard } = setUp(60_000);
    guard.arm();
    await clock.advance(50_000);
    for (const timeoutMs of [120_000, 0, 120_000]) {
      limit.timeoutMs = timeoutMs;
      guard.policyChanged();
      await clock.advance(100_000);
    }
    assert.deepEqual(ended, []);
    guard.policyChanged();
    await clock.advance(20_000);
    assert.deepEqual(ended, ['idle@370000: a transaction was left open without activity for 2m0s (role dba)']);
  });

  test('without a limit, and outside of a transaction, nothing ends', async () => {
    const { clock, limit, ended, guard } = setUp(0);
    guard.arm();
    await clock.advance(600_000);
    guard.disarm();
    limit.timeoutMs = 1_000;
    guard.policyChanged();
    await clock.advance(600_000);
    assert.deepEqual(ended, []);
  });
});
