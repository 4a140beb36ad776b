import { once } from 'node:events';
import type { Server } from 'node:net';
import { errorMessage, NightlatchError } from '../core/errors.ts';

/** `host:port` or `[v6]:port`, as the configuration has it. */
export function splitHostPort(addr: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(addr);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new NightlatchError('bad_parameter', `${JSON.stringify(addr)} is no HOST:PORT`);
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : match[2]!), port };
}

/**
 * Binds a server; port 0 takes a free one. Resolves with the port.
 * @throws {NightlatchError} `unavailable`, naming the address, what it is for and why it cannot be had.
 */
export async function listen(server: Server, addr: string, purpose: string): Promise<number> {
  const { host, port } = splitHostPort(addr);
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    throw new NightlatchError('unavailable', `cannot listen on ${addr} for ${purpose}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : port;
}

/** Closes a listener; connections that are still open are not waited for. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve());
    else resolve();
    const { closeAllConnections } = server as { closeAllConnections?: () => void };
    closeAllConnections?.call(server);
    resolve();
  });
}
