import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import { DbAdmission } from './db-admission.ts';
import { DbReader } from './db-reader.ts';
import { deadline } from './deadline.ts';

describe('connections that have not signed in', () => {
  test('are dropped when their time is over, each at its own', async () => {
    const clock = new FakeClock();
    const admission = new DbAdmission(clock, { maxPending: 10, timeoutMs: 1_000 });
    const dropped: string[] = [];
    admission.enter((why) => dropped.push(`a ${why}`));
    await clock.advance(400);
    const b = admission.enter((why) => dropped.push(`b ${why}`));
    await clock.advance(400);
    admission.enter((why) => dropped.push(`c ${why}`));
    b.done();
    await clock.advance(199);
    assert.deepEqual(dropped, []);
    await clock.advance(1);
    assert.deepEqual(dropped, ['a timeout']);
    await clock.advance(799);
    assert.equal(admission.size, 1);
    await clock.advance(1);
    assert.deepEqual(dropped, ['a timeout', 'c timeout']);
    assert.equal(clock.timers, 0);
  });

  test('make room, the oldest first', () => {
    const admission = new DbAdmission(new FakeClock(), { maxPending: 2, timeoutMs: 1_000 });
    const dropped: string[] = [];
    for (const name of ['a', 'b', 'c', 'd']) admission.enter((why) => dropped.push(`${name} ${why}`));
    assert.deepEqual(dropped, ['a crowded', 'b crowded']);
    assert.equal(admission.size, 2);
    admission.close();
    assert.deepEqual(dropped.slice(2), ['c timeout', 'd timeout']);
  });
});

describe('reading a login', () => {
  test('exact lengths, whatever the pieces, and the rest for who comes after', async () => {
    const stream = new PassThrough();
    const reader = new DbReader(stream, 100);
    const first = reader.read(5);
    for (const byte of 'hello, world') stream.write(byte);
    assert.equal((await first).toString(), 'hello');
    assert.equal((await reader.read(2)).toString(), ', ');
    assert.equal((await reader.read(0)).length, 0);
    await settle();
    assert.equal(reader.detach().toString(), 'world');
    stream.write('more');
    assert.equal(stream.listenerCount('data'), 0);
    assert.equal(stream.read().toString(), 'more');
  });

  test('an end before the bytes are there, and a flood', async () => {
    const ended = new PassThrough();
    const waiting = new DbReader(ended, 100).read(5);
    ended.end('hell');
    await assert.rejects(waiting, (error: NightlatchError) => error.code === 'unavailable');
    const flooded = new PassThrough();
    const reader = new DbReader(flooded, 100);
    flooded.write(Buffer.alloc(101));
    await settle();
    await assert.rejects(reader.read(200), (error: NightlatchError) => error.code === 'limit_exceeded');
    assert.equal(flooded.destroyed, true);
    const broken = new PassThrough();
    const reading = new DbReader(broken, 100).read(1);
    broken.destroy(new Error('reset'));
    await assert.rejects(reading, /reset/);
  });
});

test('a deadline aborts at its time, with its parent, or never', async () => {
  const clock = new FakeClock();
  const parent = new AbortController();
  const late = deadline(clock, 1_000, 'nothing came', parent.signal);
  const cleared = deadline(clock, 1_000, 'nothing came', parent.signal);
  cleared.clear();
  await clock.advance(1_000);
  assert.ok(late.signal.reason instanceof NightlatchError);
  assert.equal(late.signal.reason.message, 'nothing came within 1 s');
  assert.equal(cleared.signal.aborted, false);
  const child = deadline(clock, 1_000, 'nothing came', parent.signal);
  parent.abort(new Error('enough'));
  assert.equal(child.signal.reason.message, 'enough');
  child.clear();
  assert.equal(deadline(clock, 1_000, 'nothing came', parent.signal).signal.aborted, true);
});
