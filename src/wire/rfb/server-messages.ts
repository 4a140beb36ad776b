import { DecodeError } from '../../core/errors.ts';
import { extendedTextBytes } from './extended-clipboard.ts';
import { type PixelFormat, tightPixelBytes } from './pixel-format.ts';

// Encodings (RFC 6143, 7.7 and the registry) whose lengths this splitter knows.
const RAW = 0;
const COPY_RECT = 1;
const ZLIB = 6;
const TIGHT = 7;
const ZRLE = 16;
const H264 = 50;
const DESKTOP_SIZE = -223;
const LAST_RECT = -224;
const CURSOR = -239;
const QEMU_EXTENDED_KEY_EVENT = -258;
const TIGHT_PNG = -260;
const QEMU_LED_STATE = -261;
const DESKTOP_NAME = -307;
const EXTENDED_DESKTOP_SIZE = -308;
const FENCE = -312;
const CONTINUOUS_UPDATES = -313;
const EXTENDED_MOUSE_BUTTONS = -316;
const VMWARE_CURSOR = 0x574d_5664;
/** As a signed 32-bit number: 0xC0A1E5CE. */
export const EXTENDED_CLIPBOARD = 0xc0a1_e5ce | 0;

const KNOWN = new Set([
  RAW,
  COPY_RECT,
  ZLIB,
  TIGHT,
  ZRLE,
  H264,
  DESKTOP_SIZE,
  LAST_RECT,
  CURSOR,
  QEMU_EXTENDED_KEY_EVENT,
  TIGHT_PNG,
  QEMU_LED_STATE,
  DESKTOP_NAME,
  EXTENDED_DESKTOP_SIZE,
  FENCE,
  CONTINUOUS_UPDATES,
  EXTENDED_MOUSE_BUTTONS,
  VMWARE_CURSOR,
  EXTENDED_CLIPBOARD,
]);

/**
 * Whether a client may ask for an encoding: only what can be followed to the next message, so that the clipboard can be
 * seen. Left out: Hextile, RRE and plain JPEG, which every server that has them has a better one beside; and xvp, with
 * which a client would switch the machine off.
 */
export function isFollowedEncoding(encoding: number): boolean {
  const isLevel = (encoding >= -32 && encoding <= -23) || (encoding >= -256 && encoding <= -247);
  return isLevel || KNOWN.has(encoding);
}

/** A stretch of the server's stream: part of the clipboard's text, or of anything else. */
export interface RfbServerPiece {
  readonly data: Buffer;
  readonly cutText: boolean;
  /** Bytes of text in the ServerCutText message that this piece belongs to, on the piece in which that becomes known. */
  readonly textLength: number | undefined;
}

type Want = { readonly read: number } | { readonly skip: number };

/**
 * Follows a server's stream behind ServerInit from message to message, keeping no pixels: all bytes are given back at
 * once, the clipboard's apart.
 */
export class RfbServerSplitter {
  #format: PixelFormat;
  readonly #walk: Generator<Want, never, Buffer>;
  #header = Buffer.alloc(64);
  #have = 0;
  #want: Want = { read: 0 };
  #cutText = false;
  #textLength: number | undefined;

  constructor(format: PixelFormat) {
    this.#format = format;
    this.#walk = this.#messages();
    this.#want = this.#walk.next().value;
  }

  /** The client has set another pixel format; valid before it has asked for the first update. */
  setPixelFormat(format: PixelFormat): void {
    this.#format = format;
  }

  /** @throws {DecodeError} on a message or an encoding that was not asked for: the stream cannot be followed any more. */
  push(chunk: Buffer): RfbServerPiece[] {
    const pieces: RfbServerPiece[] = [];
    let start = 0;
    let offset = 0;
    while (offset < chunk.length) {
      const size = 'skip' in this.#want ? this.#want.skip : this.#want.read;
      const taken = Math.min(size - this.#have, chunk.length - offset);
      if ('read' in this.#want) chunk.copy(this.#header, this.#have, offset, offset + taken);
      offset += taken;
      this.#have += taken;
      if (this.#have < size) break;
      const wasCutText = this.#cutText;
      this.#advance();
      if (wasCutText === this.#cutText) continue;
      // The clipboard's message begins with the type byte that was just read, and ends with the byte just skipped.
      const boundary = wasCutText ? offset : offset - 1;
      this.#piece(pieces, chunk.subarray(start, boundary), wasCutText);
      start = boundary;
    }
    this.#piece(pieces, chunk.subarray(start), this.#cutText);
    return pieces;
  }

  #piece(pieces: RfbServerPiece[], data: Buffer, cutText: boolean): void {
    if (data.length === 0) return;
    pieces.push({ data, cutText, textLength: cutText ? this.#textLength : undefined });
    if (cutText) this.#textLength = undefined;
  }

  #advance(): void {
    do {
      const given = 'read' in this.#want ? this.#header.subarray(0, this.#want.read) : this.#header.subarray(0, 0);
      this.#have = 0;
      this.#want = this.#walk.next(given).value;
    } while (('skip' in this.#want ? this.#want.skip : this.#want.read) === 0);
  }

  *#messages(): Generator<Want, never, Buffer> {
    for (;;) {
      const type = (yield { read: 1 })[0]!;
      switch (type) {
        case 0:
          yield* this.#framebufferUpdate();
          break;
        case 1:
          yield { skip: 6 * (yield { read: 5 }).readUInt16BE(3) };
          break;
        case 2:
        case 150:
          break;
        case 3:
          yield* this.#serverCutText();
          break;
        case 248:
          yield { skip: (yield { read: 8 })[7]! };
          break;
        default:
          throw new DecodeError(`RFB server message ${type}`);
      }
    }
  }

  *#serverCutText(): Generator<Want, void, Buffer> {
    this.#cutText = true;
    const length = (yield { read: 7 }).readInt32BE(3);
    if (length >= 0) {
      this.#textLength = length;
      yield { skip: length };
    } else {
      // The extended clipboard: flags, of which `provide` alone is followed by text.
      if (length > -4) throw new DecodeError('RFB extended clipboard is cut short');
      const flags = (yield { read: 4 }).readUInt32BE(0);
      this.#textLength = extendedTextBytes(flags, -length - 4);
      yield { skip: -length - 4 };
    }
    this.#cutText = false;
  }

  *#framebufferUpdate(): Generator<Want, void, Buffer> {
    const count = (yield { read: 3 }).readUInt16BE(1);
    for (let i = 0; i < count; i += 1) {
      const header = yield { read: 12 };
      const width = header.readUInt16BE(4);
      const height = header.readUInt16BE(6);
      const encoding = header.readInt32BE(8);
      if (encoding === LAST_RECT) return;
      yield* this.#rectangle(encoding, width, height);
    }
  }

  *#rectangle(encoding: number, width: number, height: number): Generator<Want, void, Buffer> {
    const pixel = this.#format.bytesPerPixel;
    switch (encoding) {
      case RAW:
        yield { skip: width * height * pixel };
        return;
      case COPY_RECT:
        yield { skip: 4 };
        return;
      case ZLIB:
      case ZRLE:
      case DESKTOP_NAME:
        yield { skip: (yield { read: 4 }).readUInt32BE(0) };
        return;
      case H264:
        yield { skip: (yield { read: 8 }).readUInt32BE(0) };
        return;
      case TIGHT:
      case TIGHT_PNG:
        yield* this.#tight(width, height);
        return;
      case DESKTOP_SIZE:
      case QEMU_EXTENDED_KEY_EVENT:
      case EXTENDED_MOUSE_BUTTONS:
        return;
      case QEMU_LED_STATE:
        yield { skip: 1 };
        return;
      case CURSOR:
        yield { skip: width * height * pixel + Math.ceil(width / 8) * height };
        return;
      case VMWARE_CURSOR: {
        const kind = (yield { read: 2 })[0]!;
        if (kind > 1) throw new DecodeError(`RFB VMware cursor of type ${kind}`);
        yield { skip: width * height * (kind === 0 ? 2 * pixel : 4) };
        return;
      }
      case EXTENDED_DESKTOP_SIZE:
        yield { skip: 16 * (yield { read: 4 })[0]! };
        return;
      default:
        throw new DecodeError(`RFB encoding ${encoding} that nobody asked for`);
    }
  }

  /** One rectangle in Tight encoding (RFC draft and the community's specification, "Tight Encoding"). */
  *#tight(width: number, height: number): Generator<Want, void, Buffer> {
    const pixel = tightPixelBytes(this.#format);
    const control = (yield { read: 1 })[0]! >> 4;
    if (control === 8) {
      yield { skip: pixel };
      return;
    }
    if (control === 9 || control === 10) {
      yield { skip: yield* this.#compactLength() };
      return;
    }
    if (control > 10) throw new DecodeError(`RFB Tight control ${control}`);
    let bytes = width * height * pixel;
    if ((control & 4) !== 0) {
      const filter = (yield { read: 1 })[0]!;
      if (filter === 1) {
        const colors = (yield { read: 1 })[0]! + 1;
        yield { skip: colors * pixel };
        bytes = colors <= 2 ? Math.ceil(width / 8) * height : width * height;
      } else if (filter > 2) {
        throw new DecodeError(`RFB Tight filter ${filter}`);
      }
    }
    // Less than 12 bytes are sent as they are, without a length.
    yield { skip: bytes < 12 ? bytes : yield* this.#compactLength() };
  }

  /** Up to three bytes, seven bits in each of the first two. */
  *#compactLength(): Generator<Want, number, Buffer> {
    const first = (yield { read: 1 })[0]!;
    if (first < 0x80) return first;
    const second = (yield { read: 1 })[0]!;
    if (second < 0x80) return (first & 0x7f) | (second << 7);
    const third = (yield { read: 1 })[0]!;
    return (first & 0x7f) | ((second & 0x7f) << 7) | (third << 14);
  }
}
