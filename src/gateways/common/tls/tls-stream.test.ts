import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { acceptedPair, closeAfter, rawPair, startAcceptor, take, until } from '../../../../test/fixtures/tls.ts';
import { ALERT } from '../../../wire/tls/alert.ts';
import { RecordReader } from './record-reader.ts';
import type { TlsRecords } from './records.ts';

/** What comes on a bare socket, opened. */
function contentOf(raw: NodeJS.ReadableStream, records: TlsRecords): { text(): string; error(): Error | undefined } {
  const reader = new RecordReader(records);
  let text = '';
  let error: Error | undefined;
  raw.on('data', (chunk: Buffer) => {
    try {
      reader.feed(chunk, chunk.length, (bytes) => {
        text += bytes.toString('latin1');
      });
    } catch (thrown) {
      error = thrown as Error;
    }
  });
  return { text: () => text, error: () => error };
}

describe('a stream of our records', () => {
  test('close_notify ends reading only, where one side may stay open', async () => {
    const { near, raw, records, seal } = await rawPair({ allowHalfOpen: true });
    const got = contentOf(raw, records);
    near.resume();
    raw.write(Buffer.concat([seal('x'), records.alert(ALERT.closeNotify), seal('dropped')]));
    await once(near, 'end');
    near.write('still ');
    raw.write(Buffer.alloc(100_000, 7));
    near.end('open');
    await until(() => records.ended, 'close_notify');
    assert.equal(got.text(), 'still open');
    raw.end();
    await until(() => near.closed && near.socket.closed, 'the end of all');
  });

  test('close_notify is answered at once where no side may stay open', async () => {
    const { near, raw, records } = await rawPair();
    contentOf(raw, records);
    near.resume();
    raw.write(records.alert(ALERT.closeNotify));
    await once(near, 'end');
    await until(() => records.ended, 'close_notify');
    raw.end();
    await until(() => near.closed, 'the end of all');
  });

  test('last words go together with close_notify', async () => {
    const { near, raw, records } = await rawPair();
    const got = contentOf(raw, records);
    const chunks: number[] = [];
    raw.on('data', (chunk: Buffer) => chunks.push(chunk.length));
    near.endWith(Buffer.from('good night'));
    await once(raw, 'end');
    assert.deepEqual([got.text(), got.error(), records.ended, chunks.length], ['good night', undefined, true, 1]);
    await until(() => near.writableFinished, 'finish');
    raw.end();
    near.endWith(Buffer.from('nobody hears'));
    await until(() => near.closed, 'close');
  });

  test('the end of the connection ends the stream, with close_notify or without, in a record or between', async () => {
    for (const cut of [0, 3, 20]) {
      const { near, raw, seal } = await rawPair();
      const chunks: Buffer[] = [];
      near.on('data', (chunk: Buffer) => chunks.push(chunk));
      raw.end(Buffer.concat([seal('whole'), seal('cut in two').subarray(0, cut)]));
      raw.resume();
      await once(near, 'end');
      assert.equal(Buffer.concat(chunks).toString(), 'whole');
      await until(() => near.closed, 'close');
    }
  });

  test('the end of a stream that nobody reads closes it, where nothing is left to read', async () => {
    const { near, raw } = await rawPair();
    near.read(0);
    near.pause();
    near.end();
    raw.end();
    raw.resume();
    await until(() => near.closed, 'close');
  });

  test('what is wrong is answered by its alert, and nothing that is right comes behind it', async () => {
    for (const [alert, make] of [
      [ALERT.badRecordMac, () => Buffer.concat([Buffer.from([23, 3, 3, 0, 30]), Buffer.alloc(30)])],
      [ALERT.unexpectedMessage, () => Buffer.from([22, 3, 3, 0, 1, 0])],
      [ALERT.unexpectedMessage, () => Buffer.from([20, 3, 3, 0, 1, 1])],
      [ALERT.unexpectedMessage, () => Buffer.from('GET / HTTP/1.1\r\n')],
      [ALERT.recordOverflow, () => Buffer.from([23, 3, 3, 0x41, 1])],
    ] as [number, () => Buffer][]) {
      const { near, raw, records, seal } = await rawPair();
      const got = contentOf(raw, records);
      let text = '';
      near.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      raw.write(Buffer.concat([seal('good'), make(), seal('behind')]));
      raw.write(seal('later'));
      await until(() => near.closed && raw.readableEnded, 'close');
      assert.equal(text, 'good');
      assert.match(String(got.error()), new RegExp(`alert ${alert}$`));
    }
  });

  test('an alert of the other end is not answered', async () => {
    const { near, raw, records } = await rawPair();
    const chunks: Buffer[] = [];
    raw.on('data', (chunk: Buffer) => chunks.push(chunk));
    raw.write(records.alert(ALERT.internalError));
    const [error] = (await once(near, 'error')) as [Error];
    assert.match(error.message, /alert 80$/);
    await until(() => raw.readableEnded, 'the end');
    assert.equal(Buffer.concat(chunks).length, 0);
  });

  test('nobody needs to listen for errors', async () => {
    const { near, raw } = await rawPair({ received: Buffer.from('no record at all') });
    raw.resume();
    await until(() => near.closed, 'close');
    const reset = await rawPair();
    reset.near.resume();
    reset.raw.resetAndDestroy();
    await until(() => reset.near.closed, 'close');
  });

  test('records cut at every offset', async () => {
    const { near, raw, seal } = await rawPair();
    raw.setNoDelay(true);
    const texts = ['a', '', 'some more', 'b'.repeat(40)];
    for (let cut = 1; cut < 120; cut++) {
      const bytes = Buffer.concat(texts.map((text) => seal(text)));
      const expected = texts.join('');
      const arrived = take(near, expected.length);
      raw.write(bytes.subarray(0, cut));
      await new Promise(setImmediate);
      raw.write(bytes.subarray(cut));
      assert.equal((await arrived).toString(), expected);
    }
  });

  test('a reader that stops stops the other end', async () => {
    const { near, far } = await acceptedPair();
    near.pause();
    const bytes = Buffer.alloc(20_000_000, 'x');
    far.write(bytes);
    await until(() => near.readableLength > 0 || near.read(0) === undefined, 'data');
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(near.readableLength < 300_000, `${near.readableLength} bytes are kept`);
    assert.ok(far.writableLength > 1_000_000);
    assert.equal((await take(near, bytes.length)).length, bytes.length);
  });

  test('a write is done when the connection has taken it', async () => {
    const { near, raw } = await rawPair();
    raw.pause();
    let done = 0;
    for (let i = 0; i < 100; i++) near.write(Buffer.alloc(1_000_000), () => done++);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(done < 50, `${done} of 100 are done`);
    assert.ok(near.writableNeedDrain);
    near.destroy();
    await until(() => near.closed && done === 100, 'the end of all writes');
  });

  test('many writes go as full records', async () => {
    const { near, raw, records } = await rawPair();
    const got = contentOf(raw, records);
    near.cork();
    for (let i = 0; i < 1000; i++) near.write(`${i} `.padStart(50));
    near.uncork();
    await until(() => got.text().length === 50_000, 'all');
    // 50 kB are four records.
    assert.equal(raw.bytesRead, 50_000 + 4 * 22);
  });
});

describe('as the socket of an HTTP server', () => {
  const serve = async (handler: http.RequestListener): Promise<{ port: number; server: http.Server }> => {
    const server = http.createServer(handler);
    const acceptor = await startAcceptor({ allowHalfOpen: true });
    const poll = async (): Promise<void> => {
      for (;;) server.emit('connection', await acceptor.next());
    };
    void poll();
    return { port: acceptor.port, server };
  };
  const get = async (options: https.RequestOptions): Promise<{ status: number; body: string; reused: boolean }> => {
    const request = https.get({ host: '127.0.0.1', rejectUnauthorized: false, ...options });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let body = '';
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode!, body, reused: request.reusedSocket };
  };

  test('keeps connections alive, and closes them where it should', async () => {
    const { port } = await serve((request, response) => {
      if (request.url === '/close') response.setHeader('connection', 'close');
      response.end(`${request.url} `.repeat(10_000));
    });
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    for (const [index, path] of ['/a', '/b', '/c'].entries()) {
      const { body, reused } = await get({ port, path, agent });
      assert.equal(body, `${path} `.repeat(10_000));
      assert.equal(reused, index > 0);
    }
    agent.destroy();
    // The client says nothing of its own end: the server's is what closes the connection.
    const raw = closeAfter(
      tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true } as tls.ConnectionOptions),
    );
    raw.write('GET /close HTTP/1.1\r\nhost: x\r\n\r\n');
    raw.resume();
    await once(raw, 'end');
  });

  test('answers requests that come at once in their order', async () => {
    const { port } = await serve((request, response) => {
      setTimeout(() => response.end(`<${request.url}>`), request.url === '/1' ? 50 : 0);
    });
    const raw = closeAfter(tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }));
    raw.write(
      [1, 2, 3].map((n) => `GET /${n} HTTP/1.1\r\nhost: x\r\n${n === 3 ? 'connection: close\r\n' : ''}\r\n`).join(''),
    );
    let text = '';
    for await (const chunk of raw) text += String(chunk);
    assert.deepEqual(text.match(/<\/\d>/g), ['</1>', '</2>', '</3>']);
  });

  test('closes connections that are idle', async () => {
    const { port, server } = await serve((_request, response) => response.end('x'));
    server.keepAliveTimeout = 100;
    (server as { keepAliveTimeoutBuffer?: number }).keepAliveTimeoutBuffer = 0;
    const raw = closeAfter(tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }));
    raw.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    raw.resume();
    await until(() => raw.destroyed, 'the end');
  });

  test('destroySoon closes when all is written, though the other end stays', async () => {
    const { near, raw, records } = await rawPair({ allowHalfOpen: true });
    const got = contentOf(raw, records);
    near.write('x'.repeat(500_000));
    near.destroySoon();
    await until(() => near.closed, 'the end');
    await until(() => records.ended, 'close_notify');
    assert.equal(got.text().length, 500_000);
  });

  test('setTimeout tells of silence, and takes a listener back', async () => {
    const { near } = await rawPair();
    let calls = 0;
    const listener = (): number => calls++;
    near.setTimeout(50, listener);
    near.setTimeout(0, listener);
    assert.equal(near.listenerCount('timeout'), 0);
    near.setTimeout(20);
    await once(near, 'timeout');
    assert.equal(calls, 0);
    near.setTimeout(0);
  });
});
