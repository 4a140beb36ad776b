// The relay takes connections over below their streams while records are on their way.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { before, describe, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { acceptedPair, connect, connectedPair, listen, rawPair, take, until } from '../../../../test/fixtures/tls.ts';
import { ALERT } from '../../../wire/tls/alert.ts';
import type { FastPath } from '../fast-path.ts';
import { loadFastPath } from '../fast-path-search.ts';
import { StreamRelay, type StreamRelayHandlers } from '../stream-relay.ts';
import { nativeRecords } from './native-records.ts';
import { RecordReader } from './record-reader.ts';

const MEGABYTE = 1024 * 1024;
let fastPath: FastPath;
before(async () => {
  fastPath = (await loadFastPath(AbortSignal.timeout(20_000)))!;
});

async function plainPair(): Promise<{ near: net.Socket; far: net.Socket }> {
  const listener = net.createServer({ allowHalfOpen: true });
  const port = await listen(listener);
  const [far, [near]] = await Promise.all([
    connect(port, { allowHalfOpen: true }),
    once(listener, 'connection') as Promise<[net.Socket]>,
  ]);
  near.on('error', () => undefined);
  return { near, far };
}

function relayOf(
  client: Duplex,
  server: Duplex,
  handlers: Partial<StreamRelayHandlers> = {},
): { relay: StreamRelay; told: string[] } {
  const told: string[] = [];
  const relay = new StreamRelay(
    client,
    server,
    {
      fromClient: () => undefined,
      fromServer: (_chunk, length) => length,
      clientEnded: () => told.push('client ended'),
      serverEnded: () => told.push('server ended'),
      failed: (error) => told.push(String(error)),
      ...handlers,
    },
    fastPath,
  );
  client.pause();
  server.pause();
  return { relay, told };
}

describe('our records below the streams', () => {
  test('many records come with the one at which the connection is taken over', async () => {
    for (const side of ['client', 'server'] as const) {
      const own = side === 'client' ? await acceptedPair() : await connectedPair();
      const plain = await plainPair();
      const { relay } = side === 'client' ? relayOf(own.near, plain.near) : relayOf(plain.near, own.near);
      // With a write under way it is not taken over at once.
      own.near.write('greeting');
      const sent = randomBytes(MEGABYTE);
      const greeted = take(own.far, 8);
      const arrived = take(plain.far, sent.length);
      own.far.write(sent);
      relay.start(Buffer.alloc(0), Buffer.alloc(0));
      await greeted;
      assert.ok((await arrived).equals(sent), side);
      const back = randomBytes(MEGABYTE);
      plain.far.write(back);
      assert.ok((await take(own.far, back.length)).equals(back), side);
    }
  });

  test('what piled up before is passed on in its order', async () => {
    for (const size of [10, 30_000, 70_000, 140_000, 3 * MEGABYTE]) {
      const own = await acceptedPair();
      const plain = await plainPair();
      own.near.pause();
      const sent = randomBytes(size);
      own.far.write(sent);
      own.near.read(0);
      await until(() => own.near.readableLength >= Math.min(size, 60_000), 'nothing came');
      await new Promise((resolve) => setTimeout(resolve, 50));
      const { relay } = relayOf(own.near, plain.near);
      const arrived = take(plain.far, sent.length);
      relay.start(Buffer.alloc(0), Buffer.alloc(0));
      assert.ok((await arrived).equals(sent), `${size} bytes`);
    }
  });

  test('a client that is held waits with its records, and the end comes behind them', async () => {
    const own = await acceptedPair({ allowHalfOpen: true } as object, { allowHalfOpen: true });
    const plain = await plainPair();
    let held = 0;
    const { relay, told } = relayOf(own.near, plain.near, {
      fromClient: () => {
        held++;
        relay.holdClient();
        setImmediate(() => relay.releaseClient());
      },
    });
    relay.start(Buffer.alloc(0), Buffer.alloc(0));
    const sent = randomBytes(MEGABYTE);
    const arrived = take(plain.far, sent.length);
    own.far.end(sent);
    assert.ok((await arrived).equals(sent));
    assert.ok(held >= 64);
    await until(() => told.length > 0, 'the end did not come');
    assert.deepEqual(told, ['client ended']);
  });

  test('close_notify ends a direction, and is sent at the end of the other', async () => {
    for (const side of ['client', 'server'] as const) {
      const { near, raw, records, seal } = await rawPair({ allowHalfOpen: true });
      const plain = await plainPair();
      const { relay, told } = side === 'client' ? relayOf(near, plain.near) : relayOf(plain.near, near);
      relay.start(Buffer.alloc(0), Buffer.alloc(0));
      raw.write(seal('a'));
      await take(plain.far, 1);
      const arrived = take(plain.far, 10);
      raw.write(Buffer.concat([seal('last words'), records.alert(ALERT.closeNotify)]));
      assert.equal((await arrived).toString(), 'last words');
      await until(() => told.length > 0, 'the end did not come');
      // What comes behind is dropped, however much it is.
      raw.write(seal('dropped'));
      raw.write(randomBytes(MEGABYTE));
      const reader = new RecordReader(records);
      raw.on('data', (chunk: Buffer) => reader.feed(chunk, chunk.length, () => assert.fail('data')));
      if (side === 'client') relay.endClient();
      else relay.endServer();
      await once(raw, 'end');
      assert.ok(records.ended, 'no close_notify');
      assert.deepEqual(told, [`${side} ended`]);
    }
  });

  for (const fast of [true, false]) {
    test(`nothing is passed on behind a record that is not authentic (${fast ? 'below the streams' : 'streams'})`, async () => {
      const { near, raw, records, seal } = await rawPair();
      const plain = await plainPair();
      const seen: Buffer[] = [];
      plain.far.on('data', (chunk: Buffer) => seen.push(chunk));
      const { relay, told } = relayOf(near, plain.near);
      if (fast) relay.start(Buffer.alloc(0), Buffer.alloc(0));
      else
        near
          .on('data', (chunk: Buffer) => plain.near.write(chunk))
          .on('close', () => told.push('client ended'))
          .resume();
      raw.write(seal('good '));
      await until(() => seen.length > 0, 'the first record');
      const alert = take(raw, 24);
      const before = seal('before');
      const bad = seal('changed');
      bad[8] = bad[8]! ^ 1;
      const behind = seal('behind');
      raw.write(Buffer.concat([before, bad, behind]));
      raw.write(seal('later'));
      const received = await alert;
      assert.throws(() => records.open(received, 0), /alert 20$/);
      await until(() => told.includes('client ended'), 'the end');
      await until(() => Buffer.concat(seen).toString() === 'good before', 'what came before it');
      await new Promise(setImmediate);
      assert.equal(Buffer.concat(seen).toString(), 'good before');
    });
  }

  test('an alert does not overtake records that wait, which would make it unreadable', async () => {
    const { near, raw, records, seal } = await rawPair();
    const plain = await plainPair();
    const { relay, told } = relayOf(near, plain.near);
    relay.start(Buffer.alloc(0), Buffer.alloc(0));
    raw.pause();
    const flood = (): boolean => plain.far.write(Buffer.alloc(MEGABYTE));
    for (let i = 0; i < 20; i++) flood();
    await until(() => relay.clientBacklogged, 'a backlog');
    const bad = seal('changed');
    bad[8] = bad[8]! ^ 1;
    raw.write(bad);
    await until(() => told.includes('client ended'), 'the end');
    assert.ok(near.socket.destroyed, 'a client that takes nothing keeps the connection');
    // All that came is in order.
    const chunks: Buffer[] = [];
    raw.on('data', (chunk: Buffer) => chunks.push(chunk));
    raw.on('end', () => raw.end());
    raw.resume();
    await once(raw, 'close');
    let content = 0;
    const all = Buffer.concat(chunks);
    new RecordReader(records).feed(all, all.length, (bytes) => {
      content += bytes.length;
    });
    assert.ok(content > 100_000);
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const native of [nativeRecords!, null]) {
      if (maxVersion === 'TLSv1.3' && native !== null) continue;
      test(`a server with ${maxVersion}${native === null ? ', without the addon' : ''}, both ways at once`, async () => {
        const own = await connectedPair({ maxVersion }, { native });
        assert.ok(own.near instanceof TLSSocket);
        const plain = await plainPair();
        const { relay, told } = relayOf(plain.near, own.near);
        relay.start(Buffer.alloc(0), Buffer.alloc(0));
        for (let round = 0; round < 3; round++) {
          const [up, down] = [randomBytes(5 * MEGABYTE), randomBytes(5 * MEGABYTE)];
          const arrived = Promise.all([take(own.far, up.length), take(plain.far, down.length)]);
          plain.far.write(up);
          own.far.write(down);
          const [gotUp, gotDown] = await arrived;
          assert.ok(gotUp.equals(up) && gotDown.equals(down));
        }
        // Breaks in the middle: neither end takes what comes, and with more than the system's buffers hold there is a write to fail.
        plain.far.pause();
        for (let i = 0; i < 20; i++) {
          own.far.write(Buffer.alloc(MEGABYTE));
          plain.far.write(Buffer.alloc(MEGABYTE));
        }
        await take(own.far, 1);
        own.far.destroy();
        await until(() => told.includes('server ended'), 'the end');
      });
    }
  }
});
