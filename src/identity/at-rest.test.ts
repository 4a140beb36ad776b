import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { Secret } from '../core/secret.ts';
import { openSqliteStore, type SqliteStore } from '../store/sqlite-store.ts';
import { loadCertAuthority } from './certificate-authority.ts';
import { createLocalIdentity } from './local-identity.ts';
import { loadMasterKey, MASTER_KEY_FILE } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';

const dir = mkdtempSync(join(tmpdir(), 'nightlatch-at-rest-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const PASSWORD = 'correct horse battery';

/** The embedded store with its key file, as the daemon opens them. */
async function open<T>(
  use: (store: SqliteStore, parts: Awaited<ReturnType<typeof partsOf>>) => Promise<T>,
): Promise<T> {
  const clock = new FakeClock();
  const store = await openSqliteStore({ path: join(dir, 'nightlatch.db'), clock, log: silent });
  try {
    return await use(store, await partsOf(store, clock));
  } finally {
    await store.close();
  }
}

async function partsOf(store: SqliteStore, clock: FakeClock) {
  const masterKey = loadMasterKey(dir);
  const ca = await loadCertAuthority({ store, masterKey, clock, clusterName: 'example.com' });
  const identity = createLocalIdentity({
    store,
    masterKey,
    clock,
    audit: new MemoryAuditLog(clock),
    log: silent,
    clusterName: 'example.com',
    secondFactor: () => 'off',
    userExists: (user) => user === 'alice',
    relyingParty: () => ({ id: 'localhost', name: 'example.com', origins: ['https://localhost'] }),
    webIdleTimeoutMs: () => 0,
    hashing: { parameters: { memory: 64, passes: 1, parallelism: 1 } },
  });
  return { masterKey, ca, identity };
}

test('authorities and credentials outlive a restart, and the store shows none of them', async () => {
  const before = await open(async (store, { masterKey, ca, identity }) => {
    const { token } = await identity.invitations.create('alice');
    await identity.invitations.accept({ token, password: new Secret(PASSWORD), clientIp: '192.0.2.1' });
    const session = await identity.sessions.create('alice');
    const key = await new SealedRecords<string>(store, masterKey, 'authorities').get('ssh-login-ca');
    return { ca: ca.sshLoginCa, pin: ca.caPin, token: session.token, key: Buffer.from(key!, 'base64') };
  });
  await open(async (_store, { ca, identity }) => {
    assert.equal(ca.sshLoginCa, before.ca);
    assert.equal(ca.caPin, before.pin);
    assert.equal((await identity.sessions.verify(before.token)).ok, true);
    assert.equal(
      await identity.login.signIn({ user: 'alice', password: new Secret(PASSWORD), clientIp: '192.0.2.1' }),
      'alice',
    );
  });
  const seed = before.key.subarray(-32);
  for (const name of readdirSync(dir).filter((file) => file !== MASTER_KEY_FILE)) {
    const content = readFileSync(join(dir, name));
    for (const secret of [
      seed,
      seed.toString('base64'),
      before.key.toString('base64'),
      before.token.reveal(),
      '$argon2id',
      PASSWORD,
    ]) {
      assert.equal(content.includes(secret), false, name);
    }
  }
});

test('with another key file nothing opens, and the message says what to do', async () => {
  await open(async () => {});
  renameSync(join(dir, MASTER_KEY_FILE), join(dir, 'aside'));
  await assert.rejects(
    open(async () => {}),
    { code: 'internal', message: /master\.key is not the one that belongs to this store/ },
  );
  renameSync(join(dir, 'aside'), join(dir, MASTER_KEY_FILE));
  await open(async () => {});
});
