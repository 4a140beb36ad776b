import { DecodeError } from '../../core/errors.ts';
import { MAX_BULK_BYTES } from './resp.ts';

/** Deepest nesting of arrays in an answer. */
const MAX_DEPTH = 64;
/** Bytes kept of an array's first element: the kinds of push messages are shorter. */
const KIND_BYTES = 24;
const MAX_HEADER_DIGITS = 11;

const CR = 13;
const LF = 10;

/** One whole message of the server, as far as anybody needs to know it. */
export interface ServerMessage {
  /** Its type byte. */
  readonly type: number;
  /** Second byte of a simple string: the time stamps of MONITOR begin with a digit. */
  readonly second: number;
  /** First element of an array or push, where it is a short string. */
  readonly kind: string;
  /** Third element of an array or push, where it is a number. */
  readonly third: number | undefined;
}

/**
 * Walks what the server sends, RESP2 and RESP3: it knows the message boundaries, at which something may be put in, and reports each whole
 * message. It keeps no more than the kind of a push.
 */
export class ReplyTap {
  readonly #onMessage: (message: ServerMessage) => void;
  /** Elements still to come, by level; negative numbers count down an attribute, which is no element of its own. */
  readonly #levels: number[] = [];
  /** `type`: at an element's first byte. `line`, `number`: within a line. `body`: within a string. */
  #state: 'type' | 'line' | 'number' | 'body' = 'type';
  #elementType = 0;
  #digits = '';
  /** Bytes of the present string with its CR LF that are still to come. */
  #rest = 0;
  #type = 0;
  #second = 0;
  #kind = '';
  #third: number | undefined;
  /** Index of the present element in the outermost array. */
  #index = 0;
  #previous = 0;
  /** An attribute has been read whose message is still to come. */
  #attributed = false;

  constructor(onMessage: (message: ServerMessage) => void) {
    this.#onMessage = onMessage;
  }

  /** Nothing is half sent. */
  get atBoundary(): boolean {
    return this.#levels.length === 0 && this.#state === 'type' && !this.#attributed;
  }

  /**
   * Takes `chunk` from `start` to `end`. With `stopAtBoundary` it takes no more than what completes the message that is half sent, or one whole
   * message. Returns where it stopped.
   * @throws {DecodeError}
   */
  push(chunk: Buffer, start = 0, end = chunk.length, stopAtBoundary = false): number {
    let at = start;
    while (at < end) {
      switch (this.#state) {
        case 'type':
          this.#begin(chunk[at]!);
          at += 1;
          continue;
        case 'line':
          at = this.#line(chunk, at, end);
          break;
        case 'number':
          at = this.#number(chunk, at, end);
          break;
        case 'body':
          at = this.#body(chunk, at, end);
          break;
      }
      if (stopAtBoundary && this.atBoundary) return at;
    }
    return at;
  }

  #begin(type: number): void {
    this.#elementType = type;
    this.#attributed = false;
    if (this.#levels.length === 0) {
      this.#type = type;
      this.#second = 0;
      this.#kind = '';
      this.#third = undefined;
      this.#index = 0;
    }
    switch (type) {
      case 0x2b: // +
      case 0x2d: // -
      case 0x5f: // _
      case 0x2c: // ,
      case 0x23: // #
      case 0x28: // (
        this.#state = 'line';
        this.#previous = 0;
        return;
      case 0x3a: // :
      case 0x24: // $
      case 0x3d: // =
      case 0x21: // !
      case 0x2a: // *
      case 0x7e: // ~
      case 0x3e: // >
      case 0x25: // %
      case 0x7c: // |
        this.#state = 'number';
        this.#digits = '';
        this.#previous = 0;
        return;
      default:
        throw new DecodeError(`server message of type ${type}`);
    }
  }

  #line(chunk: Buffer, at: number, end: number): number {
    if (this.#previous === 0 && this.#levels.length === 0) this.#second = chunk[at]!;
    const found = chunk.indexOf(LF, at);
    if (found < 0 || found >= end) {
      this.#previous = chunk[end - 1]!;
      return end;
    }
    const before = found > at ? chunk[found - 1]! : this.#previous;
    if (before !== CR) throw new DecodeError('a line that does not end with CR LF');
    this.#elementDone();
    return found + 1;
  }

  #number(chunk: Buffer, at: number, end: number): number {
    while (at < end) {
      const byte = chunk[at]!;
      at += 1;
      if (byte === LF) {
        if (this.#previous !== CR) throw new DecodeError('a line that does not end with CR LF');
        this.#header();
        return at;
      }
      if (this.#previous === CR) throw new DecodeError('a line that does not end with CR LF');
      this.#previous = byte;
      if (byte === CR) continue;
      // An integer may be as long as it likes; it is only read where it counts subscriptions.
      if (this.#digits.length < MAX_HEADER_DIGITS) this.#digits += String.fromCharCode(byte);
      else if (this.#elementType !== 0x3a) throw new DecodeError('a length that no message has');
    }
    return at;
  }

  #header(): void {
    const type = this.#elementType;
    const digits = this.#digits;
    if (type === 0x3a) {
      if (this.#levels.length === 1 && this.#index === 2 && /^\d{1,10}$/.test(digits)) this.#third = Number(digits);
      this.#elementDone();
      return;
    }
    if (digits === '-1') {
      this.#elementDone();
      return;
    }
    if (!/^\d{1,10}$/.test(digits)) throw new DecodeError('a header without a number');
    const value = Number(digits);
    if (value > MAX_BULK_BYTES) throw new DecodeError('a length that no message has');
    if (type === 0x24 || type === 0x3d || type === 0x21) {
      this.#rest = value + 2;
      this.#state = 'body';
      return;
    }
    this.#aggregate(type, value);
  }

  #aggregate(type: number, count: number): void {
    this.#state = 'type';
    const elements = type === 0x25 || type === 0x7c ? 2 * count : count;
    if (type === 0x7c) {
      // An attribute stands before the element that it belongs to.
      if (elements > 0) this.#descend(-elements);
      else this.#attributed = true;
    } else if (elements === 0) this.#elementDone();
    else this.#descend(elements);
  }

  #descend(elements: number): void {
    if (this.#levels.length >= MAX_DEPTH) throw new DecodeError('answers nested too deep');
    this.#levels.push(elements);
  }

  #body(chunk: Buffer, at: number, end: number): number {
    const take = Math.min(this.#rest, end - at);
    if (this.#levels.length === 1 && this.#index === 0 && this.#kind.length < KIND_BYTES) {
      const text = Math.min(take, Math.max(0, this.#rest - 2));
      this.#kind += chunk.toString('latin1', at, at + Math.min(text, KIND_BYTES - this.#kind.length));
    }
    this.#rest -= take;
    if (this.#rest === 0) this.#elementDone();
    return at + take;
  }

  /** An element is complete, and with it perhaps the arrays that it was the last of. */
  #elementDone(): void {
    this.#state = 'type';
    const levels = this.#levels;
    while (levels.length > 0) {
      const top = levels.length - 1;
      if (top === 0) this.#index += 1;
      if (levels[top]! < 0) {
        levels[top]! += 1;
        // The attribute is over; its element follows.
        if (levels[top] === 0) {
          levels.pop();
          this.#attributed = true;
        }
        return;
      }
      levels[top]! -= 1;
      if (levels[top]! > 0) return;
      levels.pop();
    }
    this.#onMessage({ type: this.#type, second: this.#second, kind: this.#kind, third: this.#third });
  }
}
