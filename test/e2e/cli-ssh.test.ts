// tsh and tctl against the real daemon and a real OpenSSH server.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

import { type Running, start, until } from '../fixtures/ssh/processes.ts';

const PASSWORD = 'correct horse battery staple';
const LOGIN = userInfo().username;

describe('tsh with OpenSSH', () => {
  let daemon: TestDaemon;
  let sshd: Running;
  const running: Running[] = [];

  const path = (name: string) => join(daemon.dir, name);

  const ok = async (program: 'tctl' | 'tsh', ...args: string[]) => {
    const result = await daemon[program](args);
    assert.equal(result.status, 0, `${program} ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };

  /** A program that runs on, with tsh's home. */
  const keep = (command: string, ...args: string[]) => {
    const one = start(command, args, { env: { ...process.env, ...daemon.tshEnv() } });
    running.push(one);
    return one;
  };

  const sessions = async () =>
    JSON.parse(await ok('tctl', 'sessions', 'ls', '--format=json')) as { id: string; user: string }[];

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0", ssh_listen_addr: "127.0.0.1:0"}',
          '',
        ].join('\n'),
    });
    await startSshd();
    await ok('tctl', 'users', 'add', 'alice', '--roles=access,editor', `--logins=${LOGIN}`);
    const reset = await ok('tctl', 'users', 'reset', 'alice', '--format=json');
    const url = (JSON.parse(reset) as { url: string }).url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
    assert.equal((await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] })).status, 0);
    const login = ['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin];
    assert.equal((await daemon.tsh(login, { fds: [PASSWORD] })).status, 0);
  });

  after(async () => {
    for (const one of running) await one.stop();
    await sshd?.stop();
    await daemon.stop();
  });

  /** An OpenSSH server that trusts what `tctl auth export` prints, with a host certificate from `tctl auth sign`. */
  async function startSshd(): Promise<void> {
    if (process.getuid?.() === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 });
    const port = await freePort();
    writeFileSync(path('user_ca.pub'), await ok('tctl', 'auth', 'export', '--type=openssh'));
    await ok('tctl', 'auth', 'sign', '--host=web,127.0.0.1', '--format=openssh', `--out=${path('host')}`, '--ttl=24h');
    writeFileSync(
      path('sshd_config'),
      [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${path('host')}`,
        `HostCertificate ${path('host-cert.pub')}`,
        `TrustedUserCAKeys ${path('user_ca.pub')}`,
        'PidFile none',
        'UsePAM no',
        'StrictModes no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PermitRootLogin yes',
        'PrintMotd no',
        'PrintLastLog no',
        'LogLevel ERROR',
        'Subsystem sftp internal-sftp',
        '',
      ].join('\n'),
    );
    sshd = start('/usr/sbin/sshd', ['-D', '-e', '-f', path('sshd_config')]);
    writeFileSync(
      path('node.yaml'),
      `kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: web, labels: {env: test}}\nspec: {hostname: web, addr: "127.0.0.1:${port}"}\n`,
    );
    assert.equal(await ok('tctl', 'create', path('node.yaml')), 'node "web" has been created\n');
    await until(() => {
      if (sshd.exited) throw new Error(`sshd ended (is openssh-server installed?): ${sshd.stderr}`);
      return answers(port);
    }, 'sshd listens');
  }

  test('a command: output, errors, input and exit status are its own', async () => {
    const ran = await daemon.tsh(['ssh', 'web', 'cat; echo err >&2; exit 7'], { input: 'in\n' });
    assert.equal(ran.stdout, 'in\n', ran.stderr);
    assert.equal(ran.stderr, 'err\n');
    assert.equal(ran.status, 7);
    const qualified = await daemon.tsh(['ssh', '-l', LOGIN, 'web.example.com', 'echo', 'two  words', "'quoted'"]);
    assert.equal(qualified.stdout, 'two words quoted\n', qualified.stderr);
  });

  test("ssh's own flags are passed through", async () => {
    const verbose = await daemon.tsh(['ssh', '-v', '-o', 'SetEnv=LANG=C', 'web', 'true']);
    assert.equal(verbose.status, 0);
    assert.match(verbose.stderr, /debug1: /);
    const port = await freePort();
    const sshdPort = /addr: "127\.0\.0\.1:(\d+)"/.exec(readFileSync(path('node.yaml'), 'utf8'))![1]!;
    const forward = keep(process.execPath, 'bin/tsh.js', 'ssh', '-NL', `${port}:127.0.0.1:${sshdPort}`, 'web');
    await until(
      () => answers(port),
      'the forwarded port answers',
      20_000,
      () => forward.stderr,
    );
    await forward.stop();
  });

  test('an agent is forwarded, and its own keys are not offered', async () => {
    const socket = path('agent.sock');
    const agent = keep('ssh-agent', '-D', '-a', socket);
    await until(
      () => existsSync(socket),
      'the agent listens',
      20_000,
      () => agent.stderr,
    );
    const env = { SSH_AUTH_SOCK: socket };
    for (const name of ['one', 'two', 'three', 'four', 'five', 'six', 'seven']) {
      await runCommand(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path(`agent-${name}`)]);
      assert.equal((await runCommand(['ssh-add', '-q', path(`agent-${name}`)], { env })).status, 0);
    }
    const listed = await daemon.tsh(['ssh', '-A', 'web', 'ssh-add', '-l'], { env });
    assert.equal(listed.status, 0, listed.stderr);
    assert.match(listed.stdout, / one \(ED25519\)\n[\s\S]* seven \(ED25519\)\n$/);
    const without = await daemon.tsh(['ssh', 'web', 'ssh-add', '-l'], { env });
    assert.equal(without.status, 2);
  });

  test('names that ssh would take for something else are refused', async () => {
    for (const args of [
      ['ssh', '--', '-oProxyCommand=x'],
      ['ssh', 'web;id'],
      ['ssh', 'a b@web'],
      ['ssh', '-l', '-x', 'web'],
    ]) {
      const { status, stderr } = await daemon.tsh([...args, 'true']);
      assert.equal(status, 1, args.join(' '));
      assert.match(stderr, /^ERROR: ".*" is no (name of a node|login)\n$/, args.join(' '));
    }
    const unknown = await daemon.tsh(['ssh', 'nowhere', 'true']);
    assert.equal(unknown.status, 255);
  });

  test('scp both ways, also with a path that looks like a flag', async () => {
    const big = Buffer.alloc(3_000_000, 'nightlatch');
    writeFileSync(path('sent.bin'), big);
    await ok('tsh', 'scp', '-q', path('sent.bin'), `web:${path('received.bin')}`);
    assert.ok(readFileSync(path('received.bin')).equals(big));
    await ok('tsh', 'scp', '-qp', `${LOGIN}@web:${path('received.bin')}`, path('back.bin'));
    assert.ok(readFileSync(path('back.bin')).equals(big));
    for (const files of [['a', 'b'], ['web:a', '-oProxyCommand=x:b'], ['web:a', 'other:b'], ['web:a']]) {
      const { status, stderr } = await daemon.tsh(['scp', ...files]);
      assert.equal(status, 1, files.join(' '));
      assert.match(stderr, /^ERROR: /, files.join(' '));
    }
  });

  test('tsh config makes plain ssh, sftp and rsync work', async () => {
    writeFileSync(path('ssh_config'), await ok('tsh', 'config'));
    const env = { ...daemon.tshEnv() };
    const host = `${LOGIN}@web.example.com`;
    const ran = await runCommand(['ssh', '-F', path('ssh_config'), host, 'echo', 'plain'], { env });
    assert.equal(ran.stdout, 'plain\n', ran.stderr);
    assert.equal(ran.stderr, '');
    writeFileSync(path('rsync.txt'), 'by rsync\n');
    const shell = `ssh -F ${path('ssh_config')}`;
    const synced = await runCommand(['rsync', '-e', shell, path('rsync.txt'), `${host}:${path('rsynced.txt')}`], {
      env,
    });
    assert.equal(synced.status, 0, synced.stderr);
    assert.equal(readFileSync(path('rsynced.txt'), 'utf8'), 'by rsync\n');
  });

  test('tsh config makes ssh -J work', async () => {
    const config = await ok('tsh', 'config');
    writeFileSync(path('ssh_config'), config);
    const [, port] = /^Match host 127\.0\.0\.1 exec "test %p = (\d+)"$/m.exec(config)!;
    const jump = ['ssh', '-F', path('ssh_config'), '-J', `127.0.0.1:${port}`, `${LOGIN}@web.example.com`];
    const ran = await runCommand([...jump, 'echo', 'jumped'], { env: daemon.tshEnv() });
    assert.equal(ran.stdout, 'jumped\n', ran.stderr);
    assert.equal(ran.stderr, '');
    assert.match(
      readFileSync(path('home/.tsh/known_hosts'), 'utf8'),
      /^@cert-authority example\.com,\*\.example\.com,127\.0\.0\.1/,
    );
  });

  test('an identity file signs a machine in without a home', async () => {
    await ok('tctl', 'auth', 'sign', '--user=alice', '--format=file', `--out=${path('id.pem')}`, '--ttl=1h');
    const identity = ['-i', path('id.pem'), `--proxy=${daemon.proxy}`];
    const ran = await daemon.tsh([...identity, 'ssh', `${LOGIN}@web`, 'echo machine'], { home: 'nobody' });
    assert.equal(ran.stdout, 'machine\n', ran.stderr);
    const listed = await daemon.tsh([...identity, 'ls'], { home: 'nobody' });
    assert.match(listed.stdout, /^web +127\.0\.0\.1:\d+ env=test$/m);
    assert.ok(!existsSync(path('nobody')));
    const again = await daemon.tctl(['auth', 'sign', '--user=alice', `--out=${path('id.pem')}`]);
    assert.match(again.stderr, /exists; pass --overwrite/);
  });

  test('live sessions are listed, and ended by hand with a message', async () => {
    const one = keep(process.execPath, 'bin/tsh.js', 'ssh', 'web', 'echo begun; cat');
    await one.shows('begun');
    const [session, ...others] = await sessions();
    assert.equal(others.length, 0);
    assert.equal(session!.user, 'alice');
    assert.match(
      await ok('tctl', 'sessions', 'ls'),
      new RegExp(
        `^ID +Kind User +Target +Since +Idle For Ends In Limit Source\\n[- ]+\\n${session!.id} ssh +alice ${LOGIN}@web `,
      ),
    );
    assert.match(await ok('tsh', 'sessions', 'ls'), new RegExp(`\\n${session!.id} ssh +${LOGIN}@web `));
    assert.equal(
      await ok('tctl', 'sessions', 'kill', session!.id.slice(0, 8), '--message=maintenance'),
      `session ${session!.id} has been ended\n`,
    );
    const ended = await one.ended;
    assert.match(ended.stderr, /Session ended by an administrator: maintenance\./);
    assert.notEqual(ended.code, 0);
    const gone = await daemon.tctl(['sessions', 'kill', session!.id]);
    assert.match(gone.stderr, /^ERROR: there is no live session /);
  });

  test('a policy is rehearsed, applied to what is open, and the report proves it', async () => {
    const one = keep(process.execPath, 'bin/tsh.js', 'ssh', '-tt', 'web', 'echo begun; cat');
    await one.shows('begun');
    const [session] = await sessions();
    const file = path('tight.yaml');
    writeFileSync(
      file,
      'kind: role\nversion: v8\nmetadata: {name: tight}\nspec: {options: {client_idle_timeout: 2s, client_idle_warning: never}}\n',
    );
    await ok('tctl', 'create', file);
    assert.match(
      await ok('tctl', 'idle', 'explain', '--user=alice', '--role=tight', '--resource=node/web'),
      /Resource: +node\/web \(access allowed\)\nIdle timeout: +2s \(role tight\)/,
    );
    const user = await ok('tctl', 'get', 'user/alice');
    writeFileSync(path('alice.yaml'), user.replace('- access\n', '- access\n  - tight\n'));
    const rehearsed = await ok('tctl', 'idle', 'rehearse', '-f', path('alice.yaml'));
    assert.match(rehearsed, /^Nothing has been changed\. Of 1 live session: /);
    assert.match(rehearsed, new RegExp(`\\n${session!.id} alice web .* 2s \\(role tight\\) `));
    assert.equal((await sessions()).length, 1);
    assert.equal(await ok('tctl', 'create', '-f', path('alice.yaml')), 'user "alice" has been updated\n');
    const ended = await one.ended;
    assert.match(ended.stdout + ended.stderr, /Session ended: no activity for 2s \(role tight\)\./);
    await until(async () => (await sessions()).length === 0, 'the session is gone');
    const report = JSON.parse(await ok('tctl', 'idle', 'report', '--from=1h', '--format=json')) as {
      totals: { endedForIdleness: number; over: number };
      settingsChanges: { source: string }[];
    };
    assert.deepEqual(
      { idle: report.totals.endedForIdleness, over: report.totals.over },
      { idle: 1, over: 0 },
      JSON.stringify(report),
    );
    assert.ok(report.settingsChanges.some((change) => change.source === 'role tight'));
    assert.match(await ok('tctl', 'idle', 'report', '--format=csv'), new RegExp(`^[^\\n]*\\n[\\s\\S]*${session!.id}`));
    assert.match(
      await ok('tctl', 'audit', 'query', '--event=client.disconnect', '--format=json'),
      /"event":"client\.disconnect".*"cause":"idle"/,
    );
    await ok('tctl', 'users', 'update', 'alice', '--set-roles=access,editor');
  });

  test('a lock ends what is open and bars new sign-ins and calls', async () => {
    const one = keep(process.execPath, 'bin/tsh.js', 'ssh', 'web', 'echo begun; cat');
    await one.shows('begun');
    const out = await ok('tctl', 'lock', '--user=alice', '--message=call the helpdesk', '--ttl=1h');
    assert.match((await one.ended).stderr, /Session ended: locked: call the helpdesk\./);
    const barred = await daemon.tsh(['ls']);
    assert.equal(barred.stderr, 'ERROR: you are locked out: call the helpdesk\n');
    assert.match((await daemon.tsh(['ssh', 'web', 'true'])).stderr, /^you are locked out: call the helpdesk\r?\n/);
    assert.equal(
      (await daemon.tsh(['status'])).stderr,
      'WARNING: roles, logins and idle timeout are as of sign-in: you are locked out: call the helpdesk\n',
    );
    const name = /"([^"]+)"/.exec(out)![1]!;
    await ok('tctl', 'rm', `lock/${name}`);
    await ok('tsh', 'ls');
  });
});

/** Whether something listens on a port of this machine. */
async function answers(port: number): Promise<boolean> {
  const { connect } = await import('node:net');
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
