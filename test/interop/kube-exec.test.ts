// kubectl of 2021 (SPDY) and of today (WebSocket, and forced to SPDY) through the gateway into real containers.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Containers, type Pod, startContainers } from '../../scripts/demo/cluster/containers.ts';
import { CLIENTS, type KubeClient, NEW, until, withLimit } from '../fixtures/kube/clients.ts';
import { type KubeWorld, kubeResources, startKubeWorld } from '../fixtures/kube/world.ts';

const MEBIBYTE = 1 << 20;

describe('kubectl exec, attach and cp through the gateway', { timeout: 300_000 }, () => {
  let containers: Containers;
  let world: KubeWorld;
  let pod: Pod;
  let kubeconfig: string;

  before(async () => {
    containers = await startContainers();
    world = await startKubeWorld({ containers });
    pod = await containers.runPod('default', 'web', [
      { name: 'main' },
      { name: 'talker', command: ['sh', '-c', 'while read line; do echo "heard $line"; done'], stdin: true },
    ]);
    world.api.addPod(pod);
    kubeconfig = await world.kubeconfig('alice');
  });

  after(async () => {
    await world?.close();
    await containers?.close();
  });

  const kubectl = ({ version, env }: KubeClient, args: readonly string[]) =>
    world.kubectl(version, kubeconfig, args, { env: { ...env } });
  const exec = (client: KubeClient, options: readonly string[], ...command: string[]) =>
    kubectl(client, ['exec', ...options, 'web', '-c', 'main', '--', ...command]);

  for (const client of CLIENTS) {
    describe(client.name, () => {
      test('output, errors and the exit code come through', async () => {
        const result = await exec(client, [], 'sh', '-c', 'echo out; echo err >&2; exit 7').result;
        assert.equal(result.stdout.toString(), 'out\n');
        assert.match(result.stderr, /^err$/m);
        assert.equal(result.code, 7);
      });

      test('cp into the container and out of it', async () => {
        const source = join(world.folder, `up-${client.version}`);
        const back = join(world.folder, `down-${client.version}`);
        const data = randomBytes(3 * MEBIBYTE + 17);
        writeFileSync(source, data);
        const up = await kubectl(client, ['cp', source, 'default/web:/tmp/copied', '-c', 'main']).result;
        assert.equal(up.code, 0, up.stderr);
        const down = await kubectl(client, ['cp', 'default/web:/tmp/copied', back, '-c', 'main']).result;
        assert.equal(down.code, 0, down.stderr);
        assert.ok(readFileSync(back).equals(data));
      });

      test('a command that waits for input is ended for idleness, says why, and exits 1', async () => {
        await withLimit(world, { client_idle_timeout: '2s' }, async () => {
          const { code, stderr } = await exec(client, ['-i'], 'cat').result;
          assert.match(stderr, /^error: Session ended: no activity for 2s \(cluster_networking_config[^)]*\)\.$/m);
          assert.equal(code, 1);
          assert.equal(world.audit.last('client.disconnect')!['cause'], 'idle');
          assert.equal(world.api.streams.size, 0, 'a connection to the API server is still open');
        });
      });

      test('output keeps a command without a terminal in `auto`', async () => {
        await withLimit(world, { client_idle_timeout: '2s' }, async () => {
          const { code, stdout, stderr } = await exec(
            client,
            [],
            'sh',
            '-c',
            'for i in 1 2 3 4; do sleep 1; echo $i; done',
          ).result;
          assert.equal(code, 0, stderr);
          assert.equal(stdout.toString(), '1\n2\n3\n4\n');
        });
      });

      test('under a flood of output the reason still arrives, cut inside the stream', async () => {
        await withLimit(world, { client_idle_timeout: '2s', client_idle_activity: 'input' }, async () => {
          const { code, stdout, stderr } = await exec(client, [], 'yes').result;
          assert.match(stderr, /error: Session ended: no activity for 2s/);
          assert.equal(code, 1);
          assert.ok(stdout.length > MEBIBYTE);
          assert.match(stdout.subarray(-4096).toString(), /^[y\n\0]*$/);
        });
      });

      test('attach reads and writes', async () => {
        const running = kubectl(client, ['attach', '-i', 'web', '-c', 'talker']);
        await until(
          () => `an answer (${running.stderr()})`,
          () => {
            running.child.stdin!.write(`${client.version}\n`);
            return running.stdout().includes(`heard ${client.version}`);
          },
        );
        running.child.kill('SIGKILL');
        await running.result;
      });

      test('a pod that does not exist is the API server’s own answer', async () => {
        const { code, stderr } = await kubectl(client, ['exec', 'nowhere', '--', 'ls']).result;
        assert.equal(code, 1);
        assert.match(stderr, /pods "nowhere" not found/);
      });

      test('killed by an administrator, who is named', async () => {
        const running = exec(client, ['-i'], 'cat');
        running.child.stdin!.write('hello\n');
        await until(
          () => `the echo (${running.stderr()})`,
          () => running.stdout().includes('hello'),
        );
        await world.sessions.kill(world.sessions.list()[0]!.id, { by: 'root-admin', message: 'maintenance' });
        const { code, stderr } = await running.result;
        assert.match(stderr, /error: Session ended by root-admin: maintenance\./);
        assert.equal(code, 1);
      });
    });
  }

  test('pings every 5 s do not keep a session', async () => {
    await withLimit(world, { client_idle_timeout: '11s', client_idle_activity: 'traffic' }, async () => {
      const started = Date.now();
      const { code, stderr } = await exec(NEW, ['-i'], 'cat').result;
      assert.match(stderr, /no activity for 11s/);
      assert.equal(code, 1);
      assert.ok(Date.now() - started < 40_000);
    });
  });

  test('exec is recorded with pod, container and command', () => {
    const event = world.audit.events.find(
      (one) => one.event === 'exec' && String(one['command']).startsWith('sh -c echo out'),
    )!;
    assert.equal(event.code, 'T3002I');
    assert.equal(event['kubernetes_cluster'], 'prod');
    assert.equal(event['kubernetes_pod_name'], 'web');
    assert.equal(event['kubernetes_pod_namespace'], 'default');
    assert.equal(event['kubernetes_container_name'], 'main');
    assert.deepEqual(event['kubernetes_groups'], ['developers', 'viewers']);
    assert.equal(event['user'], 'alice');
  });

  test('exec that the roles do not allow: one denial, though kubectl tries WebSocket and then SPDY', async () => {
    const resources = [{ kind: 'pod', namespace: '*', name: '*', verbs: ['get', 'list', 'watch'] }];
    world.policy.put(
      ...kubeResources({ allow: { kubernetes_resources: resources } }).filter(
        (one) => (one as { kind: string }).kind === 'role',
      ),
    );
    try {
      for (const client of CLIENTS) {
        const before = world.audit.names.filter((name) => name === 'session.reject').length;
        const attempts = world.api.seen.length;
        const { code, stderr } = await exec(client, [], 'id').result;
        assert.equal(code, 1);
        assert.match(
          stderr,
          /Error from server \(Forbidden\): .*no role allows exec pods "web" in namespace "default"/,
        );
        assert.equal(world.audit.names.filter((name) => name === 'session.reject').length - before, 1, client.name);
        assert.ok(world.api.seen.slice(attempts).every(({ url }) => !url.includes('/exec')));
      }
    } finally {
      world.policy.put(...kubeResources().filter((one) => (one as { kind: string }).kind === 'role'));
    }
  });
});
