// The session lifecycle through the MySQL gateway: real sockets on both sides, the protocol's real bytes, the suite's clock.
import net from 'node:net';
import { createMysqlGateway } from '../../src/gateways/mysql/gateway.ts';
import { COMMAND } from '../../src/wire/mysql/commands.ts';
import { encodePacket } from '../../src/wire/mysql/packets.ts';
import { testAuthority } from '../fixtures/db-authority.ts';
import { type ConnectResult, describeGateway, type RunningGateway, type TestClient, type World } from './gateway.ts';
import { query, SmallClient, type TargetConnection, TargetServer } from './mysql-peers.ts';

class MysqlTestClient implements TestClient {
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
    await this.#client.command(query('select 1'));
  }

  async noise(): Promise<void> {
    await this.#client.command(encodePacket(0, Buffer.from([COMMAND.ping])));
    await this.#client.command(query('/* are you there? */ ;'));
    const received = this.#target.nextCommand();
    this.#client.send(encodePacket(0, Buffer.from([COMMAND.stmtClose, 1, 0, 0, 0])));
    await received;
  }

  async startWork(): Promise<() => Promise<void>> {
    const received = this.#target.nextCommand();
    this.#client.send(query('hold'));
    await received;
    return async () => {
      this.#target.release();
      await this.#client.next();
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
    this.#client.send(query('flood'));
    await received;
    // Until the sender is held up, or a good deal has gone through.
    while (!this.#target.socket.writableNeedDrain && this.#target.socket.bytesWritten < 8_000_000)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

async function start({ clock, policy, sessions, log }: World): Promise<RunningGateway> {
  const { ca, tls } = await testAuthority();
  const gateway = createMysqlGateway({ clock, log, sessions, policy, ca, tls });
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
        route: { kind: 'db', name: 'maria' },
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
      const client = new SmallClient(
        net.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', noDelay: true }),
      );
      clients.push(client);
      if (!(await client.login('app'))) return { ok: false, told: client.told };
      return { ok: true, client: new MysqlTestClient(client, target.connections[known]!) };
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

function databaseResource(port: number): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'maria', labels: { env: 'test' } },
    spec: { protocol: 'mysql', uri: `127.0.0.1:${port}`, tls: { mode: 'disable' } },
  };
}

describeGateway({
  name: 'MySQL',
  protocol: 'mysql',
  allow: { db_labels: { env: 'test' }, db_users: ['app'], db_names: ['*'] },
  targets: [databaseResource(3306)],
  start,
});
