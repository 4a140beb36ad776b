// Remote commands without a container, for measurements: `source N` writes N bytes, `sink` reads to the end, `wait` does nothing. Over
// WebSocket v5 and SPDY/3.1.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { encodeData, encodePing, encodeSynReply, SpdyReader } from '../../src/wire/spdy/frames.ts';
import { SpdyHeaderDeflater } from '../../src/wire/spdy/headers.ts';
import {
  encodeClose,
  encodeFrame,
  WebSocketReader,
  WS_BINARY,
  WS_PING,
  WS_PONG,
} from '../../src/wire/websocket/frames.ts';

const PIECE = 32_768;
const SUCCESS = Buffer.from('{"metadata":{},"status":"Success"}');

interface Output {
  /** False when the connection wants a rest. */
  write(bytes: Uint8Array): boolean;
  finish(): void;
}

function run(command: readonly string[], output: Output, socket: Duplex): void {
  if (command[0] !== 'source') return;
  let left = Number(command[1]);
  const piece = Buffer.alloc(PIECE, 'k');
  const more = (): void => {
    while (left > 0) {
      const bytes = left >= PIECE ? piece : piece.subarray(0, left);
      left -= bytes.length;
      if (!output.write(bytes) && left > 0) {
        socket.once('drain', more);
        return;
      }
    }
    output.finish();
  };
  more();
}

export function serveCommand(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
  const command = new URL(request.url ?? '/', 'https://x').searchParams.getAll('command');
  socket.on('error', () => undefined);
  if (/websocket/i.test(request.headers.upgrade ?? '')) webSocket(request, socket, head, command);
  else spdy(request, socket, head, command);
  return true;
}

function webSocket(request: IncomingMessage, socket: Duplex, head: Buffer, command: readonly string[]): void {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${request.headers['sec-websocket-protocol']}\r\n\r\n`,
  );
  const finish = (): void => {
    socket.write(encodeFrame(WS_BINARY, Buffer.concat([Uint8Array.of(3), SUCCESS])));
    socket.end(encodeClose(1000));
  };
  const whole = encodeFrame(WS_BINARY, Buffer.concat([Uint8Array.of(1), Buffer.alloc(PIECE, 'k')]));
  let closing = false;
  const reader = new WebSocketReader(
    {
      message: (_opcode, first) => {
        closing = first === 255;
        return false;
      },
      data: () => undefined,
      messageEnd: () => {
        if (closing) finish();
      },
      control: (opcode, payload) => {
        if (opcode === WS_PING && !socket.writableEnded) socket.write(encodeFrame(WS_PONG, payload));
      },
    },
    true,
  );
  if (head.length > 0) reader.push(head);
  socket.on('data', (chunk: Buffer) => void reader.push(chunk));
  run(
    command,
    {
      write: (bytes) =>
        socket.write(bytes.length === PIECE ? whole : encodeFrame(WS_BINARY, Buffer.concat([Uint8Array.of(1), bytes]))),
      finish,
    },
    socket,
  );
}

function spdy(request: IncomingMessage, socket: Duplex, head: Buffer, command: readonly string[]): void {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n',
  );
  const query = new URL(request.url ?? '/', 'https://x').searchParams;
  const expected = 1 + ['stdin', 'stdout', 'stderr'].filter((name) => query.get(name) === 'true').length;
  const ids = new Map<string, number>();
  const deflater = new SpdyHeaderDeflater();
  const end = Buffer.alloc(0);
  const finish = (): void => {
    socket.write(encodeData(ids.get('error')!, SUCCESS, true));
    for (const name of ['stdout', 'stderr']) if (ids.has(name)) socket.write(encodeData(ids.get(name)!, end, true));
  };
  const reader = new SpdyReader(
    {
      synStream: (id, headers) => {
        ids.set(headers?.get('streamtype') ?? '', id);
        socket.write(encodeSynReply(id, deflater.encode(new Map())));
        if (ids.size === expected)
          run(command, { write: (bytes) => socket.write(encodeData(ids.get('stdout')!, bytes)), finish }, socket);
      },
      dataFrame: () => false,
      data: () => undefined,
      dataEnd: (id, fin) => {
        if (fin && id === ids.get('stdin')) finish();
      },
      control: (type) => {
        if (type === 6 && !socket.writableEnded) socket.write(encodePing(1));
      },
    },
    true,
  );
  if (head.length > 0) reader.push(head);
  socket.on('data', (chunk: Buffer) => void reader.push(chunk));
  socket.on('end', () => socket.end());
}
