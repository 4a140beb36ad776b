// The disk gets full under the audit log of the real daemon, with a real session open.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import type { StoredAuditEvent } from '../../src/audit/events.ts';
import { LOGIN, NODE, type SignedIn, startSignedIn } from '../fixtures/signed-in.ts';
import { mountSmallDisk, type SmallDisk } from '../fixtures/small-disk.ts';

import { until } from '../fixtures/ssh/processes.ts';

const TIMEOUT_S = 8;
const AUTH = `client_idle_timeout: ${TIMEOUT_S}s, client_idle_warning: 2s`;
const ENDED = /Session ended: no activity for 8s/;

/** The audit log as it stands on the disk. */
function auditEvents(dir: string): StoredAuditEvent[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(dir, name), 'utf8').split('\n'))
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as StoredAuditEvent);
}

describe('a disk that is full under the audit log', { timeout: 115_000 }, () => {
  let world: SignedIn | undefined;
  let disk: SmallDisk | undefined;
  const dir = mkdtempSync(join(tmpdir(), 'nightlatch-full-'));
  after(async () => {
    await world?.stop();
    disk?.remove();
    rmSync(dir, { recursive: true, force: true });
  });

  test('no session starts, open ones end on time and say why, and all is well when there is room again', async (t) => {
    try {
      disk = mountSmallDisk();
    } catch {
      t.diagnostic('nothing can be mounted here; the compliance suite shows the same with a log that fails');
      return;
    }
    mkdirSync(join(dir, 'data'), { mode: 0o700 });
    symlinkSync(disk.dir, join(dir, 'data', 'audit'));
    const diag = await freePort();
    world = await startSignedIn({ auth: AUTH, diag, dir });
    const ready = async () => (await fetch(`http://127.0.0.1:${diag}/readyz`)).status;
    assert.equal(await ready(), 200);

    const open = world.ssh('-tt', `${LOGIN}@${NODE}`, 'echo ready; cat');
    await open.shows('ready');
    const openedAt = performance.now();
    disk.fill();
    // What is left of the last page may take an event or two.
    let refused = '';
    await until(async () => {
      const attempt = await world!.daemon.tsh(['ssh', `${LOGIN}@${NODE}`, 'true']);
      refused = attempt.stderr;
      return attempt.status !== 0;
    }, 'a new session is refused');
    assert.match(refused, /the audit log cannot be written; no session can start/);
    assert.equal(await ready(), 503);
    assert.equal((await open.ended).code, 255);
    assert.match(open.stdout, ENDED);
    assert.ok(performance.now() - openedAt < (TIMEOUT_S + 6) * 1_000);
    assert.equal((await world.daemon.tctl(['users', 'add', 'mallory', '--roles=access'])).status, 1);

    disk.empty();
    const again = await world.daemon.tsh(['ssh', `${LOGIN}@${NODE}`, 'echo in']);
    assert.equal(again.stdout, 'in\n', again.stderr);
    assert.equal(await ready(), 200);
    await until(() => auditEvents(disk!.dir).some((event) => event.event === 'session.end'), 'the log goes on');
    assert.equal(world.daemon.log().includes('nobody handled'), false);
  });
});
