import { DecodeError } from '../../core/errors.ts';
import type { CommandTracker } from './command-tracker.ts';
import { BACKEND, MAX_MESSAGE_LENGTH } from './messages.ts';

const HEADER_LENGTH = 5;

/**
 * Walks the headers of what the server sends. It keeps no bytes: it knows the message boundaries, at which something may be put
 * in, and tells the tracker what the server answered.
 */
export class BackendTap {
  readonly #tracker: CommandTracker;
  /** Bytes of the present message's body that are still to come. */
  #rest = 0;
  /** Bytes of the present header that were seen, when a chunk ended within it. */
  #headerSeen = 0;
  #type = 0;
  #length = 0;

  constructor(tracker: CommandTracker) {
    this.#tracker = tracker;
  }

  /** Nothing is half sent: a message may be put in here. */
  get atBoundary(): boolean {
    return this.#rest === 0 && this.#headerSeen === 0;
  }

  /** The last message that came whole was an ErrorResponse: a server that closes behind it has said why. */
  get lastWasError(): boolean {
    return this.atBoundary && this.#type === BACKEND.errorResponse;
  }

  /**
   * Takes what arrived in `chunk` from `start` on. With `stopAtBoundary` it takes no more than the message that is half sent.
   * Returns how many bytes from the chunk's beginning it has taken.
   * @throws {DecodeError} for a length that no message has.
   */
  push(chunk: Uint8Array, end = chunk.length, stopAtBoundary = false): number {
    let at = 0;
    while (at < end) {
      if (this.#rest > 0) {
        const have = end - at;
        if (this.#rest > have) {
          this.#rest -= have;
          return end;
        }
        at += this.#rest;
        this.#rest = 0;
        if (this.#type === BACKEND.readyForQuery) this.#tracker.ready(chunk[at - 1]!);
        if (stopAtBoundary) return at;
        continue;
      }
      if (this.#headerSeen === 0 && end - at >= HEADER_LENGTH) {
        if (stopAtBoundary) return at;
        this.#type = chunk[at]!;
        this.#length = ((chunk[at + 1]! << 24) | (chunk[at + 2]! << 16) | (chunk[at + 3]! << 8) | chunk[at + 4]!) >>> 0;
        at += HEADER_LENGTH;
      } else {
        if (stopAtBoundary && this.#headerSeen === 0) return at;
        const byte = chunk[at]!;
        if (this.#headerSeen === 0) {
          this.#type = byte;
          this.#length = 0;
        } else this.#length = ((this.#length << 8) | byte) >>> 0;
        at += 1;
        this.#headerSeen += 1;
        if (this.#headerSeen < HEADER_LENGTH) continue;
        this.#headerSeen = 0;
      }
      if (this.#length < 4 || this.#length > MAX_MESSAGE_LENGTH)
        throw new DecodeError(`server message of ${this.#length} bytes`);
      this.#rest = this.#length - 4;
      if (this.#type === BACKEND.readyForQuery) {
        if (this.#rest !== 1) throw new DecodeError('ReadyForQuery of the wrong length');
      } else this.#tracker.server(this.#type);
      if (stopAtBoundary && this.#rest === 0) return at;
    }
    return at;
  }
}
