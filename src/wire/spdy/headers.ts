import { Deflate, Inflate } from 'pako';
import { DecodeError } from '../../core/errors.ts';
import { SPDY_DICTIONARY } from './dictionary.ts';

const Z_SYNC_FLUSH = 2;
/** Longest header block, unpacked: a stream of a remote command has three short headers. */
const MAX_BLOCK = 16_384;
const MAX_HEADERS = 64;

/** Names in lower case; of a repeated name the last value. */
export type SpdyHeaders = ReadonlyMap<string, string>;

/** Unpacks header blocks of one direction: one zlib stream goes through all of them (SPDY/3.1 section 2.6.10.1). */
export class SpdyHeaderInflater {
  readonly #zlib: Inflate;
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor() {
    this.#zlib = new Inflate({ dictionary: SPDY_DICTIONARY, chunkSize: 1024 });
    this.#zlib.onData = (part) => {
      this.#length += part.length;
      if (this.#length > MAX_BLOCK) throw new DecodeError(`SPDY header block of more than ${MAX_BLOCK} bytes`);
      this.#parts.push(part as Uint8Array);
    };
  }

  /** @throws {DecodeError} for what cannot be unpacked, is too long or is no header block. */
  decode(block: Uint8Array): SpdyHeaders {
    this.#parts = [];
    this.#length = 0;
    this.#zlib.push(block, Z_SYNC_FLUSH);
    if (this.#zlib.err) throw new DecodeError(`SPDY header block: ${this.#zlib.msg || `zlib error ${this.#zlib.err}`}`);
    const bytes = Buffer.concat(this.#parts, this.#length);
    this.#parts = [];
    return decodeHeaderBlock(bytes);
  }
}

/** Packs header blocks of one direction; for tests and for endpoints. */
export class SpdyHeaderDeflater {
  readonly #zlib: Deflate;
  #parts: Uint8Array[] = [];

  constructor() {
    this.#zlib = new Deflate({ dictionary: SPDY_DICTIONARY, level: 9 });
    this.#zlib.onData = (part) => {
      this.#parts.push(part as Uint8Array);
    };
  }

  encode(headers: SpdyHeaders): Buffer {
    this.#parts = [];
    this.#zlib.push(encodeHeaderBlock(headers), Z_SYNC_FLUSH);
    return Buffer.concat(this.#parts);
  }
}

function decodeHeaderBlock(bytes: Buffer): SpdyHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > bytes.length) throw new DecodeError('SPDY header block is cut short');
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > bytes.length - at) throw new DecodeError('SPDY header block is cut short');
    at += length;
    return bytes.toString('latin1', at - length, at);
  };
  const count = number();
  if (count > MAX_HEADERS) throw new DecodeError(`SPDY header block with ${count} headers`);
  const headers = new Map<string, string>();
  for (let i = 0; i < count; i += 1) {
    const name = text().toLowerCase();
    headers.set(name, text());
  }
  return headers;
}

function encodeHeaderBlock(headers: SpdyHeaders): Buffer {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const parts = [number(headers.size)];
  for (const [name, value] of headers) {
    parts.push(
      number(Buffer.byteLength(name)),
      Buffer.from(name),
      number(Buffer.byteLength(value)),
      Buffer.from(value),
    );
  }
  return Buffer.concat(parts);
}
