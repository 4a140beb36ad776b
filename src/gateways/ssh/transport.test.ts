import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { Duplex } from 'node:stream';
import { describe, test } from 'node:test';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import { encodePublicKey, sshSign } from '../../wire/ssh/keys.ts';
import { KEX_NAMES } from './kex-methods.ts';
import type { HostKey } from './key-exchange.ts';
import { CIPHER_NAMES } from './packet-cipher.ts';
import type { PeerClosed } from './packet-peer.ts';
import { SshTransport, type TransportOptions } from './transport.ts';

/** Two streams, each of which reads what the other writes, in pieces of `piece` bytes at most. */
function streamPair(piece = Number.POSITIVE_INFINITY): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const make = (other: () => Duplex) =>
    new Duplex({
      allowHalfOpen: true,
      read() {},
      write(chunk: Buffer, _encoding, done) {
        for (let at = 0; at < chunk.length; at += piece) {
          other().push(Buffer.from(chunk.subarray(at, Math.min(chunk.length, at + piece))));
        }
        done();
      },
      final(done) {
        other().push(null);
        done();
      },
    });
  ends.push(
    make(() => ends[1]!),
    make(() => ends[0]!),
  );
  return [ends[0]!, ends[1]!];
}

const pair = generateKeyPairSync('ed25519');
const hostKey: HostKey = {
  algorithm: 'ssh-ed25519',
  blob: encodePublicKey(pair.publicKey),
  sign: (data) => sshSign(pair.privateKey, data),
};

interface Sides {
  readonly client: SshTransport;
  readonly server: SshTransport;
  readonly clock: FakeClock;
  readonly closed: { client?: PeerClosed; server?: PeerClosed };
}

async function connect(options: Partial<TransportOptions> = {}, piece?: number): Promise<Sides> {
  const [a, b] = streamPair(piece);
  const clock = new FakeClock();
  const server = new SshTransport({ stream: a, clock, role: 'server', hostKeys: [hostKey], ...options });
  const client = new SshTransport({
    stream: b,
    clock,
    role: 'client',
    hostKeyAlgorithms: ['ssh-ed25519'],
    verifyHostKey: (blob) => (blob.equals(hostKey.blob) ? { ok: true } : { ok: false, reason: 'another key' }),
    ...options,
  });
  const closed: Sides['closed'] = {};
  client.onClose = (why) => {
    closed.client = why;
  };
  server.onClose = (why) => {
    closed.server = why;
  };
  client.authenticated = true;
  server.authenticated = true;
  await until(() => (client.exchanges > 0 && server.exchanges > 0) || closed.client !== undefined);
  return { client, server, clock, closed };
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    if (condition()) return;
    await settle();
  }
  assert.fail('did not come about');
}

/** Sends packets of many sizes both ways and compares what arrives. */
async function exchange({ client, server }: Sides, count = 60): Promise<void> {
  const sent: Buffer[] = [];
  for (let i = 0; i < count; i++) sent.push(Buffer.concat([Buffer.from([94]), Buffer.alloc((i * 577) % 32_768, i)]));
  const got: { atClient: Buffer[]; atServer: Buffer[] } = { atClient: [], atServer: [] };
  client.onPacket = (packet) => void got.atClient.push(Buffer.from(packet));
  server.onPacket = (packet) => void got.atServer.push(Buffer.from(packet));
  for (const packet of sent) {
    client.send(packet);
    server.send(packet);
  }
  await until(() => got.atClient.length === count && got.atServer.length === count);
  assert.deepEqual(got.atClient, sent);
  assert.deepEqual(got.atServer, sent);
}

describe('SSH transport', () => {
  for (const kex of KEX_NAMES) {
    test(`exchanges keys by ${kex}`, async () => {
      await exchange(await connect({ kex: [kex] }), 3);
    });
  }
  for (const cipher of [...CIPHER_NAMES]) {
    test(`protects packets by ${cipher}, also when they come byte by byte`, async () => {
      await exchange(await connect({ ciphers: [cipher], kex: ['curve25519-sha256'] }));
      await exchange(await connect({ ciphers: [cipher], kex: ['curve25519-sha256'] }, 1), 8);
      await exchange(await connect({ ciphers: [cipher], kex: ['curve25519-sha256'] }, 4097));
    });
  }

  test('makes new keys by bytes while both sides send', async () => {
    const sides = await connect({ rekey: { bytes: 100_000, packets: 1e9, ms: 1e9 } });
    for (let round = 0; round < 5; round++) await exchange(sides);
    await until(() => sides.client.exchanges > 5 && sides.server.exchanges === sides.client.exchanges);
  });

  test('makes new keys by time', async () => {
    const sides = await connect({ rekey: { bytes: 1e12, packets: 1e9, ms: 1000 } });
    await exchange(sides, 2);
    assert.equal(sides.client.exchanges, 1);
    await sides.clock.advance(1500);
    await exchange(sides, 2);
    await until(() => sides.client.exchanges === 2 && sides.server.exchanges === 2);
    await exchange(sides, 2);
  });

  test('goes on exchanging keys while reading is paused', async () => {
    const sides = await connect();
    sides.client.pause();
    sides.server.pause();
    await settle();
    sides.client.rekey();
    sides.server.rekey();
    // The client's request is read by a server that is paused only because its own exchange is under way.
    await until(() => sides.client.exchanges === 2 && sides.server.exchanges === 2);
    sides.client.resume();
    sides.server.resume();
    await exchange(sides, 3);
  });

  test('is not filled by a peer that sends data instead of exchanging keys', async () => {
    const sides = await connect({ rekey: { bytes: 1e12, packets: 1e9, ms: 1e9 } });
    sides.server.pause();
    sides.server.rekey();
    // It would answer at once, but is kept from reading.
    sides.client.pause();
    const block = Buffer.concat([Buffer.from([94]), Buffer.alloc(32_000)]);
    for (let i = 0; i < 1_100; i++) {
      sides.client.send(block);
      if (i % 100 === 0) await settle();
    }
    await until(() => sides.closed.server !== undefined);
    assert.match(sides.closed.server!.detail, /instead of exchanging keys/);
  });

  test('refuses a host key that is not the one expected', async () => {
    const sides = await connect({ verifyHostKey: () => ({ ok: false, reason: 'not pinned' }) });
    await until(() => sides.closed.client !== undefined && sides.closed.server !== undefined);
    assert.match(sides.closed.client!.detail, /host key of the target is not accepted: not pinned/);
    assert.equal(sides.closed.client!.by, 'error');
  });

  test('refuses connection packets before authentication', async () => {
    const sides = await connect();
    sides.server.authenticated = false;
    sides.client.send(Buffer.from([90, 0, 0, 0, 0]));
    await until(() => sides.closed.server !== undefined);
    assert.match(sides.closed.server!.detail, /before authentication/);
  });

  test('tells the other side why it goes', async () => {
    const sides = await connect();
    await sides.server.disconnect(11, 'Session ended: no activity');
    await until(() => sides.closed.client !== undefined);
    assert.deepEqual(sides.closed.client, {
      by: 'peer',
      detail: 'disconnected by the peer: Session ended: no activity',
    });
    assert.equal(sides.closed.server!.by, 'local');
  });
});
