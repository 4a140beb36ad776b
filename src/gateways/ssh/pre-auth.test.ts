import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PreAuthLimit } from './pre-auth.ts';

describe('connections before authentication', () => {
  test('a flood from one address gives way to others, its oldest first', () => {
    const limit = new PreAuthLimit(10);
    const cut: string[] = [];
    const enter = (address: string, name: string) => limit.enter(address, () => cut.push(name));
    enter('192.0.2.1', 'honest 1');
    for (let i = 0; i < 9; i++) enter('198.51.100.9', `flood ${i}`);
    enter('192.0.2.2', 'honest 2');
    assert.deepEqual(cut, ['flood 0']);
    for (let i = 9; i < 1000; i++) enter('198.51.100.9', `flood ${i}`);
    assert.equal(limit.size, 10);
    assert.ok(cut.every((name) => name.startsWith('flood')));
  });

  test('whoever has authenticated counts no more', () => {
    const limit = new PreAuthLimit(2);
    const cut: string[] = [];
    const leave = limit.enter('a', () => cut.push('first'));
    limit.enter('a', () => cut.push('second'));
    leave();
    leave();
    limit.enter('a', () => cut.push('third'));
    assert.deepEqual(cut, []);
    assert.equal(limit.size, 2);
  });
});
