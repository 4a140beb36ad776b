import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, test } from 'node:test';
import { nativeRecords } from './native-records.ts';

test('the addon is built for this Node, and does what node:crypto does', () => {
  assert.notEqual(nativeRecords, undefined);
});

describe('the addon', () => {
  const native = nativeRecords!;
  const [key, iv] = [Buffer.alloc(16, 1), Buffer.alloc(12, 2)];

  test('refuses arguments that would lead it astray', () => {
    const create = native.create.bind(native) as (...args: unknown[]) => unknown;
    for (const args of [
      [],
      ['aes-128-gcm', key, iv, true],
      ['aes-256-gcm', key, iv, true, 0],
      ['aes-128-gcm', key, Buffer.alloc(16), true, 0],
      ['aes-128-cbc', key, iv, true, 0],
      ['no such cipher', key, iv, true, 0],
      ['x'.repeat(1000), key, iv, true, 0],
      ['aes-128-gcm', new Uint16Array(8), iv, true, 0],
      ['aes-128-gcm', 'key', iv, true, 0],
      ['aes-128-gcm', key, iv, 1, 0],
      ['aes-128-gcm', key, iv, true, '0'],
      [null, null, null, null, null],
    ])
      assert.throws(() => create(...args), Error);
  });

  test('stays within the buffers that it is given', () => {
    const [seals, opens] = [true, false].map((one) => native.create('aes-128-gcm', key, iv, one, 0));
    const seal = native.seal.bind(native) as (...args: unknown[]) => number;
    const open = native.open.bind(native) as (...args: unknown[]) => number;
    const bytes = Buffer.alloc(64);
    const content = Buffer.alloc(10);
    for (const args of [
      [seals, 23, content, 0, 11, bytes, 0],
      [seals, 23, content, 11, 0, bytes, 0],
      [seals, 23, content, 1, 10, bytes, 0],
      [seals, 23, content, 0xffffffff, 2, bytes, 0],
      [seals, 23, content, -1, 2, bytes, 0],
      [seals, 23, content, 0, 10, bytes, 64 - 31],
      [seals, 23, content, 0, 10, bytes, 65],
      [seals, 23, content, 0, 10, bytes, 0xffffffff],
      [seals, 23, Buffer.alloc(20_000), 0, 16_385, Buffer.alloc(30_000), 0],
      [opens, 23, content, 0, 10, bytes, 0],
      [{}, 23, content, 0, 10, bytes, 0],
      [undefined, 23, content, 0, 10, bytes, 0],
    ])
      assert.throws(() => seal(...args), Error);
    assert.equal(seal(seals, 23, content, 0, 10, bytes, 64 - 32), 32);
    const record = bytes.subarray(32);
    for (const args of [
      [opens, record, 1],
      [opens, record.subarray(0, 31), 0],
      [opens, record.subarray(0, 4), 0],
      [opens, record, 33],
      [opens, record, 0xffffffff],
      [opens, record, -1],
      [opens, Buffer.alloc(0), 0],
      [seals, record, 0],
      [opens, 'record', 0],
      [opens, Buffer.concat([Buffer.from([23, 3, 3, 0x41, 1]), Buffer.alloc(30_000)]), 0],
    ])
      assert.throws(() => open(...args), Error);
    assert.equal(open(opens, record, 0), 11);
  });

  test('leaves no error behind that others would take for theirs', () => {
    const errorsOf = (): unknown => {
      try {
        createPrivateKey('no key');
      } catch (error) {
        return (error as Error & { opensslErrorStack?: string[] }).opensslErrorStack;
      }
      return 'no error';
    };
    const before = errorsOf();
    const record = Buffer.concat([Buffer.from([23, 3, 3, 0, 40]), Buffer.alloc(40)]);
    for (const [cipher, bytes] of [
      ['aes-128-gcm', 16],
      ['chacha20-poly1305', 32],
    ] as const) {
      const opens = native.create(cipher, Buffer.alloc(bytes), iv, false, 0);
      for (let i = 0; i < 20; i++) assert.equal(native.open(opens, record, 0), -1);
    }
    assert.throws(() => native.create('no such cipher', key, iv, true, 0));
    assert.deepEqual(errorsOf(), before);
  });
});
