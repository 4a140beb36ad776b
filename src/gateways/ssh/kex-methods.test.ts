import assert from 'node:assert/strict';
import {
  createHash,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { describe, test } from 'node:test';
import { NightlatchError } from '../../core/errors.ts';
import { KEX_NAMES, kexMethod } from './kex-methods.ts';

const raw = (key: KeyObject, bytes: number) => key.export({ type: 'spki', format: 'der' }).subarray(-bytes);
const refused = (fn: () => unknown) => assert.throws(fn, (error: unknown) => error instanceof NightlatchError);

describe('key exchange methods', () => {
  for (const name of KEX_NAMES) {
    test(`${name}: both sides come to the same secret, another one each time`, () => {
      const method = kexMethod(name);
      const secrets = new Set<string>();
      for (let i = 0; i < 3; i++) {
        const client = method.client();
        const { reply, secret } = method.server(client.init);
        assert.deepEqual(client.finish(reply), secret);
        secrets.add(secret.toString('hex'));
      }
      assert.equal(secrets.size, 3);
    });

    test(`${name}: values that are cut, longer or zero are refused`, () => {
      const method = kexMethod(name);
      const { init } = method.client();
      // A finite-field value has no fixed length: cut or longer by a byte it is another value, which may be a good one.
      const others =
        method.publicAs === 'mpint'
          ? [Buffer.alloc(init.length + 2, 0xff)]
          : [init.subarray(1), Buffer.concat([init, Buffer.from([1])])];
      for (const bad of [Buffer.alloc(0), Buffer.alloc(init.length), ...others]) {
        refused(() => method.server(bad));
        refused(() => method.client().finish(bad));
      }
    });
  }
});

describe('mlkem768x25519-sha256', () => {
  // draft-ietf-sshm-mlkem-hybrid-kex: C_INIT = C_PK2 || C_PK1, S_REPLY = S_CT2 || S_PK1, K = HASH(K_PQ || K_CL) as a string.
  const secretOf = (pq: Uint8Array, classical: Uint8Array) =>
    Buffer.concat([Buffer.from([0, 0, 0, 32]), createHash('sha256').update(pq).update(classical).digest()]);

  test("the client's half, against the draft done by hand", () => {
    const client = kexMethod('mlkem768x25519-sha256').client();
    assert.equal(client.init.length, 1184 + 32);
    const prefix = generateKeyPairSync('ml-kem-768')
      .publicKey.export({ type: 'spki', format: 'der' })
      .subarray(0, -1184);
    const key = Buffer.concat([prefix, client.init.subarray(0, 1184)]);
    const { sharedKey, ciphertext } = encapsulate(createPublicKey({ key, format: 'der', type: 'spki' }));
    const own = generateKeyPairSync('x25519');
    const xPrefix = own.publicKey.export({ type: 'spki', format: 'der' }).subarray(0, -32);
    const theirs = createPublicKey({
      key: Buffer.concat([xPrefix, client.init.subarray(1184)]),
      format: 'der',
      type: 'spki',
    });
    const classical = diffieHellman({ privateKey: own.privateKey, publicKey: theirs });
    const reply = Buffer.concat([ciphertext, raw(own.publicKey, 32)]);
    assert.deepEqual(client.finish(reply), secretOf(sharedKey, classical));
  });

  test("the server's half, against the draft done by hand", () => {
    const kem = generateKeyPairSync('ml-kem-768');
    const own = generateKeyPairSync('x25519');
    const init = Buffer.concat([raw(kem.publicKey, 1184), raw(own.publicKey, 32)]);
    const { reply, secret } = kexMethod('mlkem768x25519-sha256').server(init);
    assert.equal(reply.length, 1088 + 32);
    const shared = decapsulate(kem.privateKey, reply.subarray(0, 1088));
    const xPrefix = own.publicKey.export({ type: 'spki', format: 'der' }).subarray(0, -32);
    const theirs = createPublicKey({
      key: Buffer.concat([xPrefix, reply.subarray(1088)]),
      format: 'der',
      type: 'spki',
    });
    assert.deepEqual(secret, secretOf(shared, diffieHellman({ privateKey: own.privateKey, publicKey: theirs })));
  });

  test('an encapsulation key with a coefficient out of range is refused (FIPS 203 section 7.2)', () => {
    const { init } = kexMethod('mlkem768x25519-sha256').client();
    init.fill(0xff, 0, 3);
    refused(() => kexMethod('mlkem768x25519-sha256').server(init));
  });
});
