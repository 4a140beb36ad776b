import { DecodeError } from '../../core/errors.ts';

/** Longest `string` a reader hands out unless it is told otherwise, in bytes: what OpenSSH allows in a packet. */
const MAX_SSH_STRING_BYTES = 256 * 1024;

const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes of a view as a Buffer over the same memory, wherever in its ArrayBuffer it begins. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads the data types of RFC 4251 section 5, in order, from one message. What it returns are views on the message: copy what
 * outlives it. Throws nothing but `DecodeError`.
 */
export class SshReader {
  readonly #bytes: Buffer;
  #offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bufferOf(bytes);
    if (!Number.isInteger(offset) || offset < 0 || offset > this.#bytes.length) {
      throw new DecodeError(`offset ${offset} lies outside of a message of ${this.#bytes.length} bytes`);
    }
    this.#offset = offset;
  }

  /** Bytes read so far, counted from the begin of the message. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** `byte`. */
  byte(): number {
    return this.#take(1)[0]!;
  }

  /** `boolean`: every value but 0 is true. */
  boolean(): boolean {
    return this.byte() !== 0;
  }

  /** `uint32`. */
  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  /** `uint64`. */
  uint64(): bigint {
    return this.#take(8).readBigUInt64BE(0);
  }

  /** So many bytes as they are. */
  bytes(count: number): Buffer {
    return this.#take(count);
  }

  /** `string` of at most `maxBytes`, as bytes. */
  string(maxBytes = MAX_SSH_STRING_BYTES): Buffer {
    const length = this.uint32();
    if (length > maxBytes) throw new DecodeError(`a string of ${length} bytes is longer than the ${maxBytes} allowed`);
    return this.#take(length);
  }

  /** `string` that must be well-formed UTF-8. */
  utf8(maxBytes = MAX_SSH_STRING_BYTES): string {
    const bytes = this.string(maxBytes);
    try {
      return STRICT_UTF8.decode(bytes);
    } catch (cause) {
      throw new DecodeError('a string is not UTF-8', { cause });
    }
  }

  /** `string` that names an algorithm, a service or a request: printable US-ASCII (RFC 4251 section 6), not empty. */
  name(maxBytes = 256): string {
    const bytes = this.string(maxBytes);
    if (bytes.length === 0) throw new DecodeError('a name is empty');
    for (const byte of bytes) {
      if (byte <= 0x20 || byte >= 0x7f) throw new DecodeError('a name has characters that are not printable US-ASCII');
    }
    return bytes.toString('latin1');
  }

  /** `name-list`: names between commas; the empty list is an empty string. */
  nameList(maxBytes = 16 * 1024): string[] {
    const bytes = this.string(maxBytes);
    for (const byte of bytes) {
      if (byte <= 0x20 || byte >= 0x7f)
        throw new DecodeError('a name list has characters that are not printable US-ASCII');
    }
    if (bytes.length === 0) return [];
    const names = bytes.toString('latin1').split(',');
    if (names.includes('')) throw new DecodeError('a name list has an empty name');
    return names;
  }

  /**
   * `mpint` that is not negative, as its big-endian magnitude without leading zeros (empty for 0). A longer form than
   * necessary is refused, as RFC 4251 demands.
   */
  mpint(maxBytes = 2048): Buffer {
    const bytes = this.string(maxBytes + 1);
    if (bytes.length === 0) return bytes;
    if (bytes[0]! & 0x80) throw new DecodeError('a number is negative');
    if (bytes[0] === 0) {
      if (bytes.length === 1 || !(bytes[1]! & 0x80)) throw new DecodeError('a number has unnecessary leading zeros');
      return bytes.subarray(1);
    }
    if (bytes.length > maxBytes) throw new DecodeError(`a number is longer than ${maxBytes} bytes`);
    return bytes;
  }

  /** All that is left. */
  rest(): Buffer {
    return this.#take(this.remaining);
  }

  /** Refuses data after what has been read; every decoder of a whole message ends with it. */
  end(): void {
    if (this.remaining > 0) throw new DecodeError(`${this.remaining} bytes follow the end of the message`);
  }

  #take(count: number): Buffer {
    if (!(count <= this.remaining)) throw new DecodeError(`the message ends ${count - this.remaining} bytes too early`);
    const start = this.#offset;
    this.#offset = start + count;
    return this.#bytes.subarray(start, this.#offset);
  }
}

/** Writes the data types of RFC 4251 section 5. Every call returns the writer. */
export class SshWriter {
  #bytes: Buffer;
  #length = 0;

  /** `capacity`: bytes set aside at first; it grows by itself. */
  constructor(capacity = 256) {
    this.#bytes = Buffer.allocUnsafe(capacity);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  byte(value: number): this {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
    return this;
  }

  boolean(value: boolean): this {
    return this.byte(value ? 1 : 0);
  }

  uint32(value: number): this {
    const at = this.#reserve(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }

  uint64(value: bigint): this {
    const at = this.#reserve(8);
    this.#bytes.writeBigUInt64BE(value, at);
    return this;
  }

  /** Bytes without a length before them. */
  bytes(value: Uint8Array): this {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** `string`; text is written as UTF-8. */
  string(value: string | Uint8Array): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.uint32(bytes.length).bytes(bytes);
  }

  /** `name-list`. */
  nameList(names: readonly string[]): this {
    return this.string(names.join(','));
  }

  /** `mpint` of a big-endian magnitude (never negative); leading zeros are left out. */
  mpint(magnitude: Uint8Array): this {
    let start = 0;
    while (start < magnitude.length && magnitude[start] === 0) start++;
    const bytes = magnitude.subarray(start);
    if (bytes.length === 0 || !(bytes[0]! & 0x80)) return this.string(bytes);
    return this.uint32(bytes.length + 1)
      .byte(0)
      .bytes(bytes);
  }

  /** A copy of what has been written. */
  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length));
  }

  #reserve(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, at + count));
      this.#bytes.copy(grown, 0, 0, at);
      this.#bytes = grown;
    }
    this.#length = at + count;
    return at;
  }
}
