import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, symlinkSync } from 'node:fs';
import net from 'node:net';
import { join, resolve } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { embeddedPostgresBinDir } from '../../src/gateways/postgres/embedded-postgres.ts';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { finished, run, start, until } from '../fixtures/db/programs.ts';
import {
  connectPg,
  DEBIAN_BIN,
  database,
  type Fixture,
  lastSession,
  PGBENCH,
  PSQL,
  sessionEnd,
  startFixture,
} from './postgres-fixture.ts';

const MEGABYTE = 1024 * 1024;

describe('PostgreSQL: what clients do', () => {
  let fixture: Fixture;
  /** psql 15 with the libpq of PostgreSQL 18: protocol 3.2 and direct TLS. */
  let libpq18: NodeJS.ProcessEnv;
  before(async () => {
    fixture = await startFixture();
    const [debian, npm] = await Promise.all([fixture.postgres({ binDir: DEBIAN_BIN }), fixture.postgres()]);
    const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
    fixture.policy.put(
      database('db15', `127.0.0.1:${debian.port}`, { tls }),
      database('db18', `127.0.0.1:${npm.port}`, { tls }),
    );
    const packageLib = resolve(embeddedPostgresBinDir()!, '../lib');
    const links = join(fixture.dir, 'lib');
    mkdirSync(links);
    symlinkSync(join(packageLib, 'libpq.so.5.18'), join(links, 'libpq.so.5'));
    libpq18 = { LD_LIBRARY_PATH: `${links}:${packageLib}` };
  });
  after(() => fixture.stop());
  afterEach(() => fixture.policy.put(role()));

  for (const name of ['db15', 'db18']) {
    for (const mode of ['simple', 'extended', 'prepared']) {
      test(`pgbench -M ${mode} on ${name}`, async () => {
        const { env } = await fixture.client({ route: { kind: 'db', name } });
        const made = await run(PGBENCH, ['-i', '-s', '1', '-q'], { env });
        assert.equal(made.code, 0, made.stderr);
        const { code, stdout, stderr } = await run(PGBENCH, ['-M', mode, '-c', '4', '-j', '2', '-t', '50'], { env });
        assert.equal(code, 0, stderr);
        assert.match(stdout, /number of transactions actually processed: 200\/200/);
        assert.match(stdout, /number of failed transactions: 0/);
      });
    }
  }

  test('the libpq of PostgreSQL 18: protocol 3.2, direct TLS, and cancelling over TLS', async () => {
    for (const name of ['db18', 'db15']) {
      const { env } = await fixture.client({ route: { kind: 'db', name } });
      const direct = { ...env, ...libpq18, PGSSLNEGOTIATION: 'direct', PGMAXPROTOCOLVERSION: 'latest' };
      const asked = await run(PSQL, ['-XAtc', 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'], {
        env: direct,
      });
      assert.equal(asked.stderr, '');
      assert.equal(asked.stdout, 't\n');
      const psql = start(PSQL, ['-Xc', 'select pg_sleep(60)'], direct);
      const result = finished(psql);
      const before = fixture.audit.events.length;
      await until('the statement', () =>
        fixture.audit.events.slice(before - 1).some((event) => String(event['db_query']).includes('pg_sleep')),
      );
      psql.kill('SIGINT');
      const { stderr } = await result;
      assert.match(stderr, /canceling statement due to user request/);
    }
  });

  test('a cancel request in plain text (libpq before 17) cancels the statement and keeps the session; a wrong key does nothing', async () => {
    const { client } = await connectPg(fixture);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const cancel = async (pid: number, secret: number): Promise<void> => {
      const request = Buffer.alloc(16);
      request.writeUInt32BE(16, 0);
      request.writeUInt32BE(80_877_102, 4);
      request.writeInt32BE(pid, 8);
      request.writeInt32BE(secret, 12);
      const socket = net.connect(fixture.port, '127.0.0.1', () => socket.end(request));
      await once(socket, 'close');
    };
    const sleeping = client.query('select pg_sleep(60)');
    const settled = sleeping.then(
      () => 'done',
      (error: Error) => error.message,
    );
    await cancel(processID, secretKey ^ 1);
    await cancel(processID ^ 1, secretKey);
    await cancel(processID, secretKey);
    assert.equal(await settled, 'canceling statement due to user request');
    assert.equal((await client.query("select 'still here' as text")).rows[0].text, 'still here');
    await client.end();
  });

  test('COPY in and out, 64 MB each way, as it went in', async () => {
    const { env } = await fixture.client();
    const line = `${'x'.repeat(1023)}\n`;
    const lines = 64 * 1024;
    assert.equal((await run(PSQL, ['-Xqc', 'create table big (line text)'], { env })).code, 0);
    const into = start(PSQL, ['-XAtc', 'copy big from stdin'], env);
    const loaded = finished(into);
    await pipeline(
      Readable.from(
        (function* () {
          for (let i = 0; i < 64; i++) yield line.repeat(lines / 64);
        })(),
      ),
      into.stdin!,
    );
    assert.deepEqual(await loaded, { code: 0, stdout: `COPY ${lines}\n`, stderr: '' });
    const out = start(PSQL, ['-XAtc', 'copy big to stdout'], env);
    let bytes = 0;
    await pipeline(
      out.stdout!,
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          bytes += chunk.length;
          done();
        },
      }),
    );
    assert.equal(bytes, 64 * MEGABYTE);
  });

  test('a COPY that goes on is not idle, whichever way; one that stopped in input mode is', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_warning: 'never' }));
    const { env } = await fixture.client();
    assert.equal((await run(PSQL, ['-Xqc', 'create table slow (n int)'], { env })).code, 0);
    const into = start(PSQL, ['-XAtc', 'copy slow from stdin'], env);
    const loaded = finished(into);
    for (let i = 0; i < 6; i++) {
      into.stdin!.write(`${i}\n`);
      await new Promise((done) => setTimeout(done, 300));
    }
    into.stdin!.end();
    assert.equal((await loaded).stdout, 'COPY 6\n');
    fixture.policy.put(
      role({ client_idle_timeout: '1s', client_idle_warning: 'never', client_idle_activity: 'input' }),
    );
    await until('no session', () => fixture.sessions.list().length === 0);
    const stuck = start(PSQL, ['-XAtc', 'copy slow from stdin'], env);
    const cut = finished(stuck);
    await until('the session', () => fixture.sessions.list().length > 0);
    const sid = lastSession(fixture);
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'idle');
    stuck.stdin!.end('7\n');
    assert.match((await cut).stderr, /no activity for 1s/);
  });

  test('a slow reader gets every row, and the gateway buffers little', async () => {
    const { client } = await connectPg(fixture);
    const { stream } = (
      client as unknown as { connection: { stream: NodeJS.ReadableStream & { pause(): void; resume(): void } } }
    ).connection;
    const query = client.query("select repeat('x', 1000) as line from generate_series(1, 100000)");
    stream.pause();
    await new Promise((done) => setTimeout(done, 300));
    const used = process.memoryUsage().external;
    await new Promise((done) => setTimeout(done, 700));
    assert.ok(process.memoryUsage().external - used < 16 * MEGABYTE);
    stream.resume();
    assert.equal((await query).rows.length, 100_000);
    await client.end();
  });

  test('a row of 256 MB', async () => {
    const { env } = await fixture.client();
    const { stdout, stderr } = await run(
      PSQL,
      ['-XAtc', "select length(repeat('x', 268435456)), repeat('x', 268435456)"],
      { env },
    );
    assert.equal(stderr, '');
    assert.equal(stdout.length, '268435456|'.length + 268_435_456 + 1);
  });

  test('notices, notifications and errors pass as they are; a transaction survives an error by savepoint', async () => {
    const { client, notices } = await connectPg(fixture);
    await client.query("do $$ begin raise notice 'for you'; end $$");
    assert.deepEqual(notices, ['for you']);
    await client.query('begin; savepoint s');
    await assert.rejects(client.query('select 1/0'), /division by zero/);
    await client.query('rollback to s; commit');
    const { rows } = await client.query('select $1::int + 1 as n', [41]);
    assert.equal(rows[0].n, 42);
    await client.end();
  });

  test('psql \\watch, \\copy, \\bind and pipelines of scripts', async () => {
    const { env } = await fixture.client();
    const script = [
      'create temp table t (n int);',
      '\\copy t from pstdin',
      '1',
      '2',
      '\\.',
      'select sum(n) from t;',
      'select 1/0;',
      "select 'after';",
    ].join('\n');
    const { stdout, stderr } = await run(PSQL, ['-XAtq', '-f', '-'], { env, input: `${script}\n` });
    assert.match(stderr, /division by zero/);
    assert.match(stdout, /after/);
  });

  test('fire and forget: what was sent before the goodbye is carried out', async () => {
    const { client } = await connectPg(fixture);
    await client.query('create table fired (n int)');
    const other = await connectPg(fixture);
    const sid = lastSession(fixture);
    const { stream } = (other.client as unknown as { connection: { stream: Writable } }).connection;
    const sql = Buffer.from('insert into fired select 1 from pg_sleep(0.5)\0');
    const header = Buffer.from([0x51, 0, 0, 0, 0]);
    header.writeUInt32BE(sql.length + 4, 1);
    stream.end(Buffer.concat([header, sql, Buffer.from([0x58, 0, 0, 0, 4])]));
    await sessionEnd(fixture, sid);
    await until('the row', async () => (await client.query('select count(*)::int as n from fired')).rows[0].n === 1);
    await client.end();
  });
});
