import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../test/fixtures/memory-logger.ts';
import { configResources, decodeResource, originOf, parseConfigFile } from '../resources/index.ts';
import { openSqliteStore } from '../store/sqlite-store.ts';
import type { Store } from '../store/store.ts';
import { applyFileSettings, createPresetRoles } from './bootstrap.ts';

let dir: string;
let store: Store;
let audit: MemoryAuditLog;
let log: MemoryLogger;

beforeEach(async () => {
  dir = mkdtempSync(join(os.tmpdir(), 'nightlatch-bootstrap-'));
  const clock = new FakeClock();
  audit = new MemoryAuditLog(clock);
  log = new MemoryLogger();
  store = await openSqliteStore({ path: join(dir, 'store.sqlite'), clock, log });
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

/** What a start with this file makes of the store. */
async function start(file: string): Promise<void> {
  await applyFileSettings(store, audit, log, configResources(parseConfigFile(file, 'test.yaml').config));
}

async function networking() {
  const resource = decodeResource((await store.get('cluster_networking_config', 'cluster-networking-config'))!.value);
  assert.equal(resource.kind, 'cluster_networking_config');
  return { origin: originOf(resource), ...resource.spec };
}

const dynamic = {
  kind: 'cluster_networking_config',
  version: 'v2',
  metadata: { name: 'cluster-networking-config' },
  spec: { client_idle_timeout: '7m0s' },
};

test('without a file there are defaults, and nothing times out', async () => {
  await start('');
  assert.deepEqual(await networking(), { origin: 'defaults' });
});

test('a value in the file is restored at every start', async () => {
  await start('auth_service: {client_idle_timeout: 15m}');
  assert.deepEqual(await networking(), { origin: 'config-file', client_idle_timeout: '15m0s' });
  assert.deepEqual(log.lines, []);
  await store.put('cluster_networking_config', 'cluster-networking-config', dynamic, { condition: 'any' });
  await start('auth_service: {client_idle_timeout: 15m}');
  assert.deepEqual(await networking(), { origin: 'config-file', client_idle_timeout: '15m0s' });
  assert.deepEqual(log.lines, [
    'warn a resource was changed that the configuration file sets: what the file says applies again {"kind":"cluster_networking_config"}',
  ]);
});

test('without a value in the file a stored dynamic one stays, and one that a file left behind goes', async () => {
  await store.put('cluster_networking_config', 'cluster-networking-config', dynamic, { condition: 'any' });
  await start('');
  assert.deepEqual(await networking(), { origin: 'dynamic', client_idle_timeout: '7m0s' });
  await start('auth_service: {client_idle_timeout: 15m}');
  await start('');
  assert.deepEqual(await networking(), { origin: 'defaults' });
});

test('a timeout in the file leaves the auth preference open to tctl', async () => {
  await start('auth_service: {client_idle_timeout: 15m}');
  const cap = decodeResource((await store.get('cluster_auth_preference', 'cluster-auth-preference'))!.value);
  assert.equal(originOf(cap), 'defaults');
});

test('each change of the settings by a start is recorded once', async () => {
  await start('');
  await start('auth_service: {client_idle_timeout: 15m}');
  await start('auth_service: {client_idle_timeout: 15m}');
  assert.deepEqual(
    audit.events
      .filter((event) => event.event === 'cluster_networking_config.update')
      .map((event) => event['settings']),
    [{}, { client_idle_timeout: '15m0s' }],
  );
});

test('preset roles are made once and stay as an administrator leaves them', async () => {
  await createPresetRoles(store);
  const access = decodeResource((await store.get('role', 'access'))!.value);
  assert.equal(access.kind, 'role');
  const changed = { ...access, metadata: { ...access.metadata, description: 'ours' } };
  await store.put('role', 'access', changed, { condition: 'present' });
  await createPresetRoles(store);
  assert.deepEqual((await store.get('role', 'access'))!.value, changed);
});
