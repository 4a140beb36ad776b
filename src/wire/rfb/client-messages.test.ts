import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  cutTextLength,
  decodeSetEncodings,
  encodeSetEncodings,
  type RfbClientMessage,
  RfbClientSplitter,
} from './client-messages.ts';
import { isFollowedEncoding } from './server-messages.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** One of each: what it is, its bytes, whether a hand did it. */
const MESSAGES = [
  ['SetPixelFormat', hex('00 000000 20 18 00 01 00ff 00ff 00ff 00 08 10 000000'), false],
  ['SetEncodings', hex('02 00 0002 00000007 ffffff21'), false],
  ['FramebufferUpdateRequest', hex('03 01 0000 0000 0320 0258'), false],
  ['KeyEvent', hex('04 01 0000 0000ff0d'), true],
  ['KeyEvent', hex('04 00 0000 0000ff0d'), false],
  ['PointerEvent', hex('05 00 0064 00c8'), true],
  ['PointerEvent', hex('05 81 0064 00c8 01'), true],
  ['ClientCutText', hex('06 000000 00000003 616263'), false],
  ['ClientCutText', hex('06 000000 fffffffc 08000001'), false],
  ['EnableContinuousUpdates', hex('96 01 0000 0000 0320 0258'), false],
  ['ClientFence', hex('f8 000000 80000001 02 abcd'), false],
  ['xvp', hex('fa 00 01 02'), false],
  ['SetDesktopSize', hex('fb 00 0280 01e0 01 00 00000000 0000 0000 0280 01e0 00000000'), false],
  ['QemuExtendedKeyEvent', hex('ff 00 0001 00000061 0000001e'), true],
  ['QemuExtendedKeyEvent', hex('ff 00 0000 00000061 0000001e'), false],
] as const;
const STREAM = Buffer.concat(MESSAGES.map(([, bytes]) => bytes));

function assertAll(messages: readonly RfbClientMessage[]): void {
  assert.deepEqual(
    messages.map(({ type, data, person }) => [type, data.toString('hex'), person]),
    MESSAGES.map(([type, data, person]) => [type, data.toString('hex'), person]),
  );
}

describe('RFB client messages', () => {
  test('whole, split at every offset, and byte by byte', () => {
    assertAll(new RfbClientSplitter().push(STREAM));
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      const splitter = new RfbClientSplitter();
      assertAll([...splitter.push(STREAM.subarray(0, cut)), ...splitter.push(STREAM.subarray(cut))]);
    }
    const splitter = new RfbClientSplitter();
    assertAll([...STREAM].flatMap((byte) => splitter.push(Buffer.from([byte]))));
  });

  test('refused: unknown messages, and counts and lengths beyond their limits', () => {
    for (const bytes of [
      '07',
      'ff 01 0000',
      '02 00 0101',
      '06 000000 7fffffff',
      '06 000000 80000000',
      'f8 000000 00000000 41',
      'fb 00 0280 01e0 41 00',
    ]) {
      assert.throws(() => new RfbClientSplitter().push(hex(bytes)), { code: 'decode' }, bytes);
    }
    assert.throws(() => new RfbClientSplitter(10).push(hex('06 000000 0000000b')), /11 bytes/);
  });

  test('how much text there is: plain, provided, and merely announced', () => {
    assert.equal(cutTextLength(hex('06 000000 00000003 616263')), 3);
    assert.equal(cutTextLength(hex('06 000000 fffffff8 10000001 78da0304')), 4);
    assert.equal(cutTextLength(hex('06 000000 fffffffc 08000001')), 0);
    assert.equal(cutTextLength(hex('06 000000 fffffff8 1f000001 00100000')), 0, 'the list of what is supported');
    assert.equal(cutTextLength(hex('06 000000 ffffffff 00')), 0);
  });

  test('encodings: those that can be followed to the next message', () => {
    const asked = [50, 7, -260, 16, 21, 5, 2, 6, 1, 0, -26, -254, -223, -224, -309, -312, -313, -307, -308, -316];
    const kept = asked.filter(isFollowedEncoding);
    assert.deepEqual(
      asked.filter((encoding) => !kept.includes(encoding)),
      [21, 5, 2, -309],
    );
    assert.deepEqual(decodeSetEncodings(encodeSetEncodings(kept)), kept);
  });
});
