// What happens when a side breaks, and that nothing is left behind.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { until } from '../fixtures/ssh/processes.ts';

/** sshd refuses signals for root's own sessions, so that root's machines need another account to log in to. */
const ROOT = process.getuid?.() === 0;
const ACCOUNT = ROOT ? 'nightlatch-test' : LOGIN;

/** Processes whose command line begins with these words. */
function processesWith(command: string): number[] {
  const wanted = `${command.replaceAll(' ', '\0')}\0`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(wanted);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function childrenOf(pid: number): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

const openFiles = () => readdirSync('/proc/self/fd').length;

describe('faults of SSH connections', { timeout: 115_000 }, () => {
  let lab: Lab;
  before(async () => {
    if (ROOT) {
      try {
        execFileSync('useradd', [
          '--no-create-home',
          '--home-dir',
          '/',
          '--shell',
          '/bin/sh',
          '--password',
          '*',
          ACCOUNT,
        ]);
      } catch {
        // It is there already, from a run that was cut short.
      }
    }
    const role = {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'ssh' },
      spec: { allow: { logins: [LOGIN, ACCOUNT], node_labels: { '*': '*' } } },
    };
    lab = await Lab.start({ resources: [role] });
    await lab.certify('id', 'alice', [LOGIN, ACCOUNT]);
  });
  after(async () => {
    await lab.stop();
    if (ROOT) execFileSync('userdel', [ACCOUNT]);
  });

  const gone = (marker: string) => until(() => processesWith(marker).length === 0, `${marker} has ended on the target`);
  const there = (marker: string) => until(() => processesWith(marker).length > 0, `${marker} runs on the target`);
  const kill = async (message = '') => {
    const [session] = lab.sessions.list();
    assert.ok(await lab.sessions.kill(session!.id, { by: 'root', message }));
  };
  /** Ends the one session that is open, and says how many milliseconds that took. */
  const killTimed = async () => {
    const start = performance.now();
    await kill();
    await lab.quiet();
    return performance.now() - start;
  };

  test('a command is hung up on the target when its session ends', async () => {
    const ssh = lab.ssh('-l', ACCOUNT, 'web', 'sleep 61001');
    await there('sleep 61001');
    await kill();
    await ssh.ended;
    await gone('sleep 61001');
  });

  test('a terminal with its jobs in the background as well', async () => {
    const ssh = lab.ssh('-tt', 'web', 'bash --norc');
    ssh.write('sleep 61002 &\nsleep 61003\n');
    await there('sleep 61002');
    await there('sleep 61003');
    await kill();
    await ssh.ended;
    await gone('sleep 61002');
    await gone('sleep 61003');
  });

  test('what ignores hanging up stays, as the target has it', async () => {
    const ssh = lab.ssh('-l', ACCOUNT, 'web', 'nohup sleep 61004 >/dev/null 2>&1');
    await there('sleep 61004');
    await kill();
    await ssh.ended;
    await lab.quiet();
    const [pid] = processesWith('sleep 61004');
    assert.ok(pid !== undefined);
    process.kill(pid);
  });

  test('a client that is killed', async () => {
    const ssh = lab.ssh('-l', ACCOUNT, 'web', 'sleep 61005');
    await there('sleep 61005');
    ssh.child.kill('SIGKILL');
    await lab.quiet();
    await gone('sleep 61005');
    assert.equal(lab.events('client.disconnect').at(-1)!['cause'], 'client_closed');
  });

  test('a client whose network is gone without a word', async () => {
    const pipes: net.Socket[] = [];
    let cut = false;
    const proxy = net.createServer((socket) => {
      const far = net.connect(lab.nodePort, '127.0.0.1');
      pipes.push(socket, far);
      for (const [from, to] of [
        [socket, far],
        [far, socket],
      ] as const) {
        from.on('data', (data) => {
          if (!cut) to.write(data);
        });
        from.on('error', () => {});
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const ssh = lab.ssh(
      '-p',
      String((proxy.address() as AddressInfo).port),
      '-l',
      ACCOUNT,
      'web',
      'echo ready; sleep 61006',
    );
    await ssh.shows('ready');
    cut = true;
    // Nobody reads the reason: the end is bounded (SPEC 2.4).
    assert.ok((await killTimed()) < 5_000);
    await gone('sleep 61006');
    for (const socket of pipes) socket.destroy();
    proxy.close();
    await ssh.stop();
  });

  test('a target that is frozen', async () => {
    const ssh = lab.ssh('web', 'echo ready; sleep 61007');
    await ssh.shows('ready');
    const frozen = childrenOf(lab.sshdPid);
    assert.ok(frozen.length > 0);
    for (const pid of frozen) process.kill(pid, 'SIGSTOP');
    try {
      assert.ok((await killTimed()) < 5_000);
      assert.match((await ssh.ended).stderr, /Session ended by root/);
    } finally {
      for (const pid of frozen) process.kill(pid, 'SIGCONT');
    }
    for (const pid of processesWith('sleep 61007')) process.kill(pid);
  });

  test('a target that dies', async () => {
    const ssh = lab.ssh('web', 'echo ready; kill -9 $PPID; sleep 61008');
    const { code, stderr } = await ssh.ended;
    assert.equal(code, 255);
    assert.match(stderr, /Session ended: the target closed the connection/);
    assert.equal(lab.events('client.disconnect').at(-1)!['cause'], 'target_closed');
    for (const pid of processesWith('sleep 61008')) process.kill(pid);
  });

  test('a flood of output while the session ends', async () => {
    const ssh = lab.ssh('-l', ACCOUNT, 'web', 'cat /dev/zero');
    await until(() => ssh.stdout.length > 1_000_000, 'it flows');
    await kill('enough');
    const { code, stderr } = await ssh.ended;
    assert.equal(code, 255);
    assert.match(stderr, /Session ended by root: enough\./);
    await gone('cat /dev/zero');
  });

  test('a slow reader costs no memory, and cannot hold its session', async () => {
    const ssh = lab.ssh('-l', ACCOUNT, 'web', 'cat /dev/zero');
    await until(() => ssh.stdout.length > 1_000_000, 'it flows');
    ssh.child.kill('SIGSTOP');
    const memory = () => process.memoryUsage().rss;
    const begin = memory();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const grown = memory() - begin;
    assert.ok(grown < 64 * 1024 * 1024, `grew by ${grown} bytes`);
    assert.ok((await killTimed()) < 5_000);
    await gone('cat /dev/zero');
    ssh.child.kill('SIGCONT');
    await ssh.stop();
  });

  test('a hundred sessions leave no descriptor and no process', async () => {
    await lab.ssh('web', 'true').ended;
    await lab.quiet();
    const files = openFiles();
    for (let round = 0; round < 10; round++) {
      const all = Array.from({ length: 10 }, (_, i) => lab.ssh('web', i % 2 === 0 ? 'echo done' : 'exec sleep 61009'));
      await until(() => all.every((ssh, i) => i % 2 === 1 || ssh.exited), 'half of them end by themselves', 60_000);
      await until(() => lab.sessions.list().length === 5, 'the others run');
      for (const session of lab.sessions.list()) await lab.sessions.kill(session.id, { by: 'root', message: '' });
      await Promise.all(all.map((ssh) => ssh.ended));
      await lab.quiet();
    }
    await until(
      () => openFiles() <= files + 1,
      'every descriptor is closed',
      20_000,
      () => `${files} -> ${openFiles()}`,
    );
    await until(() => childrenOf(lab.sshdPid).length === 0, 'sshd has no connection left');
    for (const pid of processesWith('sleep 61009')) process.kill(pid);
  });
});
