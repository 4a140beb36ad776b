// The published instructions for client_idle_timeout, word for word, against the real daemon.
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

const PASSWORD = 'correct horse battery staple';
const LOGIN = userInfo().username;

describe('the published sequence', () => {
  let daemon: TestDaemon;

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0"}',
          'ssh_service: {enabled: yes}',
          '',
        ].join('\n'),
    });
  });

  after(() => daemon.stop());

  const tctl = async (...args: string[]) => {
    const result = await daemon.tctl(args);
    assert.equal(result.status, 0, `tctl ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };

  const refused = async (...args: string[]) => {
    const result = await daemon.tctl(args);
    assert.equal(result.status, 1, `tctl ${args.join(' ')}: ${result.stdout}`);
    return result.stderr;
  };

  test('a user is invited, accepts in the terminal and signs in', async () => {
    const cap = join(daemon.dir, 'second-factor.yaml');
    writeFileSync(
      cap,
      'kind: cluster_auth_preference\nversion: v2\nmetadata: {name: cluster-auth-preference}\nspec: {type: local, second_factor: off}\n',
    );
    assert.equal(await tctl('create', cap), 'cluster auth preference has been created\n');
    assert.equal(await tctl('rm', 'cap'), 'cluster auth preference has been reset to defaults\n');
    await tctl('create', cap);

    const added = await tctl('users', 'add', 'alice', '--roles=access,editor', `--logins=${LOGIN}`);
    assert.match(
      added,
      /^User "alice" has been created but requires a password\. Share this URL with the user to complete user setup, link is valid for 1h:\nhttps:\/\/\S+\/web\/invite\/\S+\n\nNOTE: Make sure \S+ points at a Nightlatch proxy which users can access\.\n$/,
    );
    const url = /https:\S+/.exec(added)![0].replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    const invited = await daemon.tsh(['invite', url, '--ca-pin', daemon.caPin, '--password-fd', '3'], {
      fds: [PASSWORD],
    });
    assert.equal(invited.status, 0, invited.stderr);
    assert.equal(
      invited.stdout,
      `Your account is ready. Sign in with:\n  tsh login --proxy=${daemon.proxy} --user=alice\n`,
    );
    const again = await daemon.tsh(['invite', url, '--ca-pin', daemon.caPin, '--password-fd', '3'], {
      fds: [PASSWORD],
    });
    assert.equal(again.status, 1);
    assert.match(again.stderr, /^ERROR: the invitation is not valid/m);
  });

  test('tsh login --proxy=HOST:PORT', async () => {
    const login = ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--password-fd', '3'];
    const untrusted = await daemon.tsh(login, { fds: [PASSWORD] });
    assert.equal(untrusted.status, 1);
    assert.match(untrusted.stderr, /^ERROR: the certificate of \S+ is not trusted: .*--ca-pin/m);
    const wrongPin = await daemon.tsh([...login, `--ca-pin=sha256:${'0'.repeat(64)}`], { fds: [PASSWORD] });
    assert.equal(wrongPin.status, 1);
    assert.match(wrongPin.stderr, /not the cluster you mean/);
    const wrongPassword = await daemon.tsh([...login, `--ca-pin=${daemon.caPin}`], { fds: ['wrong'] });
    assert.equal(wrongPassword.status, 1);
    assert.match(wrongPassword.stderr, /^ERROR: invalid user name, password or second factor\n$/);

    const { status, stdout, stderr } = await daemon.tsh([...login, `--ca-pin=${daemon.caPin}`], { fds: [PASSWORD] });
    assert.equal(status, 0, stderr);
    const lines = [
      `> Profile URL:        https://${daemon.proxy}`,
      '  Logged in as:       alice',
      '  Cluster:            example.com',
      '  Roles:              access, editor',
      `  Logins:             ${LOGIN}`,
      '  Idle timeout:       never',
    ];
    assert.equal(stdout.slice(0, stdout.indexOf('  Valid until:')), `${lines.join('\n')}\n`);
    assert.match(
      stdout,
      / {2}Valid until: {8}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC \[valid for 12h0m0s\]\n {2}Extensions: {9}permit-agent-forwarding, permit-port-forwarding, permit-pty\n/,
    );
    const home = daemon.tshEnv().NIGHTLATCH_HOME!;
    for (const file of [
      'current-profile',
      '127.0.0.1.yaml',
      'known_hosts',
      'keys/127.0.0.1/alice',
      'keys/127.0.0.1/alice.pub',
      'keys/127.0.0.1/alice-x509.pem',
      'keys/127.0.0.1/alice-ssh/example.com-cert.pub',
      'keys/127.0.0.1/cas/example.com.pem',
    ]) {
      assert.equal(statSync(join(home, file)).mode & 0o777, 0o600, file);
    }
    assert.equal(statSync(home).mode & 0o777, 0o700);
    assert.equal(statSync(join(home, 'keys/127.0.0.1')).mode & 0o777, 0o700);
  });

  test('tctl get cap, edited, tctl create -f', async () => {
    assert.match(await tctl('status'), /^Cluster +example\.com\nVersion +\S+\n[\s\S]*CA pin +sha256:[0-9a-f]{64}\n$/);
    const cap = join(daemon.dir, 'cap.yaml');
    writeFileSync(cap, await tctl('get', 'cap'));
    assert.match(
      await refused('create', cap),
      /^ERROR: non-default cluster auth preference already exists, use -f or --force flag to overwrite\n$/,
    );
    writeFileSync(
      cap,
      readFileSync(cap, 'utf8').replace('spec:\n', 'spec:\n  options:\n    client_idle_timeout: 30m\n'),
    );
    assert.equal(await tctl('create', '-f', cap), 'cluster auth preference has been created\n');
    const { stdout } = await daemon.tsh(['status']);
    assert.match(stdout, /Idle timeout: {7}30m0s \(cluster_auth_preference\)\n/);
  });

  test('tctl create -f role.yaml: a role that has only a timeout', async () => {
    const role = join(daemon.dir, 'role.yaml');
    writeFileSync(
      role,
      'kind: role\nversion: v3\nmetadata:\n  name: admin-role\nspec:\n  options:\n    client_idle_timeout: 10m\n',
    );
    assert.equal(await tctl('create', '-f', role), 'role "admin-role" has been created\n');
    assert.match(
      await refused('create', role),
      /^ERROR: role "admin-role" already exists, use -f or --force flag to overwrite\n$/,
    );
    assert.equal(
      await tctl('users', 'update', 'alice', '--set-roles=access,editor,admin-role'),
      'User alice has been updated:\n\tNew roles: access, editor, admin-role\n',
    );
    const { stdout } = await daemon.tsh(['status']);
    assert.match(stdout, /Idle timeout: {7}10m0s \(role admin-role\)\n/);
    assert.match(
      await tctl('idle', 'explain', '--user=alice'),
      /Idle timeout: +10m0s \(role admin-role\)[\s\S]* {2}Source +Idle Timeout\n- -+ -+\n {2}cluster_auth_preference 30m0s\n\* role admin-role +10m0s\n$/,
    );
    assert.match(await refused('rm', 'role/admin-role'), /still in use by user "alice"/);
    await tctl('users', 'update', 'alice', '--set-roles=access,editor');
    assert.equal(await tctl('rm', 'role/admin-role'), 'role "admin-role" has been deleted\n');
    assert.match(await refused('rm', 'role/admin-role'), /^ERROR: role "admin-role" is not found\n$/);
  });

  test('cnc, nodes and locks', async () => {
    const file = join(daemon.dir, 'more.yaml');
    writeFileSync(
      file,
      [
        'kind: cluster_networking_config\nversion: v2\nmetadata: {name: cluster-networking-config}\nspec: {client_idle_timeout: 1h, idle_timeout_message: Bye.}',
        'kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: 5da56852-2adb-4540-a37c-80790203f6a9, labels: {env: prod}}\nspec: {addr: "127.0.0.1:1", hostname: web-1}',
      ].join('\n---\n'),
    );
    assert.equal(
      await tctl('create', '-f', file),
      'cluster networking configuration has been updated\nnode "5da56852-2adb-4540-a37c-80790203f6a9" has been created\n',
    );
    assert.match(
      await tctl('get', 'cnc', '--format=text'),
      /^Client Idle Timeout Idle Timeout Message[^\n]*\n-+ -[^\n]*\n1h0m0s +Bye\./,
    );
    assert.match(await tctl('nodes', 'ls'), /\nweb-1 +127\.0\.0\.1:1 env=prod\n/);
    const listed = await daemon.tsh(['ls', 'env=prod']);
    assert.equal(
      listed.stdout,
      'Node Name Address     Labels\n--------- ----------- --------\nweb-1     127.0.0.1:1 env=prod\n',
    );
    assert.equal(await tctl('rm', 'node/web-1'), 'node 5da56852-2adb-4540-a37c-80790203f6a9 has been deleted\n');
    assert.equal(await tctl('rm', 'cnc'), 'cluster networking configuration has been reset to defaults\n');
    const locked = await tctl('lock', '--user=mallory', '--message=gone', '--ttl=1h');
    const id = /^Created a lock with name "([0-9a-f-]{36})"\.\n$/.exec(locked)![1];
    assert.match(await tctl('get', 'locks', '--format=json'), /"user": "mallory"/);
    assert.equal(await tctl('rm', `lock/${id}`), `lock "${id}" has been deleted\n`);
  });

  test('tctl works from elsewhere with the certificate of tsh login, as the roles allow', async () => {
    const env = daemon.tshEnv();
    const remote = (args: string[]) => daemon.tctl([`--auth-server=${daemon.proxy}`, ...args], { env });
    assert.match((await remote(['get', 'role/access'])).stdout, /^kind: role\n/);
    await tctl('users', 'update', 'alice', '--set-roles=access');
    const denied = await remote(['get', 'role/access']);
    assert.equal(denied.status, 1);
    assert.equal(denied.stderr, 'ERROR: access denied to perform action "read" on "role"\n');
    await tctl('users', 'update', 'alice', '--set-roles=access,editor');
  });

  test('tsh ssh runs a command on the embedded node, and its exit status is ours', async () => {
    const [{ displayName: node }] = JSON.parse((await daemon.tsh(['ls', '--format=json'])).stdout);
    const ran = await daemon.tsh(['ssh', `${LOGIN}@${node}`, 'echo', 'out;', 'echo', 'err', '>&2;', 'exit', '7']);
    assert.equal(ran.stdout, 'out\n', ran.stderr);
    assert.equal(ran.stderr, 'err\n');
    assert.equal(ran.status, 7);
    const sent = join(daemon.dir, 'sent.txt');
    writeFileSync(sent, 'by scp\n');
    const copied = await daemon.tsh(['scp', '-q', sent, `${LOGIN}@${node}:${join(daemon.dir, 'received.txt')}`]);
    assert.equal(copied.status, 0, copied.stderr);
    assert.equal(readFileSync(join(daemon.dir, 'received.txt'), 'utf8'), 'by scp\n');
  });

  test('tsh logout forgets everything', async () => {
    assert.equal((await daemon.tsh(['logout'])).stdout, 'Logged out all users from all proxies.\n');
    const { status, stderr } = await daemon.tsh(['status']);
    assert.equal(status, 1);
    assert.equal(stderr, 'ERROR: Not logged in. Run tsh login --proxy=HOST:PORT.\n');
  });
});
