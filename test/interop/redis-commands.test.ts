import assert from 'node:assert/strict';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { CertRoute } from '../../src/identity/types.ts';
import { encodeCommand } from '../../src/wire/redis/resp.ts';
import { SmallClient } from '../compliance/redis-peers.ts';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { finished, run, start, until } from '../fixtures/db/programs.ts';
import type { Redis } from '../fixtures/db/redis.ts';
import { database, type Fixture, REDIS_CLI, startFixture } from './redis-fixture.ts';

const ROUTE: CertRoute = { kind: 'db', name: 'cache', dbUser: 'app' };

describe('Redis: every kind of command against a real server', () => {
  let fixture: Fixture;
  let server: Redis;
  let clients: SmallClient[] = [];

  before(async () => {
    fixture = await startFixture();
    server = await fixture.redis(['user app on >pw ~* &* +@all', 'user default off']);
    fixture.policy.put(
      database('cache', `127.0.0.1:${server.plainPort}`, {
        tls: { mode: 'disable' },
        auth: { password_file: fixture.file('app.pass', 'pw\n') },
      }),
    );
  });
  after(() => fixture.stop());
  beforeEach(() => fixture.policy.put(role()));
  // A test that fails must not make the next one fail.
  afterEach(async () => {
    for (const { stream } of clients) stream.destroy();
    clients = [];
    await until('the sessions to end', () => fixture.sessions.list().length === 0);
  });

  async function connect(route = ROUTE): Promise<SmallClient> {
    const port = await fixture.tunnel(route);
    const client = new SmallClient(net.connect({ port, host: '127.0.0.1', noDelay: true }));
    clients.push(client);
    return client;
  }

  /** Sends a command and gives the text that came for it, in one or more messages. */
  async function ask(client: SmallClient, words: readonly string[], messages = 1): Promise<string> {
    const before = client.told.length;
    const due = client.messages + messages;
    client.send(encodeCommand(...words));
    assert.ok(await client.received(due), client.told);
    return client.told.slice(before);
  }

  const idle = (mode = 'auto'): void =>
    fixture.policy.put(role({ client_idle_timeout: '1s', client_idle_activity: mode }));
  const lastCause = (): unknown => fixture.audit.last('client.disconnect')?.['cause'];

  for (const words of [
    ['BLPOP', 'none', '0'],
    ['BRPOP', 'none', '0'],
    ['BLMOVE', 'none', 'other', 'LEFT', 'RIGHT', '0'],
    ['BZPOPMIN', 'none', '0'],
    ['BLMPOP', '0', '1', 'none', 'LEFT'],
    ['XREAD', 'BLOCK', '0', 'STREAMS', 'none', '$'],
    ['WAIT', '3', '0'],
  ]) {
    test(`${words[0]} waits as long as it likes in auto, and a second in input mode`, async () => {
      idle();
      const client = await connect();
      await ask(client, ['SET', 'k', 'v']);
      client.send(encodeCommand(...words));
      await until('the command to run', () => fixture.audit.last('db.session.query')?.['db_query'] === words.join(' '));
      const began = performance.now();
      while (performance.now() - began < 1_500) {
        assert.equal(fixture.sessions.list()[0]?.idleForMs, 0);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      idle('input');
      await client.closed;
      assert.match(client.told, /-ERR Session ended: no activity for 1s \(role dba\)\.\r\n$/);
      await until('the session to end', () => lastCause() === 'idle' && fixture.sessions.list().length === 0);
      const control = await connect();
      assert.doesNotMatch(await ask(control, ['CLIENT', 'LIST']), / flags=b /);
    });
  }

  test('SUBSCRIBE and MONITOR run in auto; the warning reaches who listens in RESP3', async () => {
    idle();
    const listener = await connect();
    await ask(listener, ['HELLO', '3']);
    await ask(listener, ['SUBSCRIBE', 'news', 'sport'], 2);
    const monitor = await connect();
    await ask(monitor, ['MONITOR']);
    const publisher = await connect();
    const began = performance.now();
    while (performance.now() - began < 1_500) {
      assert.match(await ask(publisher, ['PUBLISH', 'news', 'hello']), /^:1\r\n/);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(fixture.sessions.list().length, 3);
    assert.match(listener.told, />3\r\n\$7\r\nmessage\r\n\$4\r\nnews\r\n\$5\r\nhello\r\n/);
    assert.match(monitor.told, /"PUBLISH" "news" "hello"/);
    fixture.policy.put(role({ client_idle_timeout: '2s', client_idle_activity: 'input', client_idle_warning: '1s' }));
    await listener.closed;
    assert.match(
      listener.told,
      /message\r\n\$10\r\nnightlatch\r\n\$\d+\r\nNo activity: this session ends in 1s \(role dba\)\. Any command keeps it\.\r\n/,
    );
    assert.match(listener.told, /-ERR Session ended: no activity for 2s/);
    await monitor.closed;
    assert.doesNotMatch(monitor.told, /this session ends in/, 'who does not listen in RESP3 is not told');
  });

  test('subscriptions in RESP2, left again, and the clock runs from there', async () => {
    const client = await connect();
    await ask(client, ['SUBSCRIBE', 'a', 'b'], 2);
    await ask(client, ['PSUBSCRIBE', 'c*']);
    assert.match(await ask(client, ['PING']), /pong/);
    assert.match(await ask(client, ['GET', 'k']), /^-ERR Can't execute 'get'/);
    assert.equal(fixture.sessions.list()[0]!.idleForMs, 0);
    await ask(client, ['UNSUBSCRIBE'], 2);
    await ask(client, ['PUNSUBSCRIBE']);
    await until('the session to be at rest', () => fixture.sessions.list()[0]!.idleForMs > 0);
    assert.equal(await ask(client, ['GET', 'none']), '$-1\r\n');
  });

  test('PING keeps nobody', async () => {
    idle();
    const client = await connect();
    let gone = false;
    void client.closed.then(() => {
      gone = true;
    });
    while (!gone) {
      client.send(encodeCommand('PING'));
      client.send(Buffer.from('PING\r\n'));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    assert.equal(lastCause(), 'idle');
  });

  test('RESET: the gateway signs in again before anything else, in a pipeline too', async () => {
    const client = await connect({ ...ROUTE, dbName: '4' });
    await ask(client, ['SET', 'where', 'four']);
    await ask(client, ['HELLO', '3']);
    const due = client.messages + 5;
    client.send(
      Buffer.concat([
        encodeCommand('MULTI'),
        encodeCommand('RESET'),
        encodeCommand('ACL', 'WHOAMI'),
        encodeCommand('GET', 'where'),
        encodeCommand('AUTH', 'app', 'any'),
      ]),
    );
    await client.received(due);
    assert.match(client.told, /\+OK\r\n\+RESET\r\n\$3\r\napp\r\n\$4\r\nfour\r\n\+OK\r\n$/);
    await ask(client, ['SUBSCRIBE', 'x']);
    await ask(client, ['RESET']);
    assert.equal(await ask(client, ['GET', 'where']), '$4\r\nfour\r\n');
    await until('the session to be at rest', () => fixture.sessions.list()[0]!.idleForMs > 0);
  });

  test('a password that was changed: after RESET the session ends, and runs as nobody else', async () => {
    const admin = await connect();
    await ask(admin, ['ACL', 'SETUSER', 'app', '>next', 'on']);
    const client = await connect();
    await ask(client, ['PING']);
    await ask(admin, ['ACL', 'SETUSER', 'default', 'on', 'nopass', '+@all', '~*', '&*']);
    await ask(admin, ['ACL', 'SETUSER', 'app', '<pw']);
    client.send(Buffer.concat([encodeCommand('RESET'), encodeCommand('SET', 'as-default', '1')]));
    await client.closed;
    assert.match(client.told, /-ERR Session ended: error: the database does not let the gateway sign in again/);
    assert.equal(await ask(admin, ['EXISTS', 'as-default']), ':0\r\n');
    await ask(admin, ['ACL', 'SETUSER', 'app', '>pw']);
    await ask(admin, ['ACL', 'SETUSER', 'default', 'off']);
  });

  test('a transaction does not hide which database is selected', async () => {
    fixture.policy.put(role({}, { db_names: ['2', '3'] }));
    const client = await connect();
    assert.equal(await ask(client, ['SELECT', '2']), '+OK\r\n');
    assert.equal(await ask(client, ['MULTI']), '+OK\r\n');
    assert.match(await ask(client, ['SELECT', '3']), /^-ERR SELECT within MULTI/);
    assert.equal(await ask(client, ['DISCARD']), '+OK\r\n');
    fixture.policy.put(role({}, { db_names: ['3'] }));
    await client.closed;
    assert.equal(lastCause(), 'access_revoked');
  });

  test('db_names are the numbers that may be selected', async () => {
    fixture.policy.put(role({}, { db_names: ['2', '3'] }));
    const client = await connect();
    assert.match(await ask(client, ['GET', 'k']), /^-NOPERM no database is selected/);
    assert.match(await ask(client, ['SET', 'k', 'x'.repeat(200_000)]), /^-NOPERM/);
    assert.equal(await ask(client, ['PING']), '+PONG\r\n');
    assert.match(await ask(client, ['SELECT', '0']), /^-NOPERM database 0 is denied: .*database name "0"/);
    assert.equal(await ask(client, ['SELECT', '2']), '+OK\r\n');
    assert.equal(await ask(client, ['SET', 'k', 'v']), '+OK\r\n');
    for (const words of [
      ['MOVE', 'k', '0'],
      ['SWAPDB', '2', '0'],
      ['COPY', 'k', 'k', 'DB', '0'],
      ['copy', 'k', 'k', 'replace', 'db', '1'],
    ])
      assert.match(await ask(client, words), /^-NOPERM/);
    assert.match(await ask(client, ['SELECT', '02']), /^-ERR invalid DB index/);
    assert.equal(await ask(client, ['COPY', 'k', 'k', 'DB', '3']), ':1\r\n');
    await ask(client, ['MULTI']);
    assert.match(await ask(client, ['MOVE', 'k', '0']), /^-NOPERM/);
    assert.match(await ask(client, ['EXEC']), /^-EXECABORT/);
    fixture.policy.put(role({}, { db_names: ['3'] }));
    await client.closed;
    assert.match(client.told, /-ERR Session ended: access was revoked.*"2"/);
  });

  test('a certificate for one database number selects it, and no other', async () => {
    const client = await connect({ ...ROUTE, dbName: '5' });
    assert.match(await ask(client, ['CLIENT', 'INFO']), / db=5 /);
    assert.match(
      await ask(client, ['SELECT', '0']),
      /^-NOPERM database 0 is denied: the certificate is for database 5/,
    );
  });

  test('AUTH and HELLO for another user, replication: refused', async () => {
    const client = await connect();
    assert.match(await ask(client, ['AUTH', 'default', '']), /^-WRONGPASS/);
    assert.match(await ask(client, ['HELLO', '3', 'AUTH', 'default', '']), /^-WRONGPASS/);
    assert.match(await ask(client, ['HELLO', '9']), /^-NOPROTO/);
    assert.match(await ask(client, ['HELLO', '3', 'AUTH', 'x']), /^-ERR/);
    for (const words of [['SYNC'], ['PSYNC', '?', '-1'], ['REPLCONF', 'listening-port', '1']])
      assert.match(await ask(client, words), /^-NOPERM replication/);
    assert.equal(await ask(client, ['ACL', 'WHOAMI']), '$3\r\napp\r\n');
  });

  test('a value of 50 MB both ways, a pipeline of 10,000 commands, inline commands', async () => {
    const client = await connect();
    const value = 'z'.repeat(50_000_000);
    assert.equal(await ask(client, ['SET', 'big', value]), '+OK\r\n');
    assert.equal(await ask(client, ['STRLEN', 'big']), ':50000000\r\n');
    const due = client.messages + 1;
    client.send(encodeCommand('GET', 'big'));
    await client.received(due);
    const event = fixture.audit.events.findLast((one) => String(one['db_query']).startsWith('SET big'))!;
    assert.equal(event['db_query_truncated'], true);
    assert.ok(String(event['db_query']).length < 2_000);
    const all = client.messages + 10_000;
    client.send(Buffer.concat(Array.from({ length: 10_000 }, (_, i) => encodeCommand('INCRBY', 'n', String(i)))));
    await client.received(all);
    assert.match(client.told, /:49995000\r\n$/);
    const last = client.messages + 2;
    client.send(Buffer.from('set  "a key"  \'and a value\'\r\nget "a\\x20key"\r\n'));
    await client.received(last);
    assert.match(client.told, /\+OK\r\n\$11\r\nand a value\r\n$/);
  });

  test('the events of a session; no secret in any of them', async () => {
    const client = await connect();
    await ask(client, ['AUTH', 'app', 'hunter2']);
    await ask(client, ['CONFIG', 'SET', 'masterauth', 'hunter2']);
    await ask(client, ['SET', 'k', 'v']);
    await ask(client, ['QUIT']);
    await client.closed;
    await until(
      'the session to end',
      () => fixture.audit.last('session.end')?.['sid'] === fixture.audit.last('db.session.end')?.['sid'],
    );
    const sid = fixture.audit.last('db.session.end')!['sid'];
    const events = fixture.audit.events.filter((one) => one['sid'] === sid);
    assert.deepEqual(
      events.map((one) => `${one.event} ${one['db_query'] ?? ''}`.trim()),
      [
        'session.start',
        'db.session.start',
        'db.session.query AUTH app (redacted)',
        'db.session.query CONFIG SET masterauth (redacted)',
        'db.session.query SET k v',
        'db.session.query QUIT',
        'client.disconnect',
        'db.session.end',
        'session.end',
      ],
    );
    assert.equal(events.at(-3)!['cause'], 'client_closed');
    assert.doesNotMatch(JSON.stringify(fixture.audit.events), /hunter2/);
    assert.doesNotMatch(fixture.log.lines.join('\n'), / SET |hunter2/);
  });

  test('redis-cli: MULTI, pub/sub, --bigkeys, --stat, EVAL, and a transaction in RESP3', async () => {
    const client = await fixture.client({ route: ROUTE });
    const { stdout } = await run(REDIS_CLI, [...client.args, '-3'], {
      input:
        'MULTI\nINCR tx\nHSET h a 1 b 2\nHGETALL h\nEXEC\nEVAL "return {1,{2,3},redis.status_reply(\'fine\')}" 0\n',
    });
    assert.match(stdout, /QUEUED[\s\S]*fine/);
    const big = await run(REDIS_CLI, [...client.args, '--bigkeys']);
    assert.equal(big.code, 0, big.stdout);
    const subscriber = start(REDIS_CLI, [...client.args, 'SUBSCRIBE', 'channel']);
    let heard = '';
    subscriber.stdout!.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
    });
    const over = finished(subscriber);
    await until('the subscription', () => heard.includes('subscribe'));
    await run(REDIS_CLI, [...client.args, 'PUBLISH', 'channel', 'good morning']);
    await until('the message', () => heard.includes('good morning'));
    subscriber.kill('SIGTERM');
    await over;
  });
});
