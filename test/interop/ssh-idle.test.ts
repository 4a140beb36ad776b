// What keeps a connection and what does not, with real clients and a real server (SPEC 2.3 and 2.4).

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { until } from '../fixtures/ssh/processes.ts';
import { Terminal } from '../fixtures/ssh/terminal.ts';

const TIMEOUT_S = 4;
/** Long enough that a connection which does not count as active would have been cut. */
const LONG_S = 11;

/** A copy at 3 MB/s takes this long. */
const SCP_BYTES = LONG_S * 3_000_000;

function role(name: string, options: object): unknown {
  return {
    kind: 'role',
    version: 'v7',
    metadata: { name },
    spec: {
      options: { client_idle_timeout: `${TIMEOUT_S}s`, client_idle_warning: '1s', ...options },
      allow: { logins: [LOGIN], node_labels: { '*': '*' } },
    },
  };
}

function user(name: string, roleName: string): unknown {
  return { kind: 'user', version: 'v2', metadata: { name }, spec: { roles: [roleName] } };
}

describe('idle connections', { timeout: 115_000, concurrency: 6 }, () => {
  let lab: Lab;
  const terminals: Terminal[] = [];
  before(async () => {
    const resources = [
      role('ssh', {}),
      role('input', { client_idle_activity: 'input' }),
      role('traffic', { client_idle_activity: 'traffic' }),
      user('bob', 'input'),
      user('carol', 'traffic'),
    ];
    lab = await Lab.start({ resources });
    for (const [name, file] of [
      ['bob', 'id_bob'],
      ['carol', 'id_carol'],
    ] as const) {
      lab.keygen(file);
      await lab.certify(file, name, [LOGIN]);
    }
  });
  after(async () => {
    for (const started of terminals) started.kill();
    await lab.stop();
  });

  function terminal(args: readonly string[], reply?: (terminal: Terminal, output: string) => void): Terminal {
    const started = new Terminal('ssh', args, lab.dir, reply);
    terminals.push(started);
    return started;
  }

  const config = () => ['-F', lab.path('config')];
  const ENDED = /Session ended: no activity for 4s \(role \w+\)\./;

  test('a silent terminal is warned and cut, with the reason, the limit and its source', async () => {
    const shell = terminal([...config(), 'web']);
    assert.equal(await shell.exited, 255);
    assert.match(shell.text, /This session ends after 4s without activity \(role ssh\)\.\r\n/);
    assert.match(
      shell.text,
      /[\r\n]\x07No activity: this session ends in 1s \(role ssh\)\. Press any key to keep it\.\r\n/,
    );
    assert.match(shell.text, /\r\n?Session ended: no activity for 4s \(role ssh\)\.\r\n/);
  });

  test('a key press after the warning keeps the session and says so', async () => {
    const shell = terminal([...config(), '-t', 'web', 'sh']);
    await shell.shows('Press any key');
    shell.write('\r');
    await until(
      () => shell.text.includes('The session goes on.'),
      'the warning is cancelled',
      20_000,
      () => shell.text,
    );
    assert.doesNotMatch(shell.text, ENDED);
    shell.write('exit 9\r');
    assert.equal(await shell.exited, 9);
  });

  test('a silent command without a terminal is cut, its reason on standard error', async () => {
    const { code, stdout, stderr } = await lab.ssh('web', 'printf started; sleep 60').ended;
    assert.deepEqual([code, stdout], [255, 'started']);
    assert.match(stderr, /^\n?Session ended: no activity for 4s \(role ssh\)\.\n/);
  });

  test('cut: keepalives of the client', async () => {
    const shell = terminal([...config(), '-o', 'ServerAliveInterval=1', 'web']);
    assert.equal(await shell.exited, 255);
    assert.match(shell.text, ENDED);
  });

  test('cut: a program that prints for ever in a terminal', async () => {
    const { code, stdout } = await lab.ssh('-tt', 'web', 'while :; do echo noise; sleep 0.1; done').ended;
    assert.equal(code, 255);
    assert.match(stdout, ENDED);
  });

  test('cut: changes of the window size', async () => {
    const shell = terminal([...config(), 'web']);
    const resizing = setInterval(() => {
      shell.resize(80 + Math.floor(Math.random() * 40), 24);
    }, 200);
    assert.equal(await shell.exited, 255);
    clearInterval(resizing);
    assert.match(shell.text, ENDED);
  });

  test('cut: a terminal that answers cursor position queries', async () => {
    const command = 'stty raw -echo; while :; do printf "\\033[6n"; sleep 0.3; done';
    const shell = terminal([...config(), '-t', 'web', command], (replier, output) => {
      for (const _ of output.matchAll(/\x1b\[6n/g)) replier.write('\x1b[7;3R');
    });
    assert.equal(await shell.exited, 255);
    assert.match(shell.text, ENDED);
  });

  test('cut in mode input: a command that prints', async () => {
    const { code, stderr } = await lab.run('ssh', [...lab.as('id_bob'), 'web', 'while :; do echo; sleep 0.2; done'])
      .ended;
    assert.equal(code, 255);
    assert.match(stderr, ENDED);
  });

  test('kept in mode traffic: a terminal with output', async () => {
    const command = `for i in $(seq ${LONG_S * 4}); do echo .; sleep 0.25; done; exit 5`;
    const { code, stdout } = await lab.run('ssh', [...lab.as('id_carol'), '-tt', 'web', command]).ended;
    assert.equal(code, 5, stdout);
  });

  for (const direction of ['down', 'up'] as const) {
    test(`kept: scp ${direction}`, async () => {
      writeFileSync(lab.path(`big-${direction}`), randomBytes(SCP_BYTES));
      const [from, to] = [lab.path(`big-${direction}`), lab.path(`copy-${direction}`)];
      const paths = direction === 'up' ? [from, `web:${to}`] : [`web:${from}`, to];
      // 3 MB/s: what the window and the pipes hold lasts less than a second.
      const { code, stderr } = await lab.run('scp', [...config(), '-O', '-l', '24000', ...paths]).ended;
      assert.equal(code, 0, stderr);
      assert.equal(statSync(to).size, SCP_BYTES);
    });
  }

  test('kept: rsync', async () => {
    writeFileSync(lab.path('big-rsync'), randomBytes(LONG_S * 100_000));
    const shell = `ssh -F ${lab.path('config')}`;
    const args = ['--bwlimit=100', '-e', shell, `web:${lab.path('big-rsync')}`, lab.path('copy-rsync')];
    const { code, stderr } = await lab.run('rsync', args).ended;
    assert.equal(code, 0, stderr);
  });

  test('kept: a forwarded port with data one way only', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      let left = LONG_S * 3;
      const timer = setInterval(() => {
        if (--left > 0) socket.write('.');
        else socket.end('end');
      }, 333);
      socket.once('close', () => clearInterval(timer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const local = await freePort();
    const ssh = lab.ssh('-N', '-L', `${local}:127.0.0.1:${(server.address() as AddressInfo).port}`, 'web');
    let received = '';
    await until(async () => {
      const socket = net.connect(local, '127.0.0.1');
      return new Promise<boolean>((resolve) => {
        socket.once('error', () => resolve(false));
        socket.once('connect', () => {
          socket.on('data', (data) => {
            received += data;
          });
          resolve(true);
        });
      });
    }, 'the forwarding stands');
    await until(() => received.endsWith('end') || ssh.exited, 'all has come', (LONG_S + 30) * 1000);
    assert.ok(received.endsWith('end'), ssh.stderr);
    // And once nothing flows any more, it is cut.
    assert.equal((await ssh.ended).code, 255);
    server.close();
  });

  test('kept: a silent command while data flows on another channel', async () => {
    const mux = ['-o', `ControlPath=${lab.path('mux')}`];
    const master = lab.ssh(...mux, '-M', 'web', `sleep ${LONG_S}; echo finished`);
    await until(
      () => existsSync(lab.path('mux')),
      'the master listens',
      30_000,
      () => master.stderr,
    );
    const noise = lab.ssh(...mux, 'web', 'while :; do echo .; sleep 0.3; done');
    await master.shows('finished');
    assert.doesNotMatch(master.stderr, ENDED);
    await noise.stop();
    await master.stop();
  });

  test('the audit log names the policy, the limit and the last activity', async () => {
    await until(() => lab.events('client.disconnect').some((event) => event['cause'] === 'idle'), 'somebody is cut');
    const event = lab.events('client.disconnect').find((candidate) => candidate['cause'] === 'idle')!;
    assert.equal(event['idle_timeout_ms'], TIMEOUT_S * 1000);
    assert.match(String(event['timeout_source']), /^role /);
    assert.ok(Number(event['overshoot_ms']) >= 0);
  });
});
