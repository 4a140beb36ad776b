import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { StoredAuditEvent } from '../../src/audit/events.ts';
import { Sessions } from '../../src/session/manager.ts';
import type { SessionProtocol } from '../../src/session/types.ts';
import { FakeClock, settle } from '../fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';

/** What a gateway is tested in: the real session layer on a fake clock, a policy and an audit log that the tests hold. */
export interface World {
  readonly clock: FakeClock;
  readonly policy: TestPolicy;
  readonly audit: MemoryAuditLog;
  readonly sessions: Sessions;
  readonly log: MemoryLogger;
}

/** A client of the gateway with an open session, and the far end of it. Real sockets or streams, the protocol's real bytes. */
export interface TestClient {
  /** A person acts (a key press, a command); resolves once the target has received it. */
  input(): Promise<void>;
  /** Work that counts in `auto` (data from the target without a terminal, a result); resolves once the client has received it. */
  work?(): Promise<void>;
  /** What counts in `traffic` only (terminal output); resolves once the client has received it. */
  output?(): Promise<void>;
  /** Every machine noise of the protocol, both ways: keepalives, pings, window changes, auto-replies. Resolves once all of it was handled. */
  noise(): Promise<void>;
  /** Work that lasts (a command running): active from the first call until the returned function is called. */
  startWork?(): Promise<() => Promise<void>>;
  /** All text that the gateway has told this user so far, the warning included where the protocol has a way. */
  told(): string;
  /** Whether the protocol can carry a warning. */
  readonly canWarn: boolean;
  /** Resolves when the gateway has closed the client's connection. */
  readonly closed: Promise<void>;
  /** Resolves when the gateway has closed the connection to the target. */
  readonly targetClosed: Promise<void>;
  /** The client goes away without a word. */
  vanish(): void;
  /** The target goes away. */
  dropTarget(): void;
  /** The client reads nothing from now on. */
  stopReading(): void;
  /** The target sends without end from now on; resolves once the flood is running, or has come to a stop because nobody reads. */
  flood(): Promise<void>;
}

export type ConnectResult =
  | { readonly ok: true; readonly client: TestClient }
  | { readonly ok: false; readonly told: string };

export interface RunningGateway {
  /** Connects as this user of the policy; resolves when the session is usable or refused. */
  connect(user: string): Promise<ConnectResult>;
  /** Ends everything; resolves when no socket of it is left. */
  close(): Promise<void>;
}

/** A gateway as the suite sees it. */
export interface GatewaySubject {
  readonly name: string;
  readonly protocol: SessionProtocol;
  /** What a role needs in `allow` to reach the test target. */
  readonly allow: Readonly<Record<string, unknown>>;
  /** Resources of the target (a node, a db …), as in YAML. */
  readonly targets: readonly unknown[];
  start(world: World): Promise<RunningGateway>;
}

const MINUTE = 60_000;

function role(name: string, allow: unknown, options: Record<string, unknown> = {}): unknown {
  return { kind: 'role', version: 'v7', metadata: { name }, spec: { allow, options } };
}

function user(name: string, ...roles: string[]): unknown {
  return { kind: 'user', version: 'v2', metadata: { name }, spec: { roles } };
}

function networking(spec: Record<string, unknown>): unknown {
  return { kind: 'cluster_networking_config', version: 'v2', metadata: { name: 'cluster-networking-config' }, spec };
}

/** The suite that every gateway passes: one lifecycle, whatever the protocol (SPEC 2). */
export function describeGateway(subject: GatewaySubject): void {
  describe(`${subject.name}: the session lifecycle`, { timeout: 300_000 }, () => {
    let world: World;
    let gateway: RunningGateway;

    beforeEach(async () => {
      const clock = new FakeClock();
      const policy = new TestPolicy([
        ...subject.targets,
        role('worker', subject.allow),
        role('tight', {}, { client_idle_timeout: '10m' }),
        role('nothing', {}),
        user('alice', 'worker'),
        user('bob', 'worker', 'tight'),
        user('mallory', 'nothing'),
      ]);
      const audit = new MemoryAuditLog(clock);
      const log = new MemoryLogger();
      world = { clock, policy, audit, log, sessions: new Sessions({ clock, log, audit, policy }) };
      gateway = await subject.start(world);
    });

    afterEach(async () => {
      const closed = gateway.close();
      await world.clock.advance(5_000);
      await closed;
      world.sessions.close();
    });

    async function connect(name: string): Promise<TestClient> {
      const result = await gateway.connect(name);
      assert.ok(result.ok, `connecting as ${name}: ${result.ok ? '' : result.told}\n${world.log.lines.join('\n')}`);
      return result.client;
    }

    /** Waits, in real time, for what real sockets bring about; the fake clock stands still meanwhile. */
    async function until(what: string, condition: () => boolean): Promise<void> {
      const giveUp = Date.now() + 10_000;
      while (!condition()) {
        if (Date.now() > giveUp)
          assert.fail(`${what} did not happen\n${world.log.lines.join('\n')}\n${world.audit.names.join(' ')}`);
        await settle();
      }
    }

    async function bothClosed(client: TestClient): Promise<void> {
      let closed = false;
      let targetClosed = false;
      void client.closed.then(() => {
        closed = true;
      });
      void client.targetClosed.then(() => {
        targetClosed = true;
      });
      await until("closing the client's side", () => closed);
      await until("closing the target's side", () => targetClosed);
      // The last bytes may take their two seconds; both sides are closed already.
      if (world.sessions.list().length > 0) await world.clock.advance(2_000);
      await until('the session leaving the registry', () => world.sessions.list().length === 0);
    }

    function disconnect(): StoredAuditEvent {
      const event = world.audit.last('client.disconnect');
      assert.ok(event, 'client.disconnect was not written');
      return event;
    }

    function alive(): boolean {
      return world.sessions.list().length === 1 && world.audit.last('client.disconnect') === undefined;
    }

    test('access that no role grants is refused with the reason, and recorded', async () => {
      const result = await gateway.connect('mallory');
      assert.equal(result.ok, false);
      assert.match(result.ok ? '' : result.told, /denied/i);
      assert.deepEqual(
        world.audit.names.filter((name) => name.endsWith('start')),
        [],
      );
      await until('session.reject', () => world.audit.last('session.reject') !== undefined);
      assert.equal(world.audit.last('session.reject')!['user'], 'mallory');
      assert.equal(world.sessions.list().length, 0);
    });

    test('without a timeout nobody is ended', async () => {
      const client = await connect('alice');
      await world.clock.advance(400 * 24 * 60 * MINUTE);
      await client.input();
      assert.ok(alive());
    });

    test('idle: ended at the deadline, not before, with reason, limit and source told and recorded', async () => {
      const client = await connect('bob');
      await world.clock.advance(10 * MINUTE - 1);
      assert.ok(alive());
      await world.clock.advance(1);
      await bothClosed(client);
      assert.match(client.told(), /Session ended: no activity for 10m0s \(role tight\)\./);
      const event = disconnect();
      assert.equal(event['cause'], 'idle');
      assert.equal(event['idle_timeout_ms'], 10 * MINUTE);
      assert.equal(event['timeout_source'], 'role tight');
      assert.equal(event['overshoot_ms'], 0);
      assert.equal(typeof event['warned_at'], 'string');
      assert.equal(Date.parse(String(event['deadline'])) - Date.parse(String(event['last_activity'])), 10 * MINUTE);
    });

    test('the message of the administrator is told as well', async () => {
      world.policy.put(networking({ client_idle_timeout: '5m', idle_timeout_message: 'Please call extension 42.' }));
      const client = await connect('alice');
      await world.clock.advance(5 * MINUTE);
      await bothClosed(client);
      assert.match(
        client.told(),
        /no activity for 5m0s \(cluster_networking_config[^)]*\)\. Please call extension 42\./,
      );
    });

    test('the warning comes a minute before the end, and activity cancels it visibly', async () => {
      const client = await connect('bob');
      await world.clock.advance(9 * MINUTE - 1);
      assert.equal(world.sessions.list()[0]!.warned, false);
      await world.clock.advance(1);
      assert.equal(world.sessions.list()[0]!.warned, true);
      if (client.canWarn)
        await until('the warning', () => /this session ends in 1m.*\(role tight\)/.test(client.told()));
      await client.input();
      if (client.canWarn) await until('the word that it goes on', () => /goes on/.test(client.told()));
      assert.equal(world.sessions.list()[0]!.warned, false);
      await world.clock.advance(10 * MINUTE - 1);
      assert.ok(alive());
      await world.clock.advance(1);
      await bothClosed(client);
    });

    test('input keeps the session in every mode', async () => {
      for (const mode of ['input', 'auto', 'traffic']) {
        world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: mode }));
        const client = await connect('alice');
        for (let i = 0; i < 3; i++) {
          await world.clock.advance(9 * MINUTE);
          await client.input();
        }
        assert.equal(world.sessions.list().length, 1, mode);
        await world.clock.advance(10 * MINUTE);
        await bothClosed(client);
      }
    });

    test('machine noise never keeps a session, in no mode', async () => {
      for (const mode of ['input', 'auto', 'traffic']) {
        world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: mode }));
        const client = await connect('alice');
        for (let i = 0; i < 9; i++) {
          await world.clock.advance(MINUTE);
          await client.noise();
        }
        await world.clock.advance(MINUTE);
        await bothClosed(client);
        assert.equal(disconnect()['cause'], 'idle', mode);
      }
    });

    test('work keeps the session in `auto` and `traffic`, not in `input`', async () => {
      for (const [mode, kept] of [
        ['auto', true],
        ['traffic', true],
        ['input', false],
      ] as const) {
        world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: mode }));
        const client = await connect('alice');
        if (client.work !== undefined) {
          await world.clock.advance(6 * MINUTE);
          await client.work();
          await world.clock.advance(6 * MINUTE);
          assert.equal(world.sessions.list().length === 1, kept, mode);
        }
        await world.clock.advance(20 * MINUTE);
        await bothClosed(client);
      }
    });

    test('terminal output keeps the session in `traffic` only', async () => {
      for (const [mode, kept] of [
        ['traffic', true],
        ['auto', false],
        ['input', false],
      ] as const) {
        world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: mode }));
        const client = await connect('alice');
        if (client.output !== undefined) {
          await world.clock.advance(6 * MINUTE);
          await client.output();
          await world.clock.advance(6 * MINUTE);
          assert.equal(world.sessions.list().length === 1, kept, mode);
        }
        await world.clock.advance(20 * MINUTE);
        await bothClosed(client);
      }
    });

    test('work that lasts is activity for as long as it lasts, and the clock starts at its end', async () => {
      const client = await connect('bob');
      const stop = await client.startWork?.();
      if (stop !== undefined) {
        await world.clock.advance(60 * MINUTE);
        assert.ok(alive());
        await stop();
        await world.clock.advance(10 * MINUTE - 1);
        assert.ok(alive());
      }
      await world.clock.advance(10 * MINUTE);
      await bothClosed(client);
    });

    test('a timeout made shorter reaches the open session, which is warned first when it is over the new one', async () => {
      const client = await connect('alice');
      await world.clock.advance(30 * MINUTE);
      world.policy.put(networking({ client_idle_timeout: '8m' }));
      await world.clock.advance(0);
      assert.equal(world.sessions.list()[0]!.warned, true);
      if (client.canWarn) await until('the warning', () => /this session ends in 1m/.test(client.told()));
      await world.clock.advance(MINUTE - 1);
      assert.ok(alive());
      await world.clock.advance(1);
      await bothClosed(client);
      assert.match(client.told(), /no activity for 8m0s/);
    });

    test('a timeout made longer moves the deadline, one taken away disarms', async () => {
      world.policy.put(networking({ client_idle_timeout: '10m' }));
      const client = await connect('alice');
      await world.clock.advance(9 * MINUTE + 30_000);
      world.policy.put(networking({ client_idle_timeout: '20m' }));
      await world.clock.advance(9 * MINUTE);
      assert.ok(alive());
      world.policy.put(networking({}));
      await world.clock.advance(600 * MINUTE);
      assert.ok(alive());
      world.policy.put(networking({ client_idle_timeout: '30m' }));
      await world.clock.advance(MINUTE);
      await bothClosed(client);
    });

    test('a role that tightens reaches the open session', async () => {
      const client = await connect('alice');
      await world.clock.advance(MINUTE);
      world.policy.put(user('alice', 'worker', 'tight'));
      await world.clock.advance(9 * MINUTE - 1);
      assert.ok(alive());
      await world.clock.advance(1);
      await bothClosed(client);
      assert.match(client.told(), /role tight/);
    });

    test('a role taken away ends the session', async () => {
      const client = await connect('alice');
      world.policy.put(user('alice', 'nothing'));
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'access_revoked');
      assert.match(client.told(), /access was revoked/);
    });

    test('a user removed ends the session', async () => {
      const client = await connect('alice');
      world.policy.remove('user', 'alice');
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'access_revoked');
    });

    test('a lock ends the session, bars new ones, and is told', async () => {
      const client = await connect('alice');
      world.policy.put({
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: 'alice' }, message: 'laptop stolen' },
      });
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'locked');
      assert.match(client.told(), /laptop stolen/);
      const again = await gateway.connect('alice');
      assert.equal(again.ok, false);
      world.policy.remove('lock', 'l1');
      assert.equal((await gateway.connect('alice')).ok, true);
    });

    test('killed by an administrator, with the message', async () => {
      const client = await connect('alice');
      const [session] = world.sessions.list();
      assert.equal(await world.sessions.kill(session!.id, { by: 'root-admin', message: 'maintenance' }), true);
      await bothClosed(client);
      assert.match(client.told(), /root-admin.*maintenance/);
      assert.equal(disconnect()['cause'], 'killed');
      assert.equal(disconnect()['ended_by'], 'root-admin');
      assert.equal(await world.sessions.kill(session!.id, { by: 'root-admin', message: '' }), false);
    });

    test('an expired certificate ends the session only where the policy says so, whatever the date does', async () => {
      const client = await connect('alice');
      await world.clock.advance(48 * 60 * MINUTE);
      assert.ok(alive());
      world.policy.put({
        kind: 'cluster_auth_preference',
        version: 'v2',
        metadata: { name: 'cluster-auth-preference' },
        spec: { disconnect_expired_cert: true },
      });
      await world.clock.advance(0);
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'cert_expired');
      assert.match(client.told(), /certificate has expired/);
    });

    test('a changed date ends nobody and prolongs nobody', async () => {
      const client = await connect('bob');
      world.clock.setWall(world.clock.wallMs() + 365 * 24 * 60 * MINUTE);
      await world.clock.advance(MINUTE);
      world.clock.setWall(world.clock.wallMs() - 2 * 365 * 24 * 60 * MINUTE);
      await world.clock.advance(9 * MINUTE - 1);
      assert.ok(alive());
      await world.clock.advance(1);
      await bothClosed(client);
    });

    test('max_session_ttl ends the session however active it is', async () => {
      world.policy.put(role('short', {}, { max_session_ttl: '1h' }), user('alice', 'worker', 'short'));
      const client = await connect('alice');
      for (let i = 0; i < 59; i++) {
        await world.clock.advance(MINUTE);
        await client.input();
      }
      assert.ok(alive());
      await world.clock.advance(MINUTE);
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'max_session_ttl');
      assert.match(client.told(), /1h0m0s/);
    });

    test('the target closes: the client is told and the cause recorded', async () => {
      const client = await connect('alice');
      client.dropTarget();
      await bothClosed(client);
      assert.ok(['target_closed', 'error'].includes(String(disconnect()['cause'])));
    });

    test('the client vanishes: the target is closed and the cause recorded', async () => {
      const client = await connect('alice');
      client.vanish();
      await bothClosed(client);
      assert.equal(disconnect()['cause'], 'client_closed');
    });

    test('a client that does not read cannot hold the session longer than two seconds', async () => {
      world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: 'input' }));
      const client = await connect('alice');
      client.stopReading();
      await client.flood();
      await world.clock.advance(10 * MINUTE);
      await until('client.disconnect', () => world.audit.last('client.disconnect') !== undefined);
      await world.clock.advance(2_000);
      let cut = false;
      void client.targetClosed.then(() => {
        cut = true;
      });
      await until('the cut', () => cut && world.sessions.list().length === 0);
    });

    test('a flood of output while ending does not hide the reason', async () => {
      world.policy.put(networking({ client_idle_timeout: '10m', client_idle_activity: 'input' }));
      const client = await connect('alice');
      await client.flood();
      await world.clock.advance(10 * MINUTE);
      await until('the reason', () => /no activity for 10m0s/.test(client.told()));
      await world.clock.advance(2_000);
      await bothClosed(client);
    });

    test('shutdown: no new sessions, the open ones are told and ended after the grace', async () => {
      const client = await connect('alice');
      const drained = world.sessions.drain(30_000);
      assert.equal((await gateway.connect('bob')).ok, false);
      if (client.canWarn) await until('the word', () => /shutting down/.test(client.told()));
      await world.clock.advance(30_000);
      await bothClosed(client);
      await drained;
      assert.equal(disconnect()['cause'], 'gateway_shutdown');
    });

    test('the events of a session: order and content', async () => {
      const client = await connect('bob');
      await client.input();
      await world.clock.advance(10 * MINUTE);
      await bothClosed(client);
      const sid = disconnect()['sid'];
      const lifecycle = world.audit.events.filter(
        (e) => e['sid'] === sid && /^(session\.(start|end)|client\.disconnect)$/.test(e.event),
      );
      assert.deepEqual(
        lifecycle.map((e) => `${e.event} ${e.code}`),
        ['session.start T2000I', 'client.disconnect T3006I', 'session.end T2004I'],
      );
      for (const event of lifecycle) {
        assert.equal(event['user'], 'bob');
        assert.equal(event['protocol'], subject.protocol);
        assert.equal(event['timeout_source'], 'role tight');
      }
      assert.equal(lifecycle[2]!['longest_idle_ms'], 10 * MINUTE);
      assert.equal(lifecycle[2]!['cause'], 'idle');
    });

    test('the event is on disk before the user sees the consequence', async () => {
      const client = await connect('bob');
      let release: () => void = () => undefined;
      world.audit.held = new Promise((resolve) => {
        release = resolve;
      });
      await world.clock.advance(10 * MINUTE);
      await settle();
      assert.doesNotMatch(client.told(), /Session ended/);
      world.audit.held = undefined;
      release();
      await bothClosed(client);
      assert.match(client.told(), /Session ended/);
    });

    test('an audit log that cannot be written: no new session, and the open ones are ended all the same', async () => {
      const client = await connect('bob');
      world.audit.broken = true;
      const refused = await gateway.connect('alice');
      assert.equal(refused.ok, false);
      assert.match(refused.ok ? '' : refused.told, /audit/);
      await world.clock.advance(10 * MINUTE);
      await bothClosed(client);
      assert.match(client.told(), /Session ended: no activity/);
      world.audit.broken = false;
      assert.equal((await gateway.connect('alice')).ok, true);
    });
  });
}
