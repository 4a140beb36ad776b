import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { decodeServerError } from '../../src/wire/postgres/messages.ts';
import { encodeSslRequest, encodeStartup, PROTOCOL_3_0 } from '../../src/wire/postgres/startup.ts';
import { pass, run, until } from '../fixtures/db/programs.ts';
import { newAuthority } from '../fixtures/db-authority.ts';
import { type ClientFiles, DEBIAN_BIN, database, type Fixture, PSQL, startFixture } from './postgres-fixture.ts';

const STARTUP = encodeStartup(
  PROTOCOL_3_0,
  new Map([
    ['user', 'postgres'],
    ['database', 'postgres'],
  ]),
);

describe('PostgreSQL: before anybody has signed in', () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await startFixture({ limits: { maxPending: 300, timeoutMs: 3_000 } });
    const server = await fixture.postgres({ binDir: DEBIAN_BIN });
    fixture.policy.put(
      database('db15', `127.0.0.1:${server.port}`, {
        tls: { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' },
      }),
    );
  });
  after(() => fixture.stop());

  const connect = async (): Promise<net.Socket> => {
    const socket = net.connect(fixture.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  /** Everything that comes until the end. */
  const rest = async (socket: net.Socket): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    if (!socket.closed) await new Promise((closed) => socket.once('close', closed));
    return Buffer.concat(chunks);
  };
  const errorIn = (bytes: Buffer) => {
    assert.equal(bytes[0], 0x45, bytes.toString('latin1'));
    return decodeServerError(bytes.subarray(5));
  };
  /** TLS after SSLRequest, or at once. */
  const secure = async (options: tls.ConnectionOptions, direct = false): Promise<tls.TLSSocket> => {
    const socket = await connect();
    if (!direct) {
      socket.write(encodeSslRequest());
      const [answer] = (await once(socket, 'data')) as [Buffer];
      assert.equal(answer.toString(), 'S');
    }
    const stream = tls.connect({ socket, ca: fixture.ca.tlsHostCa, servername: 'localhost', ...options });
    stream.on('error', () => undefined);
    await once(stream, 'secureConnect');
    return stream;
  };
  const ask = async (options: tls.ConnectionOptions, direct = false) => {
    const stream = await secure(options, direct);
    stream.write(STARTUP);
    return rest(stream);
  };
  const credentials = (files: ClientFiles) => ({ cert: files.certPem, key: files.keyPem });

  test('without TLS, and without a certificate: an answer that says what to do', async () => {
    const socket = await connect();
    socket.write(STARTUP);
    const plain = errorIn(await rest(socket));
    assert.equal(plain.sqlstate, '28000');
    assert.match(plain.message, /TLS with a client certificate is required/);
    const { message, sqlstate } = errorIn(await ask({}));
    assert.equal(sqlstate, '28000');
    assert.match(message, /a client certificate is required: sign in with "tsh db login"/);
    const files = await fixture.client();
    const { PGSSLCERT: _cert, PGSSLKEY: _key, ...env } = files.env;
    assert.match((await run(PSQL, ['-Xc', 'select 1'], { env })).stderr, /a client certificate is required/);
  });

  test('an expired certificate, also one that expires while its owner could resume the TLS session', async () => {
    const files = await fixture.client({ ttlMs: 1_500 });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const stream = await secure({ ...credentials(files), maxVersion });
      const sessions: Buffer[] = [];
      stream.on('session', (session: Buffer) => sessions.push(session));
      const earlier = stream.getSession();
      stream.write(STARTUP);
      await once(stream, 'data');
      await pass(50);
      stream.destroy();
      if (maxVersion === 'TLSv1.3') await pass(1_800);
      for (const session of [...sessions, ...(earlier === undefined ? [] : [earlier])]) {
        const again = await secure({ ...credentials(files), maxVersion, session });
        assert.equal(again.isSessionReused(), false);
        again.write(STARTUP);
        const bytes = await Promise.race([rest(again), once(again, 'data').then(([chunk]) => chunk as Buffer)]);
        if (maxVersion === 'TLSv1.3') assert.match(errorIn(bytes).message, /the client certificate has expired/);
        again.destroy();
      }
    }
    assert.match(errorIn(await ask(credentials(files))).message, /the client certificate has expired: sign in again/);
    assert.match((await run(PSQL, ['-Xc', 'select 1'], { env: files.env })).stderr, /has expired: sign in again/);
  });

  test('direct TLS needs the name of the protocol (ALPN)', async () => {
    const files = await fixture.client();
    assert.match(errorIn(await ask(credentials(files), true)).message, /ALPN/);
    await assert.rejects(
      ask({ ...credentials(files), ALPNProtocols: ['h2'] }, true),
      /alert|disconnected|no application protocol/i,
    );
    const stream = await secure({ ...credentials(files), ALPNProtocols: ['postgresql'] }, true);
    stream.write(STARTUP);
    const [answer] = (await once(stream, 'data')) as [Buffer];
    assert.equal(answer[0], 0x52);
    stream.destroy();
  });

  test('bytes behind SSLRequest are refused', async () => {
    const socket = await connect();
    socket.write(Buffer.concat([encodeSslRequest(), STARTUP]));
    assert.equal((await rest(socket)).length, 0);
  });

  test('GSSENCRequest is declined, and TLS may follow', async () => {
    const socket = await connect();
    socket.write(Buffer.from('0000000804d21630', 'hex'));
    const [no] = (await once(socket, 'data')) as [Buffer];
    assert.equal(no.toString(), 'N');
    socket.write(encodeSslRequest());
    const [yes] = (await once(socket, 'data')) as [Buffer];
    assert.equal(yes.toString(), 'S');
    socket.destroy();
  });

  test('garbage, and requests without end', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100, 0xff),
      Buffer.alloc(8),
      Buffer.from('0000000c0002000000000000', 'hex'),
    ]) {
      const socket = await connect();
      socket.write(bytes);
      await rest(socket);
    }
    const socket = await connect();
    socket.write(Buffer.concat(Array.from({ length: 5 }, () => Buffer.from('0000000804d21630', 'hex'))));
    assert.ok((await rest(socket)).length <= 4);
    const files = await fixture.client();
    // What cannot be a startup packet gets no answer, as from PostgreSQL.
    for (const bytes of [
      Buffer.alloc(64, 0),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from('5800000004', 'hex'),
    ]) {
      const stream = await secure(credentials(files));
      stream.write(bytes);
      assert.equal((await rest(stream)).length, 0);
    }
    for (const bytes of [
      Buffer.from('0000000c0003000075736572', 'hex'),
      encodeStartup(0x20000, new Map([['user', 'x']])),
      encodeStartup(PROTOCOL_3_0, new Map()),
    ]) {
      const stream = await secure(credentials(files));
      stream.write(bytes);
      const answer = await rest(stream);
      assert.equal(answer[0], 0x45);
    }
  });

  test('a startup message in pieces of one byte', async () => {
    const files = await fixture.client();
    const stream = await secure(credentials(files));
    stream.setNoDelay(true);
    for (const byte of STARTUP) stream.write(Buffer.from([byte]));
    const [answer] = (await once(stream, 'data')) as [Buffer];
    assert.equal(answer[0], 0x52);
    stream.destroy();
  });

  test('1,000 clients that never finish the login keep nobody out, and are gone after the limit', async () => {
    const files = await fixture.client();
    const silent: net.Socket[] = [];
    const started = performance.now();
    for (let i = 0; i < 1000; i++) {
      const socket = await connect();
      silent.push(socket);
      if (i % 3 === 1) socket.write(encodeSslRequest());
      if (i % 3 === 2) socket.write(STARTUP.subarray(0, 7));
      if (i % 200 === 100) {
        const { stdout, stderr } = await run(PSQL, ['-XAtc', 'select 1'], { env: files.env });
        assert.equal(stderr, '');
        assert.equal(stdout, '1\n');
      }
    }
    // The flow of new ones went on; the bound held all the time.
    assert.ok(silent.filter((socket) => !socket.destroyed).length <= 1000);
    for (const socket of silent) socket.resume();
    await until(
      'all of them are gone',
      () => silent.every((socket) => socket.destroyed || socket.readableEnded),
      30_000,
    );
    assert.ok(performance.now() - started > 3_000);
    assert.equal((await run(PSQL, ['-XAtc', 'select 1'], { env: files.env })).stdout, '1\n');
  });

  test('a client that signs in and then floods before the answer is cut off', async () => {
    const files = await fixture.client();
    const stream = await secure(credentials(files));
    stream.write(STARTUP);
    stream.write(Buffer.alloc(10 * 1024 * 1024));
    await rest(stream);
    await until('no session', () => fixture.sessions.list().length === 0);
  });

  test('a certificate of another cluster', async () => {
    const other = await startFixture({ authority: await newAuthority() });
    const files = await other.client();
    assert.match(errorIn(await ask(credentials(files))).message, /the client certificate is not valid here/);
    await other.stop();
  });
});
