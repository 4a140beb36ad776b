// The public port of the real daemon under requests that no honest client makes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

const LIMIT_MS = 45_000;

describe('the public port under attack', { concurrency: 8, timeout: 115_000 }, () => {
  let daemon: TestDaemon;

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0"}',
          '',
        ].join('\n'),
    });
  });
  after(() => daemon.stop());

  /** A TLS connection, all that comes back on it, and its end. */
  async function connect(alpn: string): Promise<{ socket: tls.TLSSocket; ended: Promise<string> }> {
    const socket = tls.connect({
      port: daemon.port,
      host: '127.0.0.1',
      ALPNProtocols: [alpn],
      rejectUnauthorized: false,
    });
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
    });
    const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
    await once(socket, 'secureConnect');
    return { socket, ended };
  }

  const closing = (socket: net.Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));

  /** Whether a connection is closed by the other side in time; its own end closes it in any case. */
  async function closedWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const result = await Promise.race([ended.then(() => true), late]);
    clearTimeout(timer);
    return result;
  }

  /** Sends bytes as they are, and no more, and returns all that comes until the connection ends. */
  async function raw(request: string): Promise<string> {
    const { socket, ended } = await connect('http/1.1');
    socket.end(request, 'latin1');
    assert.ok(await closedWithin(ended, LIMIT_MS), `still open: ${JSON.stringify(request.slice(0, 80))}`);
    return ended;
  }

  const statuses = (answer: string) => [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map((match) => Number(match[1]));

  test('a TCP connection that says nothing, and a handshake that comes byte by byte', async () => {
    const silent = net.connect(daemon.port, '127.0.0.1');
    silent.on('error', () => {}).resume();
    const slow = net.connect(daemon.port, '127.0.0.1');
    slow.on('error', () => {}).resume();
    const hello = Buffer.from('16030100c8010000c40303', 'hex');
    let at = 0;
    const dripping = setInterval(() => slow.write(hello.subarray(at, ++at)), 900);
    const [one, two] = await Promise.all([closedWithin(closing(silent), 30_000), closedWithin(closing(slow), 30_000)]);
    clearInterval(dripping);
    silent.destroy();
    slow.destroy();
    assert.deepEqual([one, two], [true, true]);
  });

  test('a request whose header comes byte by byte', async () => {
    const { socket, ended } = await connect('http/1.1');
    const header = `GET /v1/ping HTTP/1.1\r\nhost: x\r\nx-slow: ${'a'.repeat(1000)}`;
    let at = 0;
    const dripping = setInterval(() => socket.write(header.slice(at, ++at)), 500);
    const closed = await closedWithin(ended, LIMIT_MS);
    clearInterval(dripping);
    socket.destroy();
    assert.ok(closed);
  });

  test('a connection that has shaken hands and says nothing more', async () => {
    const first = await connect('http/1.1');
    const second = await connect('h2');
    const closed = await Promise.all([closedWithin(first.ended, 100_000), closedWithin(second.ended, 100_000)]);
    first.socket.destroy();
    second.socket.destroy();
    assert.deepEqual(closed, [true, true]);
  });

  test('headers that are too large or too many', async () => {
    const many = Array.from({ length: 5_000 }, (_, n) => `x${n}: y`).join('\r\n');
    for (const request of [
      `GET /v1/ping HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`,
      `GET /v1/ping HTTP/1.1\r\nhost: x\r\n${many}\r\n\r\n`,
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
    ]) {
      assert.equal(await raw(request), '');
    }
  });

  test('requests that two readers would cut apart differently are refused, and what follows them is not answered', async () => {
    const smuggled = 'GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n';
    const json = 'content-type: application/json\r\n';
    for (const request of [
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}content-length: 0\r\ncontent-length: 40\r\n\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}content-length: +5\r\n\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}content-length : 5\r\n\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}transfer-encoding: xchunked\r\n\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n${smuggled}`,
      `POST /v1/login HTTP/1.1\r\nhost: x\r\n${json}transfer-encoding: chunked\r\n\r\n5 ;x\r\n${smuggled}`,
      `GET /v1/ping HTTP/1.1\nhost: x\n\n${smuggled}`,
      `GET /v1/ping HTTP/1.1\r\nhost: x\r\nx: a\rb: c\r\n\r\n${smuggled}`,
      `GET /v1/ping HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n${smuggled}`,
      `GET /v1/ping HTTP/1.1\r\n${smuggled}`,
      `GET /v1/ping HTTP/9.9\r\nhost: x\r\n\r\n${smuggled}`,
      `GE\u0001T /v1/ping HTTP/1.1\r\nhost: x\r\n\r\n${smuggled}`,
    ]) {
      const answer = await raw(request);
      const answered = statuses(answer);
      assert.ok(answered.length <= 1, `${JSON.stringify(request)}: ${answered}`);
      assert.ok(
        answered.every((status) => status >= 400 && status < 500),
        `${JSON.stringify(request)}: ${answer}`,
      );
    }
  });

  test('odd ways to write a path lead nowhere without a sign-in', async () => {
    for (const path of [
      '//v1/status',
      '/v1//status',
      '/v1/./status',
      '/v1/ping/../status',
      '/v1/%2e%2e/v1/status',
      '/v1/ping%2f..%2fstatus',
      '/V1/STATUS',
      '/v1/status;x=/v1/ping',
      '/v1/status?x=/v1/ping',
      '/v1/status#/v1/ping',
      '/v1/status%00',
      '/v1\\status',
      'https://localhost/v1/status',
      'http://evil.example/v1/status',
      '*',
      'v1/status',
    ]) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      const [status] = statuses(answer);
      assert.ok(status === undefined || (status >= 400 && status < 500), `${path}: ${answer.slice(0, 200)}`);
      assert.doesNotMatch(answer, /"roles"|"administrator"/);
    }
    const connectTo = await raw('CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n');
    assert.doesNotMatch(connectTo, /^HTTP\/1\.1 2/);
    const trace = await raw('TRACE /v1/ping HTTP/1.1\r\nhost: x\r\ncookie: secret\r\nconnection: close\r\n\r\n');
    assert.doesNotMatch(trace, /secret/);
  });

  test('an upgrade to something else, without a sign-in, gets nothing', async () => {
    for (const protocol of ['websocket', 'SPDY/3.1', 'h2c', 'TLS/1.0']) {
      const request = `GET /v1/nodes HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n`;
      const { socket, ended } = await connect('http/1.1');
      socket.write(request);
      await closedWithin(ended, 2_000);
      socket.destroy();
      assert.doesNotMatch(await ended, /^HTTP\/1\.1 (101|2)/, protocol);
    }
  });

  test('HTTP/2: streams opened and reset without end, and settings without end, cost one connection', async () => {
    const session = http2.connect(`https://127.0.0.1:${daemon.port}`, { rejectUnauthorized: false });
    session.on('error', () => {});
    await once(session, 'connect');
    for (let n = 0; n < 5_000 && !session.destroyed; n++) {
      const stream = session.request({ ':path': '/v1/status' });
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
      if (n % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    session.destroy();
    const answer = await raw('GET /v1/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    assert.deepEqual(statuses(answer), [200]);
  });

  test('meanwhile it serves, and its log has no error of its own in it', async () => {
    const answer = await raw('GET /v1/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    assert.deepEqual(statuses(answer), [200]);
    assert.doesNotMatch(daemon.log(), /nobody handled|API call failed|\x1b/);
  });
});
