// A daemon that stands still (SIGSTOP, a paused machine) and goes on, with real sessions open.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { LOGIN, NODE, type SignedIn, startSignedIn } from '../fixtures/signed-in.ts';

const TIMEOUT_S = 8;
const WARNING_S = 2;
const AUTH = `client_idle_timeout: ${TIMEOUT_S}s, client_idle_warning: ${WARNING_S}s`;
const ENDED = /Session ended: no activity for 8s/;

describe('a daemon that is stopped and goes on', { timeout: 115_000 }, () => {
  let world: SignedIn;
  before(async () => {
    world = await startSignedIn({ auth: AUTH });
  });
  after(() => world.stop());

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  /** Stops the daemon for a time, and does something meanwhile. */
  const stopped = async (ms: number, meanwhile: () => void) => {
    world.daemon.process.kill('SIGSTOP');
    await pause(ms / 2);
    meanwhile();
    await pause(ms / 2);
    world.daemon.process.kill('SIGCONT');
  };

  test('who typed while it stood still, past the deadline, is not cut and not even warned', async () => {
    const ssh = world.ssh('-tt', `${LOGIN}@${NODE}`, 'stty -echo; echo ready; cat');
    await ssh.shows('ready');
    await stopped((TIMEOUT_S + 3) * 1_000, () => ssh.write('are you there\n'));
    await ssh.shows('are you there');
    await pause((TIMEOUT_S - WARNING_S - 2) * 1_000);
    assert.equal(ssh.exited, false);
    assert.doesNotMatch(ssh.stdout, /No activity|Session ended/);
    // And whoever is gone now is cut, as always.
    assert.equal((await ssh.ended).code, 255);
    assert.match(ssh.stdout, ENDED);
  });

  test('who did not type is warned first and has the time to react', async () => {
    const ssh = world.ssh('-tt', `${LOGIN}@${NODE}`, 'stty -echo; echo ready; cat');
    await ssh.shows('ready');
    await stopped((TIMEOUT_S + 3) * 1_000, () => {});
    await ssh.shows('No activity');
    ssh.write('here I am\n');
    await ssh.shows('The session goes on.');
    await ssh.shows('here I am');
    assert.doesNotMatch(ssh.stdout, ENDED);
    assert.equal((await ssh.ended).code, 255);
    assert.match(ssh.stdout, ENDED);
  });
});
