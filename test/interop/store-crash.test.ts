import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSqliteStore, type SqliteStore } from '../../src/store/sqlite-store.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';

const WRITER = fileURLToPath(new URL('./store-writer.ts', import.meta.url));
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const folder = mkdtempSync(join(tmpdir(), 'nightlatch-crash-'));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** A writer under way: what it has acknowledged so far, and the ways to stop it. */
class Writer {
  readonly child: ChildProcess;
  #text = '';
  readonly #waiting = new Set<() => void>();
  readonly #ended: Promise<void>;

  constructor(path: string, first: number, count: number) {
    this.child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', WRITER, path, String(first), String(count)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    children.add(this.child);
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      for (const wake of this.#waiting) wake();
    });
    this.#ended = new Promise((resolve) => this.child.once('close', () => resolve()));
  }

  /** The numbers in whole lines that begin with `what`. */
  acknowledged(what: 'record' | 'resource'): number[] {
    const whole = this.#text.slice(0, this.#text.lastIndexOf('\n') + 1);
    return [...whole.matchAll(new RegExp(`^${what} (\\d+)`, 'gm'))].map((match) => Number(match[1]));
  }

  /** The highest revision that was acknowledged. */
  get revision(): number {
    return Math.max(0, ...[...this.#text.matchAll(/^resource \d+ (\d+)$/gm)].map((match) => Number(match[1])));
  }

  async until(records: number): Promise<void> {
    while (this.acknowledged('record').length < records) {
      await Promise.race([
        new Promise<void>((resolve) => this.#waiting.add(resolve)),
        this.#ended.then(() => assert.fail('the writer ended by itself')),
      ]);
    }
    this.#waiting.clear();
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#ended;
    children.delete(this.child);
  }
}

const open = (path: string): Promise<SqliteStore> => openSqliteStore({ path, clock: new FakeClock(), log: silent });

async function numbersIn(store: SqliteStore): Promise<number[]> {
  const records = await store.listRecords('numbers');
  for (const { key, value } of records) {
    const n = Number(key);
    assert.equal(new TextDecoder().decode(value), `value of ${n} `.repeat(1 + (n % 50)));
  }
  return records.map(({ key }) => Number(key)).sort((a, b) => a - b);
}

function integrity(path: string): unknown {
  const db = new DatabaseSync(path);
  try {
    return db.prepare('PRAGMA integrity_check').get()?.['integrity_check'];
  } finally {
    db.close();
  }
}

describe('store: crashes', () => {
  test('killed at 16 random moments, every acknowledged write is there', { timeout: 240_000 }, async () => {
    const path = join(folder, 'killed.sqlite');
    let first = 0;
    let revision = 0;
    for (let round = 0; round < 16; round++) {
      const writer = new Writer(path, first, 1_000_000);
      // Sometimes while it opens, mostly somewhere in the middle, now and then after a checkpoint of the log.
      const records = round % 5 === 0 ? 0 : randomInt(1, round % 5 === 1 ? 1_200 : 80);
      if (records > 0) await writer.until(records);
      else await new Promise((resolve) => setTimeout(resolve, randomInt(0, 150)));
      await writer.kill();
      const acknowledged = writer.acknowledged('record');
      const store = await open(path);
      const found = await numbersIn(store);
      const present = new Set(found);
      for (const n of acknowledged)
        assert.ok(present.has(n), `round ${round}: record ${n} was acknowledged and is lost`);
      // One write at most was under way when it was killed.
      const next = (found.at(-1) ?? -1) + 1;
      assert.ok(
        next - (acknowledged.at(-1) ?? first - 1) - 1 <= 1,
        `round ${round}: ${next} after ${acknowledged.at(-1)}`,
      );
      assert.deepEqual(
        found,
        Array.from({ length: next }, (_, n) => n),
      );
      // The writer removes a resource a thousand numbers later.
      for (const n of writer.acknowledged('resource').filter((each) => each + 1000 >= next))
        assert.deepEqual((await store.get('role', `role-${n}`))?.value, { n });
      revision = Math.max(revision, writer.revision);
      assert.ok(store.revision >= revision, 'revisions never go back');
      await store.close();
      assert.equal(integrity(path), 'ok');
      first = next;
      // The resource of a tenth number may be missing where the kill came between the two: write it anew.
      if (first % 10 === 1) {
        const again = await open(path);
        await again.put('role', `role-${first - 1}`, { n: first - 1 }, { condition: 'any' });
        await again.close();
      }
    }
    assert.ok(first > 400, `${first} records`);
  });

  test('a power cut: the log cut anywhere, the store opens with a beginning of what was written', {
    timeout: 120_000,
  }, async () => {
    const path = join(folder, 'cut.sqlite');
    // Few enough that the log is not folded into the file meanwhile.
    const writer = new Writer(path, 0, 100);
    for (let round = 0; round < 15; round++) {
      await writer.until(Math.min(100, 1 + round * 7));
      // Stopped while it is copied, as a snapshot of the disk would see it.
      writer.child.kill('SIGSTOP');
      await stopped(writer.child.pid!);
      const acknowledged = writer.acknowledged('record');
      const copy = join(folder, `copy-${round}.sqlite`);
      copyFileSync(path, copy);
      copyFileSync(`${path}-wal`, `${copy}-wal`);
      writer.child.kill('SIGCONT');
      const whole = await open(copy);
      const found = await numbersIn(whole);
      for (const n of acknowledged) assert.ok(found.includes(n), `record ${n} was acknowledged and is lost`);
      await whole.close();

      const torn = join(folder, `torn-${round}.sqlite`);
      copyFileSync(path, torn);
      copyFileSync(`${path}-wal`, `${torn}-wal`);
      truncateSync(`${torn}-wal`, randomInt(0, statSync(`${torn}-wal`).size));
      const store = await open(torn);
      const kept = await numbersIn(store);
      assert.deepEqual(
        kept,
        Array.from({ length: kept.length }, (_, n) => n),
        'no gap',
      );
      await store.putRecord(
        'numbers',
        String(kept.length),
        new TextEncoder().encode(`value of ${kept.length} `.repeat(1 + (kept.length % 50))),
      );
      await store.close();
      assert.equal(integrity(torn), 'ok');
    }
    await writer.kill();
  });
});

/** Waits until the process is stopped (state T), so that nothing is written while its files are copied. */
async function stopped(pid: number): Promise<void> {
  const path = `/proc/${pid}/stat`;
  const deadline = performance.now() + 10_000;
  while (existsSync(path) && !/\) [Tt] /.test(readFileSync(path, 'utf8'))) {
    assert.ok(performance.now() < deadline, 'the writer does not stop');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
