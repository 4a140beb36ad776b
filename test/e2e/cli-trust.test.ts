// Whom tsh trusts: a pinned CA, an operator's own certificate, nobody who has taken the gateway's place.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { kubectlPath } from '../fixtures/kube/kubectl.ts';

const PASSWORD = 'correct horse battery staple';

describe('trust', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nightlatch-trust-'));
  const path = (name: string) => join(dir, name);
  let daemon: TestDaemon;

  /** An entry of https_keypairs. */
  const pair = (name: string) => `{key_file: ${path(`${name}.key`)}, cert_file: ${path(`${name}.pem`)}}`;
  const start = (dataDir: string, more = '', port = 0) =>
    startTestDaemon({
      dir: dataDir,
      config: () =>
        `auth_service: {cluster_name: example.com, authentication: {second_factor: off}}\nproxy_service:\n  web_listen_addr: "127.0.0.1:${port}"\n${more}`,
    });

  const signIn = (...args: string[]) =>
    daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', '--password-fd', '3', ...args], {
      fds: [PASSWORD],
    });

  async function invite(): Promise<void> {
    const added = await daemon.tctl(['users', 'add', 'alice', '--roles=access', '--logins=root', '--format=json']);
    const url = (JSON.parse(added.stdout) as { url: string }).url.replace(
      /^https:\/\/[^/]+/,
      `https://${daemon.proxy}`,
    );
    const accepted = await daemon.tsh(['invite', url, '--insecure', '--password-fd', '3'], { fds: [PASSWORD] });
    assert.equal(accepted.status, 0, accepted.stderr);
  }

  before(async () => {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
    openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Corporate CA', '-days', '2');
    for (const [name, names] of [
      ['operator', 'IP:127.0.0.1,DNS:localhost'],
      ['second', 'DNS:second.example'],
    ] as const) {
      openssl('req', ...ec, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/CN=gateway');
      writeFileSync(path('san'), `subjectAltName=${names}\n`);
      const files = ['-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-out', `${name}.pem`];
      openssl('x509', '-req', ...files, '-days', '2', '-extfile', 'san');
    }
  });

  after(async () => {
    await daemon?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('--insecure warns, and what was seen then is insisted upon afterwards', async () => {
    daemon = await start(mkdir('first'));
    await invite();
    const first = await signIn('--insecure');
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /^WARNING: /);
    const listed = await daemon.tsh(['ls']);
    assert.equal(listed.status, 0, listed.stderr);
    assert.equal(listed.stderr, '');
  });

  test('another cluster in the same place is refused, and told nothing', async () => {
    const { port } = daemon;
    const home = daemon.tshEnv();
    await daemon.stop();
    daemon = await start(mkdir('second'), '', port);
    const env = { ...home };
    const listed = await daemon.tsh(['ls'], { env });
    assert.match(listed.stderr, /^ERROR: the certificate of \S+ is not trusted: /);
    assert.doesNotMatch(listed.stderr, /--use/);
    const login = await daemon.tsh(
      ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--ttl=1h', '--password-fd', '3'],
      { env, fds: [PASSWORD] },
    );
    assert.equal(login.status, 1);
    assert.match(login.stderr, /somebody may be in between/);
    const ssh = await daemon.tsh(['ssh', 'web', 'true'], { env });
    assert.equal(ssh.status, 255);
    assert.match(ssh.stderr, /ERROR: the certificate of \S+ is not trusted: /);
    const events = await daemon.tctl(['audit', 'query', '--event=user.login', '--format=json']);
    assert.equal(events.stdout, '');
  });

  test('an operator’s own certificate is checked against the CAs of the system', async () => {
    await daemon.stop();
    daemon = await start(
      mkdir('third'),
      `  https_keypairs: [${pair('operator')}, ${pair('second')}]\n  kube_listen_addr: "127.0.0.1:0"\n`,
    );
    await invite();
    for (const pin of [[], ['--ca-pin', daemon.caPin]]) {
      const unknown = await signIn(...pin);
      assert.equal(unknown.status, 1);
      assert.equal(
        unknown.stderr,
        "ERROR: the certificate of 127.0.0.1 is signed by an authority this computer does not know: add it to the system's authorities, or name its file in SSL_CERT_FILE\n",
      );
    }
    const env = { SSL_CERT_FILE: path('ca.pem') };
    const login = await daemon.tsh(
      ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--password-fd', '3', '--ca-pin', daemon.caPin],
      { fds: [PASSWORD], env },
    );
    assert.equal(login.status, 0, login.stderr);
    const profile = readFileSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, '127.0.0.1.yaml'), 'utf8');
    assert.match(profile, /^trust: "system"$/m);
    assert.equal((await daemon.tsh(['ls'], { env })).status, 0);
    assert.equal((await daemon.tsh(['ls'])).status, 1);
    assert.ok(existsSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, 'keys/127.0.0.1/cas/example.com.pem')));
  });

  /** Of the third daemon, which has an operator's certificate. */
  const kubePort = () =>
    Number(
      /^kube_proxy_port: "?(\d+)"?$/m.exec(
        readFileSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, '127.0.0.1.yaml'), 'utf8'),
      )![1],
    );

  test('beside an operator’s own certificate, Kubernetes has one of the cluster, on the public port and on its own', async () => {
    const cluster = readFileSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, 'keys/127.0.0.1/cas/example.com.pem'), 'utf8');
    const corporate = readFileSync(path('ca.pem'), 'utf8');
    const verified = async (port: number, servername: string, ca: string) => {
      const socket = tls.connect({ host: '127.0.0.1', port, servername, ca, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { authorized } = socket;
      socket.destroy();
      return authorized;
    };
    for (const port of [daemon.port, kubePort()]) {
      assert.equal(await verified(port, 'kube.example.com', cluster), true);
      assert.equal(await verified(port, 'kube.example.com', corporate), false);
      assert.equal(await verified(port, 'localhost', corporate), true);
      assert.equal(await verified(port, 'localhost', cluster), false);
      assert.equal(await verified(port, 'second.example', corporate), true, 'the second pair has this name');
      // No server name: it is asked for by address.
      assert.equal(await verified(port, '', corporate), true);
    }
    // A name of the gateway's that the operator's certificate does not cover.
    assert.equal(await verified(kubePort(), 'example.com', cluster), true);
  });

  test('kubectl trusts both ports by the kubeconfig of tsh kube login and that of tctl auth sign', async () => {
    const upstream = {
      clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'u', user: { token: 't' } }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'c',
    };
    const spec = { kubeconfig: Buffer.from(JSON.stringify(upstream)).toString('base64') };
    writeFileSync(
      path('cluster.yaml'),
      JSON.stringify({
        kind: 'kube_cluster',
        version: 'v3',
        metadata: { name: 'prod', labels: { env: 'test' } },
        spec,
      }),
    );
    const created = await daemon.tctl(['create', path('cluster.yaml')]);
    assert.equal(created.status, 0, created.stderr);
    const ofTsh = path('tsh.kubeconfig');
    const env = { ...daemon.tshEnv(), SSL_CERT_FILE: path('ca.pem') };
    const login = await daemon.tsh(['kube', 'login', 'prod'], { env: { ...env, KUBECONFIG: ofTsh } });
    assert.equal(login.status, 0, login.stderr);
    assert.match(readFileSync(ofTsh, 'utf8'), new RegExp(`server: https://127\\.0\\.0\\.1:${kubePort()}$`, 'm'));
    const signed = async (port: number) => {
      const out = path(`machine-${port}.kubeconfig`);
      const options = ['--format=kubernetes', '--user=alice', '--kube-cluster-name=prod', `--out=${out}`];
      const { status, stderr } = await daemon.tctl(['auth', 'sign', ...options, `--proxy=127.0.0.1:${port}`]);
      assert.equal(status, 0, stderr);
      return out;
    };
    for (const kubeconfig of [ofTsh, await signed(daemon.port), await signed(kubePort())]) {
      const got = await runCommand([kubectlPath('1.35'), 'get', '--raw', '/version'], {
        env: { ...env, KUBECONFIG: kubeconfig },
      });
      // The gateway’s own answer: it knows who asks.
      assert.match(got.stderr, /Forbidden\): access to kube_cluster "prod" denied: no role of user "alice"/);
    }
  });

  test('a key pair that cannot be used is named by file, line and key', async () => {
    const { dataDir } = daemon;
    await daemon.stop();
    const file = path('broken.yaml');
    const refused = async (key: string, cert: string, before = '') => {
      writeFileSync(
        file,
        `teleport: {data_dir: ${dataDir}}\nproxy_service:\n  https_keypairs:\n${before}  - key_file: ${path(key)}\n    cert_file: ${path(cert)}\n`,
      );
      const result = await runCommand([
        process.execPath,
        join(import.meta.dirname, '../../bin/nightlatch.js'),
        'start',
        '-c',
        file,
      ]);
      assert.equal(result.status, 1);
      return result.stderr;
    };
    assert.match(
      await refused('operator.key', 'missing.pem'),
      /ERROR: \S+broken\.yaml:5: proxy_service\.https_keypairs\[0\]\.cert_file: cannot be read: ENOENT.*missing\.pem/,
    );
    assert.match(
      await refused('ca.key', 'operator.pem'),
      /broken\.yaml:4: proxy_service\.https_keypairs\[0\]: cannot be used .*key values mismatch/,
    );
    assert.match(
      await refused('second.key', 'operator.pem', `  - ${pair('operator')}\n`),
      /broken\.yaml:5: proxy_service\.https_keypairs\[1\]: cannot be used .*key values mismatch/,
    );
  });

  function mkdir(name: string): string {
    mkdirSync(path(name));
    return path(name);
  }
});
