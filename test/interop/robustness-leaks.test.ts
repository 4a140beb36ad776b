// Nothing left behind: sessions through the gateway's real transport, relay and cryptography, in memory. `npm run soak` opens and ends
// ten thousand, where `npm test` has time for fewer; and ten thousand through the session layer alone.
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { AuditEvent, StoredAuditEvent } from '../../src/audit/events.ts';
import { createSshGateway } from '../../src/gateways/ssh/gateway.ts';
import { loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { RefusedLogins } from '../../src/identity/refused-logins.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestNode, TestSshClient, testHostKey, testUserKey } from '../fixtures/ssh/peers.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';

const SESSIONS = Number(process.env['SOAK_SESSIONS'] ?? 1_500);
/** Sessions without a protocol are cheap. */
const BARE_SESSIONS = 10_000;
const AT_A_TIME = 16;
/** Before the first measurement: caches fill up, code is compiled. */
const WARM_UP = 300;
const LOGIN = 'worker';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes and handles. */
interface InUse {
  readonly heap: number;
  readonly external: number;
  readonly handles: Readonly<Record<string, number>>;
}

/** What is in use once everything that can be given back has been. */
async function inUse(): Promise<InUse> {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  // A transport gives its stream a second to close. Looked at between the pauses, whose timer is gone by then.
  const giveUp = systemClock.now() + 10_000;
  do await pause();
  while (process.getActiveResourcesInfo().includes('Timeout') && systemClock.now() < giveUp);
  for (let i = 0; i < 4; i++) {
    await pause();
    collectGarbage();
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const handles: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) handles[name] = (handles[name] ?? 0) + 1;
  return { heap: heapUsed, external: external + arrayBuffers, handles };
}

/** What was in use is free again, but for what may come and go: 400 bytes a session would be one small object of each. */
function assertBack(t: TestContext, before: InUse, after: InUse, sessions: number): void {
  t.diagnostic(`heap ${before.heap} -> ${after.heap}, outside of it ${before.external} -> ${after.external}`);
  assert.deepEqual(after.handles, before.handles);
  const grown = after.heap + after.external - before.heap - before.external;
  assert.ok(grown < Math.max(sessions * 400, 1_000_000), `grew by ${grown} bytes`);
}

/** Counts events instead of keeping them. */
class CountingAuditLog extends MemoryAuditLog {
  readonly counts = new Map<string, number>();

  override async emit(event: AuditEvent): Promise<StoredAuditEvent> {
    const stored = await super.emit(event);
    this.events.length = 0;
    const key = event.event === 'client.disconnect' ? `${event.event} ${event['cause']}` : event.event;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    return stored;
  }
}

test('SSH sessions opened and ended leave nothing: handles, heap, registry', {
  timeout: Math.max(115_000, SESSIONS * 60),
}, async (t) => {
  const clock = systemClock;
  const hostKey = testHostKey();
  const policy = new TestPolicy([
    {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'r' },
      spec: { options: { client_idle_timeout: '1h' }, allow: { logins: [LOGIN], node_labels: { '*': '*' } } },
    },
    { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['r'] } },
    {
      kind: 'node',
      version: 'v2',
      metadata: { name: 'n1' },
      spec: { hostname: 'web', addr: '192.0.2.1:22', host_keys: [hostKey.pin] },
    },
  ]);
  const log = new MemoryLogger();
  const audit = new CountingAuditLog(clock);
  const sessions = new Sessions({ clock, log, audit, policy });
  const store = memoryStore(clock);
  const ca = await loadCertAuthority({ store, masterKey: testMasterKey, clock, clusterName: 'example.com' });
  /** Who waits for a target, by what will be typed there. */
  const awaited = new Map<string, (target: TestNode) => void>();
  const gateway = createSshGateway({
    clock,
    log,
    refusedLogins: new RefusedLogins({ clock, log, audit }),
    sessions,
    policy,
    ca,
    clusterName: 'example.com',
    connect: () => {
      const [near, far] = duplexPair();
      const target = new TestNode(far, { clock, hostKey });
      target.onData = (data) => awaited.get(data.toString())?.(target);
      return near;
    },
  });
  t.after(() => gateway.close());
  const key = testUserKey();
  const { sshCert } = await ca.issueUserCertificates({
    user: 'alice',
    principals: [LOGIN],
    sshPublicKey: key.sshPublicKey,
    ttlMs: 3_600_000,
    extensions: ['permit-pty'],
  });
  const credential = key.credential(sshCert!);

  /** One session from its first byte to its last, ended one way or another. */
  async function session(index: number): Promise<void> {
    const [stream, far] = duplexPair();
    gateway.acceptNode(far, { clientAddr: `192.0.2.7:${index}`, host: 'web' });
    const client = await TestSshClient.connect(stream, { clock, login: LOGIN, credential, terminal: index % 2 === 0 });
    const typed = `keys ${index}`;
    const arrived = new Promise<TestNode>((resolve) => awaited.set(typed, resolve));
    client.type(typed);
    const target = await arrived;
    awaited.delete(typed);
    switch (index % 4) {
      case 0:
        await client.transport.disconnect(11, 'bye');
        break;
      case 1:
        client.transport.abort();
        break;
      case 2: {
        const mine = sessions.list().find((one) => one.clientAddr === `192.0.2.7:${index}`);
        await sessions.kill(mine!.id, { by: 'root', message: '' });
        break;
      }
      default:
        target.transport.abort();
    }
    await Promise.all([client.closed, target.transport.whenClosed]);
  }

  async function many(count: number): Promise<void> {
    let next = 0;
    const worker = async () => {
      while (next < count) await session(next++);
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    const giveUp = clock.now() + 30_000;
    while (sessions.list().length > 0 && clock.now() < giveUp) await new Promise((resolve) => setTimeout(resolve, 10));
    log.lines.length = 0;
  }

  await many(WARM_UP);
  const before = await inUse();
  const start = clock.now();
  await many(SESSIONS);
  const took = clock.now() - start;
  const after = await inUse();
  t.diagnostic(`${SESSIONS} sessions in ${(took / 1000).toFixed(1)} s; ${[...audit.counts].join('; ')}`);

  assert.deepEqual(sessions.list(), []);
  assert.equal(sessions.idle.size, 0);
  assert.equal(audit.counts.get('session.end'), audit.counts.get('session.start'));
  assertBack(t, before, after, SESSIONS);
});

test('10,000 sessions of the session layer alone leave nothing, whatever ends them', async (t) => {
  const clock = systemClock;
  const policy = new TestPolicy([
    {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'r' },
      spec: { options: { client_idle_timeout: '1h', max_session_ttl: '2h' } },
    },
    { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['r'] } },
  ]);
  const audit = new CountingAuditLog(clock);
  const sessions = new Sessions({ clock, log: new MemoryLogger(), audit, policy });
  const many = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 100) {
      const opened = await Promise.all(
        Array.from({ length: 100 }, async (_, n) => {
          const result = await sessions.open(
            {
              kind: 'ssh',
              protocol: 'ssh',
              user: 'alice',
              login: LOGIN,
              target: { kind: 'node', name: 'n1', displayName: 'web', addr: '192.0.2.1:22', labels: {} },
              clientAddr: `192.0.2.7:${index + n}`,
              certExpiresAtMs: clock.wallMs() + 3_600_000,
              authorize: () => ({ allowed: true }),
            },
            { warn() {}, warningCancelled() {}, close: async () => undefined, abort() {} },
          );
          assert.ok(result.ok);
          result.session.ready();
          result.session.silenceGuard(60_000, () => {}).arm();
          result.session.activity('input');
          return result.session;
        }),
      );
      policy.put({ kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['r'] } });
      await Promise.all(
        opened.map((session, n) => {
          if (n % 3 === 0) return sessions.kill(session.id, { by: 'root', message: '' });
          return session.end(n % 3 === 1 ? 'client_closed' : 'target_closed');
        }),
      );
    }
  };
  await many(1_000);
  const before = await inUse();
  await many(BARE_SESSIONS);
  const after = await inUse();
  assert.deepEqual([sessions.list().length, sessions.idle.size, sessions.guards.size], [0, 0, 0]);
  assertBack(t, before, after, BARE_SESSIONS);
});
