import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { WebActivity } from './web-activity.ts';

test('a session expires at the limit and not before; activity begins it anew', async () => {
  const clock = new FakeClock();
  const activity = new WebActivity(clock, () => 1_000);
  activity.touch('a');
  await clock.advance(999);
  assert.equal(activity.expired('a'), false);
  assert.equal(activity.idleForMs('a'), 999);
  await clock.advance(1);
  assert.equal(activity.expired('a'), true);
  activity.touch('a');
  assert.equal(activity.expired('a'), false);
});

test('a limit that changes holds at once; without one nothing expires', async () => {
  const clock = new FakeClock();
  let limit = 0;
  const activity = new WebActivity(clock, () => limit);
  activity.touch('a');
  await clock.advance(10 * 86_400_000);
  assert.equal(activity.expired('a'), false);
  limit = 60_000;
  assert.equal(activity.expired('a'), true);
});

test('a session that is not known counts as active when it is first looked at', async () => {
  const clock = new FakeClock();
  const activity = new WebActivity(clock, () => 1_000);
  assert.equal(activity.expired('a'), false);
  await clock.advance(1_000);
  assert.equal(activity.expired('a'), true);
  activity.forget('a');
  assert.equal(activity.expired('a'), false);
});
