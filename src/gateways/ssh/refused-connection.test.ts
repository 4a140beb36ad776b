import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../../test/fixtures/memory-logger.ts';
import { RefusedLogins } from '../../identity/refused-logins.ts';
import { RefusedConnection } from './refused-connection.ts';
import type { Refusal } from './server-auth.ts';

const EXPIRED: Refusal = { login: 'root', reason: 'the certificate has expired', user: 'alice', certificate: true };
const PLAIN: Refusal = { login: 'root', reason: 'the key is no certificate', certificate: false };

function lab() {
  const clock = new FakeClock();
  const audit = new MemoryAuditLog(clock);
  const logins = new RefusedLogins({ clock, audit, log: new MemoryLogger() });
  return { audit, connection: new RefusedConnection(logins, { clientAddr: '192.0.2.1:5000', host: 'web' }) };
}

describe('the refusals of one connection', () => {
  test('plain keys before the certificate that is good are no refused login', () => {
    const { audit, connection } = lab();
    assert.equal(connection.refused(PLAIN), undefined);
    connection.proved();
    connection.closed();
    assert.deepEqual(audit.events, []);
  });

  test('plain keys alone are one, at the end of the connection', () => {
    const { audit, connection } = lab();
    for (let n = 0; n < 5; n++) assert.equal(connection.refused(PLAIN), undefined);
    assert.deepEqual(audit.events, []);
    connection.closed();
    assert.deepEqual(
      audit.events.map((event) => event['error']),
      ['the key is no certificate'],
    );
  });

  test('a certificate is recorded before the answer, and its connection not again', async () => {
    const { audit, connection } = lab();
    await connection.refused(EXPIRED);
    assert.equal(audit.events.length, 1);
    void connection.refused(PLAIN);
    connection.closed();
    assert.equal(audit.events.length, 1);
  });

  test('a connection that asked for nothing leaves nothing', () => {
    const { audit, connection } = lab();
    connection.closed();
    assert.deepEqual(audit.events, []);
  });
});
