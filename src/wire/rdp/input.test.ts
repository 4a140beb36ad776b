import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeFastPathInput, decodeSlowPathInput } from './input.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('RDP input: what a hand does (SPEC 2.3)', () => {
  for (const [what, bytes, person] of [
    ['a key pressed', '04 04 00 1e', true],
    ['a key released', '04 04 01 1e', false],
    ['an extended key released', '04 04 03 52', false],
    ['a Unicode key pressed', '04 05 80 4100', true],
    ['a Unicode key released', '04 05 81 4100', false],
    ['synchronize', '04 03 60', false],
    ['the pointer moved', '04 09 20 0008 2c01 c800', true],
    ['a button pressed', '04 09 20 0090 2c01 c800', true],
    ['a button released', '04 09 20 0010 2c01 c800', false],
    ['the wheel', '04 09 20 7802 0000 0000', true],
    ['the wheel sideways', '04 09 20 7804 0000 0000', true],
    ['an extended button pressed', '04 09 40 0180 0000 0000', true],
    ['an extended button released', '04 09 40 0100 0000 0000', false],
    ['a relative movement', '04 09 a0 0000 0100 0100', true],
    ['a timestamp of quality', '04 07 c0 01000000', false],
    ['releases as a browser sends them on blur', '0c 07 01 1d 01 2a 60', false],
    ['synchronize, then a press', '08 05 60 00 1e', true],
    ['no events, the count in its own byte', '00 03 00', false],
    ['one event, the count in its own byte, a long length', '00 8006 01 00 1e', true],
  ] as const) {
    test(what, () => {
      assert.equal(decodeFastPathInput(hex(bytes)).person, person);
    });
  }

  test('every cut and every byte too many is refused', () => {
    const whole = hex('0c 0d 00 1e 20 0008 2c01 c800 80 4100');
    assert.deepEqual(decodeFastPathInput(whole), { events: 3, person: true });
    for (let end = 0; end < whole.length; end += 1) {
      assert.throws(() => decodeFastPathInput(whole.subarray(0, end)), { code: 'decode' });
    }
    assert.throws(() => decodeFastPathInput(Buffer.concat([whole, Buffer.alloc(1)])), /after the last/);
    assert.throws(() => decodeFastPathInput(hex('84 04 00 1e')), /encrypted/);
    assert.throws(() => decodeFastPathInput(hex('04 03 e0')), /event code 7/);
  });

  test('the slow path says the same', () => {
    const event = (type: number, flags: number) => {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt16LE(type, 4);
      bytes.writeUInt16LE(flags, 6);
      return bytes;
    };
    const pdu = (...events: Buffer[]) => {
      const head = Buffer.alloc(4);
      head.writeUInt16LE(events.length, 0);
      return Buffer.concat([head, ...events]);
    };
    for (const [type, flags, person] of [
      [0x0000, 0, false],
      [0x0004, 0x4000, true],
      [0x0004, 0x8000, false],
      [0x0005, 0, true],
      [0x8001, 0x0800, true],
      [0x8001, 0x1000, false],
      [0x8002, 0x8001, true],
      [0x8002, 0x0001, false],
      [0x8004, 0, true],
      [0x0002, 0, false],
    ] as const) {
      assert.equal(decodeSlowPathInput(pdu(event(type, flags))).person, person, `${type} ${flags}`);
    }
    const two = pdu(event(0, 0), event(4, 0));
    assert.deepEqual(decodeSlowPathInput(two), { events: 2, person: true });
    for (let end = 0; end < two.length; end += 1) {
      assert.throws(() => decodeSlowPathInput(two.subarray(0, end)), { code: 'decode' });
    }
  });
});
