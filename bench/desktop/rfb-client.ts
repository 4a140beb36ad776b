// A raw VNC client: straight to the server, or through the gateway's WebSocket.
import { once } from 'node:events';
import net from 'node:net';
import { WebSocket } from 'ws';
import { encodeSetEncodings } from '../../src/wire/rfb/client-messages.ts';
import { rfbClientHandshake, type ServerInit } from '../../src/wire/rfb/handshake.ts';

const RAW = 0;
const LAST_RECT = -224;

/** A connected client that counts what it receives. */
export class RfbClient {
  readonly init: ServerInit;
  bytes = 0;
  onData: () => void = () => undefined;
  readonly #write: (data: Buffer) => void;
  readonly close: () => void;

  constructor(init: ServerInit, write: (data: Buffer) => void, close: () => void) {
    this.init = init;
    this.#write = write;
    this.close = close;
  }

  received(data: Buffer): void {
    this.bytes += data.length;
    this.onData();
  }

  encodings(...encodings: readonly number[]): void {
    this.#write(encodeSetEncodings(encodings.length > 0 ? encodings : [RAW, LAST_RECT]));
  }

  /** Asks for the next change of the screen. */
  request(incremental: boolean): void {
    const message = Buffer.alloc(10);
    message.writeUInt8(3, 0);
    message.writeUInt8(incremental ? 1 : 0, 1);
    message.writeUInt16BE(this.init.width, 6);
    message.writeUInt16BE(this.init.height, 8);
    this.#write(message);
  }

  key(keysym: number, down: boolean): void {
    const message = Buffer.alloc(8);
    message.writeUInt8(4, 0);
    message.writeUInt8(down ? 1 : 0, 1);
    message.writeUInt32BE(keysym, 4);
    this.#write(message);
  }

  pointer(x: number, y: number): void {
    const message = Buffer.alloc(6);
    message.writeUInt8(5, 0);
    message.writeUInt16BE(x, 2);
    message.writeUInt16BE(y, 4);
    this.#write(message);
  }
}

type Bytes = (listener: (data: Buffer) => void) => void;

async function greet(write: (data: Buffer) => void, onBytes: Bytes, close: () => void): Promise<RfbClient> {
  let client: RfbClient | undefined;
  let waiting: (() => void) | undefined;
  let unread = Buffer.alloc(0);
  onBytes((data) => {
    if (client !== undefined) {
      client.received(data);
      return;
    }
    unread = Buffer.concat([unread, data]);
    waiting?.();
  });
  const walk = rfbClientHandshake({ username: '', password: undefined, tls: false });
  let given: Buffer = Buffer.alloc(0);
  for (;;) {
    const step = walk.next(given);
    if (step.done === true) {
      client = new RfbClient(step.value, write, close);
      return client;
    }
    if (step.value.kind === 'write') write(step.value.data);
    if (step.value.kind === 'read') {
      const { bytes } = step.value;
      while (unread.length < bytes) {
        await new Promise<void>((resolve) => {
          waiting = resolve;
        });
      }
      given = unread.subarray(0, bytes);
      unread = unread.subarray(bytes);
    }
  }
}

/** Connects straight to a VNC server. */
export async function connectDirect(port: number): Promise<RfbClient> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return greet(
    (data) => socket.write(data),
    (listener) => socket.on('data', listener),
    () => socket.destroy(),
  );
}

/** A WebSocket to the gateway for a desktop, as `alice`, that has said so. */
export async function openSocket(port: number, desktop: string): Promise<WebSocket> {
  const client = { user: 'alice', desktop, login: 'desk', certExpiresAtMs: Date.now() + 86_400_000 };
  const query = Buffer.from(JSON.stringify(client)).toString('base64url');
  const ws = new WebSocket(`ws://127.0.0.1:${port}/?${query}`, { perMessageDeflate: false });
  await once(ws, 'open');
  ws.send('{"type":"open"}');
  return ws;
}

/** Connects through the gateway. */
export async function connectThrough(port: number, desktop: string): Promise<RfbClient> {
  const ws = await openSocket(port, desktop);
  return greet(
    (data) => ws.send(data),
    (listener) => ws.on('message', (data: Buffer, binary) => binary && listener(data)),
    () => ws.terminate(),
  );
}
