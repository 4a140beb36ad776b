// The small decoders that no other file here feeds with random bytes, and the check that none is left out.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../src/core/errors.ts';
import { PayloadReader } from '../../src/wire/mysql/packets.ts';
import { decodeBodyLength, decodeServerError } from '../../src/wire/postgres/messages.ts';
import { decodeClientInfo } from '../../src/wire/rdp/client-info.ts';
import { decodeDerElement, decodeDerElements, decodeDerHeader } from '../../src/wire/rdp/der.ts';
import { decodePerLength } from '../../src/wire/rdp/mcs.ts';
import { decodeSetErrorInfo } from '../../src/wire/rdp/share.ts';
import { decodeCommandHead } from '../../src/wire/redis/resp.ts';
import { decodeSetEncodings, encodeSetEncodings } from '../../src/wire/rfb/client-messages.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Exported decoders that are reached through another one, which is fed: they are never given bytes from outside alone. */
const THROUGH_OTHERS = ['readPublicKeyFields'];

const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const crlf = fc
  .array(fc.constantFrom('*', '$', '\r\n', '1', '3', '-1', '99999999999', 'GET', 'a', '\0', '"', "'", ' '), {
    maxLength: 30,
  })
  .map((parts) => Buffer.from(parts.join(''), 'latin1'));

/** Feeds bytes of every sort; whatever comes out, only `DecodeError` may be thrown. */
function onlyDecodeErrors(decode: (bytes: Buffer) => unknown, bytes: fc.Arbitrary<Buffer> = random): void {
  fc.assert(
    fc.property(bytes, fc.nat(8), (data, offset) => {
      // Somewhere inside of a larger allocation, as bytes from a socket are.
      const shifted = Buffer.concat([Buffer.alloc(offset, 0xff), data, Buffer.alloc(8, 0xff)]);
      try {
        decode(shifted.subarray(offset, offset + data.length));
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: 500 },
  );
}

describe('small decoders: random bytes', () => {
  test('DER', () => {
    onlyDecodeErrors((bytes) => decodeDerHeader(bytes, 0));
    onlyDecodeErrors((bytes) => decodeDerElement(bytes));
    onlyDecodeErrors((bytes) => assert.ok(decodeDerElements(bytes, 16).length <= 16));
  });

  test('PER lengths, Set Error Info, Client Info', () => {
    onlyDecodeErrors((bytes) => decodePerLength(bytes, 0));
    onlyDecodeErrors((bytes) => decodeSetErrorInfo(bytes));
    onlyDecodeErrors((bytes) => decodeClientInfo(bytes));
  });

  test("PostgreSQL's errors and lengths", () => {
    onlyDecodeErrors((bytes) => decodeServerError(bytes));
    const header = fc.uint8Array({ minLength: 5, maxLength: 5 }).map((bytes) => Buffer.from(bytes));
    onlyDecodeErrors((bytes) => {
      const length = decodeBodyLength(bytes, 1_000_000);
      assert.ok(length >= 0 && length <= 1_000_000);
    }, header);
  });

  test('the fields of MySQL packets, in any order', () => {
    const read = fc.constantFrom('u8', 'u16', 'u32', 'nulBytes', 'nulText', 'lenenc', 'rest');
    fc.assert(
      fc.property(random, fc.array(read, { maxLength: 20 }), (bytes, reads) => {
        const reader = new PayloadReader(bytes);
        try {
          for (const name of reads) (reader[name as 'u8'] as () => unknown)();
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
        assert.ok(reader.remaining >= 0 && reader.remaining <= bytes.length);
      }),
      { numRuns: 500 },
    );
  });

  test("Redis' commands", () => {
    onlyDecodeErrors((bytes) => decodeCommandHead(bytes, 0, 3, 100));
    onlyDecodeErrors((bytes) => decodeCommandHead(bytes, 0, 3, 100), crlf);
  });

  test('the encodings of a VNC client come back as they were', () => {
    const encodings = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 100 });
    fc.assert(
      fc.property(encodings, (list) => assert.deepEqual(decodeSetEncodings(encodeSetEncodings(list)), list)),
      { numRuns: 200 },
    );
  });
});

test('every decoder of src/wire is given random input by some test', () => {
  const fuzzed = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: ROOT })
    .map((path) => readFileSync(join(ROOT, path), 'utf8'))
    .filter((text) => text.includes("from 'fast-check'"));
  const missing = globSync('src/wire/*/*.ts', { cwd: ROOT })
    .filter((path) => !path.endsWith('.test.ts'))
    .flatMap((path) => {
      const names = readFileSync(join(ROOT, path), 'utf8').matchAll(
        /^export (?:function\*? ((?:decode|read|parse)\w+)|class (\w+(?:Reader|Splitter|Tap|Inflater|Tracker|Screen|Input)))/gm,
      );
      return [...names].map((match) => match[1] ?? match[2]!);
    })
    .filter((name) => !THROUGH_OTHERS.includes(name))
    .filter((name) => !fuzzed.some((text) => new RegExp(`\\b(?:${name}|messages\\.${name})\\b`).test(text)));
  assert.deepEqual(missing, []);
});
