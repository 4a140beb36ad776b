import { DecodeError } from '../../core/errors.ts';
import { SpdyHeaderInflater, type SpdyHeaders } from './headers.ts';

/** Control frame types (SPDY/3.1 section 2.6). */
export const SPDY_SYN_STREAM = 1;
export const SPDY_SYN_REPLY = 2;
export const SPDY_RST_STREAM = 3;
export const SPDY_PING = 6;
export const SPDY_GOAWAY = 7;
export const SPDY_HEADERS = 8;
export const SPDY_WINDOW_UPDATE = 9;

/** Set on the last frame of a stream's direction. */
export const SPDY_FLAG_FIN = 1;

/** Longest control frame: they carry a few headers. */
const MAX_CONTROL = 16_384;
const HEADER_LENGTH = 8;

/** What a reader tells of the frames that go by. */
export interface SpdyHandler {
  /** A stream was opened; `headers` is undefined where header blocks are not read. */
  synStream(streamId: number, headers: SpdyHeaders | undefined, fin: boolean): void;
  /** A data frame begins; true when its bytes are wanted. */
  dataFrame(streamId: number, length: number): boolean;
  /** The next `length` bytes of it, in `bytes` where they were wanted. */
  data(streamId: number, length: number, bytes: Uint8Array | undefined): void;
  /** The frame is complete; `fin` ends the stream's direction. */
  dataEnd(streamId: number, fin: boolean): void;
  /** Any other control frame; `streamId` is 0 where it concerns none. */
  control(type: number, streamId: number): void;
}

/** Reads SPDY/3.1 frames as they go by, in any pieces. It keeps at most one control frame. */
export class SpdyReader {
  readonly #handler: SpdyHandler;
  readonly #header = new Uint8Array(HEADER_LENGTH);
  readonly #view = new DataView(this.#header.buffer);
  #inflater: SpdyHeaderInflater | undefined;
  #have = 0;
  #inFrame = false;
  #control = false;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #left = 0;
  #wanted = false;
  #payload: Buffer = EMPTY;
  #filled = 0;

  /** @param readHeaders - whether header blocks are unpacked: needed where stream headers matter, on the client's side. */
  constructor(handler: SpdyHandler, readHeaders: boolean) {
    this.#handler = handler;
    if (readHeaders) this.#inflater = new SpdyHeaderInflater();
  }

  /** Between two frames: something may be put in here. */
  get atBoundary(): boolean {
    return !this.#inFrame && this.#have === 0;
  }

  /** Bytes that the data frame under way still lacks; undefined while a header or a control frame is under way. */
  get payloadLeft(): number | undefined {
    return this.#inFrame && !this.#control ? this.#left : undefined;
  }

  /** No more stream headers are needed: the unpacker's memory is given back. Later header blocks are passed over. */
  stopReadingHeaders(): void {
    this.#inflater = undefined;
  }

  /**
   * Takes the next bytes and gives how many were read: all of them, or with `stopAtBoundary` those up to the first end of a frame.
   * @throws {DecodeError} for another version, an oversized control frame, or a header block that cannot be unpacked.
   */
  push(chunk: Uint8Array, stopAtBoundary = false): number {
    let i = 0;
    while (i < chunk.length) {
      if (!this.#inFrame) {
        while (this.#have < HEADER_LENGTH && i < chunk.length) this.#header[this.#have++] = chunk[i++]!;
        if (this.#have < HEADER_LENGTH) return i;
        this.#begin();
      }
      const take = Math.min(this.#left, chunk.length - i);
      if (take > 0) {
        if (!this.#control)
          this.#handler.data(this.#streamId, take, this.#wanted ? chunk.subarray(i, i + take) : undefined);
        else {
          this.#payload.set(chunk.subarray(i, i + take), this.#filled);
          this.#filled += take;
        }
        i += take;
        this.#left -= take;
      }
      if (this.#left > 0) continue;
      this.#end();
      if (stopAtBoundary) return i;
    }
    return i;
  }

  #begin(): void {
    const view = this.#view;
    const word = view.getUint32(4);
    this.#control = (this.#header[0]! & 0x80) !== 0;
    this.#flags = word >>> 24;
    this.#left = word & 0xffffff;
    this.#inFrame = true;
    this.#have = 0;
    if (this.#control) {
      const version = view.getUint16(0) & 0x7fff;
      if (version !== 3) throw new DecodeError(`SPDY frame of version ${version}`);
      if (this.#left > MAX_CONTROL) throw new DecodeError(`SPDY control frame of ${this.#left} bytes`);
      this.#type = view.getUint16(2);
      this.#payload = Buffer.alloc(this.#left);
      this.#filled = 0;
    } else {
      this.#streamId = view.getUint32(0);
      this.#wanted = this.#handler.dataFrame(this.#streamId, this.#left);
    }
  }

  #end(): void {
    this.#inFrame = false;
    if (!this.#control) {
      this.#handler.dataEnd(this.#streamId, (this.#flags & SPDY_FLAG_FIN) !== 0);
      return;
    }
    const payload = this.#payload;
    this.#payload = EMPTY;
    const need = (length: number): void => {
      if (payload.length < length) throw new DecodeError(`SPDY control frame of type ${this.#type} is cut short`);
    };
    const id = (): number => {
      need(4);
      return payload.readUInt32BE(0) & 0x7fffffff;
    };
    switch (this.#type) {
      case SPDY_SYN_STREAM: {
        need(10);
        const headers = this.#inflater?.decode(payload.subarray(10));
        this.#handler.synStream(id(), headers, (this.#flags & SPDY_FLAG_FIN) !== 0);
        return;
      }
      case SPDY_SYN_REPLY:
      case SPDY_HEADERS:
        // The zlib stream goes through these blocks too.
        need(4);
        this.#inflater?.decode(payload.subarray(4));
        this.#handler.control(this.#type, id());
        return;
      case SPDY_RST_STREAM:
      case SPDY_WINDOW_UPDATE:
        this.#handler.control(this.#type, id());
        return;
      default:
        this.#handler.control(this.#type, 0);
    }
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

/** A data frame (section 2.2.2). */
export function encodeData(streamId: number, data: Uint8Array, fin = false): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt32BE(streamId, 0);
  header[4] = fin ? SPDY_FLAG_FIN : 0;
  header.writeUIntBE(data.length, 5, 3);
  return Buffer.concat([header, data]);
}

/** GOAWAY (section 2.6.6), status OK. */
export function encodeGoAway(lastStreamId: number): Buffer {
  return encodeControl(SPDY_GOAWAY, 0, words(lastStreamId, 0));
}

/** PING (section 2.6.5). */
export function encodePing(id: number): Buffer {
  return encodeControl(SPDY_PING, 0, words(id));
}

/** RST_STREAM (section 2.6.3). */
export function encodeRstStream(streamId: number, status: number): Buffer {
  return encodeControl(SPDY_RST_STREAM, 0, words(streamId, status));
}

/** WINDOW_UPDATE (section 2.6.8). */
export function encodeWindowUpdate(streamId: number, delta: number): Buffer {
  return encodeControl(SPDY_WINDOW_UPDATE, 0, words(streamId, delta));
}

/** SYN_STREAM (section 2.6.1); the header block is packed already. */
export function encodeSynStream(streamId: number, block: Uint8Array, fin = false): Buffer {
  const payload = Buffer.concat([words(streamId, 0), Buffer.alloc(2), block]);
  return encodeControl(SPDY_SYN_STREAM, fin ? SPDY_FLAG_FIN : 0, payload);
}

/** SYN_REPLY (section 2.6.2); the header block is packed already. */
export function encodeSynReply(streamId: number, block: Uint8Array): Buffer {
  return encodeControl(SPDY_SYN_REPLY, 0, Buffer.concat([words(streamId), block]));
}

function encodeControl(type: number, flags: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt16BE(0x8003, 0);
  header.writeUInt16BE(type, 2);
  header[4] = flags;
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, 4 * i);
  return bytes;
}
