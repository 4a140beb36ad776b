import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('data types of RFC 4251 section 5', () => {
  test('the examples of the specification', () => {
    const examples: [string, string][] = [
      ['', '00 00 00 00'],
      ['09a378f9b2e332a7', '00 00 00 08 09 a3 78 f9 b2 e3 32 a7'],
      ['80', '00 00 00 02 00 80'],
    ];
    for (const [magnitude, wire] of examples) {
      assert.deepEqual(new SshWriter().mpint(hex(magnitude)).finish(), hex(wire));
      assert.deepEqual(new SshReader(hex(wire)).mpint(), hex(magnitude));
    }
    assert.deepEqual(
      new SshWriter().nameList(['zlib', 'none']).finish(),
      hex('00 00 00 09 7a 6c 69 62 2c 6e 6f 6e 65'),
    );
    assert.deepEqual(new SshReader(hex('00 00 00 00')).nameList(), []);
  });

  test('negative and padded numbers are refused', () => {
    for (const wire of ['00 00 00 02 ed cc', '00 00 00 01 00', '00 00 00 02 00 01']) {
      assert.throws(() => new SshReader(hex(wire)).mpint(), DecodeError, wire);
    }
    assert.throws(() => new SshReader(hex('00 00 00 03 01 02 03')).mpint(2), DecodeError);
    assert.deepEqual(new SshReader(hex('00 00 00 03 00 ff 03')).mpint(2), hex('ff03'));
  });

  test('names and lists of names', () => {
    for (const text of ['', 'a b', 'a\n', 'ä'])
      assert.throws(() => new SshReader(new SshWriter().string(text).finish()).name(), DecodeError);
    for (const text of [',', 'a,', ',a', 'a,,b', 'a, b']) {
      assert.throws(() => new SshReader(new SshWriter().string(text).finish()).nameList(), DecodeError, text);
    }
  });

  test('text must be UTF-8, and keeps a byte order mark', () => {
    assert.throws(() => new SshReader(hex('00 00 00 02 c3 28')).utf8(), DecodeError);
    assert.equal(new SshReader(new SshWriter().string('\ufeffx').finish()).utf8(), '\ufeffx');
  });

  test('limits, ends and offsets', () => {
    assert.throws(() => new SshReader(hex('00 00 00 05 61 62 63')).string(), /ends 2 bytes too early/);
    assert.throws(() => new SshReader(hex('ff ff ff ff 61')).string(), DecodeError);
    assert.throws(() => new SshReader(hex('00 00 00 03 61 62 63')).string(2), DecodeError);
    assert.throws(() => new SshReader(hex('61')).end(), /1 bytes follow/);
    assert.throws(() => new SshReader(hex('61'), 2), DecodeError);
    const whole = Buffer.concat([hex('ff ff'), hex('00 00 00 02 61 62'), hex('ff')]);
    const view = new Uint8Array(whole.buffer, whole.byteOffset + 2, 6);
    const reader = new SshReader(view);
    assert.equal(reader.utf8(), 'ab');
    reader.end();
    assert.equal(reader.offset, 6);
  });

  test('whatever is written is read again', () => {
    const field = fc.oneof(
      fc.record({ kind: fc.constant('byte' as const), value: fc.nat(255) }),
      fc.record({ kind: fc.constant('uint32' as const), value: fc.nat(0xffff_ffff) }),
      fc.record({ kind: fc.constant('uint64' as const), value: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }) }),
      fc.record({ kind: fc.constant('string' as const), value: fc.uint8Array({ maxLength: 600 }) }),
      fc.record({ kind: fc.constant('mpint' as const), value: fc.uint8Array({ maxLength: 100 }) }),
    );
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        const writer = new SshWriter(1);
        for (const { kind, value } of fields) (writer[kind] as (value: unknown) => SshWriter)(value);
        const bytes = writer.finish();
        assert.equal(bytes.length, writer.length);
        const reader = new SshReader(bytes);
        for (const { kind, value } of fields) {
          const read = reader[kind]();
          if (kind !== 'mpint') assert.deepEqual(Buffer.isBuffer(read) ? new Uint8Array(read) : read, value);
          else
            assert.equal(
              BigInt(`0x${(read as Buffer).toString('hex') || '0'}`),
              BigInt(`0x${Buffer.from(value).toString('hex') || '0'}`),
            );
        }
        reader.end();
      }),
    );
  });
});
