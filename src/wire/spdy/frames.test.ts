import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { SPDY_DICTIONARY } from './dictionary.ts';
import {
  encodeData,
  encodeGoAway,
  encodePing,
  encodeRstStream,
  encodeSynReply,
  encodeSynStream,
  encodeWindowUpdate,
  SpdyReader,
} from './frames.ts';
import { SpdyHeaderDeflater, SpdyHeaderInflater } from './headers.ts';

function reading(readHeaders = true, wanted = true): { reader: SpdyReader; log: string[] } {
  const log: string[] = [];
  let data: Buffer[] = [];
  const reader = new SpdyReader(
    {
      synStream: (id, headers, fin) =>
        void log.push(
          `syn ${id} ${headers === undefined ? 'unread' : JSON.stringify(Object.fromEntries(headers))} ${fin}`,
        ),
      dataFrame: () => {
        data = [];
        return wanted;
      },
      data: (_id, length, bytes) => {
        if (bytes !== undefined) assert.equal(bytes.length, length);
        data.push(Buffer.from(bytes ?? new Uint8Array(length)));
      },
      dataEnd: (id, fin) => void log.push(`data ${id} ${Buffer.concat(data).toString('hex')} ${fin}`),
      control: (type, id) => void log.push(`control ${type} ${id}`),
    },
    readHeaders,
  );
  return { reader, log };
}

/** What a kubectl sends, with a reply mixed in: the zlib stream goes through all blocks. */
function conversation(): Buffer {
  const deflater = new SpdyHeaderDeflater();
  return Buffer.concat([
    encodeSynStream(1, deflater.encode(new Map([['streamtype', 'error']]))),
    encodePing(7),
    encodeSynStream(3, deflater.encode(new Map([['streamtype', 'stdin']]))),
    encodeSynReply(3, deflater.encode(new Map())),
    encodeData(3, Buffer.from('hello')),
    encodeWindowUpdate(3, 5),
    encodeSynStream(
      5,
      deflater.encode(
        new Map([
          ['streamtype', 'data'],
          ['port', '8080'],
          ['requestid', '0'],
        ]),
      ),
      true,
    ),
    encodeData(3, Buffer.alloc(0), true),
    encodeRstStream(5, 1),
    encodeGoAway(5),
  ]);
}

const EXPECTED = [
  'syn 1 {"streamtype":"error"} false',
  'control 6 0',
  'syn 3 {"streamtype":"stdin"} false',
  'control 2 3',
  'data 3 68656c6c6f false',
  'control 9 3',
  'syn 5 {"streamtype":"data","port":"8080","requestid":"0"} true',
  'data 3  true',
  'control 3 5',
  'control 7 0',
];

describe('SPDY/3.1 frames', () => {
  test('the dictionary is the one that zlib streams of SPDY/3 name', () => {
    let a = 1;
    let b = 0;
    for (const byte of SPDY_DICTIONARY) {
      a = (a + byte) % 65_521;
      b = (b + a) % 65_521;
    }
    // Every SPDY/3 header stream begins 78 bb e3 c6 a7 c2: Adler-32 of the dictionary (RFC 1950 section 2.2).
    assert.equal(((b << 16) | a) >>> 0, 0xe3c6a7c2);
    assert.equal(SPDY_DICTIONARY.length, 1423);
  });

  test('split at every offset', () => {
    const whole = conversation();
    for (let at = 0; at <= whole.length; at += 1) {
      const { reader, log } = reading();
      reader.push(whole.subarray(0, at));
      reader.push(whole.subarray(at));
      assert.deepEqual(log, EXPECTED, `split at ${at}`);
      assert.equal(reader.atBoundary, true);
    }
    const byByte = reading();
    for (const byte of whole) byByte.reader.push(Uint8Array.of(byte));
    assert.deepEqual(byByte.log, EXPECTED);
  });

  test('stops after each frame', () => {
    const whole = conversation();
    const { reader, log } = reading();
    let at = 0;
    let frames = 0;
    while (at < whole.length) {
      at += reader.push(whole.subarray(at), true);
      frames += 1;
      assert.equal(reader.atBoundary, true);
    }
    assert.equal(frames, EXPECTED.length);
    assert.deepEqual(log, EXPECTED);
  });

  test('headers are passed over where they are not read', () => {
    const { reader, log } = reading(false);
    reader.push(conversation());
    assert.equal(log[0], 'syn 1 unread false');
    const stopped = reading();
    const deflater = new SpdyHeaderDeflater();
    stopped.reader.push(encodeSynStream(1, deflater.encode(new Map([['streamtype', 'error']]))));
    stopped.reader.stopReadingHeaders();
    stopped.reader.push(encodeSynStream(3, deflater.encode(new Map([['streamtype', 'stdin']]))));
    assert.deepEqual(stopped.log, ['syn 1 {"streamtype":"error"} false', 'syn 3 unread false']);
  });

  test('knows what the data frame under way still lacks', () => {
    const { reader } = reading();
    reader.push(encodeData(3, Buffer.alloc(100)).subarray(0, 48));
    assert.equal(reader.payloadLeft, 60);
    assert.equal(reader.atBoundary, false);
    reader.push(Buffer.alloc(60));
    assert.equal(reader.payloadLeft, undefined);
    reader.push(encodePing(1).subarray(0, 9));
    assert.equal(reader.payloadLeft, undefined);
    assert.equal(reader.atBoundary, false);
  });

  test('what cannot be right is refused', () => {
    const block = new SpdyHeaderDeflater().encode(new Map([['a', 'b']]));
    const broken = Buffer.from(block);
    broken[0] = 0xff;
    const refused: Readonly<Record<string, Buffer>> = {
      'another version': Buffer.from('8002000600000004', 'hex'),
      'a control frame of a megabyte': Buffer.from('8003000600100000', 'hex'),
      'a SYN_STREAM without its fields': Buffer.from('800300010000000400000001', 'hex'),
      'a RST_STREAM without its fields': Buffer.from('80030003000000020000', 'hex'),
      'headers that are no zlib': encodeSynStream(1, broken),
    };
    for (const [what, bytes] of Object.entries(refused))
      assert.throws(() => reading().reader.push(bytes), DecodeError, what);
  });

  test('a header block that unpacks to much is refused before it does', () => {
    const bomb = new SpdyHeaderDeflater().encode(new Map([['a', '0'.repeat(10_000_000)]]));
    assert.ok(bomb.length < 20_000);
    assert.throws(() => new SpdyHeaderInflater().decode(bomb), DecodeError);
    const many = new SpdyHeaderDeflater().encode(new Map(Array.from({ length: 100 }, (_, i) => [`h${i}`, 'v'])));
    assert.throws(() => new SpdyHeaderInflater().decode(many), DecodeError);
  });

  test('round trips of headers, block after block', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '0', '-', ' '), maxLength: 20 });
    fc.assert(
      fc.property(fc.array(fc.dictionary(text, text, { maxKeys: 5 }), { maxLength: 10 }), (blocks) => {
        const deflater = new SpdyHeaderDeflater();
        const inflater = new SpdyHeaderInflater();
        for (const block of blocks) {
          const decoded = inflater.decode(deflater.encode(new Map(Object.entries(block))));
          assert.deepEqual(Object.fromEntries(decoded), { ...block });
        }
      }),
    );
  });

  test('any bytes, also mutations of real ones: nothing but DecodeError', () => {
    const real = conversation();
    const mutated = fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 8 }).map((changes) => {
      const bytes = Buffer.from(real);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(mutated, random), fc.boolean(), (bytes, stop) => {
        const { reader } = reading();
        try {
          let at = 0;
          while (at < bytes.length) {
            const read = reader.push(bytes.subarray(at), stop);
            assert.ok(read > 0);
            at += read;
          }
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
