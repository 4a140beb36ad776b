import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { CAPABILITY, OFFERED_CAPABILITIES } from './capabilities.ts';
import {
  decodeChangeUser,
  decodeHandshakeResponse,
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeHandshakeV10,
  encodeSslRequest,
  isSslRequest,
} from './handshake.ts';
import { decodeError, encodeError } from './packets.ts';

const SALT = Buffer.from('0123456789abcdefghij');

/** HandshakeV10 of a Debian MariaDB 10.11, as it came. */
const MARIADB_GREETING = Buffer.from(
  '0a352e352e352d31302e31312e31392d4d6172696144422d302b6465623132753100030000007c4939223c49387c00fef7080200ff81150000000000001d0000002b5e765a3c5f493053313a6e006d7973716c5f6e61746976655f70617373776f726400',
  'hex',
);

function never(bytes: Buffer, decode: (bytes: Buffer) => unknown): void {
  try {
    decode(bytes);
  } catch (error) {
    assert.ok(error instanceof DecodeError, String(error));
  }
}

describe('the MySQL handshake', () => {
  test('the greeting of a real MariaDB', () => {
    const greeting = decodeHandshakeV10(MARIADB_GREETING);
    assert.equal(greeting.serverVersion, '5.5.5-10.11.19-MariaDB-0+deb12u1');
    assert.equal(greeting.threadId, 3);
    assert.equal(greeting.salt.toString(), '|I9"<I8|+^vZ<_I0S1:n');
    assert.equal(greeting.plugin, 'mysql_native_password');
    assert.equal(greeting.capabilities & CAPABILITY.deprecateEof, CAPABILITY.deprecateEof);
    for (let end = 0; end < MARIADB_GREETING.length; end++)
      never(MARIADB_GREETING.subarray(0, end), decodeHandshakeV10);
  });

  test('our own greeting reads as we meant it', () => {
    const greeting = {
      serverVersion: '8.0.36-Nightlatch',
      threadId: 0x8000_0001,
      salt: SALT,
      capabilities: OFFERED_CAPABILITIES,
      plugin: 'mysql_native_password',
    };
    assert.deepEqual(decodeHandshakeV10(encodeHandshakeV10(greeting)), greeting);
  });

  test('a handshake response survives encoding, whatever fields it has', () => {
    fc.assert(
      fc.property(
        fc.record({
          flags: fc.subarray([
            CAPABILITY.connectWithDb,
            CAPABILITY.pluginAuth,
            CAPABILITY.connectAttributes,
            CAPABILITY.pluginAuthLenenc,
          ]),
          user: fc.string({ unit: 'grapheme-ascii' }),
          authData: fc.uint8Array({ maxLength: 250 }),
          database: fc.string({ unit: 'grapheme-ascii' }),
          attributes: fc.uint8Array({ maxLength: 700 }),
        }),
        ({ flags, user, authData, database, attributes }) => {
          const has = (flag: number): boolean => flags.includes(flag);
          const response = {
            capabilities: flags.reduce((a, b) => a | b, CAPABILITY.protocol41 | CAPABILITY.secureConnection),
            maxPacket: 0x100_0000,
            charset: 45,
            user,
            authData: Buffer.from(authData),
            database: has(CAPABILITY.connectWithDb) ? database : '',
            plugin: has(CAPABILITY.pluginAuth) ? 'mysql_native_password' : '',
            attributes: has(CAPABILITY.connectAttributes) ? Buffer.from(attributes) : Buffer.alloc(0),
          };
          const encoded = encodeHandshakeResponse(response);
          assert.deepEqual(decodeHandshakeResponse(encoded), response);
          for (let end = 0; end < encoded.length; end += 7) never(encoded.subarray(0, end), decodeHandshakeResponse);
        },
      ),
    );
  });

  test('a request for TLS is told from a response', () => {
    const flags = CAPABILITY.protocol41 | CAPABILITY.tls;
    assert.ok(isSslRequest(encodeSslRequest(flags, 1, 45)));
    assert.ok(!isSslRequest(Buffer.alloc(32)));
    assert.ok(!isSslRequest(Buffer.alloc(4)));
    assert.throws(() => decodeHandshakeResponse(Buffer.alloc(64)), DecodeError);
  });

  test('ERR with and without an SQLSTATE', () => {
    assert.deepEqual(decodeError(encodeError(4031, 'HY000', 'Session ended: no activity.')), {
      code: 4031,
      message: 'Session ended: no activity.',
    });
    assert.deepEqual(decodeError(Buffer.from('\xff\x10\x04Too many connections', 'latin1')), {
      code: 1040,
      message: 'Too many connections',
    });
  });

  test('random bytes are a DecodeError at most', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const buffer = Buffer.from(bytes);
        never(buffer, decodeHandshakeResponse);
        never(buffer, decodeHandshakeV10);
        never(Buffer.concat([Buffer.from([10]), buffer]), decodeHandshakeV10);
        never(buffer, (payload) => decodeChangeUser(payload, OFFERED_CAPABILITIES));
      }),
      { numRuns: 2_000 },
    );
  });
});
