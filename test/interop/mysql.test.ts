import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { MARIADB, type MariaDb } from '../fixtures/db/mariadb.ts';
import { run, until } from '../fixtures/db/programs.ts';
import { Terminal } from '../fixtures/ssh/terminal.ts';
import { database, type Fixture, startFixture } from './mysql-fixture.ts';

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

  test('an idle mariadb is told 4031 with the limit and its source; its reconnect is a new session, checked afresh', async (t) => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const client = await fixture.client();
    const known = fixture.audit.events.length;
    const since = (name: string) => fixture.audit.events.slice(known).filter(({ event }) => event === name);
    const idleEnds = () => since('client.disconnect').filter(({ cause }) => cause === 'idle');
    // Only at a terminal does the client connect again.
    const terminal = new Terminal(MARIADB, [...client.args, '-uapp', '--no-auto-rehash', 'orders'], fixture.dir);
    t.after(() => terminal.kill());
    await until('the first idle end', () => idleEnds().length === 1);
    terminal.write('select 2;\n');
    await terminal.shows(/ERROR 4031 \(HY000\): Session ended: no activity for 1s \(role dba\)\./);
    // The client may find out about the closed connection only when it waits for an answer.
    terminal.write('select 3;\nselect database(), 40 + 2;\n');
    await terminal.shows(/Trying to reconnect\.\.\.[\s\S]*\| orders +\| +42 \|/);
    const [first, second] = since('session.start');
    assert.notEqual(second!['sid'], first!['sid']);
    await until('the second idle end', () => idleEnds().length === 2);
    assert.deepEqual(
      idleEnds().map(({ sid }) => sid),
      [first!['sid'], second!['sid']],
    );
    assert.ok(idleEnds().every((end) => Number(end['overshoot_ms']) >= 0));
    // What the policy says by then is what counts.
    fixture.policy.put(role({}, { db_users: ['somebody'] }));
    terminal.write('select 4;\nselect 5;\nselect 6;\n');
    await terminal.shows(/ERROR 1045 \(28000\): access to db "maria" denied/);
    terminal.write('quit\n');
    await terminal.exited;
    assert.equal(since('session.start').length, 2);
  });
});
