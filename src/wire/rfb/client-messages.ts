import { DecodeError } from '../../core/errors.ts';
import { extendedTextBytes } from './extended-clipboard.ts';

/** Client messages (RFC 6143, 7.5, and the community's extensions) that clients of ours send. */
export type RfbClientMessageType =
  | 'SetPixelFormat'
  | 'SetEncodings'
  | 'FramebufferUpdateRequest'
  | 'KeyEvent'
  | 'PointerEvent'
  | 'ClientCutText'
  | 'EnableContinuousUpdates'
  | 'ClientFence'
  | 'SetDesktopSize'
  | 'xvp'
  | 'QemuExtendedKeyEvent';

export interface RfbClientMessage {
  readonly type: RfbClientMessageType;
  /** The whole message. */
  readonly data: Buffer;
  /** Whether a hand caused it (SPEC 2.3): a key pressed, a pointer that moved or was pressed. */
  readonly person: boolean;
}

const EMPTY = Buffer.alloc(0);
const MAX_ENCODINGS = 256;
const MAX_SCREENS = 64;
/** Longest clipboard text that is let through, as noVNC and TigerVNC bound it. */
export const RFB_MAX_CUT_TEXT = 20 * 1024 * 1024;

/** Cuts a client's stream, after its initialisation, into messages. */
export class RfbClientSplitter {
  #rest: Buffer = EMPTY;
  readonly #maxCutText: number;

  constructor(maxCutText: number = RFB_MAX_CUT_TEXT) {
    this.#maxCutText = maxCutText;
  }

  /** Takes bytes and returns the messages they completed. @throws {DecodeError} on a message of an unknown type. */
  push(chunk: Buffer): RfbClientMessage[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: RfbClientMessage[] = [];
    let offset = 0;
    for (;;) {
      const size = messageSize(bytes, offset, this.#maxCutText);
      if (size === undefined || bytes.length - offset < size.bytes) break;
      const data = bytes.subarray(offset, offset + size.bytes);
      messages.push({ type: size.type, data, person: isByHand(size.type, data) });
      offset += size.bytes;
    }
    this.#rest = offset === bytes.length ? EMPTY : Buffer.from(bytes.subarray(offset));
    return messages;
  }
}

interface Size {
  readonly type: RfbClientMessageType;
  readonly bytes: number;
}

/** Type and length of the message at `offset`; undefined while too little of it is there to tell. */
function messageSize(bytes: Buffer, offset: number, maxCutText: number): Size | undefined {
  const available = bytes.length - offset;
  if (available < 1) return undefined;
  const type = bytes[offset]!;
  switch (type) {
    case 0:
      return { type: 'SetPixelFormat', bytes: 20 };
    case 2: {
      if (available < 4) return undefined;
      const count = bytes.readUInt16BE(offset + 2);
      if (count > MAX_ENCODINGS) throw new DecodeError(`RFB SetEncodings with ${count} encodings`);
      return { type: 'SetEncodings', bytes: 4 + 4 * count };
    }
    case 3:
      return { type: 'FramebufferUpdateRequest', bytes: 10 };
    case 4:
      return { type: 'KeyEvent', bytes: 8 };
    case 5:
      // The top bit of the mask says that a second mask follows (extended mouse buttons, pseudo-encoding -316).
      if (available < 2) return undefined;
      return { type: 'PointerEvent', bytes: bytes[offset + 1]! & 0x80 ? 7 : 6 };
    case 6: {
      if (available < 8) return undefined;
      // A negative length marks the extended clipboard (pseudo-encoding 0xC0A1E5CE).
      const length = Math.abs(bytes.readInt32BE(offset + 4));
      if (length > maxCutText) throw new DecodeError(`RFB ClientCutText of ${length} bytes`);
      return { type: 'ClientCutText', bytes: 8 + length };
    }
    case 150:
      return { type: 'EnableContinuousUpdates', bytes: 10 };
    case 248: {
      if (available < 9) return undefined;
      const length = bytes[offset + 8]!;
      if (length > 64) throw new DecodeError(`RFB ClientFence of ${length} bytes`);
      return { type: 'ClientFence', bytes: 9 + length };
    }
    case 250:
      return { type: 'xvp', bytes: 4 };
    case 251: {
      if (available < 8) return undefined;
      const screens = bytes[offset + 6]!;
      if (screens > MAX_SCREENS) throw new DecodeError(`RFB SetDesktopSize with ${screens} screens`);
      return { type: 'SetDesktopSize', bytes: 8 + 16 * screens };
    }
    case 255:
      if (available < 2) return undefined;
      // Sub-type 1 is QEMU audio, which nobody asks for here.
      if (bytes[offset + 1] !== 0) throw new DecodeError(`RFB QEMU message ${bytes[offset + 1]}`);
      return { type: 'QemuExtendedKeyEvent', bytes: 12 };
    default:
      throw new DecodeError(`RFB client message ${type}`);
  }
}

function isByHand(type: RfbClientMessageType, data: Buffer): boolean {
  switch (type) {
    case 'KeyEvent':
      return data[1] !== 0;
    case 'QemuExtendedKeyEvent':
      return data.readUInt16BE(2) !== 0;
    case 'PointerEvent':
      return true;
    default:
      return false;
  }
}

/** Whether a ClientCutText or ServerCutText message carries text, and how many bytes; an announcement or request of the extended clipboard carries none. */
export function cutTextLength(data: Buffer): number {
  const length = data.readInt32BE(4);
  if (length >= 0) return length;
  return -length < 4 || data.length < 12 ? 0 : extendedTextBytes(data.readUInt32BE(8), -length - 4);
}

/** Encodings of a SetEncodings message. */
export function decodeSetEncodings(data: Buffer): number[] {
  return Array.from({ length: data.readUInt16BE(2) }, (_, i) => data.readInt32BE(4 + 4 * i));
}

/** Encodes SetEncodings (RFC 6143, 7.5.2). */
export function encodeSetEncodings(encodings: readonly number[]): Buffer {
  const out = Buffer.alloc(4 + 4 * encodings.length);
  out.writeUInt8(2, 0);
  out.writeUInt16BE(encodings.length, 2);
  encodings.forEach((encoding, i) => {
    out.writeInt32BE(encoding, 4 + 4 * i);
  });
  return out;
}
