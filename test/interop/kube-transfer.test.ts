// Bulk through the gateway, by checksum.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type Containers, startContainers } from '../../scripts/demo/cluster/containers.ts';
import { CLIENTS, type KubeClient, NEW_SPDY } from '../fixtures/kube/clients.ts';
import { type KubeWorld, startKubeWorld } from '../fixtures/kube/world.ts';

const MEBIBYTE = 1 << 20;

describe('bulk through kubectl exec', { timeout: 110_000 }, () => {
  let containers: Containers;
  let world: KubeWorld;
  let kubeconfig: string;

  before(async () => {
    containers = await startContainers();
    world = await startKubeWorld({ containers });
    world.api.addPod(await containers.runPod('default', 'web', [{ name: 'main' }]));
    kubeconfig = await world.kubeconfig('alice');
  });

  after(async () => {
    await world?.close();
    await containers?.close();
  });

  const exec = (client: KubeClient, options: readonly string[], ...command: string[]) =>
    world.kubectl(client.version, kubeconfig, ['exec', ...options, 'web', '--', ...command], {
      env: { ...client.env },
    });

  for (const client of CLIENTS) {
    // The same code carries the third as the first: less of it is enough.
    const size = (client === NEW_SPDY ? 10 : 100) * MEBIBYTE;

    test(`${client.name}: ${size / MEBIBYTE} MiB of input arrive whole`, async () => {
      const data = randomBytes(size);
      const running = exec(client, ['-i'], 'sha256sum');
      running.child.stdin!.end(data);
      const { code, stdout, stderr } = await running.result;
      assert.equal(code, 0, stderr);
      assert.equal(stdout.toString().split(' ')[0], createHash('sha256').update(data).digest('hex'));
    });

    test(`${client.name}: 30 MiB of output arrive whole`, async () => {
      const length = 30 * MEBIBYTE;
      const { code, stdout, stderr } = await exec(client, [], 'sh', '-c', `head -c ${length} /dev/zero | tr "\\0" "k"`)
        .result;
      assert.equal(code, 0, stderr);
      assert.equal(stdout.length, length);
      assert.ok(stdout.equals(Buffer.alloc(length, 'k')));
    });
  }
});
