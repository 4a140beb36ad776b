// Real TLS clients and servers against our records. Needs openssl, gnutls-cli and gnutls-serv (package gnutls-bin), curl.

import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { freePort } from '../../scripts/free-port.ts';
import { connectTls } from '../../src/gateways/common/tls/connect.ts';
import { type SecureStream, TlsStream } from '../../src/gateways/common/tls/tls-stream.ts';
import { ca, closeAfter, connect, SUITES, serverCredential, startAcceptor, take, until } from '../fixtures/tls.ts';

const dir = mkdtempSync(join(tmpdir(), 'nightlatch-tls-'));
const running: ChildProcessWithoutNullStreams[] = [];
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

function save(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

const server = await serverCredential();
const client = await ca.mintDatabaseClient({ dbUser: 'alice', ttlMs: 3_600_000 });
const files = {
  ca: save('ca.pem', ca.tlsHostCa),
  cert: save('server.pem', server.cert),
  key: save('server.key', server.key),
  clientCert: save('client.pem', client.certPem),
  clientKey: save('client.key', client.keyPem),
};

interface Program {
  readonly child: ChildProcessWithoutNullStreams;
  /** What it has said, on both outputs. */
  said(): string;
  exited(): boolean;
}

function start(command: string, ...args: string[]): Program {
  const child = spawn(command, args, { cwd: dir });
  running.push(child);
  let output = '';
  let exited = false;
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
  child.stdin.on('error', () => undefined);
  child.on('error', (error) => {
    output += String(error);
    exited = true;
  });
  child.on('close', () => {
    exited = true;
  });
  return { child, said: () => output, exited: () => exited };
}

const sClient = (port: number, ...args: string[]): Program =>
  start('openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-CAfile', files.ca, '-verify_return_error', ...args);

let said = 0;
/** Both sides say something, several times, and nothing is said twice. */
async function converse(near: SecureStream, program: Program): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const [hello, answer] = [`hello ${++said}\n`, `answer ${said}.\n`];
    const arrived = take(near, hello.length);
    program.child.stdin.write(hello);
    assert.equal((await arrived).toString(), hello);
    near.write(answer);
    await until(() => program.said().includes(answer), 'the answer');
  }
}

describe('clients', () => {
  for (const suite of SUITES) {
    test(`openssl s_client with ${suite}`, async () => {
      const acceptor = await startAcceptor();
      const program = sClient(acceptor.port, '-ciphersuites', suite);
      const near = await acceptor.next();
      assert.ok(near instanceof TlsStream);
      await converse(near, program);
      assert.match(program.said(), new RegExp(`Cipher is ${suite}`));
      near.end();
      await until(program.exited, program.said());
      await until(() => near.closed, 'close');
    });
  }

  test('openssl s_client with TLS 1.2, and with what is not offered', async () => {
    const acceptor = await startAcceptor();
    const program = sClient(acceptor.port, '-tls1_2');
    const near = await acceptor.next();
    assert.ok(near instanceof TLSSocket);
    await converse(near, program);
    for (const args of [
      ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'],
      ['-ciphersuites', 'TLS_AES_128_CCM_SHA256', '-tls1_3'],
    ]) {
      const before = acceptor.failures.length;
      const refused = sClient(acceptor.port, ...args);
      await until(refused.exited, refused.said());
      await until(() => acceptor.failures.length > before, refused.said());
    }
  });

  test('openssl s_client updates keys, its own and both', async () => {
    const acceptor = await startAcceptor();
    const program = sClient(acceptor.port);
    const near = await acceptor.next();
    assert.ok(near instanceof TlsStream);
    await converse(near, program);
    for (const [index, command] of ['k', 'K', 'K', 'k', 'K'].entries()) {
      program.child.stdin.write(`${command}\n`);
      await until(() => program.said().match(/KEYUPDATE/g)?.length === index + 1, program.said());
      await converse(near, program);
    }
    program.child.stdin.write('Q\n');
    await until(() => near.closed, 'close');
  });

  test('openssl s_client reconnects: no session is resumed, no early data is taken', async () => {
    const acceptor = await startAcceptor({ tls: { secureOptions: 0x4000 } });
    const session = join(dir, 'session.pem');
    const program = sClient(acceptor.port, '-sess_out', session);
    const near = await acceptor.next();
    near.write('tickets are read with it\n');
    await until(() => program.said().includes('are read'), program.said());
    near.end();
    await until(program.exited, program.said());
    const again = sClient(acceptor.port, '-sess_in', session, '-early_data', save('early', 'early data'));
    const second = await acceptor.next();
    await converse(second, again);
    assert.match(again.said(), /New, TLSv1.3/);
    assert.doesNotMatch(again.said(), /Early data was accepted/);
  });

  test('openssl s_client shows a certificate, or none', async () => {
    const acceptor = await startAcceptor({ tls: { requestCert: true, rejectUnauthorized: false, ca: ca.databaseCa } });
    const program = sClient(acceptor.port, '-cert', files.clientCert, '-key', files.clientKey);
    const near = await acceptor.next();
    assert.equal(near.authorized, true);
    assert.match(near.getPeerX509Certificate()!.subject, /alice/);
    await converse(near, program);
    const without = sClient(acceptor.port);
    const other = await acceptor.next();
    assert.deepEqual([other.authorized, other.getPeerX509Certificate()], [false, undefined]);
    await converse(other, without);
  });

  test('openssl s_client with a HelloRetryRequest, small records and padding', async () => {
    const acceptor = await startAcceptor({ tls: { ecdhCurve: 'P-384' } });
    const program = sClient(
      acceptor.port,
      '-groups',
      'X25519:P-384',
      '-max_send_frag',
      '512',
      '-record_padding',
      '100',
    );
    const near = await acceptor.next();
    assert.ok(near instanceof TlsStream);
    await converse(near, program);
    const arrived = take(near, 50_000);
    program.child.stdin.write(`${'x'.repeat(49_999)}\n`);
    assert.equal((await arrived).length, 50_000);
  });

  for (const priority of [
    'NORMAL:-VERS-ALL:+VERS-TLS1.3',
    'NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305',
    'NORMAL:-VERS-ALL:+VERS-TLS1.2',
  ]) {
    test(`gnutls-cli, ${priority}`, async () => {
      const acceptor = await startAcceptor();
      const program = start(
        'gnutls-cli',
        '--x509cafile',
        files.ca,
        '--sni-hostname',
        'localhost',
        '--verify-hostname',
        'localhost',
        '--priority',
        priority,
        '-p',
        String(acceptor.port),
        '127.0.0.1',
      );
      const near = await acceptor.next();
      assert.equal(near instanceof TlsStream, !priority.endsWith('1.2'));
      await converse(near, program);
      program.child.stdin.end();
      near.resume();
      await until(() => near.readableEnded, program.said());
      near.end();
      await until(program.exited, program.said());
    });
  }

  test('curl, several requests on a connection', async () => {
    const acceptor = await startAcceptor();
    const web = http.createServer((request, response) => response.end(`${request.url}\n`.repeat(20_000)));
    void (async () => {
      for (;;) web.emit('connection', await acceptor.next());
    })();
    const url = (path: string): string => `https://localhost:${acceptor.port}/${path}`;
    const program = start('curl', '-sS', '-v', '--http1.1', '--cacert', files.ca, url('a'), url('b'), url('c'));
    await until(program.exited, program.said());
    assert.equal(program.said().match(/^\/[abc]$/gm)?.length, 60_000);
    assert.match(program.said(), /Re-using existing connection/);
    assert.equal(acceptor.streams.length, 1);
    assert.ok(acceptor.streams[0] instanceof TlsStream);
  });
});

async function toProgram(port: number, program: Program, ready: RegExp): Promise<SecureStream> {
  await until(() => ready.test(program.said()), program.said());
  const socket = await connect(port);
  return closeAfter(await connectTls(socket, { host: 'localhost', ca: ca.tlsHostCa }, AbortSignal.timeout(20_000)));
}

describe('servers', () => {
  const sServer = async (...args: string[]): Promise<{ near: SecureStream; program: Program }> => {
    const port = await freePort();
    const program = start(
      'openssl',
      's_server',
      '-accept',
      `127.0.0.1:${port}`,
      '-cert',
      files.cert,
      '-key',
      files.key,
      ...args,
    );
    return { near: await toProgram(port, program, /ACCEPT/), program };
  };

  for (const suite of SUITES) {
    test(`openssl s_server with ${suite}`, async () => {
      const { near, program } = await sServer('-ciphersuites', suite);
      assert.ok(near instanceof TlsStream);
      await converse(near, program);
      near.end();
      await until(() => near.closed, program.said());
    });
  }

  test('openssl s_server with TLS 1.2 stays with Node', async () => {
    const { near, program } = await sServer('-tls1_2');
    assert.ok(near instanceof TLSSocket);
    await converse(near, program);
  });

  for (const tickets of ['0', '1', '20', '60']) {
    test(`openssl s_server with ${tickets} tickets`, async () => {
      const { near, program } = await sServer('-num_tickets', tickets);
      await converse(near, program);
    });
  }

  test('openssl s_server updates keys, its own and both, and closes in its way', async () => {
    const { near, program } = await sServer();
    await converse(near, program);
    for (const command of ['k', 'K', 'K', 'k']) {
      near.resume();
      const { socket } = near as TlsStream;
      const before = socket.bytesRead;
      program.child.stdin.write(`${command}\n`);
      await until(() => socket.bytesRead > before, 'the key update');
      await converse(near, program);
    }
    near.resume();
    program.child.stdin.write('q\n');
    await until(() => near.readableEnded && near.closed, program.said());
  });

  test('openssl s_server is killed: the end without close_notify', async () => {
    const { near, program } = await sServer();
    await converse(near, program);
    near.resume();
    program.child.kill('SIGKILL');
    await until(() => near.closed, program.said());
  });

  test('gnutls-serv echoes, with tickets', async () => {
    const port = await freePort();
    const program = start(
      'gnutls-serv',
      '--echo',
      '-p',
      String(port),
      '--x509certfile',
      files.cert,
      '--x509keyfile',
      files.key,
      '--priority',
      'NORMAL:-VERS-ALL:+VERS-TLS1.3',
    );
    // It says that it listens before it does; `done` comes after.
    const near = await toProgram(port, program, /listening on IPv4.*done/);
    assert.ok(near instanceof TlsStream);
    for (let round = 0; round < 5; round++) {
      const arrived = take(near, 6);
      near.write('echo!\n');
      assert.equal((await arrived).toString(), 'echo!\n');
    }
    near.end();
    await until(() => near.closed, program.said());
  });
});
