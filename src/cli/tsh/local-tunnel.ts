import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Endpoint } from '../common/api-client.ts';
import { printable } from '../common/output.ts';
import { openTunnel } from './tunnel.ts';

/** Connections at once through one tunnel of `tsh`. */
const MAX_CONNECTIONS = 1_000;

/** A way into a target on this computer, for programs that know nothing of ours. */
export interface LocalTunnel {
  /** Port on 127.0.0.1, or path of the socket. */
  readonly port: number;
  readonly path: string;
  close(): Promise<void>;
}

/**
 * Listens on 127.0.0.1 (any user of this computer can connect there) or, in a folder that only its owner may enter, on a socket;
 * each connection gets a tunnel of its own through the public port.
 */
export async function openLocalTunnel(options: {
  /** With the certificate that is bound to the target; asked for at each connection, so that it may be renewed. */
  endpoint: () => Promise<Endpoint & { kind: 'tls' }>;
  alpn: string;
  listen: { port: number } | { socketName: string };
}): Promise<LocalTunnel> {
  const { endpoint, alpn, listen } = options;
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (client) => {
    sockets.add(client);
    client.once('close', () => sockets.delete(client));
    client.on('error', () => client.destroy());
    endpoint()
      .then((target) => openTunnel(target, alpn))
      .then(
        (tunnel) => joinStreams(client, tunnel),
        (error: unknown) => {
          process.stderr.write(`ERROR: ${printable(errorMessage(error))}\n`);
          client.destroy();
        },
      );
  });
  server.maxConnections = MAX_CONNECTIONS;
  // mkdtemp: 0700.
  const dir = 'socketName' in listen ? mkdtempSync(join(tmpdir(), 'tsh-')) : undefined;
  const path = 'socketName' in listen ? join(dir!, listen.socketName) : '';
  try {
    if ('socketName' in listen) server.listen(path);
    else server.listen({ host: '127.0.0.1', port: listen.port });
    await once(server, 'listening');
  } catch (cause) {
    if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
    throw new NightlatchError('unavailable', `cannot listen: ${errorMessage(cause)}`, { cause });
  }
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    path,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
      if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Carries bytes both ways. When the target closes, what it said last must reach the client: its side is ended and no more, until it closes by
 * itself or says something. Many clients look at what they were told only after they have sent the next command, and on a closed Unix
 * socket that fails at once.
 */
function joinStreams(client: net.Socket, target: Duplex): void {
  client.once('close', () => target.destroy());
  target.on('error', () => client.destroy());
  target.once('close', () => {
    client.unpipe(target);
    client.end();
    client.once('data', () => client.destroy());
    client.resume();
  });
  client.pipe(target);
  target.pipe(client);
}

/** Listens on 127.0.0.1 and passes every connection on to a host and port as it is. */
export async function openLocalRelay(target: { host: string; port: number }, port: number): Promise<LocalTunnel> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (client) => {
    const upstream = net.connect({ ...target, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    client.on('error', () => client.destroy());
    joinStreams(client, upstream);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen({ host: '127.0.0.1', port });
  await once(server, 'listening').catch((cause: unknown) => {
    throw new NightlatchError('unavailable', `cannot listen: ${errorMessage(cause)}`, { cause });
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    path: '',
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
