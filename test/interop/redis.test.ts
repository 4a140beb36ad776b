import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { finished, run, start, until } from '../fixtures/db/programs.ts';
import type { Redis } from '../fixtures/db/redis.ts';
import { database, type Fixture, REDIS_BENCHMARK, REDIS_CLI, startFixture } from './redis-fixture.ts';

describe('Redis with redis-cli and a real server', () => {
  let fixture: Fixture;
  let server: Redis;

  before(async () => {
    fixture = await startFixture();
    server = await fixture.redis([
      'user app on >s3cret ~* &* +@all',
      'user bycert on nopass ~* &* +@all',
      'user default on nopass ~* &* +@all',
    ]);
    const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
    const auth = { password_file: fixture.file('app.pass', 's3cret\n') };
    fixture.policy.put(
      database('cache', `127.0.0.1:${server.tlsPort}`, { tls }),
      database('secured', `127.0.0.1:${server.tlsPort}`, { tls, auth }),
      database('plain', `127.0.0.1:${server.plainPort}`, { tls: { mode: 'disable' }, auth }),
      database('wrong', `127.0.0.1:${server.tlsPort}`, {
        tls,
        auth: { password_file: fixture.file('wrong.pass', 'other') },
      }),
    );
  });
  after(() => fixture.stop());
  beforeEach(() => fixture.policy.put(role()));

  for (const [name, user] of [
    ['cache', 'default'],
    ['cache', 'bycert'],
    ['secured', 'app'],
    ['plain', 'app'],
  ] as const) {
    for (const version of ['-2', '-3']) {
      test(`redis-cli ${version} talks to ${name} as ${user}`, async () => {
        const client = await fixture.client({ route: { kind: 'db', name, dbUser: user } });
        const { code, stdout, stderr } = await run(REDIS_CLI, [...client.args, version], {
          input: `ACL WHOAMI\nSET k v\nGET k\nSELECT 3\nGET k\n`,
        });
        assert.equal(stderr, '');
        assert.equal(stdout, `${user}\nOK\nv\nOK\n\n`, fixture.log.lines.join('\n'));
        assert.equal(code, 0);
      });
    }
  }

  test('the user may come with AUTH or HELLO instead of the certificate', async () => {
    const client = await fixture.client({ route: { kind: 'db', name: 'secured' } });
    for (const version of ['-2', '-3']) {
      const { stdout } = await run(REDIS_CLI, [...client.args, version, '--user', 'app', '--pass', 'whatever'], {
        input:
          'ACL WHOAMI\nAUTH app again\nAUTH other x\nHELLO 3 AUTH app y SETNAME me\nCLIENT GETNAME\nRESET\nACL WHOAMI\n',
      });
      assert.match(stdout, /^app\nOK\nWRONGPASS this session is for the Redis user "app", not "other"/);
      assert.match(stdout, /\nme\nRESET\napp\n/);
    }
  });

  test("a wrong password: the client is told the server's words", async () => {
    const client = await fixture.client({ route: { kind: 'db', name: 'wrong', dbUser: 'app' } });
    const { stdout, stderr } = await run(REDIS_CLI, [...client.args, 'GET', 'k']);
    assert.match(stdout + stderr, /the database refused the login: WRONGPASS/);
  });

  test('an idle redis-cli is told why, and its reconnect is a new session', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const client = await fixture.client();
    const known = fixture.audit.events.length;
    const since = (name: string) => fixture.audit.events.slice(known).filter(({ event }) => event === name);
    const child = start(REDIS_CLI, [...client.args]);
    const result = finished(child);
    child.stdin!.write('SET k 1\n');
    await until('the idle end', () => since('client.disconnect').some(({ cause }) => cause === 'idle'));
    // The first command gets the reason, the second finds nobody, the third connects again.
    child.stdin!.write('GET k\nECHO lost\nECHO again\n');
    child.stdin!.end();
    const { stdout } = await result;
    assert.match(stdout, /^OK\nERR Session ended: no activity for 1s \(role dba\)\.\n/);
    assert.match(stdout, /\nagain\n$/);
    const [first, second, ...more] = since('session.start').map(({ sid }) => sid);
    assert.ok(first !== undefined && second !== undefined && first !== second);
    assert.deepEqual(more, []);
  });

  test('redis-benchmark runs through, pipelined', async () => {
    const client = await fixture.client();
    const { code, stdout, stderr } = await run(REDIS_BENCHMARK, [
      ...client.args,
      ...'-n 5000 -c 8 -P 16 -q -t ping_inline,ping_mbulk,set,get,incr,lpush,rpop,sadd,hset,spop,zadd,lrange_100,mset'.split(
        ' ',
      ),
    ]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /MSET/);
    await until('the sessions to end', () => fixture.sessions.list().length === 0);
    const ends = fixture.audit.events.filter((event) => event.event === 'client.disconnect').slice(-8);
    for (const event of ends) assert.equal(event['cause'], 'client_closed', JSON.stringify(event));
  });
});
