import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { encodeClose, encodeFrame, unmask, WebSocketReader, WS_BINARY, WS_CLOSE, WS_PING, WS_TEXT } from './frames.ts';

const MASK = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d);

/** Reads with everything wanted and tells it as lines of text. */
function reading(masked: boolean, wanted = true): { reader: WebSocketReader; log: string[] } {
  const log: string[] = [];
  let data: Buffer[] = [];
  const reader = new WebSocketReader(
    {
      message: (opcode, first) => {
        log.push(`message ${opcode} ${first ?? 'empty'}`);
        data = [];
        return wanted;
      },
      data: (length, bytes) => {
        if (bytes !== undefined) assert.equal(bytes.length, length);
        data.push(Buffer.from(bytes ?? new Uint8Array(length)));
      },
      messageEnd: () => void log.push(`end ${Buffer.concat(data).toString('hex')}`),
      control: (opcode, payload) => void log.push(`control ${opcode} ${Buffer.from(payload).toString('hex')}`),
    },
    masked,
  );
  return { reader, log };
}

describe('WebSocket frames', () => {
  test('the examples of RFC 6455 section 5.7', () => {
    const client = reading(true);
    client.reader.push(Buffer.from('818537fa213d7f9f4d5158', 'hex'));
    assert.deepEqual(client.log, ['message 1 72', 'end 48656c6c6f']);
    const server = reading(false);
    server.reader.push(Buffer.from('010348656c80026c6f', 'hex'));
    server.reader.push(Buffer.from('890548656c6c6f', 'hex'));
    assert.deepEqual(server.log, ['message 1 72', 'end 48656c6c6f', 'control 9 48656c6c6f']);
    assert.equal(encodeFrame(WS_TEXT, Buffer.from('Hello')).toString('hex'), '810548656c6c6f');
    assert.equal(encodeFrame(WS_TEXT, Buffer.from('Hello'), MASK).toString('hex'), '818537fa213d7f9f4d5158');
    assert.equal(encodeFrame(WS_BINARY, Buffer.alloc(256)).subarray(0, 4).toString('hex'), '827e0100');
    assert.equal(encodeFrame(WS_BINARY, Buffer.alloc(65_536)).subarray(0, 10).toString('hex'), '827f0000000000010000');
  });

  test('split at every offset, with control frames between fragments', () => {
    const parts = [
      Buffer.from('0283', 'hex'),
      MASK,
      unmask(Buffer.from([0, 1, 2]), MASK, 0),
      encodeFrame(WS_PING, Buffer.from('still here'), MASK),
      Buffer.from('8085', 'hex'),
      MASK,
      unmask(Buffer.from([3, 4, 5, 6, 7]), MASK, 0),
      encodeFrame(WS_BINARY, Buffer.alloc(0), MASK),
      encodeFrame(WS_BINARY, Buffer.alloc(300, 7), MASK),
      encodeClose(1000, 'done', MASK),
    ];
    const whole = Buffer.concat(parts);
    const expected = reading(true);
    expected.reader.push(whole);
    assert.equal(expected.log.length, 8);
    assert.equal(expected.log[2], 'end 0001020304050607');
    for (let at = 0; at <= whole.length; at += 1) {
      const { reader, log } = reading(true);
      reader.push(whole.subarray(0, at));
      reader.push(whole.subarray(at));
      assert.deepEqual(log, expected.log, `split at ${at}`);
      assert.equal(reader.atMessageBoundary, true);
    }
    const byByte = reading(true);
    for (const byte of whole) byByte.reader.push(Uint8Array.of(byte));
    assert.deepEqual(byByte.log, expected.log);
  });

  test('stops where a message ends, and nowhere between its fragments', () => {
    const fragmented = Buffer.from('020100000101800102', 'hex');
    const next = encodeFrame(WS_BINARY, Buffer.from([1, 2]));
    const whole = Buffer.concat([fragmented, next]);
    const { reader } = reading(false);
    assert.equal(reader.push(whole, true), fragmented.length);
    assert.equal(reader.push(whole.subarray(fragmented.length), true), next.length);
    const half = reading(false);
    assert.equal(half.reader.push(whole.subarray(0, 4), true), 4);
    assert.equal(half.reader.atMessageBoundary, false);
    assert.equal(half.reader.payloadLeft, undefined, 'a header is under way');
  });

  test('knows what the frame under way still lacks', () => {
    const { reader } = reading(false);
    reader.push(encodeFrame(WS_BINARY, Buffer.alloc(100)).subarray(0, 42));
    assert.equal(reader.payloadLeft, 60);
    reader.push(Buffer.alloc(60));
    assert.equal(reader.payloadLeft, undefined);
    assert.equal(reader.atMessageBoundary, true);
  });

  test('what RFC 6455 forbids is refused', () => {
    const refused: Readonly<Record<string, [masked: boolean, hex: string]>> = {
      'an extension bit': [false, 'c100'],
      'a client frame without a mask': [true, '8100'],
      'a server frame with one': [false, '818000000000'],
      'an unknown data opcode': [false, '8300'],
      'an unknown control opcode': [false, '8b00'],
      'a fragmented ping': [false, '0900'],
      'a long ping': [false, '897e0100'],
      'a continuation of nothing': [false, '8000'],
      'a new message inside another': [false, '01008100'],
      'a frame of more than a gibibyte': [false, '827f0000000100000000'],
    };
    for (const [what, [masked, hex]] of Object.entries(refused)) {
      const bytes = Buffer.from(hex, 'hex');
      assert.throws(() => reading(masked).reader.push(bytes), DecodeError, what);
    }
  });

  test('masking in words is masking in bytes, from any offset', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 50 }),
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.nat(9),
        (bytes, mask, offset) => {
          const expected = bytes.map((byte, i) => byte ^ mask[(offset + i) & 3]!);
          assert.deepEqual([...unmask(bytes, mask, offset)], [...expected]);
        },
      ),
    );
  });

  test('round trips in any pieces, wanted or not', () => {
    const message = fc.tuple(fc.constantFrom(WS_TEXT, WS_BINARY), fc.uint8Array({ maxLength: 400 }));
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat(3000), { maxLength: 10 }),
        (messages, masked, wanted, cuts) => {
          const whole = Buffer.concat(
            messages.map(([opcode, payload]) => encodeFrame(opcode, payload, masked ? MASK : undefined)),
          );
          const offsets = [...new Set([0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length])].sort(
            (a, b) => a - b,
          );
          const { reader, log } = reading(masked, wanted);
          for (let i = 1; i < offsets.length; i += 1) reader.push(whole.subarray(offsets[i - 1]!, offsets[i]!));
          const expected = messages.flatMap(([opcode, payload]) => [
            `message ${opcode} ${payload[0] ?? 'empty'}`,
            `end ${Buffer.from(wanted ? payload : new Uint8Array(payload.length)).toString('hex')}`,
          ]);
          assert.deepEqual(log, expected);
        },
      ),
    );
  });

  test('any bytes: nothing but DecodeError', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), fc.boolean(), (pieces, masked) => {
        const { reader } = reading(masked);
        try {
          for (const piece of pieces) reader.push(piece, piece.length % 2 === 0);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a close reason is cut between characters', () => {
    const frame = encodeClose(1011, 'ü'.repeat(100));
    assert.equal(frame[0], 0x80 | WS_CLOSE);
    assert.ok(frame[1]! <= 125);
    assert.match(frame.subarray(4).toString(), /^ü+$/);
  });
});
