import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { database, type Fixture, MARIADB, type MariaDb, role, startFixture } from './mysql-fixture.ts';
import { finished, run, start, until } from './postgres-fixture.ts';

describe('MariaDB with the real client and a real server', () => {
  let fixture: Fixture;
  let server: MariaDb;

  before(async () => {
    fixture = await startFixture();
    server = await fixture.mariadb();
    await server.sql(`
      create database orders; create database secret;
      create table orders.t (id int primary key, v text);
      create user app identified by 'pass word';
      create user ed identified via ed25519 using password('ed25519 password');
      create user bycert require x509;
      create user bysubject require subject '/O=test/CN=bysubject';
      grant all on *.* to app; grant all on *.* to ed; grant all on *.* to bycert; grant all on *.* to bysubject;
    `);
    const file = (name: string, content: string): string => {
      const path = join(fixture.dir, name);
      writeFileSync(path, content);
      return path;
    };
    const uri = `127.0.0.1:${server.port}`;
    const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
    fixture.policy.put(
      database('maria', uri, { tls, auth: { password_file: file('app.pass', 'pass word\n') } }),
      database('plain', uri, { tls: { mode: 'disable' }, auth: { password_file: file('app2.pass', 'pass word') } }),
      database('ed', uri, { tls, auth: { password_file: file('ed.pass', 'ed25519 password\n') } }),
      database('wrong', uri, { tls, auth: { password_file: file('wrong.pass', 'other\n') } }),
      database('cert', uri, { tls }),
    );
  });
  after(() => fixture.stop());
  beforeEach(() => fixture.policy.put(role()));

  for (const [name, user] of [
    ['maria', 'app'],
    ['plain', 'app'],
    ['ed', 'ed'],
    ['cert', 'bycert'],
    ['cert', 'bysubject'],
  ] as const) {
    test(`mariadb runs a query as ${user} of ${name}`, async () => {
      const client = await fixture.client({ route: { kind: 'db', name } });
      const { code, stdout, stderr } = await run(MARIADB, [...client.args, '-N', '-B', `-u${user}`, 'orders'], {
        input: 'select database(), user(), 41 + 1;',
      });
      assert.equal(stderr, '', fixture.log.lines.join('\n'));
      assert.equal(stdout, `orders\t${user}@127.0.0.1\t42\n`);
      assert.equal(code, 0);
    });
  }

  test("a wrong password: the client gets the server's own refusal", async () => {
    const client = await fixture.client({ route: { kind: 'db', name: 'wrong' } });
    const { code, stderr } = await run(MARIADB, [...client.args, '-uapp'], { input: 'select 1;' });
    assert.match(stderr, /ERROR 1045 .*Access denied for user 'app'/);
    assert.equal(code, 1);
    assert.equal(fixture.audit.last('db.session.start')!['success'], false);
  });

  test('an idle mariadb is told 4031 with the limit and its source, and the reconnect is a new session', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const client = await fixture.client();
    const before = fixture.audit.events.filter((event) => event.event === 'session.start').length;
    const idleEnds = () =>
      fixture.audit.events.filter((event) => event.event === 'client.disconnect' && event['cause'] === 'idle');
    const child = start(MARIADB, [...client.args, '-uapp', '-N', '-B', '-f', '-n']);
    const result = finished(child);
    child.stdin!.write('select 41 + 1;\n');
    await until('the idle end', () => idleEnds().length > 0);
    child.stdin!.write('select 2;\nselect 3;\n');
    child.stdin!.end();
    const { stdout, stderr } = await result;
    assert.match(stdout, /^42\n/);
    assert.match(stderr, /ERROR 4031 \(HY000\).*Session ended: no activity for 1s \(role dba\)\./);
    assert.ok(Number(idleEnds()[0]!['overshoot_ms']) >= 0);
    const starts = fixture.audit.events.filter((event) => event.event === 'session.start').length - before;
    assert.ok(starts >= 1);
  });
});
