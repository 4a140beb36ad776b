import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { encodePublicKey, sshSign } from '../../wire/ssh/keys.ts';
import { MSG } from '../../wire/ssh/messages.ts';
import { KeyExchange } from './key-exchange.ts';

const pair = generateKeyPairSync('ed25519');
const blob = encodePublicKey(pair.publicKey);

/** One side with what it sends, in order. */
function side(role: 'server' | 'client'): { kex: KeyExchange; sent: Buffer[] } {
  const sent: Buffer[] = [];
  const kex = new KeyExchange(
    role === 'server'
      ? { role, hostKeys: [{ algorithm: 'ssh-ed25519', blob, sign: (data) => sshSign(pair.privateKey, data) }] }
      : { role, hostKeyAlgorithms: ['ssh-ed25519'], verifyHostKey: () => ({ ok: true }) },
    Buffer.from(`SSH-2.0-${role}`),
    {
      send: (packet) => void sent.push(Buffer.from(packet)),
      newSendKeys: () => {},
      newReceiveKeys: () => {},
      sendReady: () => {},
      complete: () => {},
    },
  );
  return { kex, sent };
}

test("the server's EXT_INFO answers the client's NEWKEYS, and is the next packet after its own", () => {
  const [server, client] = [side('server'), side('client')];
  server.kex.peerIdent(Buffer.from('SSH-2.0-client'));
  client.kex.peerIdent(Buffer.from('SSH-2.0-server'));
  server.kex.start();
  client.kex.start();
  const pass = (from: typeof server, to: typeof server, sequence: number) =>
    to.kex.packet(from.sent[sequence]!, sequence);
  pass(client, server, 0);
  pass(server, client, 0);
  pass(client, server, 1);
  const types = () => server.sent.map((packet) => packet[0]);
  assert.deepEqual(types().slice(2), [MSG.NEWKEYS]);
  pass(server, client, 1);
  pass(server, client, 2);
  assert.equal(client.sent[2]![0], MSG.NEWKEYS);
  pass(client, server, 2);
  assert.deepEqual(types().slice(2), [MSG.NEWKEYS, MSG.EXT_INFO]);
});
