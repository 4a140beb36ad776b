import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { sshKeys } from '../../../test/fixtures/ssh-keys.ts';
import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';
import {
  decodeAuthorizedKey,
  decodePublicKey,
  encodeAuthorizedKey,
  encodePublicKey,
  fingerprint,
  keyTypeOf,
  SIGNATURE_ALGORITHMS,
  signatureAlgorithm,
  signatureAlgorithmsOf,
  sshSign,
  sshVerify,
} from './keys.ts';

const data = Buffer.from('what is signed');

describe('public keys', () => {
  for (const [type, { publicKey, privateKey }] of Object.entries(sshKeys)) {
    test(`${type}: round trip, from either half`, () => {
      const blob = encodePublicKey(publicKey);
      assert.deepEqual(encodePublicKey(privateKey), blob);
      assert.equal(keyTypeOf(publicKey), type);
      const decoded = decodePublicKey(blob);
      assert.equal(decoded.type, type);
      assert.deepEqual(encodePublicKey(decoded.key), blob);
      assert.ok(decoded.key.equals(publicKey));
    });

    test(`${type}: cut off, longer or changed`, () => {
      const blob = encodePublicKey(publicKey);
      for (let end = 0; end < blob.length; end++)
        assert.throws(() => decodePublicKey(blob.subarray(0, end)), DecodeError);
      assert.throws(() => decodePublicKey(Buffer.concat([blob, Buffer.from([0])])), DecodeError);
      fc.assert(
        fc.property(fc.nat(blob.length - 1), fc.nat(255), (at, value) => {
          const changed = Buffer.from(blob);
          changed[at] = value;
          try {
            decodePublicKey(changed);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }),
      );
    });
  }

  test('weak and odd keys are refused', () => {
    const rsa = (bits: number, e: string, low = 0x01) => {
      const n = Buffer.alloc(bits / 8, 0xc5);
      n[n.length - 1] = low;
      return new SshWriter().string('ssh-rsa').mpint(Buffer.from(e, 'hex')).mpint(n).finish();
    };
    assert.throws(() => decodePublicKey(rsa(1024, '010001')), /1024 bits/);
    assert.throws(() => decodePublicKey(rsa(2040, '010001')), /2040 bits/);
    assert.throws(() => decodePublicKey(rsa(16_392, '010001')), DecodeError);
    assert.throws(() => decodePublicKey(rsa(2048, '01')), /bad exponent/);
    assert.throws(() => decodePublicKey(rsa(2048, '010000')), /bad exponent/);
    assert.throws(() => decodePublicKey(rsa(2048, '0100000001')), DecodeError);
    assert.throws(() => decodePublicKey(rsa(2048, '010001', 2)), /even modulus/);
    const ec = (type: string, curve: string, point: Buffer) =>
      new SshWriter().string(type).string(curve).string(point).finish();
    const offCurve = Buffer.alloc(65, 1);
    offCurve[0] = 4;
    assert.throws(() => decodePublicKey(ec('ecdsa-sha2-nistp256', 'nistp256', offCurve)), /not valid/);
    assert.throws(() => decodePublicKey(ec('ecdsa-sha2-nistp256', 'nistp256', Buffer.alloc(33, 2))), /uncompressed/);
    assert.throws(() => decodePublicKey(ec('ecdsa-sha2-nistp256', 'nistp384', Buffer.alloc(65, 4))), /names the curve/);
    assert.throws(() => decodePublicKey(new SshWriter().string('ssh-dss').string('x').finish()), /not supported/);
    for (const key of [
      generateKeyPairSync('x25519').publicKey,
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey,
    ]) {
      assert.throws(() => encodePublicKey(key), { code: 'bad_parameter' });
    }
    assert.throws(() => encodePublicKey(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey), {
      code: 'bad_parameter',
    });
  });

  test('random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.throws(() => decodePublicKey(bytes), DecodeError);
      }),
    );
  });
});

describe('signatures', () => {
  for (const [type, { publicKey, privateKey }] of Object.entries(sshKeys)) {
    test(`${type}: each of its algorithms, by its key, over its data`, () => {
      for (const algorithm of signatureAlgorithmsOf(keyTypeOf(publicKey))) {
        const signature = sshSign(privateKey, data, algorithm);
        assert.equal(signatureAlgorithm(signature), algorithm);
        assert.equal(sshVerify(publicKey, data, signature), true);
        assert.equal(sshVerify(publicKey, data, signature, [algorithm]), true);
        assert.equal(
          sshVerify(
            publicKey,
            data,
            signature,
            SIGNATURE_ALGORITHMS.filter((other) => other !== algorithm),
          ),
          false,
        );
        assert.equal(sshVerify(publicKey, Buffer.from('else'), signature), false);
        for (const [otherType, other] of Object.entries(sshKeys)) {
          if (otherType !== type) assert.equal(sshVerify(other.publicKey, data, signature), false);
        }
      }
    });

    test(`${type}: changed, cut off and random signatures are false and throw nothing`, () => {
      const signature = sshSign(privateKey, data);
      for (let at = 0; at < signature.length; at++) {
        const changed = Buffer.from(signature);
        changed[at]! ^= 0x10;
        assert.equal(sshVerify(publicKey, data, changed), false, `byte ${at}`);
      }
      for (let end = 0; end < signature.length; end++)
        assert.equal(sshVerify(publicKey, data, signature.subarray(0, end)), false);
      assert.equal(sshVerify(publicKey, data, Buffer.concat([signature, Buffer.from([0])])), false);
      fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => !sshVerify(publicKey, data, bytes)));
    });
  }

  test('no SHA-1, whatever is allowed', () => {
    const { publicKey, privateKey } = sshKeys['ssh-rsa'];
    const reader = new SshReader(sshSign(privateKey, data, 'rsa-sha2-256'));
    reader.name();
    const sha1 = new SshWriter().string('ssh-rsa').string(reader.string()).finish();
    assert.equal(sshVerify(publicKey, data, sha1, ['ssh-rsa']), false);
    assert.throws(() => sshSign(privateKey, data, 'ssh-ed25519'), { code: 'bad_parameter' });
  });

  test('ECDSA with r or s of 0, and Ed25519 with a key of small order, are false', () => {
    const { publicKey } = sshKeys['ecdsa-sha2-nistp256'];
    const zero = new SshWriter().mpint(Buffer.alloc(0)).mpint(Buffer.alloc(0)).finish();
    assert.equal(
      sshVerify(publicKey, data, new SshWriter().string('ecdsa-sha2-nistp256').string(zero).finish()),
      false,
    );
    const smallOrder = Buffer.alloc(32);
    smallOrder[0] = 1;
    let key: KeyObject | undefined;
    try {
      key = decodePublicKey(new SshWriter().string('ssh-ed25519').string(smallOrder).finish()).key;
    } catch (error) {
      assert.ok(error instanceof DecodeError);
    }
    const signature = new SshWriter().string('ssh-ed25519').string(Buffer.alloc(64, 0)).finish();
    if (key !== undefined) assert.equal(sshVerify(key, data, signature), false);
  });
});

describe('public key lines', () => {
  const blob = encodePublicKey(sshKeys['ssh-ed25519'].publicKey);
  const encoded = blob.toString('base64');

  test('with and without options and comment', () => {
    assert.deepEqual(decodeAuthorizedKey(`ssh-ed25519 ${encoded}`), {
      options: '',
      type: 'ssh-ed25519',
      blob,
      comment: '',
    });
    assert.deepEqual(decodeAuthorizedKey(`  ssh-ed25519\t${encoded}  al ice \r\n`), {
      options: '',
      type: 'ssh-ed25519',
      blob,
      comment: 'al ice',
    });
    assert.equal(
      decodeAuthorizedKey(`cert-authority,principals="a b\\" c" ssh-ed25519 ${encoded} x`).options,
      'cert-authority,principals="a b\\" c"',
    );
    assert.equal(encodeAuthorizedKey(blob, 'al\nice'), `ssh-ed25519 ${encoded} alice`);
    assert.equal(encodeAuthorizedKey(blob), `ssh-ed25519 ${encoded}`);
  });

  test('what is no key line', () => {
    for (const line of [
      '',
      '#',
      'ssh-ed25519',
      `ssh-rsa ${encoded}`,
      `ssh-ed25519 ${encoded.slice(0, 19)}`,
      `ssh-ed25519 ?${encoded}`,
      `"open ssh-ed25519 ${encoded}`,
      `a b ssh-ed25519 ${encoded}`,
      `ssh-ed25519 ${encoded}\u001b[2J`,
      'x'.repeat(70_000),
    ]) {
      assert.throws(() => decodeAuthorizedKey(line), DecodeError, line.slice(0, 60));
    }
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `ssh-ed25519 ${text}`),
        ),
        (line) => {
          assert.throws(() => decodeAuthorizedKey(line), DecodeError);
        },
      ),
    );
  });

  test('fingerprints as OpenSSH prints them', () => {
    assert.match(fingerprint(blob), /^SHA256:[A-Za-z0-9+/]{43}$/);
  });
});
