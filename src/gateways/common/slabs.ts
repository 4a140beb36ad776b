import { MAX_CONTENT_BYTES, type TlsRecords } from './tls/records.ts';

/** Nine full TLS records, what Node's TLS hands to the network in one call: what made reading stop, and a record more. */
const SLAB_BYTES = 144 * 1024;
/** Longer messages than this take long enough by themselves. */
const MAX_KEPT_VIEW_BYTES = 1_024;
/** Slabs that are kept for later. */
const MAX_SPARE_SLABS = 32;

/** Views of the beginning of a buffer. Those of small messages are kept: to make one takes longer than to copy what is in it. */
export class Views {
  readonly #buffer: Buffer;
  readonly #kept: (Buffer | undefined)[] = [];

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  first(length: number): Buffer {
    if (length >= MAX_KEPT_VIEW_BYTES) return this.#buffer.subarray(0, length);
    // Filled from the start, so that it stays an array without holes.
    while (this.#kept.length <= length) this.#kept.push(undefined);
    const kept = this.#kept[length];
    if (kept !== undefined) return kept;
    const made = this.#buffer.subarray(0, length);
    this.#kept[length] = made;
    return made;
  }
}

/** A piece of memory that waiting bytes are copied to. */
export class Slab {
  readonly #bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly #views = new Views(this.#bytes);
  used = 0;

  get free(): number {
    return this.#bytes.length - this.used;
  }

  get content(): Buffer {
    return this.#views.first(this.used);
  }

  /** Copies what fits, from `offset` on; returns how much that was. */
  append(bytes: Buffer, offset: number): number {
    const taken = bytes.copy(this.#bytes, this.used, offset);
    this.used += taken;
    return taken;
  }

  /** Seals a record with what of the bytes is behind `offset`, as far as one takes it; returns how much that was. There must be room. */
  seal(records: TlsRecords, bytes: Buffer, offset: number): number {
    const taken = Math.min(MAX_CONTENT_BYTES, bytes.length - offset);
    this.used += records.seal(bytes, offset, taken, this.#bytes, this.used);
    return taken;
  }
}

/**
 * Slabs to be used again. With fresh memory for each chunk the garbage collector would run for a fifth of the relay's time, since it
 * is memory outside its heap that it is woken by.
 */
export class SlabPool {
  readonly #free: Slab[] = [];

  take(): Slab {
    return this.#free.pop() ?? new Slab();
  }

  giveBack(slab: Slab): void {
    slab.used = 0;
    if (this.#free.length < MAX_SPARE_SLABS) this.#free.push(slab);
  }
}
