import { DecodeError } from '../../core/errors.ts';

/** One frame of an RDP stream inside TLS: a TPKT (RFC 1006) or a fast-path PDU (MS-RDPBCGR 2.2.8.1.2, 2.2.9.1.2). */
export interface RdpFrame {
  readonly kind: 'tpkt' | 'fastpath';
  /** The whole frame with its header: a view on the splitter's memory that stays as it is. */
  readonly data: Buffer;
}

/** The frames that a chunk completed, also as one piece: a relay that changes nothing forwards `bytes`. */
export interface RdpFrames {
  readonly bytes: Buffer;
  readonly frames: readonly RdpFrame[];
}

const EMPTY = Buffer.alloc(0);
const NOTHING: RdpFrames = { bytes: EMPTY, frames: [] };

/**
 * Cuts one direction of an RDP stream into frames. Lengths are 16 and 15 bits, so at most one frame of 64 KiB waits here.
 */
export class RdpFrameSplitter {
  #rest: Buffer = EMPTY;

  /** Takes bytes and returns what they completed. @throws {DecodeError} on bytes that begin no frame. */
  push(chunk: Buffer): RdpFrames {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: RdpFrame[] = [];
    let offset = 0;
    for (;;) {
      const length = frameLength(bytes, offset);
      if (length === undefined || bytes.length - offset < length) break;
      const data = bytes.subarray(offset, offset + length);
      frames.push({ kind: data[0] === 3 ? 'tpkt' : 'fastpath', data });
      offset += length;
    }
    // The rest is copied: a view would keep the whole chunk alive, and a transport may use its memory again.
    this.#rest = offset === bytes.length ? EMPTY : Buffer.from(bytes.subarray(offset));
    return offset === 0 ? NOTHING : { bytes: bytes.subarray(0, offset), frames };
  }

  /** Bytes that wait for the rest of their frame. */
  get pending(): number {
    return this.#rest.length;
  }
}

/** Length of the frame at `offset`; undefined while its header is incomplete. */
function frameLength(bytes: Buffer, offset: number): number | undefined {
  if (bytes.length - offset < 2) return undefined;
  const first = bytes[offset]!;
  if (first === 3) {
    if (bytes.length - offset < 4) return undefined;
    const length = bytes.readUInt16BE(offset + 2);
    if (length < 7) throw new DecodeError(`TPKT of ${length} bytes`);
    return length;
  }
  if ((first & 3) !== 0) throw new DecodeError(`neither TPKT nor fast-path: 0x${first.toString(16)}`);
  const second = bytes[offset + 1]!;
  if (second < 0x80) {
    if (second < 2) throw new DecodeError(`fast-path PDU of ${second} bytes`);
    return second;
  }
  if (bytes.length - offset < 3) return undefined;
  const length = ((second & 0x7f) << 8) | bytes[offset + 2]!;
  if (length < 3) throw new DecodeError(`fast-path PDU of ${length} bytes`);
  return length;
}
