import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import type { PolicySnapshot } from '../policy/snapshot.ts';
import { conditionsOf, type Resource, SCHEMAS } from '../resources/index.ts';
import { createLivePolicy, resourceExpiryMs } from './live-policy.ts';
import { openSqliteStore } from './sqlite-store.ts';
import type { ResourceKind, Store } from './store.ts';

const folders: string[] = [];
const stores: Store[] = [];
after(async () => {
  for (const store of stores) await store.close();
  for (const each of folders) rmSync(each, { recursive: true, force: true });
});

async function setUp() {
  const folder = mkdtempSync(join(tmpdir(), 'nightlatch-policy-'));
  folders.push(folder);
  const clock = new FakeClock();
  const errors: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (message: string, fields?: object) => void errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  const store = await openSqliteStore({ path: join(folder, 'store.sqlite'), clock, log });
  stores.push(store);
  const put = (kind: ResourceKind, name: string, value: unknown, expiresAtMs?: number) =>
    store.put(kind, name, value, { condition: 'any', ...(expiresAtMs === undefined ? {} : { expiresAtMs }) });
  return { clock, store, log, errors, put };
}

const user = (name: string, roles: string[] = []) => ({ kind: 'user', metadata: { name }, spec: { roles } });
const role = (name: string, timeout: string) => ({
  kind: 'role',
  metadata: { name },
  spec: { options: { client_idle_timeout: timeout } },
});
const lock = (name: string, target: object) => ({ kind: 'lock', metadata: { name }, spec: { target } });
const network = (timeout: string) => ({ kind: 'cluster_networking_config', spec: { client_idle_timeout: timeout } });
const CNC = 'cluster-networking-config';

describe('live policy', () => {
  test('loads everything, with defaults where there is nothing', async () => {
    const { store, log, put } = await setUp();
    const empty = await createLivePolicy({ store, log });
    assert.equal(empty.current.authPreference.spec.second_factor, 'on');
    assert.equal(empty.current.networkingConfig.spec.client_idle_timeout, undefined);
    empty.close();
    await put('user', 'alice', user('alice', ['dev']));
    await put('role', 'dev', role('dev', '10m'));
    await put('lock', 'l', lock('l', { user: 'bob' }));
    const { revision } = await put('cluster_networking_config', CNC, network('15m'));
    const policy = await createLivePolicy({ store, log });
    assert.deepEqual(policy.current.users.get('alice')?.spec.roles, ['dev']);
    assert.equal(policy.current.roles.get('dev')?.kind, 'role');
    assert.equal(policy.current.locks[0]?.spec.target.user, 'bob');
    assert.notEqual(policy.current.networkingConfig.spec.client_idle_timeout, undefined);
    assert.equal(policy.current.revision, revision);
    policy.close();
  });

  test('follows changes: one new snapshot and one call each, the old one as it was', async () => {
    const { store, log, put } = await setUp();
    const policy = await createLivePolicy({ store, log });
    const seen: PolicySnapshot[] = [];
    policy.onChange(() => {
      throw new Error('a listener that fails');
    });
    const stop = policy.onChange((snapshot) => {
      assert.equal(snapshot, policy.current);
      seen.push(snapshot);
    });
    await put('user', 'alice', user('alice', ['dev']));
    const one = policy.current;
    await put('user', 'alice', user('alice', ['ops']));
    await put('cluster_networking_config', CNC, network('15m'));
    await store.delete('user', 'alice');
    await store.delete('cluster_networking_config', CNC);
    assert.equal(seen.length, 5);
    assert.deepEqual(one.users.get('alice')?.spec.roles, ['dev']);
    assert.deepEqual(seen[1]!.users.get('alice')?.spec.roles, ['ops']);
    assert.equal(seen[2]!.users, seen[1]!.users);
    assert.equal(policy.current.users.size, 0);
    assert.equal(policy.current.networkingConfig.spec.client_idle_timeout, undefined);
    assert.equal(policy.current.revision, 5);
    assert.ok(Object.isFrozen(policy.current));
    stop();
    policy.close();
    await put('user', 'alice', user('alice'));
    assert.equal(seen.length, 5);
    assert.equal(policy.current.users.size, 0);
  });

  test('changes made while it loads are neither lost nor undone', async () => {
    const { store, log, put } = await setUp();
    for (let n = 0; n < 20; n++) await put('user', `u${n}`, user(`u${n}`, ['old']));
    let turn = 0;
    const slow: Store = {
      ...store,
      watch: (fn) => store.watch(fn),
      async list(kind) {
        const listed = await store.list(kind);
        await put('user', `u${turn}`, user(`u${turn}`, ['new']));
        await store.delete('user', `u${10 + turn}`);
        turn += 1;
        await put('role', `r${turn}`, role(`r${turn}`, '5m'));
        return listed;
      },
    };
    const policy = await createLivePolicy({ store: slow, log });
    const users = (await store.list('user')).map(({ name, value }) => [
      name,
      (value as { spec: { roles: string[] } }).spec.roles,
    ]);
    assert.deepEqual([...policy.current.users].map(([name, { spec }]) => [name, spec.roles]).sort(), users.sort());
    assert.equal(policy.current.roles.size, turn);
    assert.equal(policy.current.revision, store.revision);
    policy.close();
  });

  test('a lock with an expiry is gone on time, not before', async () => {
    const { store, log, put, clock } = await setUp();
    const policy = await createLivePolicy({ store, log });
    const decoded = SCHEMAS.lock.parse({
      ...lock('l', { user: 'bob' }),
      spec: { target: { user: 'bob' }, expires: new Date(clock.wallMs() + 60_000).toISOString() },
    });
    await put('lock', 'l', decoded, resourceExpiryMs(decoded));
    await put('lock', 'stays', lock('stays', { user: 'eve' }));
    await clock.advance(59_999);
    assert.equal(policy.current.locks.length, 2);
    const before = policy.current;
    await clock.advance(1);
    assert.deepEqual(
      policy.current.locks.map(({ metadata }) => metadata.name),
      ['stays'],
    );
    assert.equal(before.locks.length, 2);
    policy.close();
  });

  test('a live resource that is damaged keeps its previous value, and the next good one applies', async () => {
    const { store, log, errors, put } = await setUp();
    await put('role', 'dev', role('dev', '10m'));
    await put('lock', 'l', lock('l', { user: 'bob' }));
    await put('cluster_networking_config', CNC, network('15m'));
    const policy = await createLivePolicy({ store, log });
    let calls = 0;
    policy.onChange(() => calls++);
    const before = policy.current;
    await put('role', 'dev', {
      kind: 'role',
      metadata: { name: 'dev' },
      spec: { options: { client_idle_timeout: 15 } },
    });
    await put('lock', 'l', { kind: 'lock', metadata: { name: 'l' }, spec: {} });
    await put('cluster_networking_config', CNC, 'nonsense');
    assert.equal(policy.current, before);
    assert.equal(calls, 0);
    assert.equal(errors.length, 3);
    assert.match(errors[0]!, /previous value stays in force.*"role","name":"dev"/);
    await put('role', 'dev', role('dev', '5m'));
    assert.notEqual(policy.current.roles.get('dev'), before.roles.get('dev'));
    assert.equal(calls, 1);
    policy.close();
  });

  test('damaged at the start: a role denies everything, a lock keeps its target, a user is nobody, settings stop the start', async () => {
    const { store, log, errors, put } = await setUp();
    await put('role', 'dev', { kind: 'role', version: 'v99', metadata: { name: 'dev' } });
    await put('user', 'alice', { kind: 'user' });
    await put('user', 'bob', user('bob', ['dev']));
    await put('lock', 'l', {
      kind: 'lock',
      future: 1,
      spec: { target: { user: 'bob', galaxy: 'x' }, expires: 'soon' },
    });
    const policy = await createLivePolicy({ store, log });
    const deny = conditionsOf(policy.current.roles.get('dev')!, 'deny');
    assert.deepEqual(deny.node_labels, { '*': ['*'] });
    assert.deepEqual(deny.db_labels, { '*': ['*'] });
    assert.deepEqual(deny.kubernetes_labels, { '*': ['*'] });
    assert.deepEqual(deny.windows_desktop_labels, { '*': ['*'] });
    assert.deepEqual([...policy.current.users.keys()], ['bob']);
    assert.deepEqual(policy.current.locks[0]?.spec.target, { user: 'bob' });
    assert.equal(errors.length, 3);
    policy.close();
    await put('lock', 'worse', { nothing: true });
    await assert.rejects(createLivePolicy({ store, log }), { code: 'unavailable', message: /lock "worse"/ });
    await store.delete('lock', 'worse');
    await put('cluster_auth_preference', 'cluster-auth-preference', { spec: { options: { client_idle_timeout: -1 } } });
    await assert.rejects(createLivePolicy({ store, log }), { code: 'unavailable', message: /cluster_auth_preference/ });
  });

  test('static resources overlay stored ones, and go when they are replaced', async () => {
    const { store, log, put } = await setUp();
    const node = (name: string, addr: string) =>
      SCHEMAS.node.parse({ kind: 'node', metadata: { name }, spec: { hostname: name, addr } });
    await put('node', 'web', node('web', 'stored:22'));
    const policy = await createLivePolicy({ store, log });
    let calls = 0;
    policy.onChange(() => calls++);
    policy.setStatic('node', [node('web', 'file:22'), node('db', 'file:22')]);
    assert.equal(calls, 1);
    assert.equal(policy.current.nodes.get('web')?.spec.addr, 'file:22');
    assert.ok(policy.isStatic('node', 'db') && !policy.isStatic('node', 'other') && !policy.isStatic('role', 'db'));
    await put('node', 'web', node('web', 'changed:22'));
    assert.equal(policy.current.nodes.get('web')?.spec.addr, 'file:22');
    await put('node', 'third', node('third', 'stored:22'));
    assert.deepEqual([...policy.current.nodes.keys()].sort(), ['db', 'third', 'web']);
    await store.delete('node', 'web');
    assert.equal(policy.current.nodes.get('web')?.spec.addr, 'file:22');
    policy.setStatic('node', []);
    assert.deepEqual([...policy.current.nodes.keys()], ['third']);
    assert.throws(() => policy.setStatic('node', [node('a', 'x:1'), node('a', 'y:1')]), { code: 'bad_parameter' });
    policy.close();
  });

  test('expiry of a resource: the earlier of what it says', () => {
    const base: Resource = SCHEMAS.lock.parse(lock('l', { user: 'u' }));
    assert.equal(resourceExpiryMs(base), undefined);
    const both = {
      ...base,
      metadata: { name: 'l', expires: '2026-01-01T00:00:02Z' },
      spec: { ...base.spec, expires: '2026-01-01T00:00:01Z' },
    };
    assert.equal(resourceExpiryMs(both as Resource), Date.UTC(2026, 0, 1, 0, 0, 1));
  });
});
