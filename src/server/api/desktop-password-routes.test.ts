import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiLab } from '../../../test/fixtures/api.ts';
import { DESKTOP_PASSWORDS_BUCKET } from '../../gateways/desktop/credentials.ts';

const PATH = '/v1/desktop-passwords';
const SECRET = 'do not tell anybody';
const WISH = { desktop: 'win', login: 'ann', password: SECRET };

let lab: ApiLab;
before(async () => {
  lab = await ApiLab.start();
  await lab.putUser('editor', ['editor']);
  await lab.putUser('auditor', ['auditor']);
  await lab.putUser('alice', ['access'], { windows_logins: ['ann'] });
  await lab.put({
    kind: 'windows_desktop',
    version: 'v3',
    metadata: { name: 'win' },
    spec: { addr: '192.0.2.1:3389' },
  });
});
after(() => lab.stop());

test('who may change desktops may keep, list and forget passwords; nobody else', async () => {
  for (const user of ['alice', 'auditor']) {
    for (const [method, path, body] of [
      ['GET', PATH, undefined],
      ['POST', PATH, WISH],
      ['DELETE', `${PATH}/win/ann`, undefined],
    ] as const) {
      const answer = await lab.as(user, method, path, body);
      assert.equal(answer.status, 403, `${user} ${method}`);
    }
  }
  assert.deepEqual((await lab.local('GET', PATH)).body, { items: [] });
  assert.equal((await lab.as('editor', 'POST', PATH, WISH)).status, 200);
  assert.deepEqual((await lab.as('editor', 'GET', PATH)).body, { items: [{ desktop: 'win', login: 'ann' }] });
  assert.equal((await lab.as('editor', 'DELETE', `${PATH}/win/ann`)).status, 200);
  assert.deepEqual((await lab.local('GET', PATH)).body, { items: [] });
});

test('kept encrypted; audited without the password, which no log and no answer has', async () => {
  lab.audit.events.length = 0;
  const answer = await lab.as('editor', 'POST', PATH, WISH);
  const [record] = await lab.ctx.store.listRecords(DESKTOP_PASSWORDS_BUCKET);
  assert.ok(!Buffer.from(record!.value).includes(SECRET));
  await lab.as('editor', 'DELETE', `${PATH}/win/ann`);
  assert.deepEqual(
    lab.audit.events.map(({ event, code, user, name, windows_user }) => [event, code, user, name, windows_user]),
    [
      ['windows.desktop.password.update', 'TNL06I', 'editor', 'win', 'ann'],
      ['windows.desktop.password.delete', 'TNL07I', 'editor', 'win', 'ann'],
    ],
  );
  assert.ok(!JSON.stringify([answer.body, lab.audit.events, lab.log]).includes(SECRET));
});

test('what cannot be: an unknown desktop, no password, one that is not kept; without an audit log, nothing', async () => {
  assert.equal((await lab.local('POST', PATH, { ...WISH, desktop: 'nowhere' })).status, 404);
  assert.equal((await lab.local('POST', PATH, { ...WISH, password: '' })).status, 400);
  assert.equal((await lab.local('POST', PATH, { ...WISH, addr: 'elsewhere' })).status, 400);
  assert.equal((await lab.local('DELETE', `${PATH}/win/ann`)).status, 404);
  lab.audit.broken = true;
  assert.equal((await lab.local('POST', PATH, WISH)).status, 503);
  lab.audit.broken = false;
  assert.deepEqual((await lab.local('GET', PATH)).body, { items: [] });
});
