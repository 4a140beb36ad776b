// What the subjects of the MySQL and the Redis gateway have in common: connections as from the public port, and targets that are told what to do.
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Identity } from '../../src/identity/types.ts';
import type { ConnectResult, RunningGateway, TestClient, World } from './gateway.ts';

/** The client's end of a session. */
interface ClientPeer {
  readonly stream: Duplex;
  readonly closed: Promise<void>;
  /** Errors that it was told. */
  readonly told: string;
  send(command: Buffer): void;
}

/** The target's end of it. */
interface TargetPeer {
  readonly socket: net.Socket;
  readonly closed: Promise<void>;
  /** Resolves when the target has received a further command. */
  nextCommand(): Promise<void>;
}

/** Targets that accept everybody. */
export class TargetServer<T extends { readonly socket: net.Socket }> {
  readonly connections: T[] = [];
  readonly #server: net.Server;

  private constructor(server: net.Server, make: (socket: net.Socket, all: readonly T[]) => T) {
    this.#server = server;
    server.on('connection', (socket) => this.connections.push(make(socket, this.connections)));
  }

  /** @param make - is given the connections that there were before, too. */
  static async listen<T extends { readonly socket: net.Socket }>(
    make: (socket: net.Socket, all: readonly T[]) => T,
  ): Promise<TargetServer<T>> {
    const server = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return new TargetServer(server, make);
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A session of commands and answers, as the suite drives it. */
export abstract class CommandTestClient<C extends ClientPeer, T extends TargetPeer> implements TestClient {
  readonly canWarn = false;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  protected readonly client: C;
  protected readonly target: T;

  constructor(client: C, target: T) {
    this.client = client;
    this.target = target;
    this.closed = client.closed;
    this.targetClosed = target.closed;
  }

  abstract input(): Promise<void>;
  abstract noise(): Promise<void>;
  /** Lets the target finish the command that is running, and waits for the answer. */
  protected abstract finishWork(): Promise<void>;
  protected abstract readonly commands: { readonly work: Buffer; readonly flood: Buffer };

  protected async sent(command: Buffer): Promise<void> {
    const received = this.target.nextCommand();
    this.client.send(command);
    await received;
  }

  async startWork(): Promise<() => Promise<void>> {
    await this.sent(this.commands.work);
    return () => this.finishWork();
  }

  told(): string {
    return this.client.told;
  }

  vanish(): void {
    this.client.stream.destroy();
  }

  dropTarget(): void {
    this.target.socket.destroy();
  }

  stopReading(): void {
    this.client.stream.pause();
  }

  async flood(): Promise<void> {
    await this.sent(this.commands.flood);
    // Until the sender is held up, or a good deal has gone through.
    while (!this.target.socket.writableNeedDrain && this.target.socket.bytesWritten < 8_000_000)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The `db` resource that the suite's role allows. */
export function databaseResource(protocol: 'mysql' | 'redis', port: number): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'target', labels: { env: 'test' } },
    spec: { protocol, uri: `127.0.0.1:${port}`, tls: { mode: 'disable' } },
  };
}

/** Starts a gateway of a world before a target. `login` makes a client and signs in; a refusal leaves its text in `told`. */
export async function startDatabaseGateway<C extends ClientPeer, T extends TargetPeer>(options: {
  readonly world: World;
  readonly protocol: 'mysql' | 'redis';
  readonly gateway: {
    acceptTunnel(stream: net.Socket, info: { clientAddr: string; identity: Identity }): void;
    close(): void;
  };
  readonly target: TargetServer<T>;
  readonly makeClient: (socket: net.Socket) => C;
  readonly login: (client: C) => Promise<boolean>;
  readonly makeTestClient: (client: C, target: T) => TestClient;
}): Promise<RunningGateway> {
  const { world, protocol, gateway, target, makeClient, login, makeTestClient } = options;
  world.policy.put(databaseResource(protocol, target.port));
  const accepted = new Set<net.Socket>();
  let user = '';
  const server = net.createServer((socket) => {
    accepted.add(socket);
    socket.once('close', () => accepted.delete(socket));
    const identity: Identity = {
      user,
      serial: '1',
      expiresAtMs: world.clock.wallMs() + 12 * 3_600_000,
      principals: [],
      route: { kind: 'db', name: 'target' },
      extensions: [],
    };
    gateway.acceptTunnel(socket, { clientAddr: `127.0.0.1:${socket.remotePort}`, identity });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  const clients: C[] = [];
  return {
    async connect(name): Promise<ConnectResult> {
      user = name;
      const known = target.connections.length;
      const client = makeClient(net.connect({ port, host: '127.0.0.1', noDelay: true }));
      clients.push(client);
      if (!(await login(client))) return { ok: false, told: client.told };
      return { ok: true, client: makeTestClient(client, target.connections[known]!) };
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
