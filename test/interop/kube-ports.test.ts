// kubectl port-forward through the gateway, over SPDY and tunnelled in a WebSocket.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Containers, startContainers } from '../../scripts/demo/cluster/containers.ts';
import { CLIENTS, type KubeClient, until, withLimit } from '../fixtures/kube/clients.ts';
import { type Kubectl, type KubeWorld, startKubeWorld } from '../fixtures/kube/world.ts';

describe('kubectl port-forward through the gateway', { timeout: 110_000 }, () => {
  let containers: Containers;
  let world: KubeWorld;
  let kubeconfig: string;
  /** What the pod serves (it shares this machine's network): an echo, and on `count\n` a number every 500 ms. */
  let service: net.Server;
  let servicePort: number;

  before(async () => {
    containers = await startContainers();
    world = await startKubeWorld({ containers });
    world.api.addPod(await containers.runPod('default', 'web', [{ name: 'main' }]));
    kubeconfig = await world.kubeconfig('alice');
    service = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk) => {
        if (chunk.toString() !== 'count\n') {
          socket.write(chunk);
          return;
        }
        let n = 0;
        const timer = setInterval(() => {
          n += 1;
          socket.write(`${n}\n`);
          if (n === 8) {
            clearInterval(timer);
            socket.end();
          }
        }, 500);
        socket.on('close', () => clearInterval(timer));
      });
    });
    service.listen(0, '127.0.0.1');
    await once(service, 'listening');
    servicePort = (service.address() as AddressInfo).port;
  });

  after(async () => {
    service?.close();
    await world?.close();
    await containers?.close();
  });

  async function forward(client: KubeClient): Promise<{ running: Kubectl; port: number }> {
    const running = world.kubectl(
      client.version,
      kubeconfig,
      ['port-forward', 'web', `:${servicePort}`, '--address=127.0.0.1'],
      { env: { ...client.env } },
    );
    await until(
      () => `forwarding (${running.stdout()} ${running.stderr()})`,
      () => /Forwarding from 127\.0\.0\.1:\d+/.test(running.stdout()),
    );
    return { running, port: Number(/Forwarding from 127\.0\.0\.1:(\d+)/.exec(running.stdout())![1]) };
  }

  async function dial(port: number): Promise<{ socket: net.Socket; received: () => string }> {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString();
    });
    return { socket, received: () => received };
  }

  for (const client of CLIENTS) {
    test(`${client.name}: several connections at a time, and bulk`, async () => {
      const { running, port } = await forward(client);
      try {
        for (let round = 0; round < 3; round += 1) {
          const connections = await Promise.all(Array.from({ length: 5 }, () => dial(port)));
          for (const [i, { socket }] of connections.entries()) socket.write(`hello ${i} ${'x'.repeat(100_000)}`);
          for (const [i, { received, socket }] of connections.entries()) {
            await until('the echo', () => received().length >= 100_008);
            assert.ok(received().startsWith(`hello ${i} `));
            socket.destroy();
          }
        }
        const event = world.audit.last('port')!;
        assert.equal(event.code, 'T3003I');
        assert.equal(event['addr'], `default/web:${servicePort}`);
      } finally {
        running.child.kill('SIGKILL');
        await running.result;
      }
      await until('the end of the session', () => world.sessions.list().length === 0);
      assert.equal(world.audit.last('client.disconnect')!['cause'], 'client_closed');
    });

    test(`${client.name}: data either way keeps it in \`auto\`, silence ends it with the reason`, async () => {
      await withLimit(world, { client_idle_timeout: '2s' }, async () => {
        const { running, port } = await forward(client);
        const { socket, received } = await dial(port);
        socket.write('count\n');
        await until('the last number', () => received().endsWith('8\n'));
        const open = await dial(port);
        open.socket.write('hello');
        await until('the echo', () => open.received() === 'hello');
        const { code, stderr } = await running.result;
        assert.match(stderr, /an error occurred forwarding \d+ -> \d+: .*Session ended: no activity for 2s/);
        // Old kubectl reports success whatever happens to a forwarded port.
        if (client.version !== '1.20') assert.equal(code, 1);
        assert.equal(world.audit.last('client.disconnect')!['cause'], 'idle');
        open.socket.destroy();
      });
    });

    test(`${client.name}: without a connection through it, it is ended as well`, async () => {
      await withLimit(world, { client_idle_timeout: '2s' }, async () => {
        const { running } = await forward(client);
        await until('the end of the session', () => world.sessions.list().length === 0);
        assert.equal(world.audit.last('client.disconnect')!['cause'], 'idle');
        const giveUp = setTimeout(() => running.child.kill('SIGKILL'), 10_000);
        await running.result;
        clearTimeout(giveUp);
      });
    });
  }
});
