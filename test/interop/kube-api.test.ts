// The rest of the Kubernetes API through the gateway: requests, watches, logs, filtered lists, identity.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Containers, type Pod, startContainers } from '../../scripts/demo/cluster/containers.ts';
import { NEW, OLD, until } from '../fixtures/kube/clients.ts';
import { type KubeWorld, kubeResources, startKubeWorld } from '../fixtures/kube/world.ts';

const MEBIBYTE = 1 << 20;

describe('the Kubernetes API through the gateway', { timeout: 110_000 }, () => {
  let containers: Containers;
  let world: KubeWorld;
  let kubeconfig: string;
  const pods: Pod[] = [];

  before(async () => {
    containers = await startContainers();
    world = await startKubeWorld({ containers });
    const ticking = {
      name: 'main',
      command: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.3; done'],
    };
    pods.push(await containers.runPod('default', 'web-1', [ticking]));
    // The others are never run into: they only have to be listed.
    for (const [namespace, name] of [
      ['default', 'db-1'],
      ['team', 'web-2'],
      ['secret', 'vault'],
    ] as const)
      pods.push({ ...pods[0]!, namespace, name, uid: `${namespace}-${name}` });
    for (const pod of pods) world.api.addPod(pod);
    kubeconfig = await world.kubeconfig('alice');
  });

  after(async () => {
    await world?.close();
    await containers?.close();
  });

  const kubectl = (version: '1.20' | '1.35', ...args: string[]) => world.kubectl(version, kubeconfig, args);

  function role(allow: Record<string, unknown>): void {
    world.policy.put(...kubeResources({ allow }).filter((one) => (one as { kind: string }).kind === 'role'));
  }

  async function request(
    options: https.RequestOptions & { body?: Buffer; user?: string },
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
    const { keyPem, certPem } = await world.credentials(options.user ?? 'alice');
    const call = https.request({
      host: '127.0.0.1',
      port: world.port,
      key: keyPem,
      cert: certPem,
      ca: world.ca.tlsHostCa,
      servername: 'localhost',
      agent: false,
      ...options,
    });
    call.end(options.body);
    const [response] = (await once(call, 'response')) as [import('node:http').IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) };
  }

  test('get, create, apply and delete, with both kubectl', async () => {
    for (const version of ['1.20', '1.35'] as const) {
      const get = await kubectl(version, 'get', 'pods', '-A').result;
      assert.equal(get.code, 0, get.stderr);
      for (const pod of pods) assert.match(get.stdout.toString(), new RegExp(pod.name));
      const file = join(world.folder, `cm-${version}.yaml`);
      writeFileSync(
        file,
        `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-${version.replace('.', '-')}, namespace: default}\ndata: {a: "1"}\n`,
      );
      const apply = await kubectl(version, 'apply', '--validate=false', '-f', file).result;
      assert.equal(apply.code, 0, apply.stderr);
      assert.match(apply.stdout.toString(), /created/);
      const patch = await kubectl(
        version,
        'patch',
        'configmap',
        `cm-${version.replace('.', '-')}`,
        '--type=merge',
        '-p',
        '{"data":{"b":"2"}}',
      ).result;
      assert.equal(patch.code, 0, patch.stderr);
      const remove = await kubectl(version, 'delete', '--wait=false', '-f', file).result;
      assert.equal(remove.code, 0, remove.stderr);
    }
    const event = world.audit.events.find((one) => one.event === 'kube.request' && one['verb'] === 'create')!;
    assert.equal(event.code, 'T3009I');
    assert.equal(event['resource_kind'], 'configmaps');
    assert.equal(event['resource_namespace'], 'default');
    assert.equal(event['response_code'], 201);
    assert.equal(event['user'], 'alice');
    assert.equal(event['kubernetes_cluster'], 'prod');
  });

  test('identity headers of the client never arrive; the gateway’s own do', async () => {
    const { status } = await request({
      path: '/api/v1/namespaces/default/pods?limit=5',
      headers: {
        Authorization: 'Bearer stolen',
        'Impersonate-Extra-Scopes': 'all',
        'Impersonate-Uid': '0',
        'X-Remote-User': 'system:admin',
        'X-Remote-Group': 'system:masters',
        'X-Forwarded-For': '10.0.0.1',
        Cookie: 'a=b',
        Connection: 'close, X-Listed',
        'X-Listed': 'hop',
        'X-Kept': 'yes',
      },
    });
    assert.equal(status, 200);
    const { headers, url } = world.api.seen.at(-1)!;
    assert.equal(url, '/api/v1/namespaces/default/pods?limit=5');
    assert.equal(headers.authorization, 'Bearer service-account-token-of-the-gateway');
    assert.equal(headers['impersonate-user'], 'alice');
    assert.equal(headers['impersonate-group'], 'developers, viewers');
    assert.equal(headers['x-kept'], 'yes');
    for (const name of [
      'impersonate-extra-scopes',
      'impersonate-uid',
      'x-remote-user',
      'x-remote-group',
      'x-forwarded-for',
      'cookie',
      'x-listed',
    ])
      assert.equal(headers[name], undefined, name);
  });

  test('kubectl --as chooses among what the roles allow, and nothing else', async () => {
    role({ kubernetes_users: ['dev-alice', 'ops-alice'] });
    try {
      assert.match(
        (await kubectl('1.35', 'get', 'pods').result).stderr,
        /several Kubernetes users \(dev-alice, ops-alice\)/,
      );
      assert.equal((await kubectl('1.35', 'get', 'pods', '--as=ops-alice', '--as-group=viewers').result).code, 0);
      const { headers } = world.api.seen.at(-1)!;
      assert.equal(headers['impersonate-user'], 'ops-alice');
      assert.equal(headers['impersonate-group'], 'viewers');
      for (const flags of [['--as=system:admin'], ['--as=ops-alice', '--as-group=system:masters']]) {
        const before = world.api.seen.length;
        const { code, stderr } = await kubectl('1.35', 'get', 'pods', ...flags).result;
        assert.equal(code, 1);
        assert.match(stderr, /no role allows to act as Kubernetes (user|group) "system:/);
        assert.equal(world.api.seen.length, before);
      }
    } finally {
      role({});
    }
  });

  for (const protocol of ['HTTP/1.1', 'HTTP/2'] as const) {
    test(`50 MiB up and down in one request over ${protocol}, byte for byte`, async () => {
      const body = randomBytes(50 * MEBIBYTE);
      const digest = createHash('sha256').update(body).digest('hex');
      let answer: Buffer;
      if (protocol === 'HTTP/1.1') {
        answer = (await request({ path: '/echo', method: 'POST', body })).body;
      } else {
        const { keyPem, certPem } = await world.credentials('alice');
        const session = http2.connect(`https://localhost:${world.port}`, {
          key: keyPem,
          cert: certPem,
          ca: world.ca.tlsHostCa,
        });
        const stream = session.request({ ':path': '/echo', ':method': 'POST' });
        stream.end(body);
        const parts: Buffer[] = [];
        for await (const part of stream) parts.push(part as Buffer);
        answer = Buffer.concat(parts);
        session.close();
      }
      assert.equal(createHash('sha256').update(answer).digest('hex'), digest);
    });
  }

  test('a watch shows what happens, outlives the idle timeout, and ends with a lock', async () => {
    world.policy.put({
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: 'cluster-networking-config' },
      spec: { client_idle_timeout: '1s' },
    });
    const running = kubectl('1.35', 'get', 'pods', '-w');
    try {
      await until('the list', () => running.stdout().includes('web-1'));
      await until('the session', () => world.sessions.list().length === 1);
      const started = Date.now();
      await until('two seconds', () => Date.now() - started > 2_000);
      const before = running.stdout().split('web-1').length;
      world.api.touch(pods[0]!);
      await until('the event', () => running.stdout().split('web-1').length > before);
      assert.match(String(world.audit.last('session.start')!['idle_exempt']), /watch/);
      world.policy.put({
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: 'alice' }, message: 'laptop stolen' },
      });
      await until('the end', () => world.sessions.list().length === 0);
      assert.equal(world.audit.last('client.disconnect')!['cause'], 'locked');
      const refused = await kubectl('1.20', 'get', 'pods').result;
      assert.match(refused.stderr, /laptop stolen/);
    } finally {
      running.child.kill('SIGKILL');
      world.policy.remove('lock', 'l1');
      world.policy.put({
        kind: 'cluster_networking_config',
        version: 'v2',
        metadata: { name: 'cluster-networking-config' },
        spec: {},
      });
    }
    await running.result;
  });

  for (const client of [OLD, NEW]) {
    test(`${client.name}: logs -f flow, and end with the reason and an error`, async () => {
      const running = kubectl(client.version, 'logs', '-f', 'web-1');
      await until('lines', () => /line \d+\nline \d+\n/.test(running.stdout()));
      await until('the session', () => world.sessions.list().length === 1);
      await world.sessions.kill(world.sessions.list()[0]!.id, { by: 'root-admin', message: 'maintenance' });
      const { code, stdout, stderr } = await running.result;
      assert.match(stdout.toString(), /Session ended by root-admin: maintenance\.\n$/);
      assert.notEqual(code, 0, stderr);
    });
  }

  test('lists and watches show only what kubernetes_resources allow', async () => {
    role({
      kubernetes_resources: [
        { kind: 'pod', namespace: 'default', name: 'web-*', verbs: ['*'] },
        { kind: 'pod', namespace: 'team', name: '*', verbs: ['list'] },
      ],
    });
    try {
      for (const version of ['1.20', '1.35'] as const) {
        for (const format of [[], ['-o', 'json'], ['-o', 'name']]) {
          const { code, stdout, stderr } = await kubectl(version, 'get', 'pods', '-A', ...format).result;
          assert.equal(code, 0, stderr);
          assert.match(stdout.toString(), /web-1/);
          assert.match(stdout.toString(), /web-2/);
          assert.doesNotMatch(stdout.toString(), /db-1|vault/);
        }
        const other = await kubectl(version, 'get', 'pod', 'db-1').result;
        assert.match(other.stderr, /no role allows get pods "db-1" in namespace "default"/);
        const elsewhere = await kubectl(version, 'get', 'pods', '-n', 'secret').result;
        assert.match(elsewhere.stderr, /no role allows list pods in namespace "secret"/);
      }
      const running = kubectl('1.35', 'get', 'pods', '-w', '-n', 'default', '--watch-only', '-o', 'name');
      await until(
        'the watch',
        () => world.sessions.list().length === 1 && world.api.seen.at(-1)!.url.includes('watch'),
      );
      for (let i = 0; i < 5; i += 1) {
        world.api.touch(pods[1]!);
        world.api.touch(pods[0]!);
      }
      await until('events', () => {
        world.api.touch(pods[0]!);
        return running.stdout().includes('web-1');
      });
      assert.doesNotMatch(running.stdout(), /db-1/);
      running.child.kill('SIGKILL');
      await running.result;
      const whole = await request({ method: 'DELETE', path: '/api/v1/namespaces/default/pods' });
      assert.equal(whole.status, 403);
    } finally {
      role({});
    }
  });

  test('without a certificate, with a stranger’s, with an expired one: refused', async () => {
    const bare = await request({ path: '/api', key: undefined, cert: undefined } as never);
    assert.equal(bare.status, 401);
    assert.match(bare.body.toString(), /client certificate is needed/);
    const refusal = await until('the refusal in the audit log', () => world.audit.last('auth') !== undefined).then(() =>
      world.audit.last('auth'),
    );
    assert.deepEqual([refusal?.['protocol'], refusal?.['success']], ['kube', false]);
    const { keyPem, certPem } = await world.credentials('alice', { ttlMs: 2_000 });
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const first = await request({ path: '/api', key: keyPem, cert: certPem, agent });
    assert.equal(first.status, 200);
    await until('the expiry', () => Date.now() > Date.parse(certificateEnd(certPem)) + 50);
    const later = await request({ path: '/api', key: keyPem, cert: certPem, agent });
    assert.equal(later.status, 401, 'on the connection that is still open');
    agent.destroy();
  });

  test('another cluster’s name in the path does not get past the certificate', async () => {
    const { keyPem, certPem } = await world.credentials('alice', { cluster: 'prod' });
    const good = await request({ path: '/clusters/prod/api', key: keyPem, cert: certPem });
    assert.equal(good.status, 200);
    assert.equal(world.api.seen.at(-1)!.url, '/api');
    const bad = await request({ path: '/clusters/other/api', key: keyPem, cert: certPem });
    assert.equal(bad.status, 403);
    const unknown = await request({ path: '/clusters/other/api' });
    assert.equal(unknown.status, 404);
  });

  test('the headers of a filtered list tell nothing of what is not shown', async () => {
    role({ kubernetes_resources: [{ kind: 'pod', namespace: 'default', name: 'web-1', verbs: ['list'] }] });
    const warnings = world.log.lines.length;
    try {
      const head = await request({ path: '/api/v1/namespaces/default/pods', method: 'HEAD' });
      assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, undefined]);
      assert.deepEqual(
        world.log.lines.slice(warnings).filter((line) => line.startsWith('warn')),
        [],
      );
    } finally {
      role({});
    }
  });

  test('paths that two readers could understand differently are refused', async () => {
    for (const path of [
      '/api/v1/namespaces/default/../secret/pods/vault',
      '/api/v1//pods',
      '/api/v1/namespaces/default/pods/%2e%2e/x',
      '/api/v1/%zz',
      // An escaped slash is a slash to the API server, and part of a name to what may stand before it.
      '/api/v1/namespaces%2Fsecret%2Fpods%2Fvault',
      '/api/v1/namespaces/default/pods%2fweb-1',
    ])
      assert.equal((await request({ path })).status, 400, path);
  });
});

function certificateEnd(certPem: string): string {
  return new (process.getBuiltinModule('node:crypto').X509Certificate)(certPem).validTo;
}
