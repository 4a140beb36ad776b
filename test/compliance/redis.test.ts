// The session lifecycle through the Redis gateway: real sockets on both sides, the protocol's real bytes, the suite's clock.
import net from 'node:net';
import { createRedisGateway } from '../../src/gateways/redis/gateway.ts';
import { encodeCommand } from '../../src/wire/redis/resp.ts';
import { testAuthority } from '../fixtures/db-authority.ts';
import { type ConnectResult, describeGateway, type RunningGateway, type TestClient, type World } from './gateway.ts';
import { SmallClient, type TargetConnection, TargetServer } from './redis-peers.ts';

class RedisTestClient implements TestClient {
  readonly canWarn = false;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  readonly #client: SmallClient;
  readonly #target: TargetConnection;

  constructor(client: SmallClient, target: TargetConnection) {
    this.#client = client;
    this.#target = target;
    this.closed = client.closed;
    this.targetClosed = target.closed;
  }

  async input(): Promise<void> {
    await this.#client.command(encodeCommand('SET', 'k', 'v'));
  }

  async noise(): Promise<void> {
    await this.#client.command(encodeCommand('PING'));
    await this.#client.command(encodeCommand('ping', 'are you there?'));
    await this.#client.command(Buffer.from('\r\nPING\r\n'));
  }

  async startWork(): Promise<() => Promise<void>> {
    const received = this.#target.nextCommand();
    this.#client.send(encodeCommand('BLPOP', 'k', '0'));
    await received;
    return async () => {
      const due = this.#client.messages + 1;
      this.#target.release();
      await this.#client.received(due);
    };
  }

  told(): string {
    return this.#client.told;
  }

  vanish(): void {
    this.#client.stream.destroy();
  }

  dropTarget(): void {
    this.#target.socket.destroy();
  }

  stopReading(): void {
    this.#client.stream.pause();
  }

  async flood(): Promise<void> {
    const received = this.#target.nextCommand();
    this.#client.send(encodeCommand('SUBSCRIBE', 'c'));
    await received;
    // Until the sender is held up, or a good deal has gone through.
    while (!this.#target.socket.writableNeedDrain && this.#target.socket.bytesWritten < 8_000_000)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

function databaseResource(port: number): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'cache', labels: { env: 'test' } },
    spec: { protocol: 'redis', uri: `127.0.0.1:${port}`, tls: { mode: 'disable' } },
  };
}

async function start({ clock, policy, sessions, log }: World): Promise<RunningGateway> {
  const { ca, tls } = await testAuthority();
  const gateway = createRedisGateway({ clock, log, sessions, policy, ca, tls });
  const target = await TargetServer.listen();
  policy.put(databaseResource(target.port));
  const accepted = new Set<net.Socket>();
  let connecting = '';
  const server = net.createServer((socket) => {
    accepted.add(socket);
    socket.once('close', () => accepted.delete(socket));
    gateway.acceptTunnel(socket, {
      clientAddr: `127.0.0.1:${socket.remotePort}`,
      identity: {
        user: connecting,
        serial: '1',
        expiresAtMs: clock.wallMs() + 12 * 3_600_000,
        principals: [],
        route: { kind: 'db', name: 'cache' },
        extensions: [],
      },
    });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const clients: SmallClient[] = [];
  return {
    async connect(user): Promise<ConnectResult> {
      connecting = user;
      const known = target.connections.length;
      const { port } = server.address() as net.AddressInfo;
      const client = new SmallClient(net.connect({ port, host: '127.0.0.1', noDelay: true }));
      clients.push(client);
      await client.command(encodeCommand('AUTH', 'app', 'any'));
      if (!client.told.startsWith('+OK')) {
        await client.closed;
        return { ok: false, told: client.told };
      }
      return { ok: true, client: new RedisTestClient(client, target.connections[known]!) };
    },
    async close() {
      for (const { stream } of clients) stream.destroy();
      for (const socket of accepted) socket.destroy();
      gateway.close();
      await target.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describeGateway({
  name: 'Redis',
  protocol: 'redis',
  allow: { db_labels: { env: 'test' }, db_users: ['app'], db_names: ['*'] },
  targets: [databaseResource(6379)],
  start,
});
