import { DecodeError } from '../../core/errors.ts';

/** Longest inline command, and longest line of a header (PROTO_INLINE_MAX_SIZE of Redis). */
export const MAX_INLINE_BYTES = 64 * 1024;
/** Most arguments of a command (Redis allows as many to who has signed in). */
export const MAX_ARGUMENTS = 1024 * 1024;
/** Longest string, either way; Redis' own limit is 512 MB by default and may be raised. */
export const MAX_BULK_BYTES = 0xffff_ffff;

/** A command as Redis takes it: an array of bulk strings. */
export function encodeCommand(...args: readonly (string | Uint8Array)[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = typeof arg === 'string' ? Buffer.from(arg) : arg;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** An error answer. `code` is its first word: `ERR`, `NOPERM` … */
export function encodeError(code: string, text: string): Buffer {
  // A line break would end the answer early.
  return Buffer.from(`-${code} ${text.replace(/[\r\n]+/g, ' ')}\r\n`);
}

/** A message to subscribers, as a push of RESP3. */
export function encodePushMessage(channel: string, text: string): Buffer {
  const bulk = (value: string): string => `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
  return Buffer.from(`>3\r\n${bulk('message')}${bulk(channel)}${bulk(text)}`);
}

/** A line without its end, and where the next thing begins. */
interface Line {
  readonly start: number;
  readonly end: number;
  readonly next: number;
}

/**
 * The line that begins at `start`; undefined when its end is not there yet.
 * @throws {DecodeError} for a line that is longer than `limit`, or does not end with CR LF.
 */
function lineAt(bytes: Buffer, start: number, limit: number): Line | undefined {
  const feed = bytes.indexOf(10, start);
  if (feed < 0) {
    if (bytes.length - start > limit) throw new DecodeError('a line without end');
    return undefined;
  }
  if (feed - start > limit) throw new DecodeError('a line without end');
  // Redis itself looks for CR and skips two bytes: what is not strictly CR LF would be read differently here and there.
  if (feed === start || bytes[feed - 1] !== 13) throw new DecodeError('a line that does not end with CR LF');
  return { start, end: feed - 1, next: feed + 1 };
}

/** A number in a header, without sign and spaces; undefined for the negative ones, which stand for nothing. */
function headerNumber(bytes: Buffer, start: number, end: number): number | undefined {
  const text = bytes.toString('latin1', start, end);
  if (/^-\d{1,10}$/.test(text)) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw new DecodeError('a header without a number');
  return Number(text);
}

/** The beginning of a command: how many arguments it has, and those that were asked for. */
export interface CommandHead {
  /** Number of arguments with the command's name; 0 for what Redis ignores (an empty line, an empty array). */
  readonly count: number;
  readonly args: readonly Buffer[];
  /** Where the bytes behind the decoded arguments begin. */
  readonly next: number;
}

/** Bytes of headers that one array header, and one string header, may take. */
const HEADER_LINE = 16;

/**
 * Decodes a command's first arguments, at most `wanted` of them, from `start`. Undefined when more bytes are needed. An argument longer than
 * `maxBytes` ends the decoding in front of it.
 * @throws {DecodeError}
 */
export function decodeCommandHead(
  bytes: Buffer,
  start: number,
  wanted: number,
  maxBytes: number,
): CommandHead | undefined {
  if (start >= bytes.length) return undefined;
  if (bytes[start] !== 0x2a) return decodeInline(bytes, start);
  const line = lineAt(bytes, start, HEADER_LINE);
  if (line === undefined) return undefined;
  const count = headerNumber(bytes, start + 1, line.end) ?? 0;
  if (count > MAX_ARGUMENTS) throw new DecodeError(`a command of ${count} arguments`);
  const args: Buffer[] = [];
  let next = line.next;
  while (args.length < Math.min(wanted, count)) {
    if (next < bytes.length && bytes[next] !== 0x24) throw new DecodeError('an argument that is no bulk string');
    const header = lineAt(bytes, next, HEADER_LINE);
    if (header === undefined) return undefined;
    const length = headerNumber(bytes, next + 1, header.end);
    if (length === undefined || length > MAX_BULK_BYTES) throw new DecodeError('an argument without a length');
    if (length > maxBytes) break;
    const end = header.next + length;
    if (bytes.length < end + 2) return undefined;
    args.push(bytes.subarray(header.next, end));
    next = end + 2;
  }
  return { count, args, next };
}

/** An inline command: words on one line, quoted as in a shell (sdssplitargs of Redis). All of them are decoded. */
function decodeInline(bytes: Buffer, start: number): CommandHead | undefined {
  const feed = bytes.indexOf(10, start);
  if ((feed < 0 ? bytes.length : feed) - start > MAX_INLINE_BYTES)
    throw new DecodeError('an inline command without end');
  if (feed < 0) return undefined;
  const end = feed > start && bytes[feed - 1] === 13 ? feed - 1 : feed;
  // Servers end the line at different places then, and would read another command than was checked.
  if (bytes.subarray(start, end).includes(0)) throw new DecodeError('an inline command with a NUL');
  const args = splitWords(bytes.subarray(start, end));
  return { count: args.length, args, next: feed + 1 };
}

const SPACE = new Set([0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]);
const ESCAPES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, b: 8, a: 7 };

/** @throws {DecodeError} for quotes that do not match. */
function splitWords(line: Buffer): Buffer[] {
  const words: Buffer[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && SPACE.has(line[at]!)) at += 1;
    if (at >= line.length) return words;
    const word: number[] = [];
    at = readWord(line, at, word);
    words.push(Buffer.from(word));
  }
}

function readWord(line: Buffer, at: number, word: number[]): number {
  let quote = 0;
  for (; at < line.length; at++) {
    const byte = line[at]!;
    if (quote === 0) {
      if (SPACE.has(byte)) return at;
      if (byte === 0x22 || byte === 0x27) quote = byte;
      else word.push(byte);
      continue;
    }
    if (byte === quote) {
      if (at + 1 < line.length && !SPACE.has(line[at + 1]!)) throw new DecodeError('unbalanced quotes');
      return at + 1;
    }
    if (byte !== 0x5c || at + 1 >= line.length) {
      word.push(byte);
      continue;
    }
    const escaped = String.fromCharCode(line[at + 1]!);
    if (quote === 0x27) {
      if (escaped === "'") at += 1;
      word.push(escaped === "'" ? 0x27 : byte);
      continue;
    }
    const hex = line.toString('latin1', at + 2, at + 4);
    if (escaped === 'x' && /^[0-9a-f]{2}$/i.test(hex)) {
      word.push(Number.parseInt(hex, 16));
      at += 3;
    } else {
      word.push(ESCAPES[escaped] ?? line[at + 1]!);
      at += 1;
    }
  }
  if (quote !== 0) throw new DecodeError('unbalanced quotes');
  return at;
}
