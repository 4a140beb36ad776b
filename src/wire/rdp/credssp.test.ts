import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { Secret } from '../../core/secret.ts';
import { CredSspRefusal, credSspClient, decodeTsRequest, encodeTsRequest, type TsRequest } from './credssp.ts';
import { NtlmSecurity } from './ntlm.ts';

const KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
const SPKI = KEY.export({ type: 'spki', format: 'der' });
const PUBLIC_KEY = KEY.export({ type: 'pkcs1', format: 'der' });
const ENTROPY = {
  clientChallenge: Buffer.alloc(8, 1),
  sessionKey: Buffer.alloc(16, 2),
  nonce: Buffer.alloc(32, 3),
  nowMs: 0,
};

function challenge(): Buffer {
  const message = Buffer.alloc(60);
  message.write('NTLMSSP\0', 'latin1');
  message.writeUInt32LE(2, 8);
  message.writeUInt32LE(0xe28a8235, 20);
  message.writeUInt16LE(4, 40);
  message.writeUInt32LE(56, 44);
  return message;
}

function request(bytes: Buffer): TsRequest {
  const found = decodeTsRequest(bytes);
  assert.ok(found !== undefined && found.length === bytes.length);
  return found.request;
}

/** Plays a server of some version up to its proof, which `prove` makes. */
function play(version: number, prove: (hash: (direction: string) => Buffer) => Buffer) {
  const server = new NtlmSecurity(ENTROPY.sessionKey, 'server');
  const walk = credSspClient({
    credentials: { username: 'User', domain: 'CORP', password: new Secret('Pässword') },
    service: 'TERMSRV/host',
    publicKeyInfo: SPKI,
    entropy: ENTROPY,
  });
  const hash = (direction: string) =>
    createHash('sha256')
      .update(`CredSSP ${direction} Binding Hash\0`)
      .update(ENTROPY.nonce)
      .update(PUBLIC_KEY)
      .digest();
  const first = walk.next();
  assert.ok(first.done !== true && request(first.value).negoToken !== undefined);
  const second = walk.next({ version, negoToken: challenge() });
  assert.ok(second.done !== true);
  const authenticate = request(second.value);
  const proof = server.unseal(authenticate.pubKeyAuth!);
  const expected = version >= 5 ? hash('Client-To-Server') : PUBLIC_KEY;
  assert.ok(proof.equals(expected), "the client's proof");
  assert.equal(authenticate.clientNonce !== undefined, version >= 5);
  return { server, last: () => walk.next({ version, pubKeyAuth: server.seal(prove(hash)) }) };
}

describe('CredSSP', () => {
  test('the password is sent, sealed, once the server has proved its key: version 6, and version 2 as well', () => {
    const increment = () => Buffer.concat([Buffer.from([PUBLIC_KEY[0]! + 1]), PUBLIC_KEY.subarray(1)]);
    for (const [version, prove] of [
      [6, (hash: (direction: string) => Buffer) => hash('Server-To-Client')],
      [2, increment],
    ] as const) {
      const { server, last } = play(version, prove);
      const end = last();
      assert.ok(end.done === true);
      const credentials = server.unseal(request(end.value).authInfo!);
      for (const text of ['CORP', 'User', 'Pässword']) assert.ok(credentials.includes(Buffer.from(text, 'utf16le')));
      assert.ok(!end.value.includes(Buffer.from('Pässword', 'utf16le')));
    }
  });

  test('a server that proves another key gets no password', () => {
    for (const [version, proof] of [
      [6, Buffer.alloc(32)],
      [6, PUBLIC_KEY],
      [2, PUBLIC_KEY],
    ] as const) {
      assert.throws(play(version, () => proof).last, /another key/);
    }
  });

  test('refusals carry their status, and silence is none', () => {
    const walk = () => {
      const made = credSspClient({
        credentials: { username: 'u', domain: '', password: new Secret('p') },
        service: 's',
        publicKeyInfo: SPKI,
        entropy: ENTROPY,
      });
      made.next();
      return made;
    };
    const refused = request(Buffer.from('300da003020106a4060204c000006d', 'hex'));
    assert.equal(refused.errorCode, 0xc000006d);
    assert.throws(() => walk().next(refused), CredSspRefusal);
    assert.throws(() => walk().next(refused), /password is wrong/);
    assert.throws(() => walk().next({ version: 6, errorCode: 0xc0000999 }), /0xc0000999/);
    assert.throws(() => walk().next({ version: 6 }), /no NTLM challenge/);
    assert.throws(() => walk().next({ version: 1, negoToken: challenge() }), /version 1/);
  });

  test('TSRequest comes back as it was encoded, and waits for its last byte', () => {
    const given = {
      version: 6,
      negoToken: Buffer.alloc(200, 1),
      authInfo: Buffer.alloc(3, 2),
      pubKeyAuth: Buffer.alloc(4, 3),
      errorCode: 0xc000006d,
      clientNonce: Buffer.alloc(32, 4),
    };
    const bytes = encodeTsRequest(given);
    assert.deepEqual(decodeTsRequest(bytes), { request: given, length: bytes.length });
    for (let end = 0; end < bytes.length; end += 1) assert.equal(decodeTsRequest(bytes.subarray(0, end)), undefined);
    assert.throws(() => decodeTsRequest(Buffer.from([0x30, 0x83, 0xff, 0xff, 0xff])), { code: 'decode' });
  });
});
