import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Store, StoreChange } from '../../src/store/store.ts';
import type { FakeClock } from '../fixtures/fake-clock.ts';

/** A store under test; every call of `open` gives an empty one. */
export interface StoreUnderTest {
  readonly store: Store;
  readonly clock: FakeClock;
  /** Closes the store and opens the same data again. */
  reopen(): Promise<Store>;
  /** Closes it and removes what it left. */
  dispose(): Promise<void>;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const code = (expected: string) => (error: unknown) =>
  (error as { code?: unknown }).code === expected || assert.fail(`expected ${expected}, got ${String(error)}`);

/** Waits until the watch has seen `count` changes: a distributed store may tell them after the write has resolved. */
async function seen(changes: readonly StoreChange[], count: number): Promise<void> {
  for (let turn = 0; changes.length < count; turn++) {
    if (turn > 5_000) assert.fail(`saw ${changes.length} of ${count} changes`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What every implementation of `Store` promises, whatever it is made of. */
export function describeStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store: ${name}`, () => {
    let it: StoreUnderTest;
    before(async () => {
      it = await open();
    });
    after(() => it.dispose());

    test('a resource comes back as it was put, and a copy of it', async () => {
      const value = { spec: { deep: ['ä', 1, null, { a: 'b' }] } };
      const put = await it.store.put('role', 'copy', value, { condition: 'any' });
      assert.deepEqual(put.value, value);
      value.spec.deep.push('later');
      const got = await it.store.get('role', 'copy');
      assert.deepEqual(got?.value, { spec: { deep: ['ä', 1, null, { a: 'b' }] } });
      assert.equal(got?.revision, put.revision);
      assert.equal(await it.store.get('role', 'nobody'), undefined);
      assert.equal(await it.store.get('user', 'copy'), undefined);
    });

    test('names are exact: case, spaces, quotes and NUL-free Unicode', async () => {
      for (const odd of ['A', 'a', "o'neil", 'x y', '../up', '%', '_', '用户', ''])
        await it.store.put('node', odd, { odd }, { condition: 'absent' });
      assert.deepEqual((await it.store.get('node', 'A'))?.value, { odd: 'A' });
      assert.deepEqual((await it.store.get('node', '%'))?.value, { odd: '%' });
      assert.equal((await it.store.list('node')).length, 9);
    });

    test('list gives one kind, by name', async () => {
      for (const each of ['b', 'c', 'a']) await it.store.put('db', each, { each }, { condition: 'any' });
      assert.deepEqual(
        (await it.store.list('db')).map((resource) => resource.name),
        ['a', 'b', 'c'],
      );
      assert.deepEqual(await it.store.list('kube_cluster'), []);
    });

    test('conditions', async () => {
      const { store } = it;
      await assert.rejects(store.put('user', 'u', {}, { condition: 'present' }), code('not_found'));
      await assert.rejects(store.put('user', 'u', {}, { condition: { revision: 1 } }), code('not_found'));
      const first = await store.put('user', 'u', { n: 1 }, { condition: 'absent' });
      await assert.rejects(store.put('user', 'u', {}, { condition: 'absent' }), code('already_exists'));
      const second = await store.put('user', 'u', { n: 2 }, { condition: { revision: first.revision } });
      await assert.rejects(store.put('user', 'u', {}, { condition: { revision: first.revision } }), code('conflict'));
      assert.deepEqual((await store.get('user', 'u'))?.value, { n: 2 });
      await store.put('user', 'u', { n: 3 }, { condition: 'present' });
      assert.ok(second.revision > first.revision);
      await store.delete('user', 'u');
      await assert.rejects(store.delete('user', 'u'), code('not_found'));
      await store.put('user', 'u', {}, { condition: 'absent' });
    });

    test('of many that change the same revision, one wins', async () => {
      const { store } = it;
      const { revision } = await store.put('role', 'race', { n: 0 }, { condition: 'any' });
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => store.put('role', 'race', { n }, { condition: { revision } })),
      );
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    });

    test('a value that is no JSON is refused', async () => {
      await assert.rejects(it.store.put('role', 'none', undefined, { condition: 'any' }), code('bad_parameter'));
    });

    test('watches see every change in the order of revisions, deletions with no value', async () => {
      const { store } = it;
      const changes: StoreChange[] = [];
      const stop = store.watch((change) => changes.push(change));
      await Promise.all([
        store.put('role', 'w1', { n: 1 }, { condition: 'any' }),
        store.put('role', 'w2', { n: 2 }, { condition: 'any' }),
        store.put('role', 'w1', { n: 3 }, { condition: 'any' }),
      ]);
      await store.delete('role', 'w2');
      await seen(changes, 4);
      assert.deepEqual(
        changes.map((change) => change.revision),
        [...changes.map((change) => change.revision)].sort((a, b) => a - b),
      );
      assert.deepEqual(changes.at(-1), {
        kind: 'role',
        name: 'w2',
        value: undefined,
        revision: changes.at(-1)?.revision,
      });
      assert.deepEqual(changes.find((change) => change.name === 'w2')?.value, { n: 2 });
      stop();
      stop();
      await store.put('role', 'w3', {}, { condition: 'any' });
      assert.equal(changes.length, 4);
    });

    test('a refused write is no change; a watcher that fails or writes disturbs no other', async () => {
      const { store } = it;
      const changes: StoreChange[] = [];
      const stops = [
        store.watch(() => {
          throw new Error('a watcher that fails');
        }),
        store.watch((change) => {
          if (change.name === 'cause') void store.put('role', 'effect', {}, { condition: 'any' });
        }),
        store.watch((change) => changes.push(change)),
      ];
      await assert.rejects(store.put('role', 'absent', {}, { condition: 'present' }));
      await store.put('role', 'cause', {}, { condition: 'any' });
      await seen(changes, 2);
      assert.deepEqual(
        changes.map((change) => change.name),
        ['cause', 'effect'],
      );
      for (const stop of stops) stop();
    });

    test('a resource with an expiry vanishes on time, is told to watches, and not before', async () => {
      const { store, clock } = it;
      const changes: StoreChange[] = [];
      const stop = store.watch((change) => changes.push(change));
      const now = clock.wallMs();
      await store.put('lock', 'l1', {}, { condition: 'absent', expiresAtMs: now + 10_000 });
      await store.put('lock', 'l2', {}, { condition: 'absent', expiresAtMs: now + 5_000 });
      await store.put('lock', 'l3', {}, { condition: 'absent' });
      await clock.advance(4_999);
      assert.equal((await store.list('lock')).length, 3);
      await clock.advance(1);
      await seen(changes, 4);
      assert.deepEqual([changes[3]?.name, changes[3]?.value], ['l2', undefined]);
      assert.deepEqual(
        (await store.list('lock')).map((lock) => lock.name),
        ['l1', 'l3'],
      );
      await store.put('lock', 'l2', {}, { condition: 'absent' });
      await clock.advance(5_000);
      await seen(changes, 6);
      assert.equal(await store.get('lock', 'l1'), undefined);
      assert.ok(changes[5]!.revision > changes[4]!.revision);
      stop();
    });

    test('a later put without expiry keeps the resource', async () => {
      const { store, clock } = it;
      await store.put('lock', 'kept', {}, { condition: 'any', expiresAtMs: clock.wallMs() + 1_000 });
      await store.put('lock', 'kept', {}, { condition: 'any' });
      await clock.advance(5_000);
      assert.ok(await store.get('lock', 'kept'));
    });

    test('records: bytes, conditions, lists, deletion', async () => {
      const { store } = it;
      const value = new Uint8Array([0, 1, 255, 0]);
      await store.putRecord('keys', 'k', value);
      assert.deepEqual(new Uint8Array((await store.getRecord('keys', 'k'))!), value);
      assert.equal(await store.getRecord('other', 'k'), undefined);
      await assert.rejects(store.putRecord('keys', 'k', value, { condition: 'absent' }), code('already_exists'));
      await store.putRecord('keys', 'k', bytes('new'));
      await store.putRecord('keys', 'a', bytes(''), { condition: 'absent' });
      assert.deepEqual(
        (await store.listRecords('keys')).map((r) => [r.key, new TextDecoder().decode(r.value)]),
        [
          ['a', ''],
          ['k', 'new'],
        ],
      );
      await store.deleteRecord('keys', 'k');
      await store.deleteRecord('keys', 'k');
      assert.equal(await store.getRecord('keys', 'k'), undefined);
    });

    test('a record is taken once, also by many at the same time', async () => {
      const { store } = it;
      await store.putRecord('token', 't', bytes('x'));
      const taken = await Promise.all(Array.from({ length: 20 }, () => store.takeRecord('token', 't')));
      assert.equal(taken.filter((value) => value !== undefined).length, 1);
    });

    test('records with an expiry are gone on time, for get, take, list and absence', async () => {
      const { store, clock } = it;
      const expiresAtMs = clock.wallMs() + 1_000;
      for (const key of ['a', 'b', 'c']) await store.putRecord('web', key, bytes(key), { expiresAtMs });
      await clock.advance(999);
      assert.equal((await store.listRecords('web')).length, 3);
      clock.setWall(expiresAtMs); // The date alone is moved: no timer has run.
      assert.equal(await store.getRecord('web', 'a'), undefined);
      assert.deepEqual(await store.listRecords('web'), []);
      assert.equal(await store.takeRecord('web', 'b'), undefined);
      await store.putRecord('web', 'c', bytes('again'), { condition: 'absent' });
    });

    test('everything is there after closing and opening; revisions go on growing', async () => {
      const { revision } = await it.store.put('role', 'stays', { n: 1 }, { condition: 'any' });
      await it.store.delete('role', 'stays');
      await it.store.putRecord('keys', 'stays', bytes('s'));
      await it.store.put('lock', 'ends', {}, { condition: 'any', expiresAtMs: it.clock.wallMs() + 2_000 });
      const users = await it.store.list('user');
      const old = it.store;
      const store = await it.reopen();
      await assert.rejects(old.put('role', 'late', {}, { condition: 'any' }), code('unavailable'));
      assert.deepEqual(await store.list('user'), users);
      assert.equal(new TextDecoder().decode(await store.getRecord('keys', 'stays')), 's');
      assert.ok((await store.put('role', 'stays', {}, { condition: 'absent' })).revision > revision + 1);
      await it.clock.advance(2_000);
      assert.equal(await store.get('lock', 'ends'), undefined);
    });
  });
}
