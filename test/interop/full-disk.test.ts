import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { StoredAuditEvent } from '../../src/audit/events.ts';
import { openAuditLog } from '../../src/audit/file-audit-log.ts';
import { openSqliteStore } from '../../src/store/sqlite-store.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { mountSmallDisk, type SmallDisk, simulatedSmallDisk } from '../fixtures/small-disk.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const disks: SmallDisk[] = [];
after(() => {
  for (const disk of disks) disk.remove();
});

/** A real disk where this process may mount one. */
function mounted(): SmallDisk | undefined {
  try {
    const disk = mountSmallDisk();
    disks.push(disk);
    return disk;
  } catch {
    return undefined;
  }
}

function simulated(): SmallDisk {
  const disk = simulatedSmallDisk();
  disks.push(disk);
  return disk;
}

/** The disk gets full under the log, by the log itself and by others, and has room again, three times. */
async function auditLogOn(disk: SmallDisk): Promise<void> {
  const dir = join(disk.dir, 'audit');
  const options = { dir, clock: new FakeClock(), clusterName: 'c', log: silent, ...(disk.fs && { fs: disk.fs }) };
  const log = await openAuditLog(options);
  const acknowledged: number[] = [];
  const emit = (n: number) => log.emit({ event: 'exec', code: 'T3002I', n, command: 'x'.repeat(700 + (n % 900)) });
  const numbers = (events: readonly StoredAuditEvent[]) => events.map((event) => event['n']);
  /** Emits many at the same time; how many were refused. */
  const emitMany = async (first: number, count: number): Promise<number> => {
    const results = await Promise.allSettled(Array.from({ length: count }, (_, n) => emit(first + n)));
    const refused = results.filter((result) => result.status === 'rejected');
    for (const { reason } of refused) {
      assert.equal(reason.code, 'audit_unavailable');
      assert.match(reason.message, /no space left/);
    }
    acknowledged.push(...results.flatMap((result, n) => (result.status === 'fulfilled' ? [first + n] : [])));
    return refused.length;
  };
  const checkFile = () => {
    const text = readFileSync(join(dir, '2026-01-15.jsonl'), 'utf8');
    assert.ok(text.endsWith('\n'));
    const lines = text.slice(0, -1).split('\n');
    assert.deepEqual(numbers(lines.map((line) => JSON.parse(line) as StoredAuditEvent)), acknowledged);
    assert.deepEqual(numbers(log.query({})), acknowledged);
  };
  assert.equal(await emitMany(0, 20), 0);
  for (let round = 1; round <= 3; round++) {
    disk.fill();
    // What is left of the file's last page still takes a little.
    assert.ok((await emitMany(round * 10_000, 30)) > 0);
    assert.equal(log.healthy, false);
    checkFile();
    disk.empty();
    assert.equal(await emitMany(round * 10_000 + 100, 3), 0);
    assert.equal(log.healthy, true);
    checkFile();
  }
  let refused = 0;
  for (let n = 50_000; refused === 0 && n < 60_000; n += 20) refused = await emitMany(n, 20);
  assert.ok(refused > 0, 'the log itself has filled the disk');
  checkFile();
  await log.close();
  const again = await openAuditLog(options);
  assert.deepEqual(numbers(again.query({})), acknowledged);
  await again.close();
}

describe('a full disk', () => {
  test('under the audit log, simulated', () => auditLogOn(simulated()));

  test('under the audit log, a real one where one can be mounted', () => auditLogOn(mounted() ?? simulated()));

  test('under the store: refused by name, readable meanwhile, going on when there is room', async () => {
    // Where nothing can be mounted, the disk of this machine does not get full, and the rest of the test is what is left.
    const disk = mounted();
    const path = join((disk ?? simulated()).dir, 'store.sqlite');
    const store = await openSqliteStore({ path, clock: new FakeClock(), log: silent });
    await store.put('role', 'kept', { n: 1 }, { condition: 'any' });
    let changes = 0;
    store.watch(() => {
      changes += 1;
    });
    if (disk !== undefined) {
      disk.fill();
      const writeMuch = async () => {
        for (let n = 0; n < 100; n++)
          await store.put('role', `more${n}`, { text: 'x'.repeat(20_000) }, { condition: 'any' });
      };
      await assert.rejects(writeMuch(), { code: 'unavailable', message: /store\.sqlite.*no space left on the disk/ });
      assert.equal(changes, (await store.list('role')).length - 1);
      assert.deepEqual((await store.get('role', 'kept'))?.value, { n: 1 });
      disk.empty();
    }
    await store.put('role', 'after', { n: 2 }, { condition: 'absent' });
    await store.close();
    const again = await openSqliteStore({ path, clock: new FakeClock(), log: silent });
    assert.deepEqual((await again.get('role', 'after'))?.value, { n: 2 });
    assert.deepEqual((await again.get('role', 'kept'))?.value, { n: 1 });
    await again.close();
  });
});
