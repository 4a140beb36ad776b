import { DecodeError } from '../../core/errors.ts';

/** An object of a list: etcd takes 1.5 MiB, and a table row repeats some of it. */
const MAX_ITEM = 8 << 20;
const MAX_KEY = 64;
const NOTHING: Buffer = Buffer.alloc(0);

/** Decides by an object's name and namespace ('' for what has none). */
export type KeepObject = (namespace: string, name: string) => boolean;

/** Takes pieces of a response body and gives what of it may be passed on. */
export interface BodyFilter {
  /** @throws {DecodeError} for what cannot be read: nothing of it may be passed on then. */
  push(chunk: Buffer): Buffer;
  /** @throws {DecodeError} when the body is cut short. */
  end(): Buffer;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;
const COMMA = 0x2c;

/**
 * Filters the JSON of a list (`items`) or table (`rows`) while it streams: one object is held at a time, the rest passes as it came.
 */
export class ListFilter implements BodyFilter {
  readonly #keep: KeepObject;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** At depth 1: the next string is a key. */
  #expectKey = false;
  #key = '';
  #readingKey = false;
  /** The key whose value comes next, after its colon. */
  #valueOf: string | undefined;
  #list: 'items' | 'rows' | undefined;
  #item: Buffer[] = [];
  #itemLength = 0;
  #kept = 0;
  #ended = false;

  constructor(keep: KeepObject) {
    this.#keep = keep;
  }

  push(chunk: Buffer): Buffer {
    const out: Buffer[] = [];
    let from = 0;
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i]!;
      if (this.#inString) {
        this.#stringByte(byte);
        continue;
      }
      if (this.#depth === 0 && byte > 0x20 && (byte !== OPEN_BRACE || this.#ended))
        throw new DecodeError('a Kubernetes list is no JSON object');
      if (byte === QUOTE) {
        this.#inString = true;
        this.#readingKey = this.#depth === 1 && this.#expectKey;
        if (this.#readingKey) this.#key = '';
        if (this.#list !== undefined && this.#depth === 2)
          throw new DecodeError('a list of Kubernetes objects holds a string');
        continue;
      }
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (this.#depth === 2 && this.#list !== undefined) {
          if (byte !== OPEN_BRACE) throw new DecodeError('a list of Kubernetes objects holds something else');
          from = i;
        }
        this.#depth += 1;
        this.#expectKey = this.#depth === 1;
        if (this.#depth === 2 && byte === OPEN_BRACKET && (this.#valueOf === 'items' || this.#valueOf === 'rows')) {
          this.#list = this.#valueOf;
          this.#kept = 0;
          out.push(chunk.subarray(from, i + 1));
          from = i + 1;
        }
        this.#valueOf = undefined;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth -= 1;
        if (this.#list !== undefined && this.#depth === 2) {
          this.#hold(chunk.subarray(from, i + 1));
          this.#itemDone(out);
          from = i + 1;
        } else if (this.#list !== undefined && this.#depth === 1) {
          this.#list = undefined;
          from = i;
        }
        if (this.#depth === 0) this.#ended = true;
      } else if (this.#depth === 1) {
        if (byte === COMMA) this.#expectKey = true;
        else if (byte === COLON) {
          this.#expectKey = false;
          this.#valueOf = this.#key;
        }
      } else if (this.#list !== undefined && this.#depth === 2) {
        // Between objects: commas are written anew for those that stay.
        if (byte !== COMMA && byte > 0x20) throw new DecodeError('a list of Kubernetes objects holds something else');
      }
    }
    if (this.#list === undefined) out.push(chunk.subarray(from));
    else if (this.#depth > 2 || this.#inString) this.#hold(Buffer.from(chunk.subarray(from)));
    return Buffer.concat(out);
  }

  end(): Buffer {
    if (!this.#ended || this.#depth !== 0) throw new DecodeError('a Kubernetes list is cut short');
    return NOTHING;
  }

  #stringByte(byte: number): void {
    if (this.#escaped) {
      this.#escaped = false;
      // A key with an escape is none of ours; written with escapes, `items` would pass unread.
      if (this.#readingKey) throw new DecodeError('a key of a Kubernetes list has an escape');
    } else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) {
      this.#inString = false;
      this.#readingKey = false;
    } else if (this.#readingKey && this.#key.length < MAX_KEY) this.#key += String.fromCharCode(byte);
  }

  #hold(part: Buffer): void {
    if (part.length === 0) return;
    this.#itemLength += part.length;
    if (this.#itemLength > MAX_ITEM) throw new DecodeError(`a Kubernetes object of more than ${MAX_ITEM} bytes`);
    this.#item.push(part);
  }

  #itemDone(out: Buffer[]): void {
    const bytes = this.#item.length === 1 ? this.#item[0]! : Buffer.concat(this.#item, this.#itemLength);
    this.#item = [];
    this.#itemLength = 0;
    const item = parseObject(bytes);
    if (!keepsObject(this.#list === 'rows' ? item['object'] : item, this.#keep)) return;
    if (this.#kept > 0) out.push(Buffer.from(','));
    this.#kept += 1;
    out.push(bytes);
  }
}

/** Filters the events of a watch, a line of JSON each. Bookmarks and errors are about no object and pass. */
export class WatchFilter implements BodyFilter {
  readonly #keep: KeepObject;
  #line: Buffer[] = [];
  #length = 0;

  constructor(keep: KeepObject) {
    this.#keep = keep;
  }

  push(chunk: Buffer): Buffer {
    const out: Buffer[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, from);
      if (end < 0) break;
      this.#hold(chunk.subarray(from, end + 1));
      const line = Buffer.concat(this.#line, this.#length);
      this.#line = [];
      this.#length = 0;
      from = end + 1;
      const kept = this.#event(line);
      if (kept !== undefined) out.push(kept);
    }
    if (from < chunk.length) this.#hold(Buffer.from(chunk.subarray(from)));
    return Buffer.concat(out);
  }

  end(): Buffer {
    // An event that is not complete when a watch ends is worth nothing.
    return NOTHING;
  }

  #hold(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > MAX_ITEM) throw new DecodeError(`a Kubernetes watch event of more than ${MAX_ITEM} bytes`);
    this.#line.push(part);
  }

  #event(line: Buffer): Buffer | undefined {
    if (line.length <= 2 && line.toString().trim() === '') return line;
    const event = parseObject(line);
    const { type } = event;
    if (type === 'BOOKMARK' || type === 'ERROR') return line;
    const object = event['object'];
    if (isRecord(object) && object['kind'] === 'Table' && Array.isArray(object['rows'])) {
      const rows = object['rows'] as unknown[];
      const kept = rows.filter((row) => isRecord(row) && keepsObject(row['object'], this.#keep));
      if (kept.length === 0) return undefined;
      if (kept.length === rows.length) return line;
      return Buffer.from(`${JSON.stringify({ ...event, object: { ...object, rows: kept } })}\n`);
    }
    return keepsObject(object, this.#keep) ? line : undefined;
  }
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new DecodeError('a Kubernetes object is no JSON', { cause: error });
  }
  if (!isRecord(value)) throw new DecodeError('a Kubernetes object is no JSON object');
  return value;
}

function keepsObject(object: unknown, keep: KeepObject): boolean {
  const metadata = isRecord(object) ? object['metadata'] : undefined;
  if (!isRecord(metadata)) return false;
  const { name, namespace } = metadata;
  return typeof name === 'string' && keep(typeof namespace === 'string' ? namespace : '', name);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
