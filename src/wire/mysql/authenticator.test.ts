import assert from 'node:assert/strict';
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { cachingSha2Scramble, MysqlAuthenticator, nativeScramble } from './authenticator.ts';
import { signWithPassword } from './ed25519-password.ts';
import { encodeAuthSwitch } from './handshake.ts';

const require = createRequire(import.meta.url);
/** The other implementation's parts, which it does not export. */
const MYSQL2 = join(dirname(require.resolve('mysql2')), 'lib');
const mysql2 = require(join(MYSQL2, 'auth_41.js')) as {
  calculateToken(password: string, salt1: Buffer, salt2: Buffer): Buffer;
};
const SALT = Buffer.from('0123456789abcdefghij');
const PASSWORD = 'pass wörd';
const secret = new Secret(PASSWORD);
const PLAIN = { encrypted: false, verified: false };
const OVER_TLS = { encrypted: true, verified: true };

function sent(step: ReturnType<MysqlAuthenticator['answer']>): Buffer {
  assert.equal(step.kind, 'send');
  return step.kind === 'send' ? step.payload : Buffer.alloc(0);
}

describe('authentication at a MySQL server', () => {
  test('mysql_native_password: the scramble is the one of mysql2', () => {
    assert.deepEqual(
      nativeScramble(Buffer.from(PASSWORD), SALT),
      mysql2.calculateToken(PASSWORD, SALT.subarray(0, 8), SALT.subarray(8)),
    );
    assert.equal(nativeScramble(Buffer.alloc(0), SALT).length, 0);
  });

  test('caching_sha2_password: the scramble is the one of mysql2', () => {
    const plugin = require(join(MYSQL2, 'auth_plugins', 'caching_sha2_password.js')) as () => (context: {
      connection: { config: { password: string } };
    }) => (data: Buffer) => Buffer;
    const token = plugin()({ connection: { config: { password: PASSWORD } } })(Buffer.concat([SALT, Buffer.from([0])]));
    assert.deepEqual(cachingSha2Scramble(Buffer.from(PASSWORD), SALT), token);
  });

  test('caching_sha2_password: fast, full over TLS, full with the RSA key', () => {
    const fast = new MysqlAuthenticator('app', secret, PLAIN);
    assert.equal(fast.first('caching_sha2_password', SALT).plugin, 'caching_sha2_password');
    assert.equal(fast.answer(Buffer.from([1, 3])).kind, 'wait');
    assert.equal(fast.answer(Buffer.from([0, 0, 0, 2, 0, 0, 0])).kind, 'ok');

    const full = new MysqlAuthenticator('app', secret, OVER_TLS);
    full.first('caching_sha2_password', SALT);
    assert.equal(sent(full.answer(Buffer.from([1, 4]))).toString(), `${PASSWORD}\0`);

    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsa = new MysqlAuthenticator('app', secret, PLAIN);
    rsa.first('caching_sha2_password', SALT);
    assert.deepEqual(sent(rsa.answer(Buffer.from([1, 4]))), Buffer.from([2]));
    const pem = publicKey.export({ format: 'pem', type: 'spki' });
    const cipher = sent(rsa.answer(Buffer.concat([Buffer.from([1]), Buffer.from(pem)])));
    const masked = privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING }, cipher);
    assert.equal(Buffer.from(masked.map((byte, at) => byte ^ SALT[at % 20]!)).toString(), `${PASSWORD}\0`);
    assert.throws(() => rsa.answer(Buffer.from('\x01not a key')), DecodeError);
  });

  test('a switch goes to the other plugin with its own challenge', () => {
    const other = Buffer.from('jihgfedcba9876543210');
    const authenticator = new MysqlAuthenticator('app', secret, OVER_TLS);
    authenticator.first('auth_gssapi_client', SALT);
    assert.deepEqual(
      sent(authenticator.answer(encodeAuthSwitch('mysql_native_password', other))),
      nativeScramble(Buffer.from(PASSWORD), other),
    );
    assert.deepEqual(
      sent(authenticator.answer(encodeAuthSwitch('caching_sha2_password', other))),
      cachingSha2Scramble(Buffer.from(PASSWORD), other),
    );
    assert.equal(sent(authenticator.answer(encodeAuthSwitch('sha256_password', other))).toString(), `${PASSWORD}\0`);
    assert.equal(
      sent(authenticator.answer(encodeAuthSwitch('mysql_clear_password', other))).toString(),
      `${PASSWORD}\0`,
    );
  });

  test('no password in clear text without a verified server, none by old methods, none by certificate', () => {
    const refuses = (authenticator: MysqlAuthenticator, plugin: string, pattern: RegExp): void => {
      assert.throws(
        () => authenticator.answer(encodeAuthSwitch(plugin, SALT)),
        (error) =>
          error instanceof NightlatchError && error.code === 'unauthenticated' && pattern.test(String(error.message)),
      );
    };
    refuses(new MysqlAuthenticator('app', secret, PLAIN), 'mysql_clear_password', /verified certificate/);
    refuses(
      new MysqlAuthenticator('app', secret, { encrypted: true, verified: false }),
      'mysql_clear_password',
      /verified/,
    );
    refuses(new MysqlAuthenticator('app', secret, OVER_TLS), 'dialog', /"dialog"/);
    refuses(new MysqlAuthenticator('app', undefined, OVER_TLS), 'client_ed25519', /signs in by certificate/);
    const old = new MysqlAuthenticator('app', secret, OVER_TLS);
    assert.throws(() => old.answer(Buffer.from([0xfe])), /mysql_old_password/);
    assert.deepEqual(
      new MysqlAuthenticator('app', undefined, OVER_TLS).first('mysql_native_password', SALT).authData,
      Buffer.alloc(0),
    );
  });

  test('what no server says is a DecodeError', () => {
    const authenticator = new MysqlAuthenticator('app', secret, OVER_TLS);
    authenticator.first('caching_sha2_password', SALT);
    assert.throws(() => authenticator.answer(Buffer.from([1, 9])), DecodeError);
    assert.throws(() => authenticator.answer(Buffer.from([0x42])), DecodeError);
    assert.throws(() => authenticator.answer(Buffer.alloc(0)), DecodeError);
  });
});

describe('ed25519 over a password', () => {
  test('with 32 bytes it is the Ed25519 of RFC 8032, for any message', () => {
    for (let round = 0; round < 4; round++) {
      const seed = randomBytes(32);
      const message = randomBytes(32 + round);
      const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
      const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
      const signature = signWithPassword(seed, message);
      assert.deepEqual(signature, sign(null, message, key));
      assert.ok(verify(null, message, createPublicKey(key), signature));
    }
  });
});
