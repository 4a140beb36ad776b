// tsh db against the real daemon and a real PostgreSQL.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/gateways/postgres/embedded-postgres.ts';
import { runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

import { type Running, start, until } from '../fixtures/ssh/processes.ts';

const PASSWORD = 'correct horse battery staple';

describe('tsh db', () => {
  let daemon: TestDaemon;
  let postgres: EmbeddedPostgres;
  let proxy: Running | undefined;

  const path = (name: string) => join(daemon.dir, name);

  const ok = async (program: 'tctl' | 'tsh', ...args: string[]) => {
    const result = await daemon[program](args);
    assert.equal(result.status, 0, `${program} ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0", postgres_listen_addr: "127.0.0.1:0"}',
          '',
        ].join('\n'),
    });
    // PostgreSQL runs as another user when we are root, and must get to its folder.
    chmodSync(daemon.dir, 0o755);
    await startPostgres();
    await ok('tctl', 'users', 'add', 'alice', '--roles=access', '--db-users=app', '--db-names=postgres,orders');
    const reset = JSON.parse(await ok('tctl', 'users', 'reset', 'alice', '--format=json')) as { url: string };
    const url = reset.url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
    assert.equal((await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] })).status, 0);
    const login = await daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin], { fds: [PASSWORD] });
    assert.equal(login.status, 0, login.stderr);
  });

  after(async () => {
    await proxy?.stop();
    await postgres?.stop();
    await daemon.stop();
  });

  async function startPostgres(): Promise<void> {
    const signed = await ok(
      'tctl',
      'auth',
      'sign',
      '--format=db',
      '--host=localhost',
      `--out=${path('server')}`,
      '--ttl=24h',
    );
    assert.match(signed, /ssl_ca_file = '.*server\.cas'/);
    const port = await freePort();
    mkdirSync(path('pg'));
    postgres = await startEmbeddedPostgres({
      dataDir: path('pg/data'),
      port,
      superuser: 'admin',
      certificate: {
        certPem: readFileSync(path('server.crt'), 'utf8'),
        keyPem: readFileSync(path('server.key'), 'utf8'),
      },
      databaseCa: readFileSync(path('server.cas'), 'utf8'),
      initialSql: ['CREATE ROLE app LOGIN', 'CREATE DATABASE orders OWNER app'],
    });
    const ca = await ok('tctl', 'auth', 'export', '--type=db');
    assert.equal(ca, readFileSync(path('server.cas'), 'utf8'));
    const db = {
      kind: 'db',
      version: 'v3',
      metadata: { name: 'orders', labels: { env: 'test' } },
      spec: {
        protocol: 'postgres',
        uri: `127.0.0.1:${port}`,
        tls: { mode: 'verify-full', ca_cert: ca, server_name: 'localhost' },
      },
    };
    writeFileSync(path('db.yaml'), JSON.stringify(db));
    assert.equal(await ok('tctl', 'create', path('db.yaml')), 'database "orders" has been created\n');
  }

  test('tsh db ls', async () => {
    assert.equal(
      await ok('tsh', 'db', 'ls'),
      'Name   Description Protocol Allowed Users Labels\n------ ----------- -------- ------------- --------\norders             postgres [app]         env=test\n',
    );
  });

  test('tsh db connect runs psql; what stands behind -- is its own; its exit status is ours', async () => {
    const query = "select current_user || '@' || current_database()";
    const ran = await daemon.tsh(['db', 'connect', 'orders', '--db-name=orders', '--', '-XAtc', query], {
      // Of no concern to a connection through tsh.
      env: { PGHOSTADDR: '127.0.0.2', PGPORT: '1' },
    });
    assert.equal(ran.stdout, 'app@orders\n', ran.stderr);
    assert.equal(ran.status, 0);
    const failed = await daemon.tsh(['db', 'connect', 'orders', '--db-name=orders', '--', '-XAtc', 'select 1/0']);
    assert.equal(failed.status, 1);
    const denied = await daemon.tsh([
      'db',
      'connect',
      'orders',
      '--db-user=admin',
      '--db-name=orders',
      '--',
      '-XAtc',
      'select 1',
    ]);
    assert.equal(denied.status, 2);
    assert.match(denied.stderr, /denied/);
    const unknown = await daemon.tsh(['db', 'connect', 'nowhere']);
    assert.equal(unknown.stderr, `ERROR: database "nowhere" not found, use 'tsh db ls' to see registered databases\n`);
  });

  test('tsh db login writes a section that psql finds; logout removes it, and nothing else', async () => {
    const services = path('home/.pg_service.conf');
    writeFileSync(services, '# mine\n[other]\nhost=elsewhere\n');
    const out = await ok('tsh', 'db', 'login', 'orders', '--db-name=orders');
    assert.match(
      out,
      /^Connection information for database "orders" has been saved\.[\s\S]*psql service=example\.com-orders\n/,
    );
    await ok('tsh', 'db', 'login', 'orders', '--db-name=orders');
    const text = readFileSync(services, 'utf8');
    assert.equal(text.match(/\[example\.com-orders\]/g)!.length, 1);
    assert.match(text, /^# mine\n\[other\]\nhost=elsewhere\n\n\[example\.com-orders\]\nhost=127\.0\.0\.1\n/);
    assert.equal(statSync(services).mode & 0o777, 0o600);
    const env = daemon.tshEnv();
    const ran = await runCommand(['psql', '-XAtc', 'select current_user', 'service=example.com-orders'], { env });
    assert.equal(ran.stdout, 'app\n', ran.stderr);
    const evaluated = await runCommand(
      ['sh', '-c', `eval "$(${process.execPath} bin/tsh.js db env orders --db-name=orders)" && psql -XAtc 'select 7'`],
      { env },
    );
    assert.equal(evaluated.stdout, '7\n', evaluated.stderr);
    const config = JSON.parse(await ok('tsh', 'db', 'config', 'orders', '--format=json'));
    assert.equal(config.user, 'app');
    assert.equal(config.database, 'orders');
    assert.ok(existsSync(config.cert));
    assert.equal(await ok('tsh', 'db', 'logout', 'orders'), 'Logged out of database "orders"\n');
    assert.equal(readFileSync(services, 'utf8'), '# mine\n[other]\nhost=elsewhere\n\n');
    assert.ok(!existsSync(config.cert));
    assert.equal((await daemon.tsh(['db', 'logout', 'orders'])).status, 1);
  });

  test('tsh proxy db --tunnel lets programs in that know nothing of tsh', async () => {
    const env = { ...process.env, ...daemon.tshEnv() };
    proxy = start(process.execPath, [resolve('bin/tsh.js'), 'proxy', 'db', 'orders', '--tunnel'], { env });
    await proxy.shows(/Started authenticated tunnel for the postgres database "orders" on 127\.0\.0\.1:(\d+)\./);
    const port = /127\.0\.0\.1:(\d+)\./.exec(proxy.stdout)![1]!;
    const ran = await runCommand(['psql', '-XAtc', 'select 42', `host=127.0.0.1 port=${port} user=app dbname=orders`]);
    assert.equal(ran.stdout, '42\n', ran.stderr);
    proxy.child.kill('SIGTERM');
    await until(() => proxy!.exited, 'the proxy ends');
    assert.equal((await proxy.ended).code, 0);
  });

  test('an idle connection is ended with the reason, and the certificate is good for nothing else', async () => {
    writeFileSync(
      path('tight.yaml'),
      'kind: role\nversion: v8\nmetadata: {name: tight}\nspec: {options: {client_idle_timeout: 2s, client_idle_warning: never}}\n',
    );
    await ok('tctl', 'create', path('tight.yaml'));
    await ok('tctl', 'users', 'update', 'alice', '--set-roles=access,tight');
    const env = { ...process.env, ...daemon.tshEnv() };
    const psql = start(
      process.execPath,
      [resolve('bin/tsh.js'), 'db', 'connect', 'orders', '--db-name=orders', '--', '-XAt'],
      { env },
    );
    proxy = psql;
    psql.write('select 1;\n');
    await psql.shows(/^1$/m);
    await until(
      async () => JSON.parse(await ok('tctl', 'sessions', 'ls', '--format=json')).length === 0,
      'the session ends',
    );
    psql.write('select 2;\n');
    psql.end();
    assert.match((await psql.ended).stderr, /FATAL: {2}Session ended: no activity for 2s \(role tight\)\./);
  });
});
