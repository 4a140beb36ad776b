import { HEADER_LENGTH, MAX_PAYLOAD } from './packets.ts';
import { HEAD_BYTES, type ResponseTracker } from './response-tracker.ts';

/**
 * Walks the packets of the server. It keeps no more than a packet's first bytes: it knows the boundaries at which something may be put in, and
 * tells the tracker what the server answers.
 */
export class ServerTap {
  readonly #tracker: ResponseTracker;
  /** Bytes of the present payload that are still to come. */
  #rest = 0;
  #headerSeen = 0;
  #length = 0;
  #sequence = 0;
  /** The present packet goes on with another (its payload has the greatest length). */
  #continues = false;
  /** First bytes of a payload that began in an earlier chunk. */
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headSeen = 0;
  #headWanted = 0;

  constructor(tracker: ResponseTracker) {
    this.#tracker = tracker;
  }

  /** Nothing is half sent: a packet may be put in here. */
  get atBoundary(): boolean {
    return this.#rest === 0 && this.#headerSeen === 0 && !this.#continues;
  }

  /**
   * Takes `chunk` from `start` to `end`. With `stopAtBoundary` it takes no more than the packet that is half sent, or one whole packet.
   * Returns where it stopped.
   * @throws {DecodeError}
   */
  push(chunk: Buffer, start = 0, end = chunk.length, stopAtBoundary = false): number {
    let at = start;
    while (at < end) {
      if (this.#rest > 0) {
        at = this.#body(chunk, at, end);
        if (stopAtBoundary && this.atBoundary) return at;
        continue;
      }
      if (this.#headerSeen === 0 && end - at >= HEADER_LENGTH) {
        this.#length = chunk[at]! | (chunk[at + 1]! << 8) | (chunk[at + 2]! << 16);
        this.#sequence = chunk[at + 3]!;
        at += HEADER_LENGTH;
      } else {
        const byte = chunk[at]!;
        if (this.#headerSeen === 0) this.#length = byte;
        else if (this.#headerSeen < 3) this.#length |= byte << (8 * this.#headerSeen);
        else this.#sequence = byte;
        at += 1;
        this.#headerSeen += 1;
        if (this.#headerSeen < HEADER_LENGTH) continue;
        this.#headerSeen = 0;
      }
      at = this.#begin(chunk, at, end);
      if (stopAtBoundary && this.atBoundary) return at;
    }
    return at;
  }

  /** At a payload's first byte. */
  #begin(chunk: Buffer, at: number, end: number): number {
    const length = this.#length;
    this.#rest = length;
    if (this.#continues) {
      this.#continues = length === MAX_PAYLOAD;
      this.#headWanted = 0;
      return at;
    }
    this.#continues = length === MAX_PAYLOAD;
    const wanted = Math.min(HEAD_BYTES, length);
    if (end - at >= wanted) {
      this.#headWanted = 0;
      this.#tracker.packet(chunk, at, wanted, length, this.#sequence);
    } else {
      this.#headWanted = wanted;
      this.#headSeen = 0;
    }
    return at;
  }

  #body(chunk: Buffer, at: number, end: number): number {
    const take = Math.min(this.#rest, end - at);
    if (this.#headWanted > 0) {
      const part = Math.min(take, this.#headWanted - this.#headSeen);
      chunk.copy(this.#head, this.#headSeen, at, at + part);
      this.#headSeen += part;
      if (this.#headSeen === this.#headWanted) {
        const wanted = this.#headWanted;
        this.#headWanted = 0;
        this.#tracker.packet(this.#head, 0, wanted, this.#length, this.#sequence);
      }
    }
    this.#rest -= take;
    return at + take;
  }
}
