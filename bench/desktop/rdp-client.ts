// A raw RDP client that plays a recorded set-up: straight to the server, or through the gateway's WebSocket.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { WebSocket } from 'ws';
import { RdpFrameSplitter } from '../../src/wire/rdp/frames.ts';
import { encodeRdCleanPathRequest } from '../../src/wire/rdp/rdcleanpath.ts';
import { encodeX224ConnectionRequest, PROTOCOL_SSL } from '../../src/wire/rdp/x224.ts';
import { RDP_SETUP } from '../../test/fixtures/desktop/rdp-session.ts';
import { openSocket } from './rfb-client.ts';

const X224 = encodeX224ConnectionRequest('desk', PROTOCOL_SSL);

/** A connected client that counts what it receives. */
export class RdpClient {
  bytes = 0;
  readonly close: () => void;
  readonly #write: (data: Buffer) => void;
  readonly #splitter = new RdpFrameSplitter();
  readonly #usable = Promise.withResolvers<void>();
  #next = 0;

  constructor(write: (data: Buffer) => void, close: () => void) {
    this.#write = write;
    this.close = close;
  }

  /** Plays the client's part; resolves when the desktop is usable. */
  begin(): Promise<void> {
    this.#speak();
    return this.#usable.promise;
  }

  readonly received = (data: Buffer): void => {
    this.bytes += data.length;
    if (this.#next >= RDP_SETUP.length) return;
    for (let { length } = this.#splitter.push(data).frames; length > 0; length -= 1) {
      this.#next += 1;
      this.#speak();
    }
  };

  #speak(): void {
    for (; RDP_SETUP[this.#next]?.from === 'client'; this.#next += 1) this.#write(RDP_SETUP[this.#next]!.data);
    if (this.#next >= RDP_SETUP.length) this.#usable.resolve();
  }
}

/** Connects straight to an RDP server with TLS. */
export async function connectRdpDirect(port: number): Promise<RdpClient> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  socket.write(X224);
  await once(socket, 'readable');
  socket.read();
  const secure = tls.connect({ socket, rejectUnauthorized: false });
  await once(secure, 'secureConnect');
  const client = new RdpClient(
    (data) => secure.write(data),
    () => secure.destroy(),
  );
  secure.on('data', client.received);
  await client.begin();
  return client;
}

/** Connects through the gateway, as `alice`. */
export async function connectRdpThrough(port: number, desktop: string): Promise<RdpClient> {
  const ws: WebSocket = await openSocket(port, desktop);
  const client = new RdpClient(
    (data) => ws.send(data),
    () => ws.terminate(),
  );
  const answered = Promise.withResolvers<void>();
  let take = (_data: Buffer): void => {
    take = client.received;
    answered.resolve();
  };
  ws.on('message', (data: Buffer, binary) => binary && take(data));
  ws.send(encodeRdCleanPathRequest({ destination: `${desktop}:3389`, proxyAuth: '-', x224: X224 }));
  await answered.promise;
  await client.begin();
  return client;
}
