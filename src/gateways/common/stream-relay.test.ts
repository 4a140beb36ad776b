import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { memoryStore, testMasterKey } from '../../../test/fixtures/identity.ts';
import { take } from '../../../test/fixtures/tls.ts';
import { DecodeError } from '../../core/errors.ts';
import { loadCertAuthority } from '../../identity/certificate-authority.ts';
import { systemClock } from '../../server/system-clock.ts';
import type { FastPath } from './fast-path.ts';
import { loadFastPath } from './fast-path-search.ts';
import { finishStream, StreamRelay, type StreamRelayHandlers } from './stream-relay.ts';
import { TlsAcceptor } from './tls/accept.ts';
import { connectTls } from './tls/connect.ts';
import { TlsStream } from './tls/tls-stream.ts';

const MEGABYTE = 1024 * 1024;

/** On which of the relay's connections there is TLS. */
type Secure = 'plain' | 'TLS' | 'TLS on both sides' | 'our TLS' | 'our TLS to the server' | 'our TLS on both sides';

/** The client's and the server's far ends, the relay's near ones, and what the handlers were told. */
interface Joined {
  readonly client: net.Socket;
  readonly server: net.Socket;
  readonly nearClient: Duplex;
  readonly nearServer: Duplex;
  readonly relay: StreamRelay;
  readonly told: string[];
}

describe('the database relay', () => {
  let listener: net.Server;
  let secureListener: tls.Server;
  let acceptor: TlsAcceptor;
  let fastPath: FastPath | undefined;
  const sockets: net.Socket[] = [];
  before(async () => {
    fastPath = await loadFastPath(AbortSignal.timeout(5_000));
    const clock = systemClock;
    const ca = await loadCertAuthority({
      store: memoryStore(clock),
      masterKey: testMasterKey,
      clock,
      clusterName: 'test',
    });
    const { keyPem: key, certPem: cert } = await ca.mintTlsServer(['localhost']);
    listener = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    secureListener = tls.createServer({ key, cert, allowHalfOpen: true }).listen(0, '127.0.0.1');
    acceptor = new TlsAcceptor(tls.createServer({ key, cert }), {
      clock,
      handshakeTimeoutMs: 10_000,
      mayTakeOver: () => true,
      failed: () => undefined,
    });
    await Promise.all([once(listener, 'listening'), once(secureListener, 'listening')]);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
    secureListener.close();
  });

  const pair = async (secure: boolean): Promise<[near: net.Socket, far: net.Socket]> => {
    const server = secure ? secureListener : listener;
    const { port } = server.address() as net.AddressInfo;
    const far = secure
      ? tls.connect({
          port,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          allowHalfOpen: true,
        } as tls.ConnectionOptions)
      : net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const [[near]] = (await Promise.all([
      once(server, secure ? 'secureConnection' : 'connection'),
      once(far, secure ? 'secureConnect' : 'connect'),
    ])) as [[net.Socket], unknown];
    for (const socket of [near, far]) {
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    return [near, far];
  };

  /** The near end protects its records itself, as a TLS server or as a client of one. */
  const ownPair = async (role: 'server' | 'client'): Promise<[near: Duplex, far: net.Socket]> => {
    const [near, far] =
      role === 'server' ? await pair(false) : ((await pair(false)).reverse() as [net.Socket, net.Socket]);
    const nodeTls = { rejectUnauthorized: false, allowHalfOpen: true } as tls.ConnectionOptions;
    let ends: [Duplex, net.Socket];
    if (role === 'server') {
      const secured = new Promise<Duplex>((resolve) => acceptor.accept(near, resolve));
      const secureFar = tls.connect({ ...nodeTls, socket: far });
      ends = [await secured, secureFar];
    } else {
      const secured = once(secureListener, 'secureConnection') as Promise<[tls.TLSSocket]>;
      secureListener.emit('connection', far);
      const stream = await connectTls(near, nodeTls, AbortSignal.timeout(10_000));
      ends = [stream, (await secured)[0]];
    }
    assert.ok(ends[0] instanceof TlsStream, 'the connection was not taken over');
    for (const end of ends) end.on('error', () => undefined);
    return ends;
  };

  const joinUp = async (
    { secure, fast }: { secure: Secure; fast: boolean },
    handlers: Partial<StreamRelayHandlers> = {},
  ): Promise<Joined> => {
    const own = secure.startsWith('our TLS');
    const [nearClient, client] =
      own && secure !== 'our TLS to the server' ? await ownPair('server') : await pair(!own && secure !== 'plain');
    const [nearServer, server] =
      own && secure !== 'our TLS' ? await ownPair('client') : await pair(secure === 'TLS on both sides');
    const told: string[] = [];
    const relay = new StreamRelay(
      nearClient,
      nearServer,
      {
        fromClient: () => undefined,
        fromServer: (_chunk, length) => length,
        clientEnded: () => told.push('client ended'),
        serverEnded: () => told.push('server ended'),
        failed: (error) => told.push(`failed: ${(error as Error).message}`),
        ...handlers,
      },
      fast ? fastPath : undefined,
    );
    nearClient.pause();
    nearServer.pause();
    relay.start(Buffer.alloc(0), Buffer.alloc(0));
    return { client, server, nearClient, nearServer, relay, told };
  };

  const echo = async (from: net.Socket, to: net.Socket, text: string): Promise<void> => {
    from.write(text);
    assert.equal((await take(to, text.length)).toString(), text);
  };

  test('a write that fails before its call returns, as in Node’s TLS, ends the connection', async () => {
    const { client, server, nearServer, told } = await joinUp({ secure: 'plain', fast: true });
    await echo(client as net.Socket, server as net.Socket, 'before');
    const { binding } = fastPath!;
    const { _handle: handle } = nearServer as unknown as { _handle: Record<'writeBuffer', unknown> };
    handle.writeBuffer = (request: { oncomplete(status: number): void }) => {
      binding.streamBaseState[binding.kLastWriteWasAsync] = 1;
      request.oncomplete(-104);
      return 0;
    };
    const closed = once(nearServer, 'close');
    client.write('lost');
    await closed;
    assert.deepEqual(told, ['server ended']);
  });
  /** The first exchanges, at which the fast path takes over. */
  const warmUp = async ({ client, server }: Joined): Promise<void> => {
    for (const text of ['a', 'bc', 'd'.repeat(70_000)]) {
      await echo(client, server, text);
      await echo(server, client, text);
    }
  };

  test('this Node passes the self-test, and a test that does not come to its end says no', async () => {
    assert.notEqual(fastPath, undefined);
    assert.equal(await loadFastPath(AbortSignal.abort()), undefined);
  });

  for (const secure of [
    'plain',
    'TLS',
    'TLS on both sides',
    'our TLS',
    'our TLS to the server',
    'our TLS on both sides',
  ] as const) {
    for (const fast of [false, true]) {
      describe(`${secure}, ${fast ? 'below the streams' : 'streams'}`, () => {
        test('carries every byte, both ways at once, in order', async () => {
          const joined = await joinUp({ secure, fast });
          await warmUp(joined);
          const { client, server } = joined;
          const send = async (socket: net.Socket, bytes: Buffer): Promise<void> => {
            for (let at = 0; at < bytes.length; ) {
              const size = 1 + Math.floor(Math.random() * 90_000);
              if (!socket.write(bytes.subarray(at, at + size))) await once(socket, 'drain');
              at += size;
            }
          };
          const [up, down] = [randomBytes(20 * MEGABYTE), randomBytes(20 * MEGABYTE)];
          const [gotUp, gotDown] = await Promise.all([
            take(server, up.length),
            take(client, down.length),
            send(client, up),
            send(server, down),
          ]);
          assert.ok(gotUp.equals(up));
          assert.ok(gotDown.equals(down));
        });

        test('a reader that stops stops the writer, and loses nothing', async () => {
          const joined = await joinUp({ secure, fast });
          await warmUp(joined);
          const { client, server } = joined;
          const bytes = randomBytes(30 * MEGABYTE);
          client.pause();
          server.write(bytes);
          await new Promise((resolve) => setTimeout(resolve, 500));
          assert.ok(server.writableLength > 10 * MEGABYTE, 'the server was not held back');
          assert.ok((await take(client, bytes.length)).equals(bytes));
        });

        test('messages of the gateway come behind what was passed on', async () => {
          const joined = await joinUp({ secure, fast });
          await warmUp(joined);
          const { client, server, relay } = joined;
          client.pause();
          server.write('x'.repeat(10 * MEGABYTE));
          await new Promise((resolve) => setTimeout(resolve, 200));
          relay.tellClient(Buffer.from('[notice]'));
          const got = (await take(client, 10 * MEGABYTE + 8)).toString();
          assert.equal(got.replaceAll('x', ''), '[notice]');
        });

        test('stops: the last words come behind what was passed on, and both sides close', async () => {
          const joined = await joinUp({ secure, fast });
          await warmUp(joined);
          const { client, server, relay, nearClient, nearServer } = joined;
          server.write('x'.repeat(300_000));
          await take(client, 200_000);
          await relay.stop();
          relay.muteClient();
          client.write('too late');
          const rest = new Promise<string>((resolve) => {
            let text = '';
            client.on('data', (chunk: Buffer) => {
              text += chunk.toString();
            });
            client.on('end', () => resolve(text));
            client.resume();
          });
          server.resume();
          server.on('end', () => server.end());
          await Promise.all([finishStream(nearClient, Buffer.from('[end]')), finishStream(nearServer)]);
          assert.match(await rest, /^x*\[end\]$/);
        });

        test('tells once when either side ends or breaks', async () => {
          for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
            for (const side of ['client', 'server'] as const) {
              const joined = await joinUp({ secure, fast });
              await warmUp(joined);
              if (how === 'resetAndDestroy' && joined[side] instanceof tls.TLSSocket) continue;
              joined[side][how]();
              const giveUp = Date.now() + 10_000;
              while (joined.told.length === 0 && Date.now() < giveUp)
                await new Promise((resolve) => setTimeout(resolve, 5));
              assert.deepEqual(joined.told, [`${side} ended`]);
            }
          }
        });

        test('a handler that throws is reported, and what it looked at goes nowhere', async () => {
          const joined = await joinUp(
            { secure, fast },
            {
              fromClient: (chunk, length) => {
                if (chunk.subarray(0, length).includes('bad')) throw new DecodeError('bad bytes');
              },
            },
          );
          await warmUp(joined);
          const { client, server, told } = joined;
          client.write('bad');
          const giveUp = Date.now() + 10_000;
          while (told.length === 0 && Date.now() < giveUp) await new Promise((resolve) => setTimeout(resolve, 5));
          assert.deepEqual(told, ['failed: bad bytes']);
          await echo(client, server, 'good');
        });
      });
    }
  }
});

test('the self-test of the fast path can be given up at any moment', async () => {
  for (let turns = 0; turns < 12; turns++) {
    const closed = new AbortController();
    const search = loadFastPath(closed.signal);
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    closed.abort();
    // What is left of it must not end the process: an error without a listener would.
    await search;
  }
});
