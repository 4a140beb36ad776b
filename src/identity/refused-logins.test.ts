import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../test/fixtures/memory-logger.ts';
import { type RefusedLogin, RefusedLogins } from './refused-logins.ts';

const WINDOW_MS = 5 * 60_000;
const EXPIRED: Omit<RefusedLogin, 'clientAddr'> = {
  protocol: 'ssh',
  login: 'root',
  reason: 'the certificate has expired',
  user: 'alice',
  host: 'web',
};

function lab() {
  const clock = new FakeClock();
  const audit = new MemoryAuditLog(clock);
  const log = new MemoryLogger();
  const logins = new RefusedLogins({ clock, audit, log });
  const refuse = (ip: string, more: Partial<RefusedLogin> = {}) =>
    logins.record({ ...EXPIRED, clientAddr: ip.includes(':') ? `[${ip}]:5000` : `${ip}:5000`, ...more });
  return { clock, audit, log, logins, refuse };
}

describe('refused logins in the audit log', () => {
  test('the first is written at once, with who, from where, to what and why', async () => {
    const { audit, refuse } = lab();
    await refuse('192.0.2.1');
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
    const { audit, clock, refuse } = lab();
    for (let n = 0; n < 1_000; n++) {
      await refuse('192.0.2.1', { login: `login${n}` });
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
    await refuse('192.0.2.1');
    assert.equal(audit.events.at(-1)!['attempts'], 1);
    assert.equal(audit.events.length, 3);
  });

  test('another reason and another network are told apart, another address of one IPv6 network is not', async () => {
    const { audit, refuse } = lab();
    await refuse('192.0.2.1');
    await refuse('192.0.2.1', { reason: 'the signature is not valid' });
    await refuse('192.0.2.2');
    await refuse('2001:db8::1');
    await refuse('2001:db8::2');
    assert.equal(audit.events.length, 4);
  });

  test('whoever makes up reasons and comes from everywhere fills no disk, and hides nobody’s count', async () => {
    const { audit, clock, refuse } = lab();
    for (let n = 0; n < 200; n++) await refuse('192.0.2.1', { reason: `made up ${n}` });
    assert.equal(audit.events.length, 9);
    for (let n = 0; n < 5_000; n++) {
      await refuse(`198.51.${n % 100}.${Math.floor(n / 100)}`, { reason: 'x'.repeat(5_000) });
    }
    assert.equal(audit.events.length, 257);
    await clock.advance(WINDOW_MS);
    assert.ok(audit.events.length <= 2 * 257, String(audit.events.length));
    const counted = audit.events.reduce((sum, event) => sum + Number(event['attempts']), 0);
    assert.equal(counted, 5_200);
    assert.ok(audit.events.every((event) => JSON.stringify(event).length < 1_000));
    assert.deepEqual(
      audit.events.slice(257).map((event) => event['various']),
      [true, true],
    );
    // What is not counted any more makes room.
    await clock.advance(WINDOW_MS);
    const before = audit.events.length;
    await refuse('192.0.2.9');
    assert.equal(audit.events.length, before + 1);
    assert.equal(audit.events.at(-1)!['addr.remote'], '192.0.2.9:5000');
  });

  test('a log that cannot be written keeps nobody waiting', async () => {
    const { audit, log, refuse } = lab();
    audit.broken = true;
    await refuse('192.0.2.1');
    assert.ok(log.lines.some((line) => line.startsWith('error a refused login could not be written')));
  });

  test('what was counted is written at the end', async () => {
    const { audit, clock, logins, refuse } = lab();
    for (let n = 0; n < 3; n++) await refuse('192.0.2.1');
    await logins.close();
    assert.deepEqual(
      audit.events.map((event) => event['attempts']),
      [1, 2],
    );
    await clock.advance(3 * WINDOW_MS);
    assert.equal(audit.events.length, 2);
  });
});
