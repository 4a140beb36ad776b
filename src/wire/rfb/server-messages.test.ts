import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodePixelFormat } from './pixel-format.ts';
import { RfbServerSplitter } from './server-messages.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const FORMAT = decodePixelFormat(hex('20 18 00 01 00ff 00ff 00ff 10 08 00 000000'), 0);
const FORMAT16 = decodePixelFormat(hex('10 10 00 01 001f 003f 001f 0b 05 00 000000'), 0);

/** A rectangle of an update: size, encoding, contents. */
function rect(width: number, height: number, encoding: number, ...contents: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(width, 4);
  head.writeUInt16BE(height, 6);
  head.writeInt32BE(encoding, 8);
  return Buffer.concat([head, ...contents]);
}

function update(...rects: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(rects.length, 2);
  return Buffer.concat([head, ...rects]);
}

// Contents that begin like the clipboard's message: whoever loses the way takes them for one.
const noise = (length: number): Buffer => Buffer.alloc(length, hex('03 000000 00000001'));

const CUT = hex('03 000000 00000005 68656c6c6f');
const PROVIDE = hex('03 000000 fffffff8 10000001 78da0304');
const CAPS = hex('03 000000 fffffff8 1f000001 00100000');

/** Everything but the clipboard, in every encoding that is followed. */
const OTHERS = [
  update(rect(3, 2, 0, noise(24)), rect(5, 5, 1, noise(4)), rect(9, 9, 16, hex('00000007'), noise(7))),
  update(rect(9, 9, 6, hex('00000003'), noise(3)), rect(9, 9, 50, hex('00000005 00000001'), noise(5))),
  // Tight: fill, JPEG with lengths of one, two and three bytes, PNG.
  update(
    rect(9, 9, 7, hex('80'), noise(3)),
    rect(9, 9, 7, hex('90 05'), noise(5)),
    rect(9, 9, 7, hex('90 c8 01'), noise(200)),
    rect(9, 9, 7, hex('90 80 80 01'), noise(16_384)),
    rect(9, 9, -260, hex('a0 05'), noise(5)),
  ),
  // Tight: too small to be compressed, compressed, two colours, many colours, gradient.
  update(
    rect(1, 1, 7, hex('00'), noise(3)),
    rect(2, 2, 7, hex('00 04'), noise(4)),
    rect(16, 2, 7, hex('40 01 01'), noise(6), noise(4)),
    rect(64, 4, 7, hex('40 01 01'), noise(6), hex('08'), noise(8)),
    rect(2, 2, 7, hex('40 01 03'), noise(12), noise(4)),
    rect(8, 8, 7, hex('70 02 09'), noise(9)),
  ),
  update(
    rect(800, 600, -223),
    rect(0, 0, -258),
    rect(0, 0, -316),
    rect(0, 0, -261, noise(1)),
    rect(0, 0, -307, hex('00000004'), noise(4)),
    rect(800, 600, -308, hex('02 000000'), noise(32)),
    rect(9, 3, -239, noise(9 * 3 * 4 + 2 * 3)),
    rect(2, 2, 0x574d_5664, hex('01 00'), noise(16)),
    rect(2, 2, 0x574d_5664, hex('00 00'), noise(32)),
  ),
  // LastRect ends an update that promised more.
  Buffer.concat([hex('00 00 ffff'), rect(1, 1, 0, noise(4)), rect(0, 0, -224)]),
  hex('01 00 0000 0002 000000000000 ffffffffffff'),
  hex('02'),
  hex('96'),
  hex('f8 000000 00000001 04 03000000'),
];

function clipboardOf(splitter: RfbServerSplitter, chunks: readonly Buffer[]) {
  const pieces = chunks.flatMap((chunk) => splitter.push(chunk));
  const join = (cutText: boolean) =>
    Buffer.concat(pieces.filter((piece) => piece.cutText === cutText).map((piece) => piece.data));
  return {
    all: Buffer.concat(pieces.map((piece) => piece.data)),
    clipboard: join(true),
    rest: join(false),
    lengths: pieces.flatMap((piece) => (piece.textLength === undefined ? [] : [piece.textLength])),
  };
}

describe('RFB server messages', () => {
  const messages = OTHERS.flatMap((other, i) => [other, [CUT, PROVIDE, CAPS][i % 3]!]);
  const stream = Buffer.concat(messages);
  const clipboard = Buffer.concat(OTHERS.map((_, i) => [CUT, PROVIDE, CAPS][i % 3]!));

  test('the clipboard is found between updates of every encoding, whole and split at every offset', () => {
    const whole = clipboardOf(new RfbServerSplitter(FORMAT), [stream]);
    assert.ok(whole.all.equals(stream));
    assert.ok(whole.clipboard.equals(clipboard));
    assert.ok(whole.rest.equals(Buffer.concat(OTHERS)));
    assert.deepEqual(
      whole.lengths,
      OTHERS.map((_, i) => [5, 4, 0][i % 3]!),
    );
    for (let cut = 0; cut < stream.length; cut += cut > 1_000 && cut < stream.length - 1_000 ? 97 : 1) {
      const parts = clipboardOf(new RfbServerSplitter(FORMAT), [stream.subarray(0, cut), stream.subarray(cut)]);
      assert.ok(parts.all.equals(stream));
      assert.ok(parts.clipboard.equals(clipboard), `cut at ${cut}`);
      assert.deepEqual(parts.lengths, whole.lengths);
    }
  });

  test('byte by byte, nothing is kept back', () => {
    const splitter = new RfbServerSplitter(FORMAT);
    for (const byte of stream) {
      const pieces = splitter.push(Buffer.from([byte]));
      assert.equal(pieces.length, 1);
      assert.equal(pieces[0]!.data[0], byte);
    }
  });

  test('lengths follow the pixel format that the client has set', () => {
    const splitter = new RfbServerSplitter(FORMAT);
    splitter.setPixelFormat(FORMAT16);
    const small = [update(rect(3, 2, 0, noise(12)), rect(9, 9, 7, hex('80'), noise(2))), CUT];
    assert.ok(clipboardOf(splitter, small).clipboard.equals(CUT));
  });

  test('refused: messages and encodings that nobody asked for', () => {
    for (const bytes of [
      hex('04'),
      hex('fa 00 01 02'),
      update(rect(1, 1, 5)),
      update(rect(1, 1, 21)),
      update(rect(1, 1, 7, hex('f0'))),
      update(rect(1, 1, 7, hex('40 05'))),
      update(rect(1, 1, 0x574d_5664, hex('02 00'))),
      hex('03 000000 ffffffff'),
    ]) {
      assert.throws(() => new RfbServerSplitter(FORMAT).push(bytes), { code: 'decode' }, bytes.toString('hex'));
    }
    assert.throws(() => decodePixelFormat(hex('18 18 00 01'), 0), { code: 'decode' });
    assert.throws(() => decodePixelFormat(Buffer.alloc(16, 24), 0), /24 bits/);
  });
});
