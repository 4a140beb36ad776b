import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Bytes that are read at once, at most. */
const BUFFER_BYTES = 256 * 1024;

/**
 * One buffer that all sockets read into, one after the other. Node allocates 64 KB for each read otherwise, and fresh memory costs
 * more than all the rest of a relay.
 */
let buffer: Buffer | undefined;

/** Members of a socket and of its handle that `net.connect({onread})` sets, which there is for accepted sockets in no other way. */
interface Internals {
  readonly _handle?: { useUserBuffer?(buffer: Uint8Array): void } | null;
  [key: symbol]: unknown;
}

/**
 * Calls `onChunk` with what a stream reads. The bytes are the callee's during the call only, also for writing: the next read,
 * by whatever socket, overwrites them. Pausing, resuming, `end` and `close` of the stream work as usual.
 *
 * For sockets (TCP and TLS) the reads go to one shared buffer where this Node lets that be set after the fact; else, and for
 * every other stream, it is the `data` event.
 */
export function readShared(stream: Duplex, onChunk: (chunk: Buffer) => void): void {
  if (stream instanceof Socket) {
    if (stream.connecting) stream.once('connect', () => useSharedBuffer(stream, onChunk));
    else useSharedBuffer(stream, onChunk);
  }
  // With the shared buffer only what was read before, or put back with `unshift`, comes this way.
  stream.on('data', onChunk);
  // Whoever looked at the first bytes may have left the stream paused.
  stream.resume();
}

function useSharedBuffer(socket: Socket, onChunk: (chunk: Buffer) => void): void {
  const internals = socket as unknown as Internals;
  const symbols = Object.getOwnPropertySymbols(socket);
  const find = (name: string) => symbols.find((symbol) => symbol.description === name);
  const [kBuffer, kBufferCb] = [find('kBuffer'), find('kBufferCb')];
  const handle = internals._handle;
  if (kBuffer === undefined || kBufferCb === undefined || typeof handle?.useUserBuffer !== 'function') return;
  buffer ??= Buffer.allocUnsafeSlow(BUFFER_BYTES);
  const shared = buffer;
  internals[kBuffer] = shared;
  internals[kBufferCb] = (length: number) => {
    // What was put back must go first; reading it emits `data`.
    while (socket.readableLength > 0 && socket.read() !== null);
    onChunk(shared.subarray(0, length));
    // Whoever wants to stop calls `pause`.
    return true;
  };
  handle.useUserBuffer(shared);
}
