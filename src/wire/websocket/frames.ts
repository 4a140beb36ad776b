import { DecodeError } from '../../core/errors.ts';

/** Opcodes (RFC 6455 section 5.2). */
export const WS_CONTINUATION = 0;
export const WS_TEXT = 1;
export const WS_BINARY = 2;
export const WS_CLOSE = 8;
export const WS_PING = 9;
export const WS_PONG = 10;

/** No frame that a remote command or a tunnel needs is longer. */
const MAX_FRAME = 1 << 30;

/** What a reader tells of the frames that go by. */
export interface WebSocketHandler {
  /** A data message begins; `first` is its first payload byte, undefined when it is empty. True when its bytes are wanted. */
  message(opcode: number, first: number | undefined): boolean;
  /** The next `length` payload bytes of the message (the first one included), unmasked in `bytes` where they were wanted. */
  data(length: number, bytes: Uint8Array | undefined): void;
  /** The message is complete. */
  messageEnd(): void;
  /** A complete ping, pong or close. */
  control(opcode: number, payload: Uint8Array): void;
}

const HEADER = 0;
const PAYLOAD = 1;

/**
 * Reads WebSocket frames as they go by, in any pieces (RFC 6455 section 5). It keeps at most a header and a control frame's 125
 * bytes; payloads are copied only where they are wanted and masked.
 */
export class WebSocketReader {
  readonly #handler: WebSocketHandler;
  readonly #masked: boolean;
  readonly #header = new Uint8Array(14);
  #have = 0;
  #need = 2;
  #state = HEADER;
  #opcode = 0;
  #fin = false;
  #left = 0;
  #offset = 0;
  #inMessage = false;
  #started = false;
  #wanted = false;
  readonly #mask = new Uint8Array(4);
  #control: number[] = [];

  /** @param masked - whether this side's frames must be masked: a client's must, a server's must not (section 5.1). */
  constructor(handler: WebSocketHandler, masked: boolean) {
    this.#handler = handler;
    this.#masked = masked;
  }

  /** Between two messages: something may be put in here. (Between two fragments only a control frame could.) */
  get atMessageBoundary(): boolean {
    return this.#state === HEADER && this.#have === 0 && !this.#inMessage;
  }

  /** Payload bytes that the frame under way still lacks; undefined while a header is incomplete or a control frame is under way. */
  get payloadLeft(): number | undefined {
    return this.#state === PAYLOAD && this.#opcode < 8 && this.#fin ? this.#left : undefined;
  }

  /**
   * Takes the next bytes and gives how many were read: all of them, or with `stopAtBoundary` those up to the first end of a message.
   * @throws {DecodeError} for what RFC 6455 forbids, extensions, and frames over 1 GiB.
   */
  push(chunk: Uint8Array, stopAtBoundary = false): number {
    let i = 0;
    while (i < chunk.length) {
      if (this.#state === HEADER) {
        i = this.#readHeader(chunk, i);
        if (this.#state === HEADER) continue;
        if (this.#left > 0) continue;
        this.#frameEnd();
      } else {
        const take = Math.min(this.#left, chunk.length - i);
        this.#payload(chunk, i, take);
        i += take;
        this.#left -= take;
        this.#offset += take;
        if (this.#left > 0) continue;
        this.#frameEnd();
      }
      if (stopAtBoundary && this.atMessageBoundary) return i;
    }
    return i;
  }

  #readHeader(chunk: Uint8Array, at: number): number {
    let i = at;
    while (i < chunk.length) {
      this.#header[this.#have++] = chunk[i++]!;
      if (this.#have === 2) this.#need = this.#headerLength();
      if (this.#have === this.#need) {
        this.#headerDone();
        return i;
      }
    }
    return i;
  }

  #headerLength(): number {
    const [b0, b1] = [this.#header[0]!, this.#header[1]!];
    if ((b0 & 0x70) !== 0) throw new DecodeError('WebSocket frame with an extension bit that was not negotiated');
    const masked = (b1 & 0x80) !== 0;
    if (masked !== this.#masked) throw new DecodeError(`WebSocket frame ${masked ? 'with' : 'without'} a mask`);
    const short = b1 & 0x7f;
    return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (masked ? 4 : 0);
  }

  #headerDone(): void {
    const header = this.#header;
    const opcode = header[0]! & 0x0f;
    const fin = (header[0]! & 0x80) !== 0;
    const short = header[1]! & 0x7f;
    let length = short;
    if (short === 126) length = header[2]! * 256 + header[3]!;
    else if (short === 127) {
      const view = new DataView(header.buffer);
      length = view.getUint32(2) * 2 ** 32 + view.getUint32(6);
    }
    if (opcode >= 8) {
      if (opcode > WS_PONG) throw new DecodeError(`WebSocket frame with the unknown opcode ${opcode}`);
      if (!fin || length > 125) throw new DecodeError('WebSocket control frame that is fragmented or too long');
      this.#control = [];
    } else {
      if (opcode > WS_BINARY) throw new DecodeError(`WebSocket frame with the unknown opcode ${opcode}`);
      if (length > MAX_FRAME) throw new DecodeError(`WebSocket frame of ${length} bytes`);
      if ((opcode === WS_CONTINUATION) !== this.#inMessage)
        throw new DecodeError('WebSocket message fragments out of order');
      if (opcode !== WS_CONTINUATION) this.#messageOpcode = opcode;
      this.#inMessage = true;
    }
    if (this.#masked) this.#mask.set(header.subarray(this.#need - 4, this.#need));
    this.#opcode = opcode;
    this.#fin = fin;
    this.#left = length;
    this.#offset = 0;
    this.#state = PAYLOAD;
  }

  #messageOpcode = WS_BINARY;

  #payload(chunk: Uint8Array, at: number, length: number): void {
    if (this.#opcode >= 8) {
      for (let i = 0; i < length; i += 1) this.#control.push(chunk[at + i]! ^ this.#mask[(this.#offset + i) & 3]!);
      return;
    }
    if (!this.#started) this.#begin(chunk[at]! ^ this.#mask[this.#offset & 3]!);
    if (!this.#wanted) {
      this.#handler.data(length, undefined);
      return;
    }
    const bytes = chunk.subarray(at, at + length);
    this.#handler.data(length, this.#masked ? unmask(bytes, this.#mask, this.#offset) : bytes);
  }

  #begin(first: number | undefined): void {
    this.#started = true;
    this.#wanted = this.#handler.message(this.#messageOpcode, first);
  }

  #frameEnd(): void {
    this.#state = HEADER;
    this.#have = 0;
    this.#need = 2;
    if (this.#opcode >= 8) {
      this.#handler.control(this.#opcode, Uint8Array.from(this.#control));
      this.#control = [];
      return;
    }
    if (!this.#fin) return;
    if (!this.#started) this.#begin(undefined);
    this.#inMessage = false;
    this.#started = false;
    this.#handler.messageEnd();
  }
}

/** Payload bytes without their mask, four at a time; `offset` is where in the frame's payload they begin (RFC 6455 section 5.3). */
export function unmask(bytes: Uint8Array, mask: Uint8Array, offset: number): Uint8Array {
  const out = new Uint8Array(bytes);
  const key = Uint8Array.of(
    mask[offset & 3]!,
    mask[(offset + 1) & 3]!,
    mask[(offset + 2) & 3]!,
    mask[(offset + 3) & 3]!,
  );
  const words = new Uint32Array(out.buffer, 0, out.length >>> 2);
  const word = new Uint32Array(key.buffer)[0]!;
  for (let i = 0; i < words.length; i += 1) words[i] = words[i]! ^ word;
  for (let i = words.length * 4; i < out.length; i += 1) out[i] = out[i]! ^ key[i & 3]!;
  return out;
}

/**
 * One whole frame. Without `mask` as a server sends it, with it as a client does.
 * @param mask - four bytes; zeros are as good as any where nobody between could be fooled by them.
 */
export function encodeFrame(opcode: number, payload: Uint8Array, mask?: Uint8Array): Buffer {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const header = Buffer.alloc(2 + extended + (mask === undefined ? 0 : 4));
  header[0] = 0x80 | opcode;
  header[1] = (mask === undefined ? 0 : 0x80) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) header.writeUInt16BE(length, 2);
  else if (extended === 8) header.writeBigUInt64BE(BigInt(length), 2);
  if (mask === undefined) return Buffer.concat([header, payload]);
  header.set(mask, 2 + extended);
  return Buffer.concat([header, unmask(payload, mask, 0)]);
}

/** A close frame (section 5.5.1); the reason is cut to what fits. */
export function encodeClose(code: number, reason = '', mask?: Uint8Array): Buffer {
  let text = Buffer.from(reason);
  if (text.length > 123) {
    let end = 123;
    while (end > 0 && (text[end]! & 0xc0) === 0x80) end -= 1;
    text = text.subarray(0, end);
  }
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code);
  payload.set(text, 2);
  return encodeFrame(WS_CLOSE, payload, mask);
}
