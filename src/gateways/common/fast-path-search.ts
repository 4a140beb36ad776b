// Looks for the fast path, and tries it before it is used.
import { once } from 'node:events';
import net from 'node:net';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { deadline } from './deadline.ts';
import { FastPath, READ_BUFFER_BYTES, type StreamBinding, type Transform } from './fast-path.ts';

/** Looks for the fast path when the server starts: one self-test, one read buffer and one pool of slabs for all gateways. */
export class FastPathSearch {
  readonly #closed = new AbortController();
  #found: FastPath | undefined;

  constructor({ clock, log }: { clock: Clock; log: Logger }) {
    const limit = deadline(clock, SELF_TEST_MS, 'the test did not end', this.#closed.signal);
    void loadFastPath(limit.signal).then((path) => {
      limit.clear();
      this.#found = path;
      if (path === undefined) log.debug('relays use streams: this Node has no faster way');
    });
  }

  /** Undefined also until the test is done: sessions that begin before use streams. */
  get found(): FastPath | undefined {
    return this.#found;
  }

  close(): void {
    this.#closed.abort();
  }
}

/**
 * The fast path, or undefined where this Node does not have it or it does not carry bytes as it should: two pairs of loopback sockets are
 * joined and used both ways, up to the end. `signal` bounds the test.
 */
export async function loadFastPath(signal: AbortSignal): Promise<FastPath | undefined> {
  try {
    const { binding } = process as unknown as { binding?: (name: string) => StreamBinding };
    const found = binding?.call(process, 'stream_wrap');
    if (found?.WriteWrap === undefined || !(found.streamBaseState instanceof Int32Array)) return undefined;
    const path = new FastPath(found);
    return (await carriesBytes(path, signal)) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Longest time for the self-test. */
const SELF_TEST_MS = 30_000;
const SELF_TEST_BYTES = 3 * READ_BUFFER_BYTES + 1;

async function carriesBytes(path: FastPath, signal: AbortSignal): Promise<boolean> {
  const sockets: net.Socket[] = [];
  // The test may be given up at any moment: no socket is without a listener for errors.
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', ignore);
    sockets.push(socket);
  });
  server.listen(0, '127.0.0.1');
  try {
    await once(server, 'listening', { signal });
    const { port } = server.address() as net.AddressInfo;
    const pair = async (): Promise<[net.Socket, net.Socket]> => {
      const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      near.on('error', ignore);
      sockets.push(near);
      const [[far]] = (await Promise.all([
        once(server, 'connection', { signal }),
        once(near, 'connect', { signal }),
      ])) as [[net.Socket], unknown];
      return [near, far];
    };
    const [a, b] = await pair();
    const [c, d] = await pair();
    let seen = 0;
    const pass: Transform = (chunk, length) => {
      seen += length;
      return chunk.subarray(0, length);
    };
    for (const [source, target] of [
      [b, c],
      [c, b],
    ] as const) {
      const direction = path.direction(source, target, pass);
      if (direction === undefined) return false;
      source.once('end', () => direction.whenFlushed(() => target.end()));
      direction.start();
    }
    const sent = Buffer.alloc(SELF_TEST_BYTES, 'postgres');
    const received: Buffer[] = [];
    // What goes out at one end comes back from the other, which answers with the same.
    d.on('data', (chunk: Buffer) => d.write(chunk));
    d.on('end', () => d.end());
    a.on('data', (chunk: Buffer) => received.push(chunk));
    a.end(sent);
    await once(a, 'end', { signal });
    return Buffer.concat(received).equals(sent) && seen === 2 * sent.length;
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function ignore(): void {
  // 'close' follows every error.
}
