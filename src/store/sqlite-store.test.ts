import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { describeStore } from '../../test/compliance/store.ts';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import type { Logger } from '../core/logger.ts';
import { SCHEMA_VERSION } from './schema.ts';
import { openSqliteStore } from './sqlite-store.ts';

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'nightlatch-store-'));
  folders.push(made);
  return made;
}
after(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true });
});

describeStore('sqlite', async () => {
  const clock = new FakeClock();
  const path = join(folder(), 'store.sqlite');
  let store = await openSqliteStore({ path, clock, log: silent });
  return {
    get store() {
      return store;
    },
    clock,
    async reopen() {
      await store.close();
      store = await openSqliteStore({ path, clock, log: silent });
      return store;
    },
    dispose: () => store.close(),
  };
});

describe('sqlite store', () => {
  const open = (path: string, clock = new FakeClock(), log = silent) => openSqliteStore({ path, clock, log });
  const unavailable = (...parts: RegExp[]) => ({
    name: 'NightlatchError',
    code: 'unavailable',
    message: new RegExp(parts.map((part) => `(?=.*${part.source})`).join('')),
  });

  test('its files are private whatever the umask, also one that existed with a wider mode', async () => {
    const dir = folder();
    const path = join(dir, 'data', 'store.sqlite');
    const before = process.umask(0);
    try {
      const store = await open(path);
      await store.put('role', 'r', {}, { condition: 'any' });
      for (const name of readdirSync(join(dir, 'data')))
        assert.equal(statSync(join(dir, 'data', name)).mode & 0o777, 0o600, name);
      assert.equal(statSync(join(dir, 'data')).mode & 0o777, 0o700);
      await store.close();
      const wide = join(dir, 'wide.sqlite');
      writeFileSync(wide, '', { mode: 0o666 });
      const second = await open(wide);
      assert.equal(statSync(wide).mode & 0o777, 0o600);
      await second.close();
    } finally {
      process.umask(before);
    }
  });

  test('the log is folded into the file at closing', async () => {
    const path = join(folder(), 'store.sqlite');
    const store = await open(path);
    const reader = new DatabaseSync(path);
    assert.deepEqual({ ...reader.prepare('PRAGMA journal_mode').get() }, { journal_mode: 'wal' });
    reader.close();
    await store.close();
    assert.deepEqual(
      readdirSync(join(path, '..')).filter((name) => name.endsWith('-wal')),
      [],
    );
  });

  test('a second daemon on the same file is refused, the first goes on', async () => {
    const path = join(folder(), 'store.sqlite');
    const first = await open(path);
    await assert.rejects(open(path), unavailable(/store\.sqlite/, /in use by another Nightlatch/));
    await first.put('role', 'r', {}, { condition: 'any' });
    await first.close();
    await (await open(path)).close();
  });

  test('a file that another process has locked: unavailable, by name, soon; and it recovers', async () => {
    const path = join(folder(), 'store.sqlite');
    const store = await open(path);
    await store.put('role', 'r', { n: 1 }, { condition: 'any' });
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const changes: unknown[] = [];
    store.watch((change) => changes.push(change));
    await assert.rejects(
      store.put('role', 'r', { n: 2 }, { condition: 'any' }),
      unavailable(/store\.sqlite/, /locked by another process/),
    );
    assert.deepEqual((await store.get('role', 'r'))?.value, { n: 1 });
    assert.deepEqual(changes, []);
    const revision = store.revision;
    other.exec('ROLLBACK');
    other.close();
    assert.equal((await store.put('role', 'r', { n: 2 }, { condition: 'any' })).revision, revision + 1);
    await store.close();
  });

  test('a file that is locked when it is opened', async () => {
    const path = join(folder(), 'store.sqlite');
    await (await open(path)).close();
    const other = new DatabaseSync(path);
    other.exec('PRAGMA locking_mode = EXCLUSIVE');
    other.exec('BEGIN IMMEDIATE');
    await assert.rejects(open(path), unavailable(/store\.sqlite/, /locked by another process/));
    other.close();
    await (await open(path)).close();
  });

  test('an expiry that finds the file locked is tried again', async () => {
    const path = join(folder(), 'store.sqlite');
    const clock = new FakeClock();
    const warnings: string[] = [];
    const store = await open(path, clock, { ...silent, warn: (message) => warnings.push(message) });
    await store.put('lock', 'l', {}, { condition: 'any', expiresAtMs: clock.wallMs() + 100 });
    const changes: string[] = [];
    store.watch((change) => changes.push(change.name));
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    await clock.advance(100);
    assert.equal(warnings.length, 1);
    assert.equal(await store.get('lock', 'l'), undefined);
    other.close();
    await clock.advance(1_000);
    assert.deepEqual(changes, ['l']);
    await store.close();
  });

  test('one timer for all expiries, none without; a date set forward is noticed within a minute', async () => {
    const clock = new FakeClock();
    const store = await open(join(folder(), 'store.sqlite'), clock);
    assert.equal(clock.timers, 0);
    const far = clock.wallMs() + 40 * 86_400_000;
    for (let n = 0; n < 50; n++) await store.putRecord('web', `s${n}`, new Uint8Array(1), { expiresAtMs: far + n });
    assert.equal(clock.timers, 1);
    await store.put('lock', 'l', {}, { condition: 'any', expiresAtMs: far - 1 });
    assert.equal(clock.timers, 1);
    const changes: string[] = [];
    store.watch((change) => changes.push(change.name));
    await clock.advance(1_000);
    clock.setWall(far - 1);
    await clock.advance(60_000);
    assert.deepEqual(changes, ['l']);
    await clock.advance(1_000);
    assert.equal(clock.timers, 0);
    await store.close();
  });

  test('a schema of a newer program is refused and not touched', async () => {
    const path = join(folder(), 'store.sqlite');
    await (await open(path)).close();
    const db = new DatabaseSync(path);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    db.close();
    await assert.rejects(open(path), unavailable(/store\.sqlite/, /newer Nightlatch/, /schema 2/));
    await assert.rejects(open(path), unavailable(/newer Nightlatch/));
  });

  test("somebody else's database and a file that is none are refused", async () => {
    const foreign = join(folder(), 'foreign.sqlite');
    const db = new DatabaseSync(foreign);
    db.exec('CREATE TABLE t (x)');
    db.close();
    await assert.rejects(open(foreign), unavailable(/foreign\.sqlite/, /not a Nightlatch store/));
    const text = join(folder(), 'text.sqlite');
    writeFileSync(text, 'this is not a database '.repeat(100));
    await assert.rejects(open(text), unavailable(/text\.sqlite/, /not an SQLite database/));
    const path = join(folder(), 'a-folder');
    await assert.rejects(open(join('/dev/null', path)), unavailable(/a-folder/));
  });

  test('a damaged value hides nothing else', async () => {
    const path = join(folder(), 'store.sqlite');
    const errors: string[] = [];
    const store = await open(path, new FakeClock(), { ...silent, error: (message) => errors.push(message) });
    await store.put('role', 'a', { n: 1 }, { condition: 'any' });
    await store.put('role', 'b', { n: 2 }, { condition: 'any' });
    const db = new DatabaseSync(path);
    db.exec(`UPDATE resources SET value = '{"n":' WHERE name = 'a'`);
    db.close();
    assert.deepEqual(
      (await store.list('role')).map((role) => role.value),
      [undefined, { n: 2 }],
    );
    assert.deepEqual(errors, ['store: a damaged value']);
    await store.close();
  });
});
