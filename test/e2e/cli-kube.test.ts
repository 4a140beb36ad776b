// tsh kube against the real daemon, with real kubectl.
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ApiServer, SERVICE_ACCOUNT_TOKEN, startApiServer } from '../../scripts/demo/cluster/api-server.ts';
import { runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { kubectlPath } from '../fixtures/kube/kubectl.ts';

const PASSWORD = 'correct horse battery staple';

describe('tsh kube', () => {
  let daemon: TestDaemon;
  let apiServer: ApiServer;

  const path = (name: string) => join(daemon.dir, name);

  const ok = async (program: 'tctl' | 'tsh', ...args: string[]) => {
    const result = await daemon[program](args);
    assert.equal(result.status, 0, `${program} ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };

  const pin = () => ['--ca-pin', daemon.caPin, '--password-fd', '3'];
  const login = async () => {
    const args = ['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin()];
    const { status, stderr } = await daemon.tsh(args, { fds: [PASSWORD] });
    assert.equal(status, 0, stderr);
  };

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        [
          'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}',
          'proxy_service: {web_listen_addr: "127.0.0.1:0"}',
          '',
        ].join('\n'),
    });
    await ok('tctl', 'auth', 'sign', '--format=db', '--host=localhost', `--out=${path('api')}`, '--ttl=24h');
    apiServer = await startApiServer({
      certPem: readFileSync(path('api.crt'), 'utf8'),
      keyPem: readFileSync(path('api.key'), 'utf8'),
    });
    const upstream = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'c',
          cluster: {
            server: `https://localhost:${apiServer.port}`,
            'certificate-authority-data': Buffer.from(readFileSync(path('api.cas'))).toString('base64'),
          },
        },
      ],
      users: [{ name: 'gateway', user: { token: SERVICE_ACCOUNT_TOKEN } }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'gateway' } }],
      'current-context': 'c',
    };
    const cluster = {
      kind: 'kube_cluster',
      version: 'v3',
      metadata: { name: 'prod', labels: { env: 'test' } },
      spec: { kubeconfig: Buffer.from(JSON.stringify(upstream)).toString('base64') },
    };
    writeFileSync(path('cluster.yaml'), JSON.stringify(cluster));
    assert.equal(await ok('tctl', 'create', path('cluster.yaml')), 'kubernetes cluster "prod" has been created\n');
    await ok(
      'tctl',
      'users',
      'add',
      'alice',
      '--roles=access',
      '--kubernetes-groups=developers',
      '--kubernetes-users=alice',
    );
    const reset = JSON.parse(await ok('tctl', 'users', 'reset', 'alice', '--format=json')) as { url: string };
    const url = reset.url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    assert.equal((await daemon.tsh(['invite', url, ...pin()], { fds: [PASSWORD] })).status, 0);
    await login();
  });

  after(async () => {
    await apiServer?.close();
    await daemon.stop();
  });

  test('who signs in anew gets credentials for the new key', async () => {
    for (let i = 0; i < 2; i += 1) {
      const { status } = JSON.parse(await ok('tsh', 'kube', 'credentials', '--kube-cluster=prod')) as {
        status: { clientCertificateData: string; clientKeyData: string };
      };
      const certificate = new X509Certificate(status.clientCertificateData);
      assert.ok(certificate.checkPrivateKey(createPrivateKey(status.clientKeyData)));
      await login();
    }
  });

  const CONFIG = `# mine
apiVersion: v1
kind: Config
clusters:
- name: other # keep
  cluster: {server: "https://other.example:6443"}
users: []
contexts:
- context: {cluster: other, user: me}
  name: other
current-context: other
`;

  test('tsh kube ls, login, kubectl, logout: the rest of the kubeconfig stays, comments too', async () => {
    assert.equal(
      await ok('tsh', 'kube', 'ls'),
      'Kube Cluster Name Labels\n----------------- --------\nprod              env=test\n',
    );
    const kubeconfig = path('home/.kube/config');
    mkdirSync(dirname(kubeconfig), { recursive: true });
    writeFileSync(path('real-config'), CONFIG, { mode: 0o640 });
    symlinkSync(path('real-config'), kubeconfig);
    assert.equal(
      await ok('tsh', 'kube', 'login', 'prod'),
      `Logged into Kubernetes cluster "prod". Try 'kubectl version' to test the connection.\n`,
    );
    await ok('tsh', 'kube', 'login', 'prod');
    const text = readFileSync(path('real-config'), 'utf8');
    assert.ok(text.startsWith('# mine\n'));
    assert.match(text, /name: other # keep/);
    assert.match(text, /current-context: example\.com-prod\n/);
    assert.equal(text.match(/name: example\.com-prod$/gm)!.length, 3, text);
    assert.equal(statSync(path('real-config')).mode & 0o777, 0o640);

    const env = { ...daemon.tshEnv(), KUBECONFIG: kubeconfig };
    // The API server of the tests reads JSON only, which kubectl sends since 1.33 no more when it creates.
    const create = [kubectlPath('1.20'), 'create', 'configmap', 'settings', '--from-literal=a=b'];
    const made = await runCommand(create, { env });
    assert.equal(made.status, 0, made.stderr);
    for (const version of ['1.20', '1.35'] as const) {
      const get = [kubectlPath(version), 'get', 'configmap', 'settings', '-o', 'jsonpath={.data.a}'];
      const got = await runCommand(get, { env });
      assert.equal(got.stdout, 'b', got.stderr);
    }
    const headers = apiServer.seen.at(-1)!.headers;
    assert.equal(headers['impersonate-user'], 'alice');
    assert.equal(headers['impersonate-group'], 'developers');

    assert.equal(await ok('tsh', 'kube', 'logout'), 'Removed example.com-prod\n');
    const after = readFileSync(path('real-config'), 'utf8');
    assert.doesNotMatch(after, /example\.com-prod|credentials/);
    assert.match(after, /name: other # keep/);
    assert.equal(await ok('tsh', 'kube', 'logout'), 'Not logged into any cluster\n');
  });

  test('a kubeconfig that cannot be read is left as it is', async () => {
    const broken = path('broken');
    writeFileSync(broken, 'clusters: [\n');
    const { status, stderr } = await daemon.tsh(['kube', 'login', 'prod'], { env: { KUBECONFIG: broken } });
    assert.equal(status, 1);
    assert.match(stderr, /^ERROR: .*broken cannot be read, and is left as it is: /);
    assert.equal(readFileSync(broken, 'utf8'), 'clusters: [\n');
  });

  test('credentials are for one cluster, and end with the sign-in', async () => {
    const credential = JSON.parse(await ok('tsh', 'kube', 'credentials', '--kube-cluster=prod'));
    assert.equal(credential.kind, 'ExecCredential');
    assert.match(credential.status.clientCertificateData, /^-----BEGIN CERTIFICATE-----/);
    const left = Date.parse(credential.status.expirationTimestamp) - Date.now();
    assert.ok(left > 0 && left <= 12 * 3_600_000);
    const unknown = await daemon.tsh(['kube', 'login', 'nowhere']);
    assert.match(unknown.stderr, /^ERROR: kubernetes cluster "nowhere" not found/);
  });

  test('tctl auth sign --format=kubernetes makes a kubeconfig for a machine', async () => {
    const file = path('machine.yaml');
    await ok(
      'tctl',
      'auth',
      'sign',
      '--format=kubernetes',
      '--user=alice',
      '--kube-cluster-name=prod',
      `--proxy=${daemon.proxy}`,
      `--out=${file}`,
    );
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const got = await runCommand([kubectlPath('1.35'), 'get', 'configmaps', '-o', 'name'], {
      env: { KUBECONFIG: file },
    });
    assert.match(got.stdout, /configmap\/settings/, got.stderr);
  });
});
