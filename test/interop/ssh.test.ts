// What OpenSSH's own programs can do through the gateway: everything they can do without it.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { freePort } from '../../scripts/free-port.ts';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { until } from '../fixtures/ssh/processes.ts';
import { Terminal } from '../fixtures/ssh/terminal.ts';

const TIMEOUT = { timeout: 110_000 };
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

describe('OpenSSH clients through the gateway', TIMEOUT, () => {
  let lab: Lab;
  const terminals: Terminal[] = [];
  before(async () => {
    lab = await Lab.start();
  });
  after(async () => {
    for (const started of terminals) started.kill();
    await lab.stop();
  });

  const options = () => ['-F', lab.path('config')];
  const remoteShell = () => `ssh -F ${lab.path('config')}`;

  /** `ssh` in a terminal of its own. */
  function terminal(...args: string[]): Terminal {
    const started = new Terminal('ssh', [...options(), ...args], lab.dir);
    terminals.push(started);
    return started;
  }

  test('a command: output, standard error and exit status', async () => {
    const { code, stdout, stderr } = await lab.ssh('web', 'echo out; echo err >&2; exit 7').ended;
    assert.deepEqual({ code, stdout, stderr }, { code: 7, stdout: 'out\n', stderr: 'err\n' });
    await lab.quiet();
    const event = lab.events('exec').at(-1)!;
    assert.equal(event['command'], 'echo out; echo err >&2; exit 7');
    assert.equal(event['exitCode'], '7');
    assert.equal(event['user'], 'alice');
  });

  test('a command that dies of a signal', async () => {
    const { code, stderr } = await lab.ssh('-v', 'web', 'kill -TERM $$').ended;
    assert.equal(code, 255);
    assert.match(stderr, /exit-signal/);
  });

  test('standard input to its end, byte for byte', async () => {
    const data = randomBytes(3_000_000);
    const ssh = lab.ssh('web', 'sha256sum');
    ssh.child.stdin!.end(data);
    assert.equal((await ssh.ended).stdout.slice(0, 64), sha256(data));
  });

  test('the environment that the server accepts', async () => {
    const ssh = lab.ssh('-o', 'SetEnv=LAB_X=forty-two', 'web', 'echo "<$LAB_X>"');
    assert.equal((await ssh.ended).stdout, '<forty-two>\n');
  });

  test('a terminal: its name, its size, its changes of size', async () => {
    const shell = terminal('-t', 'web', 'tty; stty size; while read -r x; do stty size; done');
    await shell.shows(/\/dev\/pts\/\d+\r\n24 80\r\n/);
    shell.resize(100, 40);
    // The new size goes ahead of the line in the same channel.
    await until(
      () => {
        shell.write('\r');
        return shell.text.includes('40 100');
      },
      'the new size arrives',
      20_000,
      () => shell.text,
    );
    shell.write('\x04');
    await shell.shows('closed.');
  });

  test('an interactive shell', async () => {
    const shell = terminal('web');
    await shell.shows(/[#$] $/);
    shell.write('echo $((6*7))-$0; exit 3\r');
    await shell.shows(/42-/);
    assert.equal(await shell.exited, 3);
  });

  for (const [protocol, flag] of [
    ['SFTP', '-s'],
    ['the old protocol', '-O'],
  ] as const) {
    test(`scp both ways by ${protocol}`, async () => {
      const data = randomBytes(2_000_000);
      writeFileSync(lab.path('up'), data);
      const up = await lab.run('scp', [...options(), flag, lab.path('up'), `web:${lab.path(`there${flag}`)}`]).ended;
      assert.equal(up.code, 0, up.stderr);
      const down = await lab.run('scp', [...options(), flag, `web:${lab.path(`there${flag}`)}`, lab.path('back')])
        .ended;
      assert.equal(down.code, 0, down.stderr);
      assert.equal(sha256(readFileSync(lab.path('back'))), sha256(data));
    });
  }

  test('scp and sftp stand in the audit log', async () => {
    await until(() => lab.events('scp').length >= 2, 'both copies are in the log');
    assert.deepEqual(
      lab.events('scp').map((event) => [event['action'], event['path']]),
      [
        ['upload', lab.path('there-O')],
        ['download', lab.path('there-O')],
      ],
    );
    assert.ok(lab.events('subsystem').some((event) => event['name'] === 'sftp'));
  });

  test('sftp', async () => {
    const sftp = lab.run('sftp', [...options(), '-b', '-', 'web']);
    sftp.end(
      `put ${lab.path('config')} ${lab.path('by-sftp')}\nchmod 600 ${lab.path('by-sftp')}\nls -l ${lab.path('by-sftp')}\n`,
    );
    const { code, stdout } = await sftp.ended;
    assert.equal(code, 0);
    assert.match(stdout, /-rw-------/);
    assert.deepEqual(readFileSync(lab.path('by-sftp')), readFileSync(lab.path('config')));
  });

  test('rsync', async () => {
    mkdirSync(lab.path('tree/deep'), { recursive: true });
    writeFileSync(lab.path('tree/deep/file'), randomBytes(500_000));
    const rsync = await lab.run('rsync', ['-a', '-e', remoteShell(), lab.path('tree/'), `web:${lab.path('tree2/')}`])
      .ended;
    assert.equal(rsync.code, 0, rsync.stderr);
    assert.deepEqual(readFileSync(lab.path('tree2/deep/file')), readFileSync(lab.path('tree/deep/file')));
  });

  test('git', async () => {
    const git = async (...args: string[]) => {
      const env = { ...process.env, HOME: lab.dir, GIT_SSH_COMMAND: remoteShell() };
      const result = await lab.run('git', args, { env }).ended;
      assert.equal(result.code, 0, result.stderr);
    };
    await git('init', '-q', '--bare', lab.path('repo.git'));
    await git('init', '-q', lab.path('work'));
    writeFileSync(lab.path('work/file'), 'text\n');
    await git('-C', lab.path('work'), 'add', 'file');
    await git('-C', lab.path('work'), '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'x');
    await git('-C', lab.path('work'), 'push', '-q', `web:${lab.path('repo.git')}`, 'HEAD:refs/heads/main');
    await git('clone', '-q', '-b', 'main', `web:${lab.path('repo.git')}`, lab.path('clone'));
    assert.equal(readFileSync(lab.path('clone/file'), 'utf8'), 'text\n');
  });

  test('-L with a half-closed connection', async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256');
      socket.on('data', (data) => hash.update(data));
      socket.on('end', () => socket.end(hash.digest('hex')));
    });
    const port = await listen(server);
    const local = await freePort();
    const ssh = lab.ssh('-N', '-L', `${local}:127.0.0.1:${port}`, 'web');
    try {
      const data = randomBytes(1_000_000);
      const socket = await dial(local);
      socket.end(data);
      assert.equal(await text(socket), sha256(data));
      assert.ok(lab.events('port').some((event) => event['addr'] === `127.0.0.1:${port}` && event['success'] === true));
    } finally {
      await ssh.stop();
      server.close();
    }
  });

  test('-L to a port where nobody listens', async () => {
    const local = await freePort();
    const ssh = lab.ssh('-N', '-L', `${local}:127.0.0.1:1`, 'web');
    const socket = await dial(local);
    assert.equal(await text(socket), '');
    await ssh.shows('open failed: connect failed');
    await ssh.stop();
  });

  for (const asked of ['a port', 'any port'] as const) {
    test(`-R with ${asked}`, async () => {
      const server = net.createServer((socket) => socket.end('from the client side'));
      const port = await listen(server);
      const remote = asked === 'a port' ? await freePort() : 0;
      const ssh = lab.ssh('-v', '-N', '-R', `${remote}:127.0.0.1:${port}`, 'web');
      try {
        await ssh.shows(remote === 0 ? /Allocated port \d+/ : 'remote forward success');
        const allocated = remote || Number(/Allocated port (\d+)/.exec(ssh.stderr)![1]);
        assert.equal(await text(await dial(allocated)), 'from the client side');
        const addr = lab.events('port').at(-1)!['addr'];
        assert.equal(addr, `localhost:${allocated}`);
      } finally {
        await ssh.stop();
        server.close();
      }
    });
  }

  test('-D (SOCKS)', async () => {
    const server = net.createServer((socket) => socket.end('through a proxy'));
    const port = await listen(server);
    const local = await freePort();
    const ssh = lab.ssh('-N', '-D', String(local), 'web');
    try {
      const socket = await dial(local);
      socket.write(Buffer.from([5, 1, 0]));
      await once(socket, 'data');
      socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
      assert.match(await text(socket), /through a proxy$/);
    } finally {
      await ssh.stop();
      server.close();
    }
  });

  test('agent forwarding', async () => {
    const agent = lab.run('ssh-agent', ['-D', '-a', lab.path('agent')]);
    await until(() => existsSync(lab.path('agent')), 'the agent listens');
    const env = { PATH: process.env['PATH'], HOME: lab.dir, SSH_AUTH_SOCK: lab.path('agent') };
    assert.equal((await lab.run('ssh-add', ['-q', lab.path('id')], { env }).ended).code, 0);
    const { stdout } = await lab.run('ssh', [...options(), '-A', 'web', 'ssh-add -L'], { env }).ended;
    assert.match(stdout, /^ssh-ed25519 /);
    await agent.stop();
  });

  test('keepalives are answered', async () => {
    const ssh = lab.ssh(
      '-vv',
      '-o',
      'ServerAliveInterval=1',
      '-o',
      'ServerAliveCountMax=2',
      'web',
      'sleep 4; echo alive',
    );
    const { stdout, code } = await ssh.ended;
    assert.equal(stdout, 'alive\n');
    assert.equal(code, 0);
  });

  test('eight sessions on one connection', async () => {
    const master = ['-o', `ControlPath=${lab.path('mux')}`];
    const ssh = lab.ssh(...master, '-M', '-N', 'web');
    await until(
      () => existsSync(lab.path('mux')),
      'the master listens',
      30_000,
      () => ssh.stderr,
    );
    const opened = lab.events('session.start').length;
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) => lab.ssh(...master, 'web', `echo ${i}; exit ${i}`).ended),
    );
    for (const [i, { code, stdout }] of results.entries()) assert.deepEqual([code, stdout], [i, `${i}\n`]);
    assert.equal(lab.events('session.start').length, opened, 'one connection is one session');
    await ssh.stop();
  });

  test('new keys in both directions while data flows', async () => {
    const data = randomBytes(8_000_000);
    const ssh = lab.ssh('-v', '-o', 'RekeyLimit=500K', 'web', 'cat');
    ssh.child.stdin!.end(data);
    const chunks: Buffer[] = [];
    ssh.child.stdout!.on('data', (chunk: Buffer) => chunks.push(chunk));
    const { code, stderr } = await ssh.ended;
    assert.equal(code, 0);
    assert.equal(sha256(Buffer.concat(chunks)), sha256(data));
    assert.ok(stderr.split('SSH2_MSG_NEWKEYS received').length > 10, 'keys were exchanged many times');
  });

  for (const cipher of [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes256-ctr',
  ]) {
    test(`the cipher ${cipher}`, async () => {
      const data = randomBytes(1_000_000);
      const ssh = lab.ssh('-c', cipher, '-m', 'hmac-sha2-512-etm@openssh.com', 'web', 'sha256sum');
      ssh.child.stdin!.end(data);
      assert.equal((await ssh.ended).stdout.slice(0, 64), sha256(data));
    });
  }

  for (const kex of [
    'curve25519-sha256',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group14-sha256',
  ]) {
    test(`the key exchange ${kex}`, async () => {
      assert.equal((await lab.ssh('-o', `KexAlgorithms=${kex}`, 'web', 'echo yes').ended).stdout, 'yes\n');
    });
  }

  test('ssh -J', async () => {
    const { stdout, code, stderr } = await lab.ssh(
      '-J',
      'gateway',
      '-o',
      'HostName=web',
      '-p',
      '22',
      'web',
      'echo jumped',
    ).ended;
    assert.deepEqual([stdout, code], ['jumped\n', 0], stderr);
  });

  test('a jump leads to nodes and nowhere else', async () => {
    const outside = await lab.ssh('-W', '127.0.0.1:1', 'gateway').ended;
    assert.match(outside.stderr, /there is no such node/);
    const shell = await lab.ssh('gateway', 'id').ended;
    assert.match(shell.stderr, /this is a jump host/);
    assert.notEqual(shell.code, 0);
  });

  test('a ProxyCommand', async () => {
    const proxy = `ProxyCommand=${process.execPath} -e "const s=require('net').connect(${lab.nodePort},'127.0.0.1');process.stdin.pipe(s);s.pipe(process.stdout)"`;
    const { stdout } = await lab.ssh('-o', proxy, 'web', 'echo proxied').ended;
    assert.equal(stdout, 'proxied\n');
  });

  test('a TLS tunnel, as tsh makes it', async () => {
    const { keyPem, certPem } = await lab.ca.mintTlsServer(['localhost']);
    const server = tls.createServer({ key: keyPem, cert: certPem, allowHalfOpen: true }, (socket) => {
      lab.gateway.acceptNode(socket, { clientAddr: `127.0.0.1:${socket.remotePort}`, host: 'web' });
    });
    const port = await listen(server);
    const code = `const s=require('tls').connect({port:${port},rejectUnauthorized:false});process.stdin.pipe(s);s.pipe(process.stdout)`;
    const proxy = `ProxyCommand=${process.execPath} -e "${code}"`;
    const data = randomBytes(20_000_000);
    const ssh = lab.ssh('-o', proxy, 'web', 'cat');
    ssh.child.stdin!.end(data);
    const chunks: Buffer[] = [];
    ssh.child.stdout!.on('data', (chunk: Buffer) => chunks.push(chunk));
    assert.equal((await ssh.ended).code, 0);
    assert.equal(sha256(Buffer.concat(chunks)), sha256(data));
    server.close();
  });

  test('bytes that were read before the connection was handed over', async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      // As the public port does: it looks at the first bytes, then puts them back.
      socket.once('data', (first) => {
        socket.pause();
        socket.unshift(first);
        lab.gateway.acceptNode(socket, { clientAddr: `127.0.0.1:${socket.remotePort}`, host: 'web' });
      });
    });
    const port = await listen(server);
    const { stdout, stderr } = await lab.ssh('-p', String(port), 'web', 'echo whole').ended;
    assert.equal(stdout, 'whole\n', stderr);
    server.close();
  });

  test('ECDSA and RSA keys', async () => {
    for (const type of ['ecdsa', 'rsa']) {
      lab.keygen(`id_${type}`, type);
      await lab.certify(`id_${type}`, 'alice', [LOGIN]);
      const { stdout, stderr } = await lab.run('ssh', [...lab.as(`id_${type}`), 'web', `echo ${type}`]).ended;
      assert.equal(stdout, `${type}\n`, stderr);
    }
  });

  test('X11 forwarding is refused clearly', async () => {
    const env = { PATH: process.env['PATH'], HOME: lab.dir, DISPLAY: '127.0.0.1:99' };
    const { stdout, stderr } = await lab.run(
      'ssh',
      [...options(), '-X', '-o', 'XAuthLocation=/bin/true', 'web', 'echo done'],
      { env },
    ).ended;
    assert.equal(stdout, 'done\n');
    assert.match(stderr, /X11 forwarding request failed/);
  });
});

async function listen(server: net.Server | tls.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

/** Connects, as soon as somebody listens. */
async function dial(port: number): Promise<net.Socket> {
  let socket: net.Socket | undefined;
  await until(async () => {
    const candidate = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const connected = await new Promise<boolean>((resolve) => {
      candidate.once('connect', () => resolve(true));
      candidate.once('error', () => resolve(false));
    });
    if (connected) socket = candidate;
    return connected;
  }, `somebody listens on port ${port}`);
  socket!.on('error', () => {});
  return socket!;
}

/** All that comes until the other side ends. */
async function text(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.once('end', () => socket.end());
  if (!socket.readableEnded) await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}
