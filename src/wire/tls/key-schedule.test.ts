// The keys of RFC 8448's "Simple 1-RTT Handshake" (section 3), and its records.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CIPHER_SUITES, nextTrafficSecret, trafficKey } from './key-schedule.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const suite = CIPHER_SUITES.get('TLS_AES_128_GCM_SHA256')!;

describe('the key schedule behind the handshake', () => {
  test("RFC 8448: the server's key and IV for application data", () => {
    const secret = hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643');
    const { key, iv } = trafficKey(suite, secret);
    assert.equal(key.toString('hex'), '9f02283b6c9c07efc26bb9f2ac92e356');
    assert.equal(iv.toString('hex'), 'cf782b88dd83549aadf1e984');
  });

  test("RFC 8448: the client's", () => {
    const secret = hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5');
    const { key, iv } = trafficKey(suite, secret);
    assert.equal(key.toString('hex'), '17422dda596ed5d9acd890e3c63f5051');
    assert.equal(iv.toString('hex'), '5b78923dee08579033e523d9');
  });

  test('keys and secrets have the length of their suite', () => {
    for (const [name, one] of CIPHER_SUITES) {
      const secret = Buffer.alloc(one.hash === 'sha384' ? 48 : 32, 1);
      const { key, iv } = trafficKey(one, secret);
      assert.deepEqual([key.length, iv.length], [one.keyBytes, 12], name);
      const next = nextTrafficSecret(one, secret);
      assert.equal(next.length, secret.length, name);
      assert.notDeepEqual(next, secret);
    }
  });
});
