import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { EmbeddedPostgres } from '../../src/gateways/postgres/embedded-postgres.ts';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { run, until } from '../fixtures/db/programs.ts';
import {
  connectPg,
  DEBIAN_BIN,
  database,
  type Fixture,
  lastSession,
  PSQL,
  sessionEnd,
  startFixture,
} from './postgres-fixture.ts';

const PASSWORD = 'pä55 wörd';

describe('PostgreSQL: the gateway’s login at the database', () => {
  let fixture: Fixture;
  let server: EmbeddedPostgres;
  let passwordFile: string;
  before(async () => {
    fixture = await startFixture();
    server = await fixture.postgres({
      binDir: DEBIAN_BIN,
      hba: [
        'hostssl all scram_user 127.0.0.1/32 scram-sha-256',
        'hostnossl all scram_user 127.0.0.1/32 scram-sha-256',
        'host all md5_user 127.0.0.1/32 md5',
        'host all plain_user 127.0.0.1/32 password',
        'hostssl all all 127.0.0.1/32 cert',
      ],
      initialSql: [
        `create role scram_user login password '${PASSWORD}'`,
        `set password_encryption = 'md5'; create role md5_user login password '${PASSWORD}'`,
        `create role plain_user login password '${PASSWORD}'`,
      ],
    });
    passwordFile = join(fixture.dir, 'password');
    writeFileSync(passwordFile, `${PASSWORD}\n`);
  });
  after(() => fixture.stop());

  const verified = () => ({ mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' });
  const query = async (user: string, spec: Record<string, unknown>, sql = 'select current_user') => {
    fixture.policy.put(database('db15', `127.0.0.1:${server.port}`, spec));
    const client = await fixture.client();
    return run(PSQL, ['-XAtc', sql], { env: { ...client.env, PGUSER: user } });
  };
  const byPassword = () => ({ auth: { password_file: passwordFile } });

  test('SCRAM over TLS binds to the channel', async () => {
    const { stdout, stderr } = await query('scram_user', { tls: verified(), ...byPassword() });
    assert.equal(stderr, '');
    assert.equal(stdout, 'scram_user\n');
    assert.ok(fixture.log.lines.some((line) => line.includes('"method":"SCRAM-SHA-256-PLUS"')));
  });

  test('SCRAM, MD5 without TLS; clear text only with it', async () => {
    for (const user of ['scram_user', 'md5_user'])
      assert.equal((await query(user, { tls: { mode: 'disable' }, ...byPassword() })).stdout, `${user}\n`);
    const refused = await query('plain_user', { tls: { mode: 'disable' }, ...byPassword() });
    assert.match(refused.stderr, /asks for a password in clear text without TLS/);
    assert.equal((await query('plain_user', { tls: verified(), ...byPassword() })).stdout, 'plain_user\n');
  });

  test('a wrong password is the server’s refusal, in its words', async () => {
    const wrong = join(fixture.dir, 'wrong');
    writeFileSync(wrong, 'wrong');
    const { stderr, code } = await query('scram_user', { tls: verified(), auth: { password_file: wrong } });
    assert.equal(code, 2);
    assert.match(stderr, /FATAL: {2}password authentication failed for user "scram_user"/);
    assert.equal(fixture.log.lines.join().includes('wrong"'), false);
    const failed = fixture.audit.last('db.session.start')!;
    assert.equal(failed.code, 'TDB00W');
    assert.match(String(failed['error']), /password authentication failed/);
  });

  test('a password file that is missing, and a server that wants a password of the certificate’s owner', async () => {
    assert.match(
      (await query('scram_user', { tls: verified(), auth: { password_file: '/nonexistent' } })).stderr,
      /auth\.password_file cannot be read/,
    );
    assert.match(
      (await query('scram_user', { tls: verified() })).stderr,
      /asks for a password for user "scram_user", and the gateway signs in by certificate/,
    );
  });

  test('a user or database that is not there is refused by the server, in its words', async () => {
    assert.match(
      (await query('nobody_here', { tls: verified() })).stderr,
      /FATAL: {2}role "nobody_here" does not exist/,
    );
    fixture.policy.put(database('db15', `127.0.0.1:${server.port}`, { tls: verified() }));
    const client = await fixture.client();
    const { stderr } = await run(PSQL, ['-Xc', 'select 1'], { env: { ...client.env, PGDATABASE: 'not_here' } });
    assert.match(stderr, /FATAL: {2}database "not_here" does not exist/);
  });

  test('the server’s certificate is checked as the resource says', async () => {
    const other = { mode: 'verify-full', ca_cert: fixture.ca.tlsHostCa, server_name: 'localhost' };
    assert.match(
      (await query('postgres', { tls: other })).stderr,
      /TLS to the database failed: .*(certificate|issuer)/,
    );
    assert.match(
      (await query('postgres', { tls: { ...verified(), server_name: 'db.example.com' } })).stderr,
      /TLS to the database failed: Hostname\/IP does not match/,
    );
    assert.equal(
      (await query('postgres', { tls: { ...verified(), mode: 'verify-ca', server_name: 'db.example.com' } })).stdout,
      'postgres\n',
    );
    assert.equal((await query('postgres', { tls: { mode: 'insecure' } })).stdout, 'postgres\n');
    const { server_name: _name, ...byAddress } = verified();
    assert.equal((await query('postgres', { tls: byAddress })).stdout, 'postgres\n');
    const caFile = join(fixture.dir, 'db-ca.pem');
    writeFileSync(caFile, fixture.ca.databaseCa);
    assert.equal(
      (await query('postgres', { tls: { mode: 'verify-full', ca_cert_file: caFile } })).stdout,
      'postgres\n',
    );
  });

  test('a server of the database CA is not accepted as a client, nor the other way round', async () => {
    // A client certificate of the database CA must open nothing at the gateway.
    const minted = await fixture.ca.mintDatabaseClient({ dbUser: 'postgres', ttlMs: 60_000 });
    const client = await fixture.client();
    writeFileSync(join(fixture.dir, 'minted.crt'), minted.certPem);
    writeFileSync(join(fixture.dir, 'minted.key'), minted.keyPem, { mode: 0o600 });
    const { stderr, code } = await run(PSQL, ['-Xc', 'select 1'], {
      env: { ...client.env, PGSSLCERT: join(fixture.dir, 'minted.crt'), PGSSLKEY: join(fixture.dir, 'minted.key') },
    });
    assert.notEqual(code, 0);
    assert.match(stderr, /the client certificate is not valid here/);
  });

  test('the certificate’s route binds database user and name', async () => {
    fixture.policy.put(database('db15', `127.0.0.1:${server.port}`, { tls: verified() }));
    const client = await fixture.client({
      route: { kind: 'db', name: 'db15', dbUser: 'postgres', dbName: 'template1' },
    });
    const as = (user: string, name: string) =>
      run(PSQL, ['-XAtc', 'select current_database()'], { env: { ...client.env, PGUSER: user, PGDATABASE: name } });
    assert.equal((await as('postgres', 'template1')).stdout, 'template1\n');
    assert.match((await as('scram_user', 'template1')).stderr, /is for database user "postgres", not "scram_user"/);
    assert.match((await as('postgres', 'postgres')).stderr, /is for database "template1", not "postgres"/);
    const elsewhere = await fixture.client({ route: { kind: 'db', name: 'gone' } });
    assert.match(
      (await run(PSQL, ['-Xc', 'select 1'], { env: elsewhere.env })).stderr,
      /there is no PostgreSQL database "gone"/,
    );
    const kube = await fixture.client({ route: { kind: 'kube_cluster', name: 'db15' } });
    assert.match(
      (await run(PSQL, ['-Xc', 'select 1'], { env: kube.env })).stderr,
      /the certificate is for no database/,
    );
  });

  test('what no role allows is refused with the reason', async () => {
    fixture.policy.put(role({}, { db_names: ['app'] }));
    const client = await fixture.client();
    const { stderr } = await run(PSQL, ['-Xc', 'select 1'], { env: client.env });
    assert.match(stderr, /FATAL: {2}access to db "db15" denied|FATAL: {2}.*database name "postgres"/);
    assert.equal(fixture.audit.last('session.reject')!['cause'], 'denied');
    fixture.policy.put(role());
  });

  describe('a server that misbehaves', () => {
    /** A server that does with each connection what `serve` says. */
    const fake = async (serve: (socket: net.Socket) => void): Promise<{ port: number; stop(): void }> => {
      const sockets = new Set<net.Socket>();
      const listener = net.createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => undefined);
        serve(socket);
      });
      await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
      return {
        port: (listener.address() as net.AddressInfo).port,
        stop: () => {
          for (const socket of sockets) socket.destroy();
          listener.close();
        },
      };
    };
    const against = async (
      serve: (socket: net.Socket) => void,
      tls: Record<string, unknown> = { mode: 'disable' },
    ): Promise<string> => {
      const { port, stop } = await fake(serve);
      fixture.policy.put(database('db15', `127.0.0.1:${port}`, { tls }));
      const client = await fixture.client();
      const { stderr, code } = await run(PSQL, ['-Xc', 'select 1'], { env: client.env });
      stop();
      assert.equal(code, 2);
      return stderr;
    };

    test('refuses connections', async () => {
      fixture.policy.put(database('db15', '127.0.0.1:1', { tls: { mode: 'disable' } }));
      const client = await fixture.client();
      const { stderr } = await run(PSQL, ['-Xc', 'select 1'], { env: client.env });
      assert.match(stderr, /FATAL: {2}cannot reach the database: connect ECONNREFUSED/);
    });

    test('resets, closes, or has no TLS', async () => {
      assert.match(await against((socket) => socket.resetAndDestroy()), /FATAL: /);
      assert.match(await against((socket) => socket.end()), /FATAL: {2}the connection was closed during the login/);
      assert.match(await against((socket) => socket.end('N'), { mode: 'insecure' }), /does not offer TLS/);
      assert.match(await against((socket) => socket.write('SE...'), { mode: 'insecure' }), /sent bytes ahead of TLS/);
    });

    test('sends garbage', async () => {
      assert.match(
        await against((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
        /FATAL: {2}message of \d+ bytes/,
      );
      assert.match(await against((socket) => socket.write(Buffer.alloc(100_000, 'S\0\0\0\x08a\0b\0'))), /FATAL: /);
      assert.match(
        await against((socket) => socket.write(Buffer.from('5200000008ffffffff', 'hex'))),
        /certificate|not supported/,
      );
    });

    test('stalls: the client may leave, and an administrator may cut it', async () => {
      const { port, stop } = await fake(() => undefined);
      fixture.policy.put(database('db15', `127.0.0.1:${port}`, { tls: { mode: 'disable' } }));
      const client = await fixture.client();
      const waiting = run(PSQL, ['-Xc', 'select 1'], { env: client.env });
      const before = fixture.audit.events.length;
      await until(
        'the session',
        () =>
          fixture.audit.events.slice(before - 1).some((event) => event.event === 'session.start') &&
          fixture.sessions.list().length === 1,
      );
      await fixture.sessions.kill(lastSession(fixture), { by: 'carol', message: 'stuck' });
      assert.match((await waiting).stderr, /FATAL: {2}Session ended by carol: stuck\./);
      assert.equal(fixture.sessions.list().length, 0);
      stop();
    });

    test('dies in the middle of a session, in the middle of a message', async () => {
      const ready = Buffer.concat([Buffer.from('520000000800000000', 'hex'), Buffer.from('5a0000000549', 'hex')]);
      const { port, stop } = await fake((socket) => {
        socket.once('data', () => {
          socket.write(ready);
          socket.once('data', () => {
            socket.write(Buffer.from('4400001000', 'hex'));
            socket.end();
          });
        });
      });
      fixture.policy.put(database('db15', `127.0.0.1:${port}`, { tls: { mode: 'disable' } }));
      const { client } = await connectPg(fixture);
      const sid = lastSession(fixture);
      await assert.rejects(client.query('select 1'), /Connection terminated unexpectedly/);
      assert.equal((await sessionEnd(fixture, sid))['cause'], 'target_closed');
      stop();
    });

    test('sends garbage in the middle of a session', async () => {
      const ready = Buffer.concat([Buffer.from('520000000800000000', 'hex'), Buffer.from('5a0000000549', 'hex')]);
      const { port, stop } = await fake((socket) => {
        socket.once('data', () => {
          socket.write(ready);
          socket.once('data', () => socket.write('what is this'));
        });
      });
      fixture.policy.put(database('db15', `127.0.0.1:${port}`, { tls: { mode: 'disable' } }));
      const { client } = await connectPg(fixture);
      const sid = lastSession(fixture);
      await assert.rejects(client.query('select 1'));
      assert.equal((await sessionEnd(fixture, sid))['cause'], 'error');
      stop();
    });
  });
});
