// Servers that misbehave, and a gateway on a clock that the test moves, for MySQL and Redis alike.
import net from 'node:net';
import type tls from 'node:tls';
import { Sessions } from '../../src/session/manager.ts';
import { type TestAuthority, testAuthority } from '../fixtures/db-authority.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';

/** A server whose connections the test handles. */
export interface OddServer {
  readonly port: number;
  readonly sockets: net.Socket[];
  close(): Promise<void>;
}

export async function oddServer(handle: (socket: net.Socket) => void): Promise<OddServer> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    sockets,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a gateway under test is built from, on a fake clock. */
export interface TroubleWorld extends TestAuthority {
  readonly clock: FakeClock;
  readonly log: MemoryLogger;
  readonly audit: MemoryAuditLog;
  readonly policy: TestPolicy;
  readonly sessions: Sessions;
}

export async function troubleWorld(protocol: 'mysql' | 'redis'): Promise<TroubleWorld> {
  const clock = new FakeClock();
  const log = new MemoryLogger();
  const audit = new MemoryAuditLog(clock);
  const policy = new TestPolicy([
    {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'dba' },
      spec: { allow: { db_labels: { '*': '*' }, db_users: ['*'], db_names: ['*'] } },
    },
    { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['dba'] } },
    databaseAt(protocol, 1),
  ]);
  const sessions = new Sessions({ clock, log, audit, policy });
  return { clock, log, audit, policy, sessions, ...(await testAuthority()) };
}

export function databaseAt(protocol: string, port: number, mode = 'disable'): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'db' },
    spec: { protocol, uri: `127.0.0.1:${port}`, tls: { mode } },
  };
}

/** A port whose connections a gateway gets as from the public port, for user alice and the database `db`. */
export async function tunnelTo(
  world: TroubleWorld,
  gateway: { acceptTunnel(stream: net.Socket, info: { clientAddr: string; identity: never }): void },
): Promise<OddServer> {
  return oddServer((socket) => {
    const identity = {
      user: 'alice',
      serial: '1',
      expiresAtMs: world.clock.wallMs() + 3_600_000,
      principals: [],
      route: { kind: 'db', name: 'db', dbUser: 'app' },
      extensions: [],
    };
    gateway.acceptTunnel(socket, { clientAddr: '127.0.0.1:1', identity: identity as never });
  });
}

/** Everything that a connection says until it is closed. */
export function everything(socket: net.Socket | tls.TLSSocket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve(text)));
}
