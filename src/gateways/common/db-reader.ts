import type { Duplex } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';

interface Waiting {
  readonly length: number;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Reads exact lengths from a stream, for the few messages of a login; a relay takes over with `detach`. One read at a time.
 */
export class DbReader {
  readonly #stream: Duplex;
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #waiting: Waiting | undefined;
  #failure: Error | undefined;

  /** @param limit - most bytes that are kept unread; a peer that sends more while it must wait is cut off. */
  constructor(stream: Duplex, limit: number) {
    this.#stream = stream;
    this.#limit = limit;
    stream.on('data', this.#onData);
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onEnd);
  }

  /**
   * The next `length` bytes.
   * @throws {NightlatchError} `unavailable` when the stream ends before, `limit_exceeded` when the peer floods.
   */
  read(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#buffered < length && this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#waiting = { length, resolve, reject };
      this.#serve();
    });
  }

  /** Bytes that came and were not read. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Gives the stream back, paused and without listeners of ours, with the bytes that were not read. */
  detach(): Buffer {
    this.#stream.pause();
    this.#stream.off('data', this.#onData);
    this.#stream.off('error', this.#onError);
    this.#stream.off('end', this.#onEnd);
    this.#stream.off('close', this.#onEnd);
    const rest = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#buffered);
    this.#chunks = [];
    this.#buffered = 0;
    return rest;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    this.#serve();
    if (this.#buffered > this.#limit) {
      this.#fail(new NightlatchError('limit_exceeded', 'too much was sent before the login was done'));
      this.#stream.destroy();
    }
  };

  readonly #onError = (error: Error): void => {
    this.#fail(new NightlatchError('unavailable', error.message, { cause: error }));
  };

  readonly #onEnd = (): void => {
    this.#fail(new NightlatchError('unavailable', 'the connection was closed during the login'));
  };

  #fail(error: Error): void {
    this.#failure ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#failure);
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || this.#buffered < waiting.length) return;
    this.#waiting = undefined;
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#buffered);
    const rest = all.subarray(waiting.length);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#buffered = rest.length;
    waiting.resolve(all.subarray(0, waiting.length));
  }
}
