import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { sshKeys } from '../../../test/fixtures/ssh-keys.ts';
import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';
import {
  type CertificateSpec,
  decodeCertificate,
  decodeOptionString,
  FOREVER,
  isCertificateType,
  isSignatureValid,
  isValidAt,
  mintCertificate,
} from './certificate.ts';
import { encodePublicKey, sshSign } from './keys.ts';

const ca = sshKeys['ssh-ed25519'];
const subject = sshKeys['ecdsa-sha2-nistp256'];
const spec = (more: Partial<CertificateSpec> = {}): CertificateSpec => ({
  kind: 'user',
  publicKey: subject.publicKey,
  signer: ca.privateKey,
  serial: 42n,
  keyId: 'alice',
  principals: ['root', 'deploy'],
  validAfterMs: 1_700_000_000_999,
  validBeforeMs: 1_700_003_600_999,
  ...more,
});

/** A certificate put together by hand, for what `mintCertificate` would not make. */
function forge(parts: {
  type?: string;
  kind?: number;
  principals?: Buffer;
  options?: Buffer;
  extensions?: Buffer;
  reserved?: string;
  signer?: Buffer;
}): Buffer {
  const type = parts.type ?? 'ecdsa-sha2-nistp256-cert-v01@openssh.com';
  const tbs = new SshWriter()
    .string(type)
    .string(Buffer.alloc(32))
    .bytes(encodePublicKey(subject.publicKey).subarray(4 + 'ecdsa-sha2-nistp256'.length))
    .uint64(1n)
    .uint32(parts.kind ?? 1)
    .string('id')
    .string(parts.principals ?? new SshWriter().string('root').finish())
    .uint64(0n)
    .uint64(FOREVER)
    .string(parts.options ?? '')
    .string(parts.extensions ?? '')
    .string(parts.reserved ?? '')
    .string(parts.signer ?? encodePublicKey(ca.publicKey))
    .finish();
  return Buffer.concat([tbs, new SshWriter().string(sshSign(ca.privateKey, tbs)).finish()]);
}

const option = (name: string, data: string | Buffer = '') => new SshWriter().string(name).string(data).finish();

describe('certificates', () => {
  for (const [caType, signer] of Object.entries(sshKeys)) {
    test(`signed by ${caType}, for each type of key`, () => {
      for (const [type, { publicKey }] of Object.entries(sshKeys)) {
        const blob = mintCertificate(
          spec({
            publicKey,
            signer: signer.privateKey,
            criticalOptions: { 'source-address': '10.0.0.0/8' },
            extensions: { 'permit-pty': '', 'a@b': 'value' },
          }),
        );
        const certificate = decodeCertificate(blob);
        assert.equal(certificate.keyType, type);
        assert.ok(isCertificateType(certificate.type));
        assert.ok(certificate.publicKey.equals(publicKey));
        assert.deepEqual(certificate.publicKeyBlob, encodePublicKey(publicKey));
        assert.deepEqual(certificate.signatureKeyBlob, encodePublicKey(signer.publicKey));
        const { serial, kind, keyId, principals, validAfter, validBefore } = certificate;
        assert.deepEqual(
          { serial, kind, keyId, principals, validAfter, validBefore },
          {
            serial: 42n,
            kind: 'user',
            keyId: 'alice',
            principals: ['root', 'deploy'],
            validAfter: 1_700_000_000n,
            validBefore: 1_700_003_600n,
          },
        );
        assert.equal(decodeOptionString(certificate.criticalOptions.get('source-address')!), '10.0.0.0/8');
        assert.deepEqual([...certificate.extensions.keys()], ['a@b', 'permit-pty']);
        assert.equal(decodeOptionString(certificate.extensions.get('a@b')!), 'value');
        assert.equal(decodeOptionString(certificate.extensions.get('permit-pty')!), '');
        assert.ok(isSignatureValid(certificate));
        assert.ok(!isSignatureValid(certificate, []));
      }
    });
  }

  test('every byte is covered: decoded differently, or the signature is wrong', () => {
    const blob = mintCertificate(spec({ extensions: { 'permit-pty': '' } }));
    for (let at = 0; at < blob.length; at++) {
      const changed = Buffer.from(blob);
      changed[at]! ^= 1;
      let valid = false;
      try {
        valid = isSignatureValid(decodeCertificate(changed));
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
      assert.equal(valid, false, `byte ${at}`);
    }
  });

  test('cut off, longer, inside of a larger buffer', () => {
    const blob = mintCertificate(spec());
    for (let end = 0; end < blob.length; end++)
      assert.throws(() => decodeCertificate(blob.subarray(0, end)), DecodeError);
    assert.throws(() => decodeCertificate(Buffer.concat([blob, Buffer.from([0])])), DecodeError);
    const larger = Buffer.concat([Buffer.alloc(7, 9), blob, Buffer.alloc(7, 9)]);
    const certificate = decodeCertificate(new Uint8Array(larger.buffer, larger.byteOffset + 7, blob.length));
    larger.fill(0);
    assert.ok(isSignatureValid(certificate), 'the bytes are its own');
  });

  test('forms that are refused though they are signed', () => {
    assert.equal(decodeCertificate(forge({})).keyId, 'id');
    const two = (a: string, b: string) => Buffer.concat([option(a), option(b)]);
    const refused = (parts: Parameters<typeof forge>[0], message: RegExp) =>
      assert.throws(() => decodeCertificate(forge(parts)), { name: 'DecodeError', message });
    refused({ kind: 0 }, /unknown type 0/);
    refused({ kind: 3 }, /unknown type 3/);
    refused({ extensions: two('b', 'a') }, /not in order/);
    refused({ extensions: two('a', 'a') }, /not in order/);
    refused({ options: Buffer.from([0, 0, 0, 1]) }, /too early/);
    refused(
      { principals: Buffer.concat(Array.from({ length: 257 }, () => new SshWriter().string('p').finish())) },
      /more than 256/,
    );
    refused({ signer: decodeCertificate(mintCertificate(spec())).signedBytes }, /not supported/);
    refused({ type: 'ecdsa-sha2-nistp384-cert-v01@openssh.com' }, /names the curve/);
    refused({ type: 'ssh-dss-cert-v01@openssh.com' }, /no supported type/);
    refused({ type: 'ecdsa-sha2-nistp256' }, /no supported type/);
    refused({ type: 'ecdsa-sha2-nistp256-cert-v00@openssh.com' }, /no supported type/);
    assert.equal(decodeCertificate(forge({ reserved: 'later versions' })).keyId, 'id');
    assert.throws(() => decodeOptionString(Buffer.from([0, 0, 0, 1, 97, 0])), DecodeError);
    assert.throws(() => decodeCertificate(Buffer.alloc(70_000)), /too long/);
  });

  test('validity is half-open', () => {
    const certificate = decodeCertificate(mintCertificate(spec()));
    assert.equal(isValidAt(certificate, 1_699_999_999_999), false);
    assert.equal(isValidAt(certificate, 1_700_000_000_000), true);
    assert.equal(isValidAt(certificate, 1_700_003_599_999), true);
    assert.equal(isValidAt(certificate, 1_700_003_600_000), false);
    assert.equal(isValidAt(decodeCertificate(forge({})), 8.64e15), true);
  });

  test('what is not minted', () => {
    const refused = (more: Partial<CertificateSpec>, message: RegExp) =>
      assert.throws(() => mintCertificate(spec(more)), { code: 'bad_parameter', message });
    refused({ principals: [] }, /no principals/);
    refused({ principals: [''] }, /empty/);
    refused({ principals: ['a\nb'] }, /control characters/);
    refused({ principals: Array.from({ length: 257 }, String) }, /too many/);
    refused({ validBeforeMs: 1_700_000_000_999 }, /end before/);
    refused({ validBeforeMs: Number.NaN }, /out of range/);
    refused({ validAfterMs: -1 }, /out of range/);
    refused({ serial: -1n }, /64 bits/);
    refused({ keyId: 'x'.repeat(1025) }, /too long/);
    refused({ extensions: { 'a b': '' } }, /printable/);
  });

  test('round trip of whatever can be minted; random and mutated bytes', () => {
    const name = fc
      .string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
      .filter((text) => !/[\u0000-\u001f\u007f]/.test(text) && text.isWellFormed());
    const optionName = fc.stringMatching(/^[\x21-\x7e]{1,20}$/);
    const options = fc.dictionary(optionName, name, { maxKeys: 5, noNullPrototype: true });
    fc.assert(
      fc.property(
        name,
        fc.array(name, { minLength: 1, maxLength: 5 }),
        fc.bigInt({ min: 0n, max: FOREVER }),
        options,
        options,
        (keyId, principals, serial, criticalOptions, extensions) => {
          const certificate = decodeCertificate(
            mintCertificate(spec({ keyId, principals, serial, criticalOptions, extensions, kind: 'host' })),
          );
          assert.deepEqual(
            [certificate.keyId, certificate.principals, certificate.serial, certificate.kind],
            [keyId, principals, serial, 'host'],
          );
          for (const [map, wanted] of [
            [certificate.criticalOptions, criticalOptions],
            [certificate.extensions, extensions],
          ] as const) {
            assert.deepEqual(
              Object.fromEntries([...map].map(([key, data]) => [key, decodeOptionString(data)])),
              wanted,
            );
          }
          assert.ok(isSignatureValid(certificate));
        },
      ),
    );
    const blob = mintCertificate(spec({ criticalOptions: { x: 'y' }, extensions: { 'permit-pty': '' } }));
    const mutation = fc.array(fc.tuple(fc.nat(blob.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutation), (input) => {
        let bytes = Buffer.from(blob);
        if (input instanceof Uint8Array) bytes = Buffer.from(input);
        else for (const [at, value] of input) bytes[at] = value;
        try {
          decodeCertificate(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('the nonce is new each time', () => {
    const nonce = (blob: Buffer) => {
      const reader = new SshReader(blob);
      reader.name();
      return reader.string().toString('hex');
    };
    assert.notEqual(nonce(mintCertificate(spec())), nonce(mintCertificate(spec())));
  });
});
