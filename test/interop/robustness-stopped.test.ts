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

  /** One stop, longer than the limit, for two sessions: in one somebody types meanwhile, in the other nobody does. */
  test('who typed meanwhile is not cut and not even warned; who did not is warned first and has the time to react', async () => {
    const shell = ['-tt', `${LOGIN}@${NODE}`, 'stty -echo; echo ready; cat'];
    const [typed, silent] = [world.ssh(...shell), world.ssh(...shell)];
    await Promise.all([typed.shows('ready'), silent.shows('ready')]);
    await stopped((TIMEOUT_S + 3) * 1_000, () => typed.write('are you there\n'));

    const notCut = async () => {
      await typed.shows('are you there');
      await pause((TIMEOUT_S - WARNING_S - 2) * 1_000);
      assert.equal(typed.exited, false);
      assert.doesNotMatch(typed.stdout, /No activity|Session ended/);
    };
    const warned = async () => {
      await silent.shows('No activity');
      silent.write('here I am\n');
      await silent.shows('The session goes on.');
      await silent.shows('here I am');
      assert.doesNotMatch(silent.stdout, ENDED);
    };
    await Promise.all([notCut(), warned()]);
    // And whoever is gone now is cut, as always.
    for (const ssh of [typed, silent]) {
      assert.equal((await ssh.ended).code, 255);
      assert.match(ssh.stdout, ENDED);
    }
  });
});
