import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import {
  decodeStartup,
  decodeStartupLength,
  encodeCancelRequest,
  encodeSslRequest,
  encodeStartup,
  MAX_STARTUP_LENGTH,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
} from './startup.ts';

const body = (packet: Buffer) => {
  assert.equal(decodeStartupLength(packet), packet.length - 4);
  return packet.subarray(4);
};

describe('startup packets', () => {
  test('as libpq sends them', () => {
    const packet = Buffer.from('00000021000300007573657200616c696365006461746162617365006170700000', 'hex');
    const startup = decodeStartup(body(packet));
    assert.deepEqual(startup, {
      kind: 'startup',
      protocol: PROTOCOL_3_0,
      parameters: new Map([
        ['user', 'alice'],
        ['database', 'app'],
      ]),
    });
    assert.deepEqual(decodeStartup(body(encodeSslRequest())), { kind: 'ssl' });
    assert.equal(encodeSslRequest().toString('hex'), '0000000804d2162f');
    assert.deepEqual(decodeStartup(Buffer.from('04d21630', 'hex')), { kind: 'gssenc' });
  });

  test('cancel requests with secrets of 4 and of up to 256 bytes', () => {
    for (const length of [4, 32, 256]) {
      const secret = Buffer.alloc(length, 7);
      assert.deepEqual(decodeStartup(body(encodeCancelRequest(4711, secret))), {
        kind: 'cancel',
        processId: 4711,
        secret,
      });
    }
    assert.throws(() => decodeStartup(body(encodeCancelRequest(1, Buffer.alloc(3)))), DecodeError);
    assert.throws(() => decodeStartup(body(encodeCancelRequest(1, Buffer.alloc(257)))), DecodeError);
  });

  test('lengths that no startup packet has', () => {
    for (const length of [0, 7, MAX_STARTUP_LENGTH + 1, 0x16030100]) {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(length);
      assert.throws(() => decodeStartupLength(header), DecodeError);
    }
  });

  test('parameters survive the round trip', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((s) => !s.includes('\0') && s.isWellFormed());
    const name = text.filter((s) => s !== '');
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, text), { maxLength: 8, selector: ([key]) => key }), (pairs) => {
        const packet = encodeStartup(PROTOCOL_3_2, new Map(pairs));
        assert.deepEqual(decodeStartup(body(packet)), {
          kind: 'startup',
          protocol: PROTOCOL_3_2,
          parameters: new Map(pairs),
        });
      }),
    );
  });

  test('random bytes give nothing but DecodeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, known) => {
        const input = Buffer.from(bytes);
        if (known && input.length >= 4) input.writeUInt32BE(PROTOCOL_3_0);
        try {
          decodeStartup(input);
        } catch (error) {
          assert.ok(error instanceof DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
