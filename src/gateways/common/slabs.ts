/** Nine full TLS records, what Node's TLS hands to the network in one call: what made reading stop, and a record more. */
const SLAB_BYTES = 144 * 1024;
/** Slabs that are kept for later. */
const MAX_SPARE_SLABS = 32;

/** A piece of memory that waiting bytes are copied to. */
export class Slab {
  readonly #bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  used = 0;

  get free(): number {
    return this.#bytes.length - this.used;
  }

  get content(): Buffer {
    return this.#bytes.subarray(0, this.used);
  }

  /** Copies what fits, from `offset` on; returns how much that was. */
  append(bytes: Buffer, offset: number): number {
    const taken = bytes.copy(this.#bytes, this.used, offset);
    this.used += taken;
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
