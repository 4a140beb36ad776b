import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import mysql from 'mysql2/promise';
import type { CertRoute } from '../../src/identity/types.ts';
import { CAPABILITY } from '../../src/wire/mysql/capabilities.ts';
import { COMMAND } from '../../src/wire/mysql/commands.ts';
import { decodeError, encodePacket } from '../../src/wire/mysql/packets.ts';
import { query, SmallClient } from '../compliance/mysql-peers.ts';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { MARIADB, type MariaDb } from '../fixtures/db/mariadb.ts';
import { finished, run, start, until } from '../fixtures/db/programs.ts';
import { database, type Fixture, startFixture } from './mysql-fixture.ts';

const ROUTE: CertRoute = { kind: 'db', name: 'maria' };

describe('MariaDB: every kind of command, with mysql2, the mariadb programs and by hand', () => {
  let fixture: Fixture;
  let server: MariaDb;

  before(async () => {
    fixture = await startFixture();
    server = await fixture.mariadb();
    await server.sql(`
      create database orders; create database secret;
      create table orders.t (id int primary key auto_increment, v longtext);
      create user app identified by 'pw'; grant all on *.* to app;
      delimiter //
      create procedure orders.two() begin select 1 as a; select 2 as b; end //
    `);
    const passwordFile = join(fixture.dir, 'app.pass');
    writeFileSync(passwordFile, 'pw');
    const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
    fixture.policy.put(database('maria', `127.0.0.1:${server.port}`, { tls, auth: { password_file: passwordFile } }));
  });
  after(() => fixture.stop());
  beforeEach(() => fixture.policy.put(role()));
  // A test that fails must not make the next one fail.
  afterEach(async () => {
    for (const { id } of fixture.sessions.list()) await fixture.sessions.kill(id, { by: 'the tests', message: 'over' });
  });

  async function connect(options: mysql.ConnectionOptions = {}): Promise<mysql.Connection> {
    const { certPem, keyPem } = await fixture.client();
    return mysql.createConnection({
      host: '127.0.0.1',
      port: fixture.port,
      user: 'app',
      database: 'orders',
      ssl: { ca: fixture.ca.tlsHostCa, cert: certPem, key: keyPem },
      ...options,
    });
  }

  async function small(options: Parameters<SmallClient['login']>[1] = {}): Promise<SmallClient> {
    const port = await fixture.tunnel(ROUTE);
    const client = new SmallClient(net.connect({ port, host: '127.0.0.1', noDelay: true }));
    assert.ok(await client.login('app', { database: 'orders', ...options }), client.told);
    return client;
  }

  /** Nothing runs in the one open session. */
  async function atRest(): Promise<void> {
    await until('the session to be at rest', () => fixture.sessions.list().some((session) => session.idleForMs > 0));
    assert.equal(fixture.sessions.list().length, 1);
  }

  function statements(): string[] {
    return fixture.audit.events
      .filter((event) => event.event === 'db.session.query')
      .map((event) => String(event['db_query']));
  }

  async function noSessions(): Promise<void> {
    await until('the sessions to end', () => fixture.sessions.list().length === 0);
  }

  test('mysql2: multi-statements, multi-results, errors, procedures', async () => {
    const connection = await connect({ multipleStatements: true });
    const [sets] = await connection.query<mysql.RowDataPacket[][]>(
      'select 1 as a; do 1; select 2 as b where false; call two()',
    );
    assert.equal(sets.length, 6);
    await assert.rejects(connection.query('select 1; select * from nowhere; select 3'), /doesn't exist/);
    await atRest();
    const [rows] = await connection.query<mysql.RowDataPacket[]>('select seq from seq_1_to_50000');
    assert.equal(rows.length, 50_000);
    await atRest();
    await connection.end();
    await noSessions();
  });

  test('mysql2: prepared statements, audited with text and number of parameters', async () => {
    const connection = await connect();
    const [rows] = await connection.execute<mysql.RowDataPacket[]>('select ? + ? as n, ? as s', [40, 2, 'x']);
    assert.deepEqual({ ...rows[0] }, { n: 42, s: 'x' });
    await assert.rejects(connection.execute('select * from nowhere where a = ?', [1]), /doesn't exist/);
    const event = fixture.audit.events.findLast((one) => one['db_query_parameter_count'] === 3);
    assert.equal(event?.['db_query'], 'select ? + ? as n, ? as s');
    await atRest();
    await connection.end();
    await noSessions();
  });

  test('mysql2: 20 MiB in one parameter and one row, over the length of a packet both ways', async () => {
    const connection = await connect();
    const value = 'y'.repeat(20 * 1024 * 1024);
    const [result] = await connection.execute<mysql.ResultSetHeader>('insert into t (v) values (?)', [value]);
    const [rows] = await connection.query<mysql.RowDataPacket[]>('select v from t where id = ?', [result.insertId]);
    assert.ok(rows[0]!['v'] === value);
    const [literal] = await connection.query<mysql.RowDataPacket[]>(`select length('${value}') as n`);
    assert.equal(literal[0]!['n'], value.length);
    const event = fixture.audit.last('db.session.query')!;
    assert.equal(event['db_query_truncated'], true);
    assert.ok(String(event['db_query']).length <= 32 * 1024);
    await atRest();
    await connection.end();
    await noSessions();
  });

  test('mysql2: a change of user to oneself clears the session, to another is refused', async () => {
    const connection = await connect();
    await connection.query('set @x = 1');
    await connection.changeUser({ user: 'app', database: 'orders' });
    const [rows] = await connection.query<mysql.RowDataPacket[]>('select @x as x, database() as d');
    assert.deepEqual({ ...rows[0] }, { x: null, d: 'orders' });
    await assert.rejects(connection.changeUser({ user: 'root' }), /this session is for 'app'/);
    await connection.end().catch(() => undefined);
    await noSessions();
  });

  test("KILL: by the id the client was told, by the server's own, by SQL and by command", async () => {
    const [victim, killer] = [await connect(), await connect()];
    const kill = async (how: (id: number) => Promise<unknown>, id: number): Promise<void> => {
      const sleeping = victim.query<mysql.RowDataPacket[]>('select sleep(60) as s').then(
        ([rows]) => Number(rows[0]!['s']),
        (error: Error) => error.message,
      );
      await until(
        'the statement to run',
        () => fixture.audit.last('db.session.query')!['db_query'] === 'select sleep(60) as s',
      );
      // The server must have it too.
      for (;;) {
        const [running] = await killer.query<mysql.RowDataPacket[]>(
          "select id from information_schema.processlist where info like 'select sleep(60)%'",
        );
        if (running.length > 0) break;
      }
      await how(id);
      const outcome = await sleeping;
      assert.ok(outcome === 1 || /interrupted/i.test(String(outcome)), String(outcome));
    };
    assert.ok(victim.threadId >= 0x8000_0000);
    await kill((id) => killer.query(`KILL QUERY ${id}`), victim.threadId);
    const [own] = await victim.query<mysql.RowDataPacket[]>('select connection_id() as id');
    await kill((id) => killer.query(`/* by the server's */ kill query ${id};`), Number(own[0]!['id']));
    await assert.rejects(killer.query('KILL QUERY 2147483648'), /Unknown thread id/);
    const admin = await fixture.client();
    const closed = new Promise((resolve) => victim.once('error', resolve));
    const { code, stderr } = await run('/usr/bin/mariadb-admin', [
      ...admin.args,
      '-uapp',
      'kill',
      String(victim.threadId),
    ]);
    assert.equal(code, 0, stderr);
    await closed;
    assert.match(statements().at(-1)!, new RegExp(`^(?:COM_PROCESS_)?KILL ${victim.threadId}$`, 'i'));
    await killer.end();
    await noSessions();
  });

  test('Ctrl-C in the mariadb client ends the statement', async () => {
    const client = await fixture.client();
    const child = start(MARIADB, [...client.args, '-uapp', '-N', '-B', '-f', '-n']);
    const result = finished(child);
    child.stdin!.write('select sleep(120);\n');
    await until('the statement to run', () => statements().at(-1) === 'select sleep(120)');
    await until('the server to have it', () => fixture.sessions.list()[0]?.idleForMs === 0);
    const began = Date.now();
    child.kill('SIGINT');
    child.stdin!.end();
    const { stdout, stderr } = await result;
    assert.ok(Date.now() - began < 30_000);
    assert.match(stdout + stderr, /KILL QUERY|interrupted|^1\n/i);
    await noSessions();
  });

  test('LOAD DATA LOCAL, empty, small and of many packets', async () => {
    const client = await fixture.client();
    const file = join(fixture.dir, 'rows.csv');
    for (const count of [0, 3, 200_000]) {
      writeFileSync(file, Array.from({ length: count }, (_, i) => `row ${i}\n`).join(''));
      const { stdout, stderr } = await run(MARIADB, [...client.args, '--local-infile', '-uapp', '-N', '-B', 'orders'], {
        input: `create temporary table f (v varchar(40)); load data local infile '${file}' into table f; select count(*) from f; load data local infile '${file}' into table nowhere; select 1;`,
      });
      assert.match(stdout, new RegExp(`^${count}\n`));
      assert.match(stderr, /doesn't exist/);
    }
    await noSessions();
  });

  test('mariadb-dump, mariadb-admin and mariadb-slap run through', async () => {
    const client = await fixture.client();
    const dump = await run('/usr/bin/mariadb-dump', [...client.args, '-uapp', '--routines', 'mysql']);
    assert.equal(dump.code, 0, dump.stderr);
    assert.match(dump.stdout, /-- Dump completed/);
    const status = await run('/usr/bin/mariadb-admin', [...client.args, '-uapp', 'ping', 'status', 'processlist']);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /mysqld is alive[\s\S]*Uptime: \d+/);
    const slap = await run('/usr/bin/mariadb-slap', [
      ...client.args,
      '-uapp',
      '--concurrency=8',
      '--number-of-queries=400',
      '--auto-generate-sql',
      '--auto-generate-sql-load-type=mixed',
      '--create-schema=slap',
    ]);
    assert.equal(slap.code, 0, slap.stderr);
    await noSessions();
  });

  for (const flags of [0, CAPABILITY.deprecateEof]) {
    test(`a cursor and its fetches${flags === 0 ? '' : ' without EOF packets'}; caching_sha2_password clients`, async () => {
      const client = await small({ flags, plugin: 'caching_sha2_password', authData: Buffer.alloc(32, 7) });
      const prepared = (await client.command(
        encodePacket(0, Buffer.from(`${String.fromCharCode(COMMAND.stmtPrepare)}select seq from seq_1_to_10`)),
      ))!.payload;
      assert.equal(prepared[0], 0);
      const id = prepared.subarray(1, 5);
      await client.next();
      if (flags === 0) await client.next();
      const execute = Buffer.concat([Buffer.from([COMMAND.stmtExecute]), id, Buffer.from([1, 1, 0, 0, 0])]);
      client.send(encodePacket(0, execute));
      await client.next();
      await client.next();
      const end = (await client.next())!.payload;
      assert.equal(end[0], 0xfe);
      await atRest();
      const fetch = Buffer.concat([Buffer.from([COMMAND.stmtFetch]), id, Buffer.from([4, 0, 0, 0])]);
      for (const rows of [4, 4, 2]) {
        client.send(encodePacket(0, fetch));
        for (let i = 0; i < rows; i++) assert.equal((await client.next())!.payload[0], 0);
        assert.equal((await client.next())!.payload[0], 0xfe);
      }
      await atRest();
      client.stream.end(encodePacket(0, Buffer.from([COMMAND.quit])));
      await noSessions();
    });
  }

  test('coalesced commands are answered in order, a refused one among them', async () => {
    fixture.policy.put(role({}, { db_names: ['orders'] }));
    const client = await small();
    const useSecret = encodePacket(0, Buffer.concat([Buffer.from([COMMAND.initDb]), Buffer.from('secret')]));
    const ping = encodePacket(0, Buffer.from([COMMAND.ping]));
    client.send(
      Buffer.concat([query('do 1'), useSecret, ping, query('use secret'), query('use orders'), query('kill 1')]),
    );
    const answers: (number | string)[] = [];
    for (let i = 0; i < 6; i++) {
      const { payload } = (await client.next())!;
      answers.push(payload[0] === 0xff ? decodeError(payload).code : payload[0]!);
    }
    assert.deepEqual(answers, [0, 1044, 0, 1044, 0, 1094]);
    await atRest();
    client.stream.end(encodePacket(0, Buffer.from([COMMAND.quit])));
    await noSessions();
  });

  test('db_names: at the login, by USE, and when they are taken away', async () => {
    fixture.policy.put(role({}, { db_names: ['orders', 'slap'] }));
    await assert.rejects(connect({ database: 'secret' }), /database name "secret"/);
    const connection = await connect({ database: 'orders' });
    await assert.rejects(connection.query('use `secret`'), /Access denied .* 'secret'/);
    await assert.rejects(connection.changeUser({ user: 'app', database: 'secret' }), /Access denied/);
    await connection.end().catch(() => undefined);
    await noSessions();
    const again = await connect({ database: 'orders' });
    await again.query('create database if not exists slap');
    await again.query('use slap');
    const ended = new Promise<Error>((resolve) => again.once('error', resolve));
    fixture.policy.put(role({}, { db_names: ['orders'] }));
    assert.match((await ended).message, /access was revoked.*"slap"/);
    await noSessions();
    const reject = fixture.audit.last('client.disconnect')!;
    assert.equal(reject['cause'], 'access_revoked');
  });

  test('commands of the replication protocol, and unknown ones, are refused', async () => {
    const client = await small();
    for (const [command, code] of [
      [COMMAND.registerSlave, 1227],
      [COMMAND.binlogDump, 1227],
      [COMMAND.tableDump, 1227],
      [32, 1047],
      [0, 1047],
      [200, 1047],
    ] as const) {
      const { payload } = (await client.command(encodePacket(0, Buffer.from([command, 0, 0, 0, 0, 0]))))!;
      assert.equal(decodeError(payload).code, code);
    }
    client.stream.end(encodePacket(0, Buffer.from([COMMAND.quit])));
    await noSessions();
  });

  test('a long statement: kept in auto, ended in input mode, and killed at the server', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const connection = await connect();
    const [rows] = await connection.query<mysql.RowDataPacket[]>('select sleep(2.5) as s');
    assert.equal(rows[0]!['s'], 0);
    await connection.end();
    await noSessions();
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_activity: 'input' }));
    const other = await connect();
    const failed = other.query('select sleep(300) as nobody_waits').then(
      () => undefined,
      (error: mysql.QueryError) => error,
    );
    const error = await failed;
    assert.equal(error?.errno, 4031);
    assert.match(String(error?.message), /no activity for 1s \(role dba\)/);
    await noSessions();
    let left = '1';
    const giveUp = Date.now() + 20_000;
    while (left !== '0' && Date.now() < giveUp)
      left = (
        await server.sql(
          "select count(*) from information_schema.processlist where info like '%nobody_waits' and user = 'app'",
        )
      ).trim();
    assert.equal(left, '0', 'the statement runs on at the server');
  });

  test('a transaction left open is ended, one that works or is over is not', async () => {
    fixture.policy.put(role({ database_idle_in_transaction_timeout: '1s' }));
    const connection = await connect();
    await connection.query('begin');
    await connection.query('select sleep(1.5)');
    await connection.query('commit');
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    const ended = new Promise<mysql.QueryError>((resolve) => connection.once('error', resolve));
    await connection.query('start transaction');
    await connection.ping();
    assert.match((await ended).message, /a transaction was left open without activity for 1s \(role dba\)/);
    await noSessions();
  });

  test('pings and empty statements keep nobody', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const connection = await connect();
    const ended = new Promise<Error>((resolve) => connection.once('error', resolve));
    let pinging = true;
    void (async () => {
      while (pinging) {
        await connection.ping().catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    const error = await ended.finally(() => {
      pinging = false;
    });
    assert.match(error.message, /no activity|closed|lost/i);
    await noSessions();
    assert.equal(fixture.audit.last('client.disconnect')!['cause'], 'idle');
  });
});
