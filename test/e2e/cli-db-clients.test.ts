// tsh db with MariaDB's and Redis' own clients, against the real daemon and real servers.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type CommandResult, runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { MARIADB, type MariaDb, startMariaDb } from '../fixtures/db/mariadb.ts';
import { type Redis, startRedis } from '../fixtures/db/redis.ts';
import { type Running, start, until } from '../fixtures/ssh/processes.ts';
import { Terminal } from '../fixtures/ssh/terminal.ts';

const PASSWORD = 'correct horse battery staple';
const TSH = resolve('bin/tsh.js');

describe("tsh db with MariaDB's and Redis' clients", () => {
  let daemon: TestDaemon;
  let mariadb: MariaDb;
  let redis: Redis;
  const running: { stop(): Promise<void> }[] = [];

  const path = (name: string) => join(daemon.dir, name);
  const ok = async (program: 'tctl' | 'tsh', ...args: string[]) => {
    const result = await daemon[program](args);
    assert.equal(result.status, 0, `${program} ${args.join(' ')}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  };
  const shell = (command: string): Promise<CommandResult> =>
    runCommand(['sh', '-c', command], { env: { ...daemon.tshEnv(), TSH: `${process.execPath} ${TSH}` } });
  const connect = (...args: string[]) => daemon.tsh(['db', 'connect', ...args]);
  /** A `tsh proxy db` that runs until the end, and its port. */
  async function proxy(...args: string[]): Promise<{ process: Running; port: string }> {
    const process_ = start(process.execPath, [TSH, 'proxy', 'db', ...args], {
      env: { ...process.env, ...daemon.tshEnv() },
    });
    running.push(process_);
    await process_.shows(/Started .* on 127\.0\.0\.1:\d+/);
    return { process: process_, port: /127\.0\.0\.1:(\d+)/.exec(process_.stdout)![1]! };
  }
  const sessions = async (): Promise<{ id: string; target: string }[]> =>
    JSON.parse(await ok('tctl', 'sessions', 'ls', '--format=json'));

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0", mysql_listen_addr: "127.0.0.1:0", redis_listen_addr: "127.0.0.1:0"}',
          '',
        ].join('\n'),
    });
    chmodSync(daemon.dir, 0o755);
    await ok('tctl', 'auth', 'sign', '--format=db', '--host=localhost', `--out=${path('server')}`, '--ttl=24h');
    const read = (name: string) => readFileSync(path(name), 'utf8');
    const files = { certPem: read('server.crt'), keyPem: read('server.key'), databaseCa: read('server.cas') };
    [mariadb, redis] = await Promise.all([
      startMariaDb(path('mariadb'), files),
      startRedis(path('redis'), files, ['user default off', 'user app on nopass ~* &* +@all']),
    ]);
    running.push(mariadb, redis);
    await mariadb.sql(`
      create database orders; create user app require subject '/O=example.com/CN=app'; grant all on orders.* to app;
    `);
    const tls = { mode: 'verify-full', ca_cert: files.databaseCa, server_name: 'localhost' };
    const metadata = (name: string) => ({ name, labels: { env: 'test' } });
    for (const [name, protocol, port] of [
      ['maria', 'mysql', mariadb.port],
      ['cache', 'redis', redis.tlsPort],
    ] as const) {
      const spec = { protocol, uri: `127.0.0.1:${port}`, tls };
      writeFileSync(path(name), JSON.stringify({ kind: 'db', version: 'v3', metadata: metadata(name), spec }));
      await ok('tctl', 'create', path(name));
    }
    await ok('tctl', 'users', 'add', 'alice', '--roles=access', '--db-users=app', '--db-names=orders,0,3');
    const reset = JSON.parse(await ok('tctl', 'users', 'reset', 'alice', '--format=json')) as { url: string };
    const url = reset.url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
    assert.equal((await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] })).status, 0);
    const login = await daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin], { fds: [PASSWORD] });
    assert.equal(login.status, 0, login.stderr);
  });
  after(async () => {
    for (const one of running.reverse()) await one.stop();
    await daemon.stop();
  });

  test('tsh db connect runs mariadb; its exit status is ours, and a refusal is readable', async () => {
    const who = 'select substring_index(user(), "@", 1), database()';
    const ran = await connect('maria', '--db-name=orders', '--', '-N', '-B', '-e', who);
    assert.equal(ran.stdout, 'app\torders\n', ran.stderr);
    assert.equal(ran.status, 0);
    const failed = await connect('maria', '--db-name=orders', '--', '-e', 'select nothing');
    assert.match(failed.stderr, /ERROR 1054 \(42S22\)/);
    assert.equal(failed.status, 1);
    const denied = await connect('maria', '--db-user=root', '--db-name=orders', '--', '-e', 'select 1');
    assert.match(denied.stderr, /denied/);
    assert.equal(denied.status, 1);
  });

  test('tsh db connect runs redis-cli, in the database that was asked for', async () => {
    const ran = await connect('cache', '--', 'ACL', 'WHOAMI');
    assert.equal(ran.stdout, 'app\n', ran.stderr);
    const third = await connect('cache', '--db-name=3', '--', 'CLIENT', 'INFO');
    assert.match(third.stdout, / db=3 /);
    const denied = await connect('cache', '--db-name=5', '--', 'GET', 'k');
    assert.match(denied.stdout + denied.stderr, /denied/);
    assert.notEqual(denied.status, 0);
  });

  test("what a user's own files and environment say of hosts and TLS does not lead tsh db connect astray", async () => {
    const options = path('home/.my.cnf');
    writeFileSync(options, '[client]\nhost=127.0.0.1\nport=1\nprotocol=TCP\nssl\nssl-verify-server-cert\n');
    const ran = await shell(
      `MYSQL_HOST=127.0.0.2 REDISCLI_AUTH=x $TSH db connect maria --db-name=orders -- -N -B -e 'select 7' && REDISCLI_AUTH=x $TSH db connect cache -- ECHO 8`,
    );
    assert.equal(ran.stdout, '7\n8\n', ran.stderr);
    writeFileSync(options, '');
  });

  test('tsh db login writes sections that mariadb finds; env, config and logout', async () => {
    const options = path('home/.my.cnf');
    writeFileSync(options, '# mine\n[mysqldump]\nquick\n');
    const out = await ok('tsh', 'db', 'login', 'maria', '--db-name=orders');
    assert.match(out, /mariadb --defaults-group-suffix=_example\.com-maria\n/);
    await ok('tsh', 'db', 'login', 'maria', '--db-name=orders');
    const text = readFileSync(options, 'utf8');
    assert.equal(text.match(/\[client_example\.com-maria\]/g)!.length, 1);
    assert.match(text, /^# mine\n\[mysqldump\]\nquick\n\n\[client_example\.com-maria\]\n/);
    assert.equal(statSync(options).mode & 0o777, 0o600);
    const query = `-N -B -e "select substring_index(user(), '@', 1), database()"`;
    const bySuffix = await shell(`mariadb --defaults-group-suffix=_example.com-maria ${query}`);
    assert.equal(bySuffix.stdout, 'app\torders\n', bySuffix.stderr);
    const byEnv = await shell(`eval "$($TSH db env maria --db-name=orders)" && mariadb ${query}`);
    assert.equal(byEnv.stdout, 'app\torders\n', byEnv.stderr);
    const byCommand = await shell(`eval "$($TSH db config maria --db-name=orders --format=cmd) -e 'select 42'" -N -B`);
    assert.equal(byCommand.stdout, '42\n', byCommand.stderr);
    // A server that cannot show a certificate of the cluster gets nothing.
    writeFileSync(options, text.replace(/^ssl-ca=.*$/gm, `ssl-ca=${path('server.cas')}`));
    const strange = await shell(`mariadb --defaults-group-suffix=_example.com-maria ${query}`);
    assert.match(strange.stderr, /ERROR 2026 \(HY000\): TLS\/SSL error/);
    writeFileSync(options, text);
    const { cert } = JSON.parse(await ok('tsh', 'db', 'config', 'maria', '--format=json'));
    assert.ok(existsSync(cert));
    await ok('tsh', 'db', 'logout', 'maria');
    assert.equal(readFileSync(options, 'utf8'), '# mine\n[mysqldump]\nquick\n\n');
    assert.ok(!existsSync(cert));
  });

  test('tsh db config gives a redis-cli command; redis-cli takes nothing from the environment, and db env says so', async () => {
    const byCommand = await shell(`eval "$($TSH db config cache --format=cmd) ACL WHOAMI"`);
    assert.equal(byCommand.stdout, 'app\n', byCommand.stderr);
    const env = await daemon.tsh(['db', 'env', 'cache']);
    assert.equal(env.stdout, '');
    assert.match(env.stderr, /ERROR: Redis clients take no connection from the environment/);
    assert.notEqual(env.status, 0);
  });

  test('tsh proxy db passes clients on that bring the certificate', async () => {
    const maria = await proxy('maria', '--db-name=orders');
    const given = (name: string, text: string) => new RegExp(`${name}_file=(.*)`).exec(text)![1]!;
    const files = (text: string) => [given('ca', text), given('cert', text), given('key', text)] as const;
    const [ca, cert, key] = files(maria.process.stdout);
    const where = ['--no-defaults', '--host=127.0.0.1', `--port=${maria.port}`, '-uapp'];
    const secured = [`--ssl-ca=${ca}`, `--ssl-cert=${cert}`, `--ssl-key=${key}`, '--ssl-verify-server-cert'];
    const ran = await runCommand([MARIADB, ...where, ...secured, '-N', '-B', '-e', 'select database()', 'orders']);
    assert.equal(ran.stdout, 'orders\n', ran.stderr);
    const bare = await runCommand([MARIADB, ...where, '-e', 'select 1']);
    assert.match(bare.stderr, /certificate/);
    const cache = await proxy('cache');
    const [redisCa, redisCert, redisKey] = files(cache.process.stdout);
    const tls = ['--tls', '--cacert', redisCa, '--cert', redisCert, '--key', redisKey];
    const asked = await runCommand(['redis-cli', '-p', cache.port, ...tls, 'ACL', 'WHOAMI']);
    assert.equal(asked.stdout, 'app\n', asked.stderr);
    for (const { process: one } of [maria, cache]) {
      one.child.kill('SIGTERM');
      assert.equal((await one.ended).code, 0);
    }
  });

  test('tsh proxy db --tunnel lets programs in that know nothing of tsh, and prints how', async () => {
    for (const [name, option, statement, answer] of [
      ['maria', '--db-name=orders', `-N -B -e 'select database()'`, 'orders\n'],
      ['cache', '--db-name=3', 'ACL WHOAMI', 'app\n'],
    ] as const) {
      const { process: tunnel } = await proxy(name, option, '--tunnel');
      await tunnel.shows(/^ {2}(mariadb|redis-cli) /m);
      const command = /^ {2}((?:mariadb|redis-cli) .*)$/m.exec(tunnel.stdout)![1]!;
      const ran = await shell(`${command} ${statement}`);
      assert.equal(ran.stdout, answer, ran.stderr);
      tunnel.child.kill('SIGTERM');
      assert.equal((await tunnel.ended).code, 0);
    }
  });

  test('whose connection was idle is told at the terminal, and may go on in a new session', async (t) => {
    writeFileSync(
      path('tight.yaml'),
      'kind: role\nversion: v8\nmetadata: {name: tight}\nspec: {options: {client_idle_timeout: 2s, client_idle_warning: never}}\n',
    );
    await ok('tctl', 'create', path('tight.yaml'));
    await ok('tctl', 'users', 'update', 'alice', '--set-roles=access,tight');
    const home = daemon.tshEnv()['HOME']!;
    for (const { name, option, more, first, next, told } of [
      {
        name: 'maria',
        option: '--db-name=orders',
        more: ['--', '--no-auto-rehash'],
        first: ['select 40 + 2;\n', /\| +42 \|/],
        next: ['select database(), 43 + 1;\n', /\| orders +\| +44 \|/],
        told: /ERROR 4031 \(HY000\): Session ended: no activity for 2s \(role tight\)\./,
      },
      {
        name: 'cache',
        option: '--db-name=3',
        more: [],
        first: ['ECHO first\r', /"first"/],
        next: ['CLIENT INFO\r', / db=3 /],
        told: /\(error\) ERR Session ended: no activity for 2s \(role tight\)\./,
      },
    ] as const) {
      const terminal = new Terminal(process.execPath, [TSH, 'db', 'connect', name, option, ...more], home);
      t.after(() => terminal.kill());
      // redis-cli forgets what was typed before its prompt.
      await terminal.shows(/> /);
      const say = async (line: string): Promise<void> => {
        const shown = terminal.text.length;
        terminal.write(line);
        await until(() => /\n[^\n]*> /.test(terminal.text.slice(shown)), `a prompt after ${line}`);
      };
      await say(first[0]);
      assert.match(terminal.text, first[1]);
      const [before] = await sessions();
      assert.ok(before !== undefined);
      await until(async () => (await sessions()).length === 0, 'the session ends');
      await say(first[0]);
      assert.match(terminal.text, told);
      // The client finds the connection closed, and makes another.
      await say(first[0]);
      await say(next[0]);
      assert.match(terminal.text, next[1]);
      const [again] = await sessions();
      assert.notEqual(again!.id, before.id);
      terminal.write('quit\r');
      assert.equal(await terminal.exited, 0);
    }
  });
});
