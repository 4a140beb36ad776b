import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { finished, pass, run, start, until } from '../fixtures/db/programs.ts';
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

/** What `pg` attaches to the errors of a server. */
interface ServerProblem extends Error {
  readonly code?: string;
  readonly severity?: string;
}

describe('PostgreSQL: what counts as activity, and how sessions end', () => {
  let fixture: Fixture;
  let direct: NodeJS.ProcessEnv;
  before(async () => {
    fixture = await startFixture();
    const server = await fixture.postgres({
      binDir: DEBIAN_BIN,
      hba: [
        'hostssl all all 127.0.0.1/32 cert',
        'hostssl replication all 127.0.0.1/32 cert',
        'hostnossl all watcher 127.0.0.1/32 trust',
      ],
      initialSql: ['create role watcher superuser login'],
    });
    direct = {
      PGHOST: '127.0.0.1',
      PGPORT: String(server.port),
      PGUSER: 'watcher',
      PGDATABASE: 'postgres',
      PGSSLMODE: 'disable',
    };
    fixture.policy.put(
      database('db15', `127.0.0.1:${server.port}`, {
        tls: { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' },
      }),
    );
  });
  after(() => fixture.stop());
  afterEach(() => {
    fixture.policy.remove('cluster_networking_config', 'cluster-networking-config');
    fixture.policy.put(role());
  });

  const watch = async (sql: string): Promise<string> =>
    (await run(PSQL, ['-XAtc', sql], { env: direct })).stdout.trim();

  test('a command that runs longer than the limit is not idle; silence after it is', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_warning: 'never' }));
    const { client, problems } = await connectPg(fixture);
    const sid = lastSession(fixture);
    const { rows } = await client.query("select pg_sleep(2.5), 'done' as state");
    assert.equal(rows[0].state, 'done');
    const finishedAt = performance.now();
    const end = await sessionEnd(fixture, sid);
    assert.equal(end['cause'], 'idle');
    assert.ok(performance.now() - finishedAt >= 990);
    await until('the FATAL', () => problems.length > 0);
    const problem = problems[0] as ServerProblem;
    assert.equal(problem.code, '57P05');
    assert.equal(problem.severity, 'FATAL');
    assert.equal(problem.message, 'Session ended: no activity for 1s (role dba).');
  });

  test('in input mode a running command does not count, and is cancelled on the server', async () => {
    fixture.policy.put(
      role({ client_idle_timeout: '1s', client_idle_warning: 'never', client_idle_activity: 'input' }),
    );
    const { client } = await connectPg(fixture);
    const sid = lastSession(fixture);
    const started = performance.now();
    await assert.rejects(
      client.query('select pg_sleep(60) as "in input mode"'),
      (error: ServerProblem) => error.code === '57P05',
    );
    assert.ok(performance.now() - started >= 990);
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'idle');
    await until(
      'nothing runs on the server',
      async () =>
        (await watch(
          "select count(*) from pg_stat_activity where query like '%in input mode%' and pid <> pg_backend_pid()",
        )) === '0',
    );
  });

  test('liveness checks do not keep a session: empty queries, comments, a lone Sync', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_warning: 'never' }));
    const { client, problems } = await connectPg(fixture);
    const sid = lastSession(fixture);
    const connection = (client as unknown as { connection: { sync(): void } }).connection;
    const started = performance.now();
    let pinged = 0;
    const pings = (async () => {
      for (; problems.length === 0; pinged++) {
        await client.query('');
        await client.query('-- ping');
        await client.query({ text: '', values: [] });
        connection.sync();
        await pass(50);
      }
    })().catch(() => undefined);
    const end = await sessionEnd(fixture, sid);
    await pings;
    assert.equal(end['cause'], 'idle');
    assert.ok(performance.now() - started < 3000);
    await until('the FATAL', () => problems.length > 0);
    assert.ok(pinged > 3);
  });

  test('queries do', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_warning: 'never' }));
    const { client } = await connectPg(fixture);
    for (let i = 0; i < 5; i++) {
      await pass(500);
      await client.query(i % 2 === 0 ? 'select 1' : { text: 'select $1::int', values: [i] });
    }
    await client.end();
  });

  test('LISTEN is a command like another; the notifications it brings keep nothing open', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_warning: 'never' }));
    const { client } = await connectPg(fixture);
    const sid = lastSession(fixture);
    let heard = 0;
    client.on('notification', () => heard++);
    await client.query('listen news');
    const noise = setInterval(() => void watch('notify news'), 150);
    const end = await sessionEnd(fixture, sid);
    clearInterval(noise);
    assert.equal(end['cause'], 'idle');
    assert.ok(heard > 0);
  });

  test('the warning is a NOTICE before the end, and a statement cancels it', async () => {
    fixture.policy.put(role({ client_idle_timeout: '2s', client_idle_warning: '1s' }));
    const { client, notices } = await connectPg(fixture);
    const sid = lastSession(fixture);
    await until('the warning', () => notices.length > 0);
    assert.match(notices[0]!, /^No activity: this session ends in .* \(role dba\)\. Any statement keeps it\.$/);
    await client.query('select 1');
    await until('word that it goes on', () => notices.length > 1);
    assert.equal(notices[1], 'The session goes on.');
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'idle');
    assert.equal(notices.length, 3);
  });

  test('a limit set while the session is open takes hold', async () => {
    const { client, problems } = await connectPg(fixture);
    const sid = lastSession(fixture);
    await client.query('select 1');
    fixture.policy.put({
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: 'cluster-networking-config' },
      spec: { client_idle_timeout: '1s', client_idle_warning: 'never', idle_timeout_message: 'Have a good evening.' },
    });
    await sessionEnd(fixture, sid);
    await until('the FATAL', () => problems.length > 0);
    assert.match(problems[0]!.message, /no activity for 1s \(cluster_networking_config.*Have a good evening\.$/);
  });

  test('a transaction left open ends with 25P03, and a busy or finished one does not', async () => {
    fixture.policy.put(role({ database_idle_in_transaction_timeout: '800ms' }));
    const { client, problems } = await connectPg(fixture);
    const sid = lastSession(fixture);
    await client.query('begin; select 1');
    await client.query('select pg_sleep(1.2)');
    await client.query('commit');
    await pass(1200);
    await client.query('begin');
    await pass(400);
    await client.query('select 1');
    await pass(400);
    // A ping is not what the transaction waits for.
    await client.query('');
    assert.equal(problems.length, 0);
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'idle');
    await until('the FATAL', () => problems.length > 0);
    assert.equal((problems[0] as ServerProblem).code, '25P03');
    assert.equal(
      problems[0]!.message,
      'Session ended: a transaction was left open without activity for 800ms (role dba).',
    );
  });

  test('a killed session is told 57P01 and by whom; its command is cancelled', async () => {
    const { client } = await connectPg(fixture);
    const sid = lastSession(fixture);
    const query = client.query('select pg_sleep(60) as "to be killed"');
    query.catch(() => undefined);
    await until(
      'the command runs',
      async () =>
        (await watch(
          "select count(*) from pg_stat_activity where query like '%to be killed%' and pid <> pg_backend_pid()",
        )) === '1',
    );
    await fixture.sessions.kill(sid, { by: 'carol', message: 'maintenance' });
    await assert.rejects(
      query,
      (error: ServerProblem) => error.code === '57P01' && error.message === 'Session ended by carol: maintenance.',
    );
    await until(
      'nothing runs on the server',
      async () =>
        (await watch(
          "select count(*) from pg_stat_activity where query like '%to be killed%' and pid <> pg_backend_pid()",
        )) === '0',
    );
  });

  test('a role that is taken away ends the session with the reason', async () => {
    const { problems } = await connectPg(fixture);
    fixture.policy.put(role({}, { db_users: ['reader'] }));
    await until('the FATAL', () => problems.length > 0);
    assert.equal((problems[0] as ServerProblem).code, '57P01');
    assert.match(
      problems[0]!.message,
      /access was revoked: no role of user "alice" allows database user "postgres" there/,
    );
  });

  test('a client that dies leaves nothing running on the server', async () => {
    const client = await fixture.client();
    const psql = start(PSQL, ['-Xc', 'select pg_sleep(60) as "left behind"'], client.env);
    const result = finished(psql);
    await until(
      'the command runs',
      async () =>
        (await watch(
          "select count(*) from pg_stat_activity where query like '%left behind%' and pid <> pg_backend_pid()",
        )) === '1',
    );
    const sid = lastSession(fixture);
    psql.kill('SIGKILL');
    await result;
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'client_closed');
    await until(
      'nothing runs on the server',
      async () =>
        (await watch(
          "select count(*) from pg_stat_activity where query like '%left behind%' and pid <> pg_backend_pid()",
        )) === '0',
    );
  });

  test('a server that ends the connection is named as the one who did', async () => {
    const { client, problems } = await connectPg(fixture);
    const sid = lastSession(fixture);
    const { rows } = await client.query('select pg_backend_pid() as pid');
    await watch(`select pg_terminate_backend(${rows[0].pid})`);
    assert.equal((await sessionEnd(fixture, sid))['cause'], 'target_closed');
    await until('the FATAL', () => problems.length > 0);
    assert.equal((problems[0] as ServerProblem).code, '57P01');
    assert.match(problems[0]!.message, /terminating connection due to administrator command/);
    // The server has said why; the gateway adds nothing. (What follows is the client's own word for the closed connection.)
    assert.equal(
      problems.some((problem) => problem.message.startsWith('Session ended')),
      false,
    );
  });

  test('the replication protocol is refused unless a role allows it', async () => {
    const client = await fixture.client();
    const env = { ...client.env, PGOPTIONS: '' };
    const command = ['-XAtd', 'dbname=postgres replication=database', '-c', 'IDENTIFY_SYSTEM'];
    const refused = await run(PSQL, command, { env });
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /db_replication/);
    fixture.policy.put(role({}, { db_replication: true }));
    const allowed = await run(PSQL, command, { env });
    assert.equal(allowed.stderr, '');
    assert.match(allowed.stdout, /\|postgres$/m);
  });

  test('statements are in the audit log, in order, with the parameters counted and not shown', async () => {
    const { client } = await connectPg(fixture);
    const sid = lastSession(fixture);
    await client.query('select 1');
    await client.query({ name: 'two', text: 'select $1::text, $2::text', values: ['s3cret', 'value'] });
    await client.query({ name: 'two', text: 'select $1::text, $2::text', values: ['again', 'x'] });
    await client.query(`select '${'x'.repeat(40_000)}'`);
    await client.end();
    await sessionEnd(fixture, sid);
    const events = await until('db.session.end', () => {
      const all = fixture.audit.query({ sid });
      return all.some((event) => event.event === 'db.session.end') ? all : undefined;
    });
    const queries = events.filter((event) => event.event === 'db.session.query');
    assert.deepEqual(
      queries.map((event) => [
        String(event['db_query']).slice(0, 30),
        event['db_query_parameter_count'],
        event['db_statement_name'],
        event['db_query_truncated'],
      ]),
      [
        ['select 1', undefined, undefined, undefined],
        ['select $1::text, $2::text', 2, 'two', undefined],
        ['select $1::text, $2::text', 2, 'two', undefined],
        [`select '${'x'.repeat(22)}`, undefined, undefined, true],
      ],
    );
    assert.equal(JSON.stringify(events).includes('s3cret'), false);
    assert.equal(
      fixture.log.lines.some((line) => line.includes('select')),
      false,
    );
    assert.deepEqual(
      events.map((event) => event.event).filter((event) => event !== 'db.session.query'),
      ['session.start', 'db.session.start', 'client.disconnect', 'db.session.end', 'session.end'].filter((event) =>
        events.some((one) => one.event === event),
      ),
    );
    const startEvent = events.find((event) => event.event === 'db.session.start')!;
    assert.deepEqual(
      [
        startEvent['db_service'],
        startEvent['db_user'],
        startEvent['db_name'],
        startEvent['db_protocol'],
        startEvent.code,
      ],
      ['db15', 'postgres', 'postgres', 'postgres', 'TDB00I'],
    );
  });
});
