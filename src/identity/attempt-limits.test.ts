import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { LockOuts, networkOf, TokenBuckets } from './attempt-limits.ts';
import { LruMap } from './lru-map.ts';
import { normalizeUserName } from './user-name.ts';

describe('limits on attempts', () => {
  test('a bucket gives its burst, then one by one', async () => {
    const clock = new FakeClock();
    const buckets = new TokenBuckets(clock, { burst: 3, refillMs: 1000 });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.take('a')),
      [true, true, true, false],
    );
    assert.equal(buckets.take('b'), true);
    await clock.advance(999);
    assert.equal(buckets.take('a'), false);
    await clock.advance(1);
    assert.equal(buckets.take('a'), true);
    assert.equal(buckets.take('a'), false);
    await clock.advance(60_000);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.take('a')),
      [true, true, true, false],
    );
  });

  test('the wall clock has no say', () => {
    const clock = new FakeClock();
    const buckets = new TokenBuckets(clock, { burst: 1, refillMs: 1000 });
    buckets.take('a');
    clock.setWall(clock.wallMs() + 1e9);
    assert.equal(buckets.take('a'), false);
  });

  test('failures count within their window, successes wipe them out', async () => {
    const clock = new FakeClock();
    const lockOuts = new LockOuts(clock, { maxFailures: 2, windowMs: 1000, lockOutMs: 5000 });
    const fail = () => (lockOuts.begin('a').admitted ? lockOuts.fail('a') : 'barred');
    assert.equal(fail(), false);
    await clock.advance(1000);
    assert.equal(fail(), false, 'the first one no longer counts');
    lockOuts.begin('a');
    lockOuts.succeed('a');
    assert.equal(fail(), false);
    assert.equal(fail(), true);
    assert.deepEqual(lockOuts.begin('a'), { admitted: false, retryInMs: 5000 });
    assert.deepEqual(lockOuts.begin('b'), { admitted: true });
    await clock.advance(4999);
    assert.equal(fail(), 'barred');
    await clock.advance(1);
    assert.equal(fail(), false, 'attempts while barred did not prolong it');
  });

  test('tables are bounded: the stalest makes room', () => {
    const map = new LruMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.get('a');
    map.set('c', 3);
    assert.deepEqual([map.get('a'), map.get('b'), map.get('c'), map.size], [1, undefined, 3, 2]);
    map.delete('a');
    assert.equal(map.size, 1);
    const buckets = new TokenBuckets(new FakeClock(), { burst: 1, refillMs: 1000, keys: 2 });
    for (const key of ['a', 'b', 'c']) buckets.take(key);
    assert.equal(buckets.take('a'), true);
    assert.equal(buckets.take('c'), false);
  });

  test('one customer, one network', () => {
    assert.equal(networkOf('192.0.2.7'), '192.0.2.7');
    assert.equal(networkOf('::ffff:192.0.2.7'), '192.0.2.7');
    assert.equal(networkOf('2001:db8:1:2:3::4'), '2001:db8:1:2::/64');
    assert.equal(networkOf('x'.repeat(1000)).length, 64);
  });
});

describe('user names', () => {
  test('that can be', () => {
    for (const name of ['alice', 'alice@example.com', 'J\u00f6rg M\u00fcller', "o'brien", 'a', 'a'.repeat(64), '😀']) {
      assert.equal(normalizeUserName(name), name);
    }
    assert.equal(normalizeUserName('Jo\u0308rg'), 'J\u00f6rg');
  });

  test('that cannot', () => {
    const bad = [
      '',
      ' ',
      'a ',
      ' a',
      'a  b',
      'a\tb',
      'a\u0000',
      'a\u001b[31m',
      'a\u007f',
      'a\u0085',
      'a\u200bb',
      'a\u202eb',
      'a\u2028b',
      'a\u00a0b',
      'a/b',
      '.',
      '..',
      '\ud800',
      'a'.repeat(65),
      'a'.repeat(1e6),
      '\u{e000}',
    ];
    for (const name of bad) assert.equal(normalizeUserName(name), undefined, JSON.stringify(name.slice(0, 20)));
  });
});
