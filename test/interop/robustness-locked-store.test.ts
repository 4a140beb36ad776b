// The store of the real daemon in other hands, with a real session open.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { startTestDaemon } from '../fixtures/daemon.ts';
import { LOGIN, NODE, type SignedIn, startSignedIn } from '../fixtures/signed-in.ts';

const AUTH = 'client_idle_timeout: 8s, client_idle_warning: 2s';
const ENDED = /Session ended: no activity for 8s/;

describe('a store that somebody else has locked', { timeout: 115_000 }, () => {
  let world: SignedIn;
  before(async () => {
    world = await startSignedIn({ auth: AUTH });
  });
  after(() => world.stop());

  test('changes are refused by name; sessions, sign-in checks and the idle policy go on; then changes go through', async () => {
    const { daemon } = world;
    const ssh = world.ssh('-tt', `${LOGIN}@${NODE}`, 'echo ready; cat');
    await ssh.shows('ready');
    const other = new DatabaseSync(join(daemon.dataDir, 'nightlatch.sqlite'));
    other.exec('BEGIN IMMEDIATE');
    const role = join(daemon.dir, 'role.yaml');
    writeFileSync(role, 'kind: role\nversion: v7\nmetadata: {name: late}\nspec: {}\n');
    const refused = await daemon.tctl(['create', role]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /nightlatch\.sqlite is locked by another process/);
    assert.equal((await world.sessions()).length, 1);
    const second = await daemon.tsh(['ssh', `${LOGIN}@${NODE}`, 'echo in']);
    assert.equal(second.stdout, 'in\n', second.stderr);
    assert.equal((await ssh.ended).code, 255);
    assert.match(ssh.stdout, ENDED);
    other.exec('ROLLBACK');
    other.close();
    assert.match(await world.ok('tctl', 'create', role), /role "late" has been created/);
  });

  test('a second daemon on the same data refuses to start and disturbs nothing', async () => {
    const port = world.daemon.port;
    await assert.rejects(
      startTestDaemon({
        dir: world.daemon.dir,
        config: () => 'proxy_service: {web_listen_addr: "127.0.0.1:0"}\n',
      }),
      /in use by another Nightlatch/,
    );
    assert.match(await world.ok('tctl', 'status'), /example\.com/);
    assert.equal(world.daemon.port, port);
  });
});
