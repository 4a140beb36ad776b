// What reads TLS from the network: the ClientHello, and protected records, random and changed.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../src/core/errors.ts';
import { RecordReader } from '../../src/gateways/common/tls/record-reader.ts';
import { TlsAlertError } from '../../src/wire/tls/alert.ts';
import { decodeClientHello } from '../../src/wire/tls/client-hello.ts';
import { cryptoRecord, testKeys, testRecords } from '../fixtures/tls.ts';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

function vector(lengthBytes: number, content: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(content.length, 0, lengthBytes);
  return Buffer.concat([length, content]);
}

/** ClientHellos with extensions of every sort, well-formed on the outside. */
const hello = fc
  .array(
    fc.tuple(
      fc.constantFrom(0, 16, 43, 51, 10, 0xfafa),
      fc.oneof(
        bytes(30),
        bytes(10).map((one) => vector(2, one)),
      ),
    ),
    {
      maxLength: 8,
    },
  )
  .map((extensions) =>
    Buffer.concat([
      Buffer.alloc(34, 3),
      vector(1, Buffer.alloc(32)),
      vector(2, Buffer.from([0x13, 1])),
      vector(1, Buffer.from([0])),
      vector(
        2,
        Buffer.concat(
          extensions.map(([type, content]) =>
            Buffer.concat([Buffer.from([type >>> 8, type & 0xff]), vector(2, content)]),
          ),
        ),
      ),
    ]),
  )
  .map((body) =>
    Buffer.concat([Buffer.from([22, 3, 1]), vector(2, Buffer.concat([Buffer.from([1]), vector(3, body)]))]),
  );

/** The same bytes with some of them changed, and perhaps less of them. */
const mutated = (original: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc
    .tuple(original, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat(), fc.boolean())
    .map(([bytesOf, changes, cut, cuts]) => {
      const copy = Buffer.from(bytesOf);
      for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
      return cuts && copy.length > 0 ? copy.subarray(0, cut % copy.length) : copy;
    });

describe('ClientHello', () => {
  for (const [name, arbitrary] of [
    ['random', bytes(300)],
    ['of random extensions', hello],
    ['changed', mutated(hello)],
  ] as const) {
    test(name, () => {
      fc.assert(
        fc.property(arbitrary, fc.nat(8), (data, offset) => {
          const shifted = Buffer.concat([Buffer.alloc(offset, 0xff), data, Buffer.alloc(8, 0xff)]);
          try {
            const decoded = decodeClientHello(shifted.subarray(offset, offset + data.length));
            assert.ok(decoded === undefined || Array.isArray(decoded.alpn));
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }),
        { numRuns: 2000 },
      );
    });
  }
});

const keys = testKeys();
/** Records that are authentic, with whatever in them. */
const authentic = fc
  .array(
    fc.tuple(
      fc.constantFrom(23, 23, 23, 22, 21, 20, 24, 0),
      fc.oneof(
        bytes(60),
        fc.constantFrom([24, 0, 0, 1, 0], [24, 0, 0, 1, 1], [1, 90], [1, 0], [24, 0]).map((one) => Buffer.from(one)),
      ),
      fc.nat(20),
    ),
    { maxLength: 12 },
  )
  .map((records) =>
    Buffer.concat(
      records.map(([type, content, padding], sequence) =>
        cryptoRecord(
          keys.suite,
          keys.clientSecret,
          sequence,
          Buffer.concat([content, Buffer.from([type]), Buffer.alloc(padding)]),
        ),
      ),
    ),
  );

describe('records', () => {
  for (const [name, arbitrary] of [
    ['random', bytes(400)],
    ['with a header that is right', bytes(60).map((body) => Buffer.concat([Buffer.from([23, 3, 3]), vector(2, body)]))],
    ['authentic', authentic],
    ['changed', mutated(authentic)],
  ] as const) {
    for (const role of ['server', 'client'] as const) {
      test(`${name}, to a ${role}`, () => {
        const used = role === 'server' ? keys : { ...keys, serverSecret: keys.clientSecret };
        fc.assert(
          fc.property(arbitrary, fc.array(fc.nat(100), { maxLength: 20 }), (data, cuts) => {
            const records = testRecords(role, used);
            const reader = new RecordReader(records);
            let content = 0;
            let failed = false;
            const pieces = [...cuts.filter((cut) => cut > 0), data.length];
            for (let at = 0, i = 0; at < data.length; i++) {
              const piece = data.subarray(at, at + pieces[i]!);
              at += piece.length;
              const before = content;
              const guard = Buffer.alloc(16, 0xa5);
              const buffer = Buffer.concat([guard, piece, guard]);
              try {
                reader.feed(buffer.subarray(16, 16 + piece.length), piece.length, (part) => {
                  content += part.length;
                });
                if (failed) assert.equal(content, before, 'content behind a failure');
              } catch (error) {
                assert.ok(!failed, 'it failed twice');
                failed = true;
                assert.ok(error instanceof TlsAlertError, String(error));
              }
              assert.ok(buffer.subarray(0, 16).equals(guard) && buffer.subarray(16 + piece.length).equals(guard));
            }
            assert.ok(content <= data.length);
            // Whatever came, what is sealed then is a record that the other end can open.
            const out = Buffer.alloc(200);
            assert.ok(records.seal(Buffer.from('x'), 0, 1, out, 0) >= 23);
          }),
          { numRuns: 1000 },
        );
      });
    }
  }
});
