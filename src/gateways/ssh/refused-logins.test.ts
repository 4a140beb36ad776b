import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../../test/fixtures/memory-logger.ts';
import { RefusedConnection, RefusedLogins } from './refused-logins.ts';
import type { Refusal } from './server-auth.ts';

const WINDOW_MS = 5 * 60_000;
const EXPIRED: Refusal = { login: 'root', reason: 'the certificate has expired', user: 'alice', certificate: true };
const PLAIN: Refusal = { login: 'root', reason: 'the key is no certificate', certificate: false };

function lab() {
  const clock = new FakeClock();
  const audit = new MemoryAuditLog(clock);
  const log = new MemoryLogger();
  const logins = new RefusedLogins({ clock, audit, log });
  const from = (clientIp: string) => ({ clientAddr: `${clientIp}:5000`, clientIp, host: 'web' });
  return { clock, audit, log, logins, from };
}

describe('refused logins in the audit log', () => {
  test('the first is written at once, with who, from where, to what and why', async () => {
    const { audit, logins, from } = lab();
    await logins.record(from('192.0.2.1'), EXPIRED);
    const { time: _time, uid: _uid, cluster_name: _cluster, ...event } = audit.events[0]!;
    assert.deepEqual(event, {
      event: 'auth',
      code: 'T3007W',
      success: false,
      user: 'alice',
      login: 'root',
      protocol: 'ssh',
      error: 'the certificate has expired',
      server_hostname: 'web',
      'addr.remote': '192.0.2.1:5000',
      attempts: 1,
    });
  });

  test('those that follow are one event every five minutes, and nothing where nothing follows', async () => {
    const { audit, clock, logins, from } = lab();
    for (let n = 0; n < 1_000; n++) {
      await logins.record(from('192.0.2.1'), { ...EXPIRED, login: `login${n}` });
      await clock.advance(10);
    }
    assert.equal(audit.events.length, 1);
    await clock.advance(WINDOW_MS);
    assert.equal(audit.events.length, 2);
    const { attempts, login, first_attempt, time } = audit.events[1]!;
    assert.deepEqual({ attempts, login }, { attempts: 999, login: 'login999' });
    assert.ok(String(first_attempt) < time);
    await clock.advance(3 * WINDOW_MS);
    assert.equal(audit.events.length, 2);
    await logins.record(from('192.0.2.1'), EXPIRED);
    assert.equal(audit.events.at(-1)!['attempts'], 1);
    assert.equal(audit.events.length, 3);
  });

  test('another reason and another network are told apart, another address of one IPv6 network is not', async () => {
    const { audit, logins, from } = lab();
    await logins.record(from('192.0.2.1'), EXPIRED);
    await logins.record(from('192.0.2.1'), { ...EXPIRED, reason: 'the signature is not valid' });
    await logins.record(from('192.0.2.2'), EXPIRED);
    await logins.record(from('2001:db8::1'), EXPIRED);
    await logins.record(from('2001:db8::2'), EXPIRED);
    assert.equal(audit.events.length, 4);
  });

  test('whoever makes up reasons and comes from everywhere fills no disk, and hides nobody’s count', async () => {
    const { audit, clock, logins, from } = lab();
    for (let n = 0; n < 200; n++) await logins.record(from('192.0.2.1'), { ...EXPIRED, reason: `made up ${n}` });
    assert.equal(audit.events.length, 9);
    for (let n = 0; n < 5_000; n++) {
      await logins.record(from(`198.51.${n % 100}.${Math.floor(n / 100)}`), { ...EXPIRED, reason: 'x'.repeat(5_000) });
    }
    assert.equal(audit.events.length, 257);
    await clock.advance(WINDOW_MS);
    assert.ok(audit.events.length <= 2 * 257, String(audit.events.length));
    const counted = audit.events.reduce((sum, event) => sum + Number(event['attempts']), 0);
    assert.equal(counted, 5_200);
    assert.ok(audit.events.every((event) => JSON.stringify(event).length < 1_000));
    // What is not counted any more makes room.
    await clock.advance(WINDOW_MS);
    const before = audit.events.length;
    await logins.record(from('192.0.2.9'), EXPIRED);
    assert.equal(audit.events.length, before + 1);
    assert.equal(audit.events.at(-1)!['addr.remote'], '192.0.2.9:5000');
  });

  test('a log that cannot be written keeps nobody waiting', async () => {
    const { audit, log, logins, from } = lab();
    audit.broken = true;
    await logins.record(from('192.0.2.1'), EXPIRED);
    assert.ok(log.lines.some((line) => line.startsWith('error a refused login could not be written')));
  });

  test('what was counted is written at the end', async () => {
    const { audit, clock, logins, from } = lab();
    for (let n = 0; n < 3; n++) await logins.record(from('192.0.2.1'), EXPIRED);
    await logins.close();
    assert.deepEqual(
      audit.events.map((event) => event['attempts']),
      [1, 2],
    );
    await clock.advance(3 * WINDOW_MS);
    assert.equal(audit.events.length, 2);
  });
});

describe('the refusals of one connection', () => {
  test('plain keys before the certificate that is good are no refused login', () => {
    const { audit, logins, from } = lab();
    const connection = new RefusedConnection(logins, from('192.0.2.1'));
    assert.equal(connection.refused(PLAIN), undefined);
    connection.proved();
    connection.closed();
    assert.deepEqual(audit.events, []);
  });

  test('plain keys alone are one, at the end of the connection', () => {
    const { audit, logins, from } = lab();
    const connection = new RefusedConnection(logins, from('192.0.2.1'));
    for (let n = 0; n < 5; n++) assert.equal(connection.refused(PLAIN), undefined);
    assert.deepEqual(audit.events, []);
    connection.closed();
    assert.deepEqual(
      audit.events.map((event) => event['error']),
      ['the key is no certificate'],
    );
  });

  test('a certificate is recorded before the answer, and its connection not again', async () => {
    const { audit, logins, from } = lab();
    const connection = new RefusedConnection(logins, from('192.0.2.1'));
    await connection.refused(EXPIRED);
    assert.equal(audit.events.length, 1);
    void connection.refused(PLAIN);
    connection.closed();
    assert.equal(audit.events.length, 1);
  });

  test('a connection that asked for nothing leaves nothing', () => {
    const { audit, logins, from } = lab();
    new RefusedConnection(logins, from('192.0.2.1')).closed();
    assert.deepEqual(audit.events, []);
  });
});
