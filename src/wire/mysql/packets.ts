import { DecodeError } from '../../core/errors.ts';

/** Bytes of a packet's header: three of length, one of sequence number. */
export const HEADER_LENGTH = 4;
/** A payload of this length goes on in the next packet. */
export const MAX_PAYLOAD = 0xff_ffff;

/** First bytes of the packets that have a general form. */
export const MARK = { ok: 0x00, authMoreData: 0x01, localInfile: 0xfb, eof: 0xfe, err: 0xff } as const;

/** A whole packet; the payload is shorter than 16 MiB. */
export function encodePacket(sequence: number, payload: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(HEADER_LENGTH + payload.length);
  packet.writeUIntLE(payload.length, 0, 3);
  packet[3] = sequence & 0xff;
  packet.set(payload, HEADER_LENGTH);
  return packet;
}

/** The payload of ERR_Packet, protocol 4.1. */
export function encodeError(code: number, sqlState: string, text: string): Buffer {
  const head = Buffer.alloc(9);
  head[0] = MARK.err;
  head.writeUInt16LE(code, 1);
  head.write(`#${sqlState.padEnd(5, '0').slice(0, 5)}`, 3, 'latin1');
  return Buffer.concat([head, Buffer.from(text)]);
}

/** What an ERR packet says; before the login is done servers may leave the SQLSTATE out. */
export function decodeError(payload: Buffer): { code: number; message: string } {
  const reader = new PayloadReader(payload);
  if (reader.u8() !== MARK.err) throw new DecodeError('not an ERR packet');
  const code = reader.u16();
  const rest = reader.rest().toString('utf8');
  return { code, message: rest.startsWith('#') ? rest.slice(6) : rest };
}

/** Reads the fields of one payload. Every method throws `DecodeError` where the bytes do not suffice. */
export class PayloadReader {
  readonly #payload: Buffer;
  #at = 0;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  get remaining(): number {
    return this.#payload.length - this.#at;
  }

  bytes(length: number): Buffer {
    if (length > this.remaining) throw new DecodeError('a packet ends before its fields do');
    this.#at += length;
    return this.#payload.subarray(this.#at - length, this.#at);
  }

  u8(): number {
    return this.bytes(1)[0]!;
  }

  u16(): number {
    return this.bytes(2).readUInt16LE(0);
  }

  u32(): number {
    return this.bytes(4).readUInt32LE(0);
  }

  /** A zero-terminated string, without the zero. */
  nulBytes(): Buffer {
    const end = this.#payload.indexOf(0, this.#at);
    if (end < 0) throw new DecodeError('a string in a packet has no end');
    const found = this.#payload.subarray(this.#at, end);
    this.#at = end + 1;
    return found;
  }

  nulText(): string {
    return this.nulBytes().toString('utf8');
  }

  /** A length-encoded integer up to 2^53. */
  lenenc(): number {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.u16();
    if (first === 0xfd) return this.bytes(3).readUIntLE(0, 3);
    if (first === 0xfe) {
      const value = this.bytes(8).readBigUInt64LE(0);
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new DecodeError('a length that no packet has');
      return Number(value);
    }
    throw new DecodeError('not a length-encoded integer');
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }
}

/** A length-encoded integer below 2^16. */
export function encodeLenenc(value: number): Buffer {
  return value < 0xfb ? Buffer.from([value]) : Buffer.from([0xfc, value & 0xff, value >>> 8]);
}
