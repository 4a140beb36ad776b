import type { Duplex } from 'node:stream';

/** Bytes that are taken in while the gateway signs in; the client has to wait with the rest. */
const ENOUGH = 64 * 1024;

/**
 * Keeps what a client sends before the relay begins: clients of a protocol without a greeting need not wait for anything, and may send commands of any
 * length at once. The stream is read until enough has come, so that a client that goes is noticed.
 */
export class EarlyBytes {
  readonly #stream: Duplex;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', this.#onData);
    stream.resume();
  }

  /** Gives the stream back, paused, with what has come. */
  detach(): Buffer {
    this.#stream.pause();
    this.#stream.off('data', this.#onData);
    const bytes = Buffer.concat(this.#chunks, this.#length);
    this.#chunks = [];
    this.#length = 0;
    return bytes;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length >= ENOUGH) this.#stream.pause();
  };
}
