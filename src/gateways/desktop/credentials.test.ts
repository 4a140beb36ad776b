import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../../test/fixtures/identity.ts';
import { TestPolicy } from '../../../test/fixtures/test-policy.ts';
import { Secret } from '../../core/secret.ts';
import { SealedRecords } from '../../identity/sealed-records.ts';
import { createDesktopCredentials, DESKTOP_PASSWORDS_BUCKET, type KeptPassword } from './credentials.ts';

const folder = mkdtempSync(join(tmpdir(), 'nightlatch-credentials-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('passwords: sealed in the store, from a file, or typed by the user', async () => {
  const file = join(folder, 'password');
  writeFileSync(file, 'from the file\n');
  const auth = { password_file: file };
  const desktop = (name: string, spec: Record<string, unknown>) => ({
    kind: 'windows_desktop',
    version: 'v3',
    metadata: { name },
    spec: { addr: 'host:3389', ...spec },
  });
  const policy = new TestPolicy([
    desktop('typed', {}),
    desktop('lab', { auth }),
    desktop('win', { auth: { ...auth, login: 'admin' } }),
    desktop('broken', { auth: { password_file: join(folder, 'missing') } }),
  ]);
  const store = memoryStore(new FakeClock());
  const kept = new SealedRecords<KeptPassword>(store, testMasterKey, DESKTOP_PASSWORDS_BUCKET);
  const credentials = createDesktopCredentials({ policy, kept });
  const password = async (name: string, login: string) => (await credentials.password(name, login))?.reveal();

  assert.equal(await password('typed', 'admin'), undefined);
  assert.equal(await password('nowhere', 'admin'), undefined);
  assert.equal(await password('lab', 'anybody'), 'from the file');
  assert.equal(await password('win', 'admin'), 'from the file');
  assert.equal(await password('win', 'guest'), undefined);
  await assert.rejects(credentials.password('broken', 'x'), /password_file cannot be read/);

  await credentials.keep('win', 'guest', new Secret('sealed one'));
  assert.equal(await password('win', 'guest'), 'sealed one');
  const [record] = await store.listRecords(DESKTOP_PASSWORDS_BUCKET);
  assert.ok(!Buffer.from(record!.value).includes('sealed one'), 'not readable at rest');
  assert.deepEqual(await credentials.list(), [{ desktop: 'win', login: 'guest' }]);
  policy.put(desktop('win', { addr: 'elsewhere:3389' }));
  assert.equal(await password('win', 'guest'), undefined, 'another machine does not get it');
  policy.put(desktop('win', {}));
  assert.equal(await password('win', 'guest'), 'sealed one');
  await credentials.forget('win', 'guest');
  assert.equal(await password('win', 'guest'), undefined);
  assert.deepEqual(await credentials.list(), []);
  await assert.rejects(credentials.forget('win', 'guest'), { code: 'not_found' });
  await assert.rejects(credentials.keep('nowhere', 'guest', new Secret('x')), { code: 'not_found' });
});
