// Who is let in, what they may do there, and how it ends when that changes.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { accepts } from '../fixtures/desktop/processes.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { until } from '../fixtures/ssh/processes.ts';

const ROLE = {
  kind: 'role',
  version: 'v7',
  metadata: { name: 'ssh' },
  spec: {
    options: { forward_agent: true, port_forwarding: true },
    allow: { logins: [LOGIN], node_labels: { '*': '*' } },
  },
};

function roleWith(options: object, allow: object = {}): unknown {
  return {
    ...ROLE,
    spec: { options: { ...ROLE.spec.options, ...options }, allow: { ...ROLE.spec.allow, ...allow } },
  };
}

describe('access by SSH', { timeout: 110_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await Lab.start({ gateway: { loginGraceMs: 3_000 } });
  });
  after(() => lab.stop());

  const refused = async (args: readonly string[] = []) => {
    const { code, stdout, stderr } = await lab.ssh(...args, 'web', 'echo in').ended;
    assert.equal(stdout, '');
    assert.equal(code, 255, stderr);
    return stderr;
  };
  const allowed = async () => {
    const { stdout, stderr } = await lab.ssh('web', 'echo in').ended;
    assert.equal(stdout, 'in\n', stderr);
  };
  /** Puts another certificate in the place of the good one for the time of a test. */
  const withCertificate = async (line: string, body: () => Promise<void>) => {
    const path = lab.path('id-cert.pub');
    const good = readFileSync(path);
    writeFileSync(path, `${line}\n`);
    try {
      await body();
    } finally {
      writeFileSync(path, good);
    }
  };
  const request = (more: object = {}) => ({
    user: 'alice',
    principals: [LOGIN],
    sshPublicKey: readFileSync(lab.path('id.pub'), 'utf8'),
    ttlMs: 3_600_000,
    extensions: ['permit-pty', 'permit-port-forwarding', 'permit-agent-forwarding'],
    ...more,
  });
  const authority = (clock = systemClock, store = memoryStore(clock)) =>
    loadCertAuthority({ store, masterKey: testMasterKey, clock, clusterName: 'example.com' });
  /** Why the last certificate was refused; a client offers the plain key after it. */
  const lastRefusal = () =>
    lab.log.lines.findLast((line) => line.includes('authentication refused') && !line.includes('is no certificate'));

  const assertAudited = ({ user, error }: { user: string | undefined; error: string }) => {
    const found = lab.events('auth').find((event) => event['error'] === error);
    assert.ok(found, JSON.stringify(lab.events('auth')));
    const { code, success, login, server_hostname: host } = found;
    assert.deepEqual(
      { code, success, login, host, user: found['user'] },
      { code: 'T3007W', success: false, login: LOGIN, host: 'web', user },
    );
    assert.match(String(found['addr.remote']), /^127\.0\.0\.1:\d+$/);
  };

  test('an expired certificate', async () => {
    const past = { ...systemClock, wallMs: () => systemClock.wallMs() - 7_200_000 };
    const { sshCert } = await (await authority(past, lab.store)).issueUserCertificates(request());
    await withCertificate(sshCert!, async () => assert.match(await refused(), /Permission denied/));
    assert.match(lastRefusal() ?? '', /expired|valid/);
    assertAudited({ user: 'alice', error: 'the certificate has expired' });
  });

  test('a certificate of another authority', async () => {
    const { sshCert } = await (await authority()).issueUserCertificates(request());
    await withCertificate(sshCert!, async () => assert.match(await refused(), /Permission denied/));
    // Whose it claims to be says nothing.
    assertAudited({ user: undefined, error: 'the certificate is not from this cluster’s authority' });
  });

  test('a certificate that was tampered with', async () => {
    const [type, blob] = readFileSync(lab.path('id-cert.pub'), 'utf8').split(' ');
    const bytes = Buffer.from(blob!, 'base64');
    bytes[bytes.indexOf('alice')]! ^= 1;
    await withCertificate(`${type} ${bytes.toString('base64')}`, async () =>
      assert.match(await refused(), /Permission denied/),
    );
  });

  test('another login than the certificate names', async () => {
    const { sshCert } = await lab.ca.issueUserCertificates(request({ principals: ['somebody'] }));
    await withCertificate(sshCert!, async () => assert.match(await refused(), /Permission denied/));
    assert.match(lastRefusal() ?? '', /does not name the login/);
    assertAudited({ user: 'alice', error: `the certificate of alice does not name the login ${LOGIN}` });
  });

  test('a certificate for another address', async () => {
    const { sshCert } = await lab.ca.issueUserCertificates(request({ sourceAddress: '192.0.2.0/24' }));
    await withCertificate(sshCert!, async () => assert.match(await refused(), /Permission denied/));
    assertAudited({ user: 'alice', error: 'the certificate is not good for connections from 127.0.0.1' });
    const { sshCert: here } = await lab.ca.issueUserCertificates(request({ sourceAddress: '127.0.0.0/8' }));
    await withCertificate(here!, allowed);
  });

  test('a host certificate as a user, and a plain key', async () => {
    const host = lab.ca.issueHostCertificate({ sshPublicKey: request().sshPublicKey, names: [LOGIN], ttlMs: 60_000 });
    await withCertificate(host, async () => assert.match(await refused(), /Permission denied/));
    lab.keygen('plain');
    const { stdout, stderr } = await lab.run('ssh', [...lab.as('plain'), 'web', 'echo in']).ended;
    assert.equal(stdout, '');
    assert.match(stderr, /Permission denied/);
    await until(
      () => lab.events('auth').some((event) => event['error'] === 'the key is no certificate'),
      'the event of a plain key',
    );
  });

  test('the same refusal again is counted, and a good login is no refused one', async () => {
    const before = lab.events('auth').length;
    const past = { ...systemClock, wallMs: () => systemClock.wallMs() - 7_200_000 };
    const { sshCert } = await (await authority(past, lab.store)).issueUserCertificates(request());
    await withCertificate(sshCert!, async () => assert.match(await refused(), /Permission denied/));
    await allowed();
    assert.equal(lab.events('auth').length, before);
  });

  test('a login that the roles do not allow is told why', async () => {
    lab.policy.put(roleWith({}, { logins: ['other'] }));
    const stderr = await refused();
    assert.match(stderr, /access to node "?web"? denied/i);
    assert.match(stderr, new RegExp(`login "${LOGIN}"`));
    lab.policy.put(ROLE);
    await allowed();
    assert.ok(lab.events('session.reject').length > 0);
  });

  test('a node whose labels the roles do not allow', async () => {
    lab.policy.put(roleWith({}, { node_labels: { env: 'production' } }));
    assert.match(await refused(), /denied/);
    lab.policy.put(ROLE);
  });

  test('a lock bars new sessions and ends open ones', async () => {
    const ssh = lab.ssh('web', 'echo ready; sleep 60');
    await ssh.shows('ready');
    lab.policy.put({
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'l1' },
      spec: { target: { user: 'alice' }, message: 'laptop lost' },
    });
    const { code, stderr } = await ssh.ended;
    assert.equal(code, 255);
    assert.match(stderr, /Session ended: locked: laptop lost\./);
    assert.match(await refused(), /laptop lost/);
    lab.policy.remove('lock', 'l1');
    await allowed();
  });

  test('a role taken away ends what it granted', async () => {
    const ssh = lab.ssh('-tt', 'web', 'echo ready; sleep 60');
    await ssh.shows('ready');
    lab.policy.put(roleWith({}, { logins: ['other'] }));
    const { code, stdout } = await ssh.ended;
    lab.policy.put(ROLE);
    assert.equal(code, 255);
    assert.match(stdout, /Session ended: access was revoked/);
  });

  test('a node that is removed ends its sessions', async () => {
    const ssh = lab.ssh('web', 'echo ready; sleep 60');
    await ssh.shows('ready');
    const node = [...lab.policy.current.nodes.values()][0]!;
    lab.policy.remove('node', node.metadata.name);
    assert.match((await ssh.ended).stderr, /Session ended: access was revoked: node "web" has been removed/);
    assert.match(await refused(), /there is no node "web"/);
    lab.policy.put(node);
  });

  test('an administrator ends a session', async () => {
    const ssh = lab.ssh('web', 'echo ready; sleep 60');
    await ssh.shows('ready');
    const [session] = lab.sessions.list();
    assert.ok(await lab.sessions.kill(session!.id, { by: 'root', message: 'maintenance' }));
    assert.match((await ssh.ended).stderr, /Session ended by root: maintenance\./);
    assert.equal(lab.events('client.disconnect').at(-1)!['cause'], 'killed');
  });

  test('max_sessions', async () => {
    lab.policy.put(roleWith({ max_sessions: 1 }));
    const mux = ['-o', `ControlPath=${lab.path('mux')}`];
    const master = lab.ssh(...mux, '-M', 'web', 'sleep 60');
    await until(
      () => existsSync(lab.path('mux')),
      'the master listens',
      30_000,
      () => master.stderr,
    );
    const second = await lab.ssh(...mux, '-o', 'ControlMaster=no', 'web', 'echo in').ended;
    await master.stop();
    lab.policy.put(ROLE);
    assert.match(second.stderr + master.stderr, /max_sessions|Session open refused by peer/);
  });

  test('max_connections', async () => {
    lab.policy.put(roleWith({ max_connections: 1 }));
    const first = lab.ssh('web', 'echo ready; sleep 60');
    await first.shows('ready');
    assert.match(await refused(), /max_connections/);
    await first.stop();
    lab.policy.put(ROLE);
  });

  test('port forwarding that the roles do not allow', async () => {
    lab.policy.put(roleWith({ port_forwarding: false }));
    const local = await freePort();
    const ssh = lab.ssh('-N', '-L', `${local}:127.0.0.1:${lab.sshdPort}`, 'web');
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect(local, '127.0.0.1');
          socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
        }),
      'the client listens',
    );
    await ssh.shows('port forwarding is not allowed by your roles');
    await ssh.stop();
    const remote = await lab.ssh('-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:1', 'web', 'true').ended;
    assert.match(remote.stderr, /remote port forwarding failed/);
    lab.policy.put(ROLE);
    assert.ok(lab.events('port').some((event) => event['success'] === false));
  });

  test('agent forwarding that the roles do not allow', async () => {
    lab.policy.put(roleWith({ forward_agent: false }));
    const agent = lab.run('ssh-agent', ['-D', '-a', lab.path('agent')]);
    await until(() => existsSync(lab.path('agent')), 'the agent listens');
    const env = { PATH: process.env['PATH'], HOME: lab.dir, SSH_AUTH_SOCK: lab.path('agent') };
    const args = ['-F', lab.path('config'), '-A', 'web', 'echo "agent=<$SSH_AUTH_SOCK>"'];
    const { stdout } = await lab.run('ssh', args, { env }).ended;
    await agent.stop();
    lab.policy.put(ROLE);
    assert.equal(stdout, 'agent=<>\n');
  });

  test('a target with another host key than the pinned one', async () => {
    const node = [...lab.policy.current.nodes.values()][0]!;
    const pin = (line: string) => lab.policy.put({ ...node, spec: { ...node.spec, host_keys: [line.trim()] } });
    pin(readFileSync(lab.path('ssh_host.pub'), 'utf8'));
    await allowed();
    lab.keygen('other');
    pin(readFileSync(lab.path('other.pub'), 'utf8'));
    assert.match(await refused(), /none of the keys pinned for node "web"/);
    lab.policy.put(node);
    await allowed();
  });

  test('a target whose host certificate names the node by either of its names, and one that names somebody else', async () => {
    const node = [...lab.policy.current.nodes.values()][0]!;
    const named = { ...node, spec: { ...node.spec, hostname: 'db' }, metadata: { ...node.metadata, name: 'web' } };
    lab.policy.put(named);
    if (node.metadata.name !== 'web') lab.policy.remove('node', node.metadata.name);
    await allowed();

    lab.keygen('elsewhere');
    const names = ['elsewhere'];
    const sshPublicKey = readFileSync(lab.path('elsewhere.pub'), 'utf8');
    writeFileSync(
      lab.path('elsewhere-cert.pub'),
      `${lab.ca.issueHostCertificate({ sshPublicKey, names, ttlMs: 3_600_000 })}\n`,
    );
    const port = await freePort();
    writeFileSync(
      lab.path('elsewhere_config'),
      readFileSync(lab.path('sshd_config'), 'utf8')
        .replace(/^Port .*/m, `Port ${port}`)
        .replaceAll(lab.path('ssh_host'), lab.path('elsewhere')),
    );
    const sshd = lab.run('/usr/sbin/sshd', ['-D', '-e', '-f', lab.path('elsewhere_config')]);
    try {
      await until(
        () => accepts(port),
        'sshd listens',
        20_000,
        () => sshd.stderr,
      );
      lab.policy.put({ ...named, spec: { ...named.spec, addr: `127.0.0.1:${port}` } });
      assert.match(await refused(), /the host certificate is for elsewhere, not for db, web, 127\.0\.0\.1/);
    } finally {
      await sshd.stop();
    }
    if (node.metadata.name !== 'web') lab.policy.remove('node', 'web');
    lab.policy.put(node);
    await allowed();
  });

  test('a target that is not there', async () => {
    const node = [...lab.policy.current.nodes.values()][0]!;
    lab.policy.put({ ...node, spec: { ...node.spec, addr: `127.0.0.1:${await freePort()}` } });
    assert.match(await refused(), /node "web" cannot be reached: .*ECONNREFUSED/);
    assert.equal(lab.events('client.disconnect').at(-1)!['cause'], 'target_closed');
    lab.policy.put(node);
  });

  test('a client that says nothing, and one that does not speak SSH', async () => {
    const silent = net.connect(lab.nodePort, '127.0.0.1');
    silent.on('error', () => {}).resume();
    const web = net.connect(lab.nodePort, '127.0.0.1');
    web.on('error', () => {});
    let answer = '';
    web.on('data', (data) => {
      answer += data.toString('latin1');
    });
    web.write('GET / HTTP/1.1\r\n\r\n');
    await until(() => web.closed, 'the web browser is sent away');
    assert.match(answer, /^SSH-2\.0-/);
    await until(() => silent.closed, 'the silent client is sent away');
    await allowed();
  });

  test('a flood of clients that say nothing locks nobody out', async () => {
    const silent: net.Socket[] = [];
    for (let i = 0; i < 1_500; i++) {
      // Another address than the honest client's.
      const socket = net.connect({ port: lab.nodePort, host: '127.0.0.1', localAddress: '127.0.0.9' });
      socket.on('error', () => {}).resume();
      silent.push(socket);
      if (i % 200 === 0) await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
    }
    await allowed();
    assert.ok(silent.filter((socket) => socket.closed).length >= 900, 'most of them have been sent away');
    for (const socket of silent) socket.destroy();
  });

  test('a shutdown tells the open sessions', async () => {
    const ssh = lab.ssh('web', 'echo ready; sleep 60');
    await ssh.shows('ready');
    const drained = lab.sessions.drain(500);
    const { code, stderr } = await ssh.ended;
    assert.equal(code, 255);
    assert.match(stderr, /Session ended: the gateway is shutting down\./);
    await drained;
    assert.match(await refused(), /shutting down|draining/);
  });
});
