// The node inside of the daemon, with OpenSSH's clients.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { accountOf } from '../../src/gateways/ssh/embedded-account.ts';
import { createEmbeddedNode } from '../../src/gateways/ssh/embedded-node.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { until } from '../fixtures/ssh/processes.ts';
import { Terminal } from '../fixtures/ssh/terminal.ts';

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
/** Without it Debian's bash reads ~/.bashrc for a command by SSH. */
const shell = (command: string) => `exec sh -c '${command}'`;

describe('the embedded SSH node', { timeout: 110_000 }, () => {
  let lab: Lab;
  const terminals: Terminal[] = [];
  const log = new MemoryLogger();
  before(async () => {
    process.env['NIGHTLATCH_TEST_SECRET'] = 'of the daemon';
    lab = await Lab.start({
      node: { kind: 'node', sub_kind: 'teleport', version: 'v2', metadata: { name: 'web' }, spec: { hostname: 'web' } },
      gateway: {
        embeddedNode: createEmbeddedNode({
          clock: systemClock,
          log,
          // A home without the machine's own ~/.bashrc, which may take its time.
          accountOf: async (login) => ({ ...(await accountOf(login)), home: lab.dir }),
        }),
      },
      resources: [
        {
          kind: 'role',
          version: 'v7',
          metadata: { name: 'ssh' },
          spec: {
            options: { forward_agent: true },
            allow: { logins: [LOGIN, 'nosuchuser', 'games'], node_labels: { '*': '*' } },
          },
        },
      ],
    });
    await lab.certify('id', 'alice', [LOGIN, 'nosuchuser', 'games']);
  });
  after(async () => {
    delete process.env['NIGHTLATCH_TEST_SECRET'];
    for (const terminal of terminals) terminal.kill();
    await lab.stop();
  });

  const options = () => ['-F', lab.path('config')];
  const terminal = (...args: string[]) => {
    const started = new Terminal('ssh', [...options(), ...args], lab.dir);
    terminals.push(started);
    return started;
  };
  const kill = async () => {
    for (const { id } of lab.sessions.list()) await lab.sessions.kill(id, { by: 'root', message: '' });
    await lab.quiet();
  };

  test('output, standard error, exit status, exit signal', async () => {
    const { code, stdout, stderr } = await lab.ssh('web', 'echo out; echo err >&2; exit 7').ended;
    assert.deepEqual([code, stdout, stderr], [7, 'out\n', 'err\n']);
    const killed = await lab.ssh('-v', 'web', 'kill -TERM $$').ended;
    assert.equal(killed.code, 255);
    assert.match(killed.stderr, /exit-signal/);
  });

  test('data both ways, to the end and whole', async () => {
    const data = randomBytes(5_000_000);
    const ssh = lab.ssh('web', 'cat');
    ssh.child.stdin!.end(data);
    const chunks: Buffer[] = [];
    ssh.child.stdout!.on('data', (chunk: Buffer) => chunks.push(chunk));
    assert.equal((await ssh.ended).code, 0);
    assert.equal(sha256(Buffer.concat(chunks)), sha256(data));
  });

  test('an environment of its own: nothing of the daemon, and of the client only what is harmless', async () => {
    const set = ['-o', 'SetEnv=LC_TIME=C LD_PRELOAD=/x BASH_ENV=/y'];
    const { stdout } = await lab.ssh(...set, 'web', shell('env')).ended;
    assert.doesNotMatch(stdout, /NIGHTLATCH|LD_PRELOAD|BASH_ENV|npm_|NODE_/);
    assert.match(stdout, /^LC_TIME=C$/m);
    assert.match(stdout, new RegExp(`^USER=${LOGIN}$`, 'm'));
    assert.match(stdout, /^SSH_CONNECTION=127\.0\.0\.1 \d+ 127\.0\.0\.1 22$/m);
  });

  test('a terminal with its size, and all of its output', async () => {
    const command = shell('stty size; seq 1 200000; exit 5');
    const started = terminal('-t', 'web', command);
    assert.equal(await started.exited, 5);
    assert.match(started.text, /24 80\r\n/);
    assert.match(started.text, /\r\n199999\r\n200000\r\n/);
  });

  test('changes of the size and signals', async () => {
    const started = terminal('-t', 'web', shell('trap "echo interrupted" INT; while :; do stty size; sleep 0.2; done'));
    await started.shows('24 80');
    started.resize(100, 40);
    await started.shows('40 100');
    started.write('\x03');
    await started.shows('interrupted');
    await kill();
    await started.shows('Session ended by root');
  });

  test('a login shell', async () => {
    const started = terminal('web');
    await until(() => started.text.length > 0, 'it says something', 30_000);
    started.write('echo $((6*7))-$HOME; exit 3\r');
    await started.shows(/42-\//);
    assert.equal(await started.exited, 3);
  });

  test('a program that does not read its input', async () => {
    const ssh = lab.ssh('web', shell('exec <&-; sleep 1; echo done'));
    ssh.child.stdin!.end(randomBytes(6_000_000));
    assert.equal((await ssh.ended).stdout, 'done\n');
  });

  test('a socket of the daemon is not reached by forwarding it', async (t) => {
    if (process.getuid?.() !== 0) return t.diagnostic('the daemon and the login are one account here');
    const secret = net.createServer((socket) => socket.end('for the daemon alone')).listen(lab.path('secret.sock'));
    await once(secret, 'listening');
    const ssh = lab.ssh('-L', `${lab.path('forwarded.sock')}:${lab.path('secret.sock')}`, 'games@web', 'cat');
    await until(() => existsSync(lab.path('forwarded.sock')), 'the client to listen', 30_000);
    const socket = net.connect(lab.path('forwarded.sock')).setEncoding('utf8');
    let told = '';
    socket
      .on('error', () => {})
      .on('data', (text) => {
        told += text;
      });
    await new Promise((resolve) => socket.once('close', resolve));
    ssh.child.stdin!.end();
    await ssh.ended;
    secret.close();
    assert.equal(told, '');
  });

  test('sftp and scp', async () => {
    const data = randomBytes(1_000_000);
    writeFileSync(lab.path('up'), data);
    for (const [flag, name] of [
      ['-s', 'by-sftp'],
      ['-O', 'by-scp'],
    ] as const) {
      const { code, stderr } = await lab.run('scp', [...options(), flag, lab.path('up'), `web:${lab.path(name)}`])
        .ended;
      assert.equal(code, 0, stderr);
      assert.equal(sha256(readFileSync(lab.path(name))), sha256(data));
    }
  });

  test('-L, -R and half-closed connections', async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      let length = 0;
      socket.on('data', (data) => {
        length += data.length;
      });
      socket.on('end', () => socket.end(`got ${length}`));
      socket.on('error', () => {});
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = (server.address() as AddressInfo).port;
    const [local, remote] = [await freePort(), await freePort()];
    const ssh = lab.ssh('-N', '-L', `${local}:127.0.0.1:${port}`, '-R', `${remote}:127.0.0.1:${port}`, 'web');
    for (const through of [local, remote]) {
      let answer = '';
      await until(async () => {
        const socket = net.connect({ port: through, host: '127.0.0.1', allowHalfOpen: true });
        socket.on('error', () => {});
        socket.on('data', (data) => {
          answer += data;
        });
        socket.end(Buffer.alloc(700_000));
        await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
        return answer !== '';
      }, `the port ${through} is forwarded`);
      assert.equal(answer, 'got 700000');
    }
    await kill();
    await ssh.ended;
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect(remote, '127.0.0.1');
          socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
        }),
      'nobody listens any more',
    );
    server.close();
  });

  test('agent forwarding', async () => {
    const agent = lab.run('ssh-agent', ['-D', '-a', lab.path('agent')]);
    await until(() => existsSync(lab.path('agent')), 'the agent listens');
    const env = { PATH: process.env['PATH'], HOME: lab.dir, SSH_AUTH_SOCK: lab.path('agent') };
    assert.equal((await lab.run('ssh-add', ['-q', lab.path('id')], { env }).ended).code, 0);
    const { stdout } = await lab.run('ssh', [...options(), '-A', 'web', shell('echo $SSH_AUTH_SOCK; ssh-add -L')], {
      env,
    }).ended;
    await agent.stop();
    const [path, key] = stdout.split('\n');
    assert.match(key!, /^ssh-ed25519 /);
    await until(() => !existsSync(path!), 'its socket is taken away');
  });

  test('a login that this node cannot offer', async () => {
    const { code, stderr } = await lab.ssh('-l', 'nosuchuser', 'web', 'id').ended;
    assert.equal(code, 255);
    assert.match(stderr, /there is no account nosuchuser|this node runs as the user/);
  });

  test('programs end with their session', async () => {
    const marker = 'sleep 62001';
    const running = () =>
      readdirSync('/proc').some((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(marker.replaceAll(' ', '\0'));
        } catch {
          return false;
        }
      });
    for (const args of [
      ['web', `exec ${marker}`],
      ['web', shell(`trap "" HUP; ${marker}; true`)],
      ['-tt', 'web', `exec ${marker}`],
    ]) {
      const ssh = lab.ssh(...args);
      await until(running, 'the program runs');
      await kill();
      assert.equal((await ssh.ended).code, 255);
      await until(() => !running(), 'the program has ended');
    }
  });

  test('nothing went wrong on the way', () => {
    assert.deepEqual(log.lines, []);
  });
});
