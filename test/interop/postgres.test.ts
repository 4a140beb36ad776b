import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { queryObjects } from 'node:v8';
import { TlsStream } from '../../src/gateways/common/tls/tls-stream.ts';
import { role } from '../fixtures/db/gateway-fixture.ts';
import { finished, run, start, until } from '../fixtures/db/programs.ts';
import { DEBIAN_BIN, database, type Fixture, PSQL, startFixture } from './postgres-fixture.ts';

describe('PostgreSQL with real psql and real servers', () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await startFixture();
    const [debian, npm] = await Promise.all([fixture.postgres({ binDir: DEBIAN_BIN }), fixture.postgres()]);
    const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
    fixture.policy.put(
      database('db15', `127.0.0.1:${debian.port}`, { tls }),
      database('db18', `127.0.0.1:${npm.port}`, { tls }),
    );
  });
  after(() => fixture.stop());

  for (const [name, version] of [
    ['db15', '15.'],
    ['db18', '18.'],
  ] as const) {
    test(`psql runs a query against PostgreSQL ${version}`, async () => {
      const client = await fixture.client({ route: { kind: 'db', name } });
      const { code, stdout, stderr } = await run(PSQL, ['-XAtc', 'show server_version'], { env: client.env });
      assert.equal(stderr, '');
      assert.equal(code, 0);
      assert.ok(stdout.startsWith(version), stdout);
    });
  }

  test('both connections of a session are carried without Node’s TLS', async () => {
    const client = await fixture.client();
    const psql = start(PSQL, ['-X'], client.env);
    const result = finished(psql);
    try {
      psql.stdin!.write('select 1;\n');
      await until('both connections', () => Number(queryObjects(TlsStream)) >= 2);
    } finally {
      psql.stdin!.end();
      await result;
    }
  });

  test('an idle psql is told FATAL 57P05 with the limit and its source', async () => {
    fixture.policy.put(role({ client_idle_timeout: '1s' }));
    const client = await fixture.client();
    const psql = start(PSQL, ['-X', '-v', 'VERBOSITY=verbose'], client.env);
    const result = finished(psql);
    psql.stdin!.write('select 41 + 1;\n');
    const sessions = () =>
      fixture.audit.events.filter((event) => event.event === 'client.disconnect' && event['cause'] === 'idle');
    await until('the idle end', () => sessions().length > 0);
    psql.stdin!.write('select 2;\n');
    psql.stdin!.end();
    const { stdout, stderr } = await result;
    assert.match(stdout, /42/);
    assert.match(stderr, /FATAL: {2}57P05: Session ended: no activity for 1s \(role dba\)\./);
    assert.ok(Number(sessions()[0]!['overshoot_ms']) >= 0);
    fixture.policy.put(role());
  });
});
