import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { Secret } from '../../core/secret.ts';
import { md4, Rc4 } from './legacy-crypto.ts';
import { answerNtlmChallenge, encodeNtlmNegotiate, NtlmSecurity, ntlmV2Key } from './ntlm.ts';

describe('MD4 and RC4', () => {
  test('the test suite of RFC 1320', () => {
    for (const [text, digest] of [
      ['', '31d6cfe0d16ae931b73c59d7e0c089c0'],
      ['a', 'bde52cb31de33e46245e05fbdbd6fb24'],
      ['abc', 'a448017aaf21d8525fc10ae87aa6729d'],
      ['message digest', 'd9130a8164549fe818874806e1c7014b'],
      ['abcdefghijklmnopqrstuvwxyz', 'd79e1c308aa5bbcdeea8ed63df412da9'],
      ['ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789', '043f8582f241db351ce627e153e7f0e4'],
      ['1234567890'.repeat(8), 'e33b4ddc9c38f2199c3e7b164fcc0536'],
    ] as const) {
      assert.equal(md4(Buffer.from(text)).toString('hex'), digest);
    }
  });

  test('the keystreams of RFC 6229', () => {
    const stream = new Rc4(Buffer.from('0102030405', 'hex'));
    assert.equal(stream.apply(Buffer.alloc(16)).toString('hex'), 'b2396305f03dc027ccc3524a0a1118a8');
    assert.equal(stream.apply(Buffer.alloc(16)).toString('hex'), '6982944f18fc82d589c403a47a0d0919');
  });
});

describe('NTLMv2 (MS-NLMP 4.2.4)', () => {
  test('NTOWFv2 of the specification', () => {
    assert.equal(ntlmV2Key('User', 'Domain', 'Password').toString('hex'), '0c868a403bfd7a93a3001ef22ef02e3f');
  });

  test('sealing of the specification (4.2.4.4): client to server, with key exchange', () => {
    const security = new NtlmSecurity(Buffer.alloc(16, 0x55));
    const sealed = security.seal(Buffer.from('Plaintext', 'utf16le'));
    assert.equal(sealed.subarray(16).toString('hex'), '54e50165bf1936dc996020c1811b0f06fb5f');
    assert.equal(sealed.subarray(0, 16).toString('hex'), '010000007fb38ec5c55d497600000000');
  });

  test('both sides open what the other sealed, in order, and nothing else', () => {
    const key = Buffer.alloc(16, 7);
    const [client, server] = [new NtlmSecurity(key), new NtlmSecurity(key, 'server')];
    for (const text of ['one', 'two', 'three']) {
      assert.equal(server.unseal(client.seal(Buffer.from(text))).toString(), text);
      assert.equal(client.unseal(server.seal(Buffer.from(text))).toString(), text);
    }
    const forged = client.seal(Buffer.from('four'));
    forged[17]! ^= 1;
    assert.throws(() => server.unseal(forged), /signature/);
    assert.throws(() => server.unseal(Buffer.alloc(3)), /cut short/);
  });

  test('the answer to a challenge carries user, domain, a MIC over all three messages', () => {
    const target = Buffer.concat([
      pair(2, Buffer.from('Domain', 'utf16le')),
      pair(1, Buffer.from('Server', 'utf16le')),
      pair(7, Buffer.alloc(8, 9)),
      Buffer.alloc(4),
    ]);
    const head = Buffer.alloc(56);
    head.write('NTLMSSP\0', 'latin1');
    head.writeUInt32LE(2, 8);
    head.writeUInt32LE(0xe28a8235, 20);
    Buffer.from('0123456789abcdef', 'hex').copy(head, 24);
    head.writeUInt16LE(target.length, 40);
    head.writeUInt32LE(56, 44);
    const challenge = Buffer.concat([head, target]);
    const negotiate = encodeNtlmNegotiate();
    const { message } = answerNtlmChallenge(
      negotiate,
      challenge,
      { username: 'User', domain: 'Domain', password: new Secret('Password') },
      'TERMSRV/host',
      { clientChallenge: Buffer.alloc(8, 0xaa), sessionKey: Buffer.alloc(16, 0x55), nowMs: 0 },
    );
    const field = (i: number) => {
      const [length, offset] = [message.readUInt16LE(12 + 8 * i), message.readUInt32LE(16 + 8 * i)];
      return message.subarray(offset, offset + length);
    };
    assert.equal(field(2).toString('utf16le'), 'Domain');
    assert.equal(field(3).toString('utf16le'), 'User');
    assert.deepEqual(field(0), Buffer.alloc(24));
    const mic = Buffer.from(message.subarray(72, 88));
    assert.notDeepEqual(mic, Buffer.alloc(16));
    assert.ok(field(1).includes(Buffer.from('TERMSRV/host', 'utf16le')));
    assert.equal(createHash('sha256').update(message).digest('hex').length, 64);
    for (let end = 0; end < challenge.length; end += 1) {
      assert.throws(
        () =>
          answerNtlmChallenge(
            negotiate,
            challenge.subarray(0, end),
            { username: 'u', domain: '', password: new Secret('p') },
            's',
            { clientChallenge: Buffer.alloc(8), sessionKey: Buffer.alloc(16), nowMs: 0 },
          ),
        { code: 'decode' },
      );
    }
  });
});

function pair(id: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(id, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value]);
}
