import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import {
  ca,
  closeAfter,
  connect,
  connectedPair,
  listen,
  SUITES,
  serverCredential,
  take,
  until,
} from '../../../../test/fixtures/tls.ts';
import { connectTls, TlsConnector } from './connect.ts';
import { nativeRecords } from './native-records.ts';
import { TlsStream } from './tls-stream.ts';

const limit = (): AbortSignal => AbortSignal.timeout(20_000);
const options = { host: 'localhost', ca: ca.tlsHostCa };

describe('TLS to a server', () => {
  for (const native of [nativeRecords!, null]) {
    const without = native === null ? ', without the addon' : '';
    for (const ciphers of SUITES) {
      test(`${ciphers}${without}: both ways, any sizes`, async () => {
        const { near, far } = await connectedPair({ ciphers }, { native });
        assert.equal(near instanceof TlsStream, native !== null);
        assert.equal(near.authorized, true);
        for (const size of [1, 16_384, 16_385, 1_000_000]) {
          const bytes = Buffer.alloc(size, `${size} `);
          const arrived = Promise.all([take(far, size), take(near, size)]);
          near.write(bytes);
          far.write(bytes);
          for (const got of await arrived) assert.ok(got.equals(bytes));
        }
      });
    }

    test(`a certificate that is for another name, or of nobody known${without}`, async () => {
      const listener = tls.createServer(await serverCredential(['elsewhere.example.com']));
      listener.on('tlsClientError', () => undefined);
      const port = await listen(listener);
      for (const [more, message] of [
        [{ host: 'localhost' }, /altnames/],
        [{ host: 'elsewhere.example.com', ca: ca.databaseCa }, /certificate/],
      ] as const) {
        const socket = await connect(port);
        await assert.rejects(connectTls(socket, { ...options, ...more }, limit(), native), message);
        assert.ok(socket.destroyed);
      }
      const socket = await connect(port);
      const stream = await connectTls(socket, { rejectUnauthorized: false }, limit(), native);
      assert.equal(stream.authorized, false);
      stream.destroy();
    });

    test(`a server that speaks no TLS, closes or resets${without}`, async () => {
      for (const behave of [
        (socket: net.Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
        (socket: net.Socket) => socket.end(),
        (socket: net.Socket) => socket.destroy(),
        (socket: net.Socket) => socket.resetAndDestroy(),
        (socket: net.Socket) => socket.end(Buffer.from([22, 3, 3, 0, 100, 2, 0, 0])),
        (socket: net.Socket) => socket.write(Buffer.alloc(100_000, 22)),
      ]) {
        const port = await listen(
          net.createServer((socket) => void closeAfter(socket).once('data', () => behave(socket))),
        );
        const socket = await connect(port);
        await assert.rejects(connectTls(socket, options, limit(), native), Error);
        await until(() => socket.closed, 'close');
      }
    });

    test(`is given up at once, and at any moment${without}`, async () => {
      const listener = tls.createServer(await serverCredential());
      listener.on('tlsClientError', () => undefined);
      listener.on('secureConnection', (socket) => socket.on('error', () => undefined));
      const port = await listen(listener);
      for (let turns = 0; turns < 25; turns++) {
        const socket = await connect(port);
        const giveUp = new AbortController();
        if (turns === 0) giveUp.abort(new Error('given up'));
        const connecting = connectTls(socket, options, giveUp.signal, native);
        const outcome = connecting.then(
          (stream) => stream,
          (error: Error) => error.message,
        );
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
        giveUp.abort(new Error('given up'));
        const result = await outcome;
        if (typeof result === 'string') {
          assert.equal(result, 'given up');
          assert.ok(socket.destroyed);
        } else {
          result.destroy();
        }
      }
    });
  }

  test('a socket that is closed already', async () => {
    const port = await listen(net.createServer((socket) => socket.destroy()));
    const socket = await connect(port);
    socket.resume();
    await until(() => socket.closed, 'close');
    await assert.rejects(connectTls(socket, options, limit()), /closed/);
  });

  test('what the server says at once, and its end, are not lost', async () => {
    const listener = tls.createServer(await serverCredential(), (socket) => {
      socket.on('error', () => undefined);
      socket.end('greeting');
    });
    const port = await listen(listener);
    for (const late of [false, true]) {
      const socket = await connect(port);
      const stream = await connectTls(socket, options, limit());
      // All has come before anybody reads.
      if (late) {
        stream.read(0);
        await until(() => socket.closed, 'the end of the connection');
      }
      let text = '';
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      await until(() => stream.closed, 'close');
      assert.equal(text, 'greeting');
      assert.ok(stream.readableEnded);
    }
  });

  test('a connection that stays with Node keeps nothing of what goes over it', async () => {
    const { near, far } = await connectedPair({ maxVersion: 'TLSv1.2' });
    assert.ok(near instanceof tls.TLSSocket);
    const chunk = Buffer.alloc(1_000_000);
    const held = async (): Promise<number> => {
      for (let i = 0; i < 30; i++) {
        const arrived = Promise.all([take(far, chunk.length), take(near, chunk.length)]);
        near.write(chunk);
        far.write(chunk);
        await arrived;
      }
      return process.memoryUsage().arrayBuffers;
    };
    await held();
    const before = process.memoryUsage().arrayBuffers;
    let least = Number.POSITIVE_INFINITY;
    // What was not collected yet is no leak: the least of several.
    for (let i = 0; i < 3; i++) least = Math.min(least, await held());
    assert.ok(least - before < 40_000_000, `${least - before} bytes more`);
  });

  test('a server that speaks TLS 1.2 only is left to Node’s TLS from the second connection on, until it speaks 1.3', async () => {
    const credential = await serverCredential();
    const connector = new TlsConnector();
    // Our wire reads the socket by an event, Node's TLS takes its handle.
    const kinds: string[] = [];
    for (const maxVersion of ['TLSv1.2', 'TLSv1.2', 'TLSv1.3', 'TLSv1.3'] as const) {
      const port = await listen(
        tls.createServer({ ...credential, maxVersion }, (far) => far.on('error', () => undefined)),
      );
      const socket = await connect(port);
      const stream = closeAfter(await connector.connect('db:5432', socket, options, limit()));
      kinds.push(stream instanceof TlsStream ? 'ours' : socket.listenerCount('data') > 0 ? 'by the wire' : 'node');
    }
    assert.deepEqual(
      kinds,
      nativeRecords === undefined ? Array(4).fill('node') : ['by the wire', 'node', 'node', 'ours'],
    );
  });
});
