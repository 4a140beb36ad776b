import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import {
  acceptedPair,
  ca,
  closeAfter,
  connect,
  listen,
  SUITES,
  startAcceptor,
  take,
  until,
} from '../../../../test/fixtures/tls.ts';
import { TlsStream } from './tls-stream.ts';

/** What Node's client sends first. */
async function clientHello(options: tls.ConnectionOptions = {}): Promise<Buffer> {
  const server = net.createServer();
  const port = await listen(server);
  const client = closeAfter(tls.connect({ port, host: '127.0.0.1', ...options }));
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  return hello;
}

/** Stands between a client and the acceptor: `fromClient` passes on what the client sends. */
async function between(
  port: number,
  fromClient: (chunk: Buffer, up: net.Socket, down: net.Socket) => void,
): Promise<number> {
  return listen(
    net.createServer((down) => {
      const up = closeAfter(net.connect(port, '127.0.0.1'));
      closeAfter(down);
      down.on('data', (chunk: Buffer) => fromClient(chunk, up, down));
      up.on('data', (chunk: Buffer) => down.write(chunk));
      up.on('close', () => down.destroy());
      down.on('close', () => up.destroy());
    }),
  );
}

describe('TLS on accepted sockets', () => {
  for (const native of [undefined, null]) {
    for (const ciphers of SUITES) {
      test(`${ciphers}${native === null ? ', without the addon' : ''}: both ways, any sizes`, async () => {
        const { near, far } = await acceptedPair({ ciphers }, native === null ? { native } : {});
        assert.equal(near instanceof TlsStream, native !== null);
        assert.equal(far.getCipher().standardName, ciphers);
        for (const size of [1, 16_384, 16_385, 100_000, 1_000_000]) {
          const bytes = Buffer.alloc(size, `${size} `);
          const arrived = Promise.all([take(far, size), take(near, size)]);
          near.write(bytes);
          far.write(bytes);
          for (const got of await arrived) assert.ok(got.equals(bytes));
        }
        assert.equal(near.remotePort, far.localPort);
        assert.equal(near.remoteAddress, '127.0.0.1');
      });
    }
  }

  test('TLS 1.2 stays with Node, whether the client or the server wants it, and its address is known', async () => {
    for (const [client, server] of [
      [{ maxVersion: 'TLSv1.2' }, {}],
      [{}, { maxVersion: 'TLSv1.2' }],
    ] as [tls.ConnectionOptions, tls.TlsOptions][]) {
      const { near, far } = await acceptedPair(client, { tls: server });
      assert.ok(near instanceof tls.TLSSocket);
      const arrived = take(near, 300_000);
      far.write(Buffer.alloc(300_000));
      await arrived;
      near.write('answer');
      assert.equal((await take(far, 6)).toString(), 'answer');
      assert.deepEqual([near.remoteAddress, near.remotePort], ['127.0.0.1', far.localPort]);
    }
  });

  test('a HelloRetryRequest, a name, a protocol and a certificate', async () => {
    const { certPem, keyPem } = await ca.mintDatabaseClient({ dbUser: 'alice', ttlMs: 60_000 });
    const { near, far } = await acceptedPair(
      {
        ecdhCurve: 'X25519:P-256',
        servername: 'db.example.com',
        ALPNProtocols: ['one', 'two'],
        cert: certPem,
        key: keyPem,
      },
      {
        tls: {
          ecdhCurve: 'P-256',
          ALPNProtocols: ['two'],
          requestCert: true,
          rejectUnauthorized: false,
          ca: ca.databaseCa,
        },
      },
    );
    assert.ok(near instanceof TlsStream);
    assert.deepEqual([near.alpnProtocol, near.servername, near.authorized], ['two', 'db.example.com', true]);
    assert.match(near.getPeerX509Certificate()!.subject, /alice/);
    near.write('x');
    await take(far, 1);
  });

  test('data in the segment of the Finished, data and the end too', async () => {
    const acceptor = await startAcceptor({ allowHalfOpen: true });
    for (const ends of [false, true]) {
      let held: Buffer[] | undefined;
      const port = await between(acceptor.port, (chunk, up) => {
        // The first is the ClientHello; the rest goes in one piece.
        if (held === undefined) {
          held = [];
          up.write(chunk);
          return;
        }
        held.push(chunk);
        if (Buffer.concat(held).length < 50_000) return;
        if (ends) up.end(Buffer.concat(held.splice(0)));
        else up.write(Buffer.concat(held.splice(0)));
      });
      const far = closeAfter(tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }));
      far.write('early');
      far.write(Buffer.alloc(50_000 - 5, '.'));
      const near = await acceptor.next();
      assert.equal((await take(near, 50_000)).toString('latin1', 0, 6), 'early.');
      if (ends) {
        near.resume();
        await until(() => near.readableEnded, 'the end');
      }
    }
  });

  test('a ClientHello that comes byte by byte, or in many records', async () => {
    const acceptor = await startAcceptor();
    for (const pieces of [3, 60]) {
      let first = true;
      const port = await between(acceptor.port, (chunk, up) => {
        if (!first) {
          up.write(chunk);
          return;
        }
        first = false;
        up.setNoDelay(true);
        const size = Math.ceil(chunk.length / pieces);
        const next = (at: number): void => {
          up.write(chunk.subarray(at, at + size));
          if (at + size < chunk.length) setTimeout(next, 2, at + size);
        };
        next(0);
      });
      const far = closeAfter(tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }));
      far.write('hello');
      assert.equal((await take(await acceptor.next(), 5)).toString(), 'hello');
    }
  });

  test('what is no TLS, and what is a ClientHello of nonsense, is told once and closed', async () => {
    // The record without content is waited behind, for as long as the handshake may take.
    const acceptor = await startAcceptor({ handshakeTimeoutMs: 1000 });
    const hello = await clientHello();
    const nonsense = Buffer.from(hello);
    nonsense.fill(0xff, 60);
    const inputs = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      nonsense,
      Buffer.from([22, 3, 1, 0, 0]),
      Buffer.alloc(70_000, 22),
    ];
    for (const [index, input] of inputs.entries()) {
      const socket = await connect(acceptor.port);
      socket.resume();
      socket.write(input);
      await until(() => socket.closed && acceptor.failures.length > index, 'a failure');
    }
    assert.equal(acceptor.failures.length, inputs.length);
    assert.equal(acceptor.streams.length, 0);
  });

  test('a client that ends or resets at each step is told once, and nothing of it stays', async () => {
    for (const native of [undefined, null]) {
      for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
        const acceptor = await startAcceptor(native === null ? { native } : {});
        const hello = await clientHello();
        for (const step of [0, 1, 5, 50, hello.length]) {
          const before = acceptor.failures.length;
          const socket = await connect(acceptor.port);
          socket.resume();
          if (step > 0) {
            socket.write(hello.subarray(0, step));
            if (step === hello.length) await once(socket, 'data');
            else await new Promise((resolve) => setTimeout(resolve, 10));
          }
          socket[how]();
          await until(() => acceptor.failures.length > before, `${how} after ${step}`);
          await new Promise(setImmediate);
          assert.equal(acceptor.failures.length, before + 1, `${how} after ${step}`);
        }
        assert.equal(acceptor.streams.length, 0);
      }
    }
  });

  test('a reset right behind the Finished is no error of the process', async () => {
    const acceptor = await startAcceptor();
    for (let i = 0; i < 20; i++) {
      const far = closeAfter(tls.connect({ port: acceptor.port, host: '127.0.0.1', rejectUnauthorized: false }));
      await once(far, 'secureConnect');
      if (i % 2 === 0) far.write('x');
      far.destroy();
    }
    await until(() => acceptor.failures.length + acceptor.streams.length === 20, 'all of them');
    for (const stream of acceptor.streams) stream.resume();
    await until(() => acceptor.streams.every((stream) => stream.destroyed), 'the end of all');
  });

  test('handshakes that stop anywhere are closed in time, many at once', async () => {
    for (const native of [undefined, null]) {
      const acceptor = await startAcceptor({ handshakeTimeoutMs: 700, ...(native === null ? { native } : {}) });
      const hello = await clientHello();
      const closed: Promise<unknown>[] = [];
      for (let i = 0; i < 200; i++) {
        const socket = await connect(acceptor.port);
        socket.resume();
        const step = [0, 3, 100, hello.length][i % 4]!;
        if (step > 0) socket.write(hello.subarray(0, step));
        closed.push(once(socket, 'close'));
      }
      await Promise.all(closed);
      await until(() => acceptor.failures.length >= 200, 'all failures');
      assert.equal(acceptor.failures.length, 200);
    }
  });

  test('connections in their handshake at once get each its own', async () => {
    const acceptor = await startAcceptor();
    const clients = Array.from({ length: 40 }, (_, i) =>
      closeAfter(
        tls.connect({
          port: acceptor.port,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          ...(i % 3 === 0 ? { maxVersion: 'TLSv1.2' as const } : {}),
        }),
      ),
    );
    await until(() => acceptor.streams.length === clients.length, 'all of them');
    for (const stream of acceptor.streams) stream.write(String(stream.remotePort));
    for (const client of clients) {
      const port = String(client.localPort);
      assert.equal((await take(client, port.length)).toString(), port);
    }
  });

  test('leaves no listeners of the handshake on the socket', async () => {
    const { near } = await acceptedPair();
    const { socket } = near as TlsStream;
    assert.equal(socket.listenerCount('data'), 1);
    assert.equal(socket.listenerCount('end'), 2, "the stream's and Node's");
    assert.ok(socket.listenerCount('close') <= 3);
  });
});
