import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { sshKeys } from '../../../test/fixtures/ssh-keys.ts';
import { DecodeError } from '../../core/errors.ts';
import { decodePrivateKey, encodePrivateKey } from './private-key.ts';

const body = (text: string) => Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64');
const armour = (bytes: Buffer) =>
  `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;

describe('private key files', () => {
  for (const [type, { privateKey }] of Object.entries(sshKeys)) {
    test(`${type}: round trip`, () => {
      const text = encodePrivateKey(privateKey, 'alice@laptop');
      const decoded = decodePrivateKey(text);
      assert.ok(decoded.privateKey.equals(privateKey));
      assert.equal(decoded.comment, 'alice@laptop');
      assert.ok(text.split('\n').every((line) => line.length <= 70));
      assert.ok(decodePrivateKey(text.replaceAll('\n', '\r\n')).privateKey.equals(privateKey));
    });

    test(`${type}: a changed byte ends in a DecodeError or leaves key and comment alone`, () => {
      const bytes = body(encodePrivateKey(privateKey, ''));
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
          const changed = Buffer.from(bytes);
          changed[at]! ^= mask;
          try {
            assert.ok(decodePrivateKey(armour(changed)).privateKey.equals(privateKey));
          } catch (error) {
            // A coefficient or exponent of RSA alone may differ and still sign: OpenSSL then falls back.
            assert.ok(
              error instanceof DecodeError || (type === 'ssh-rsa' && error instanceof assert.AssertionError),
              String(error),
            );
          }
        }),
        { numRuns: 200 },
      );
    });
  }

  test('what is none', () => {
    const text = encodePrivateKey(sshKeys['ssh-ed25519'].privateKey);
    const bytes = body(text);
    for (let end = 0; end < bytes.length; end++)
      assert.throws(() => decodePrivateKey(armour(bytes.subarray(0, end))), DecodeError);
    assert.throws(() => decodePrivateKey(armour(Buffer.concat([bytes, Buffer.from([1])]))), DecodeError);
    for (const bad of [
      '',
      'x',
      '-----BEGIN OPENSSH PRIVATE KEY-----',
      text.replace('BEGIN', 'BEGAN'),
      text.replace(/\n./, '\n?'),
      'x'.repeat(70_000),
    ]) {
      assert.throws(() => decodePrivateKey(bad), DecodeError);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
        assert.throws(() => decodePrivateKey(armour(Buffer.from(random))), DecodeError);
      }),
    );
  });

  test('halves that do not belong together', () => {
    const a = body(encodePrivateKey(sshKeys['ssh-ed25519'].privateKey));
    // The seed is the last field but the repeated public half, the comment and the padding: find and change it.
    const seed = Buffer.from(String(sshKeys['ssh-ed25519'].privateKey.export({ format: 'jwk' }).d), 'base64url');
    const at = a.indexOf(seed);
    a[at]! ^= 1;
    assert.throws(() => decodePrivateKey(armour(a)), DecodeError);
  });
});
