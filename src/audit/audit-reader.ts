import { closeSync, existsSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { join } from 'node:path';
import { lineTimeMs, listAuditFiles } from './audit-files.ts';
import { escapeControls, MAX_LINE_BYTES } from './audit-line.ts';
import type { AuditQuery, StoredAuditEvent } from './events.ts';

// The files themselves are the index. Times within a file never go back, so a range of time is found by halving; within it the
// bytes are searched for the most telling value, and only the lines that have it are parsed. A database beside the files would make
// a lookup by session faster still, but would have to be written with every event, repaired, rebuilt and kept in step.

/** Bytes that are searched in one go: a few milliseconds where every line must be parsed. More than the longest line. */
const CHUNK_BYTES = 256 * 1024;
const PROBE_BYTES = 4096;
const NEWLINE = 0x0a;

/** A piece of a file that a search wants to see next. */
interface Piece {
  readonly path: string;
  readonly from: number;
  readonly to: number;
}
/** A search that asks for bytes and does no reading itself, so that it can be driven synchronously or not. */
type Search<T> = Generator<Piece, T, Buffer>;

/** How much of a file that is being written may be read, by path. */
export type Committed = ReadonlyMap<string, number>;

/** The newest events that match, oldest of them first. Reads synchronously: everything else waits meanwhile. */
export function queryFiles(dir: string, filter: AuditQuery, committed: Committed): StoredAuditEvent[] {
  const files = new OpenFiles();
  try {
    const search = newest(dir, filter, committed, files);
    let step = search.next();
    while (!step.done) step = search.next(readRange(files.fd(step.value.path), step.value.from, step.value.to));
    return step.value;
  } finally {
    files.close();
  }
}

/** As `queryFiles`, giving way to everything else after every piece. */
export async function findInFiles(dir: string, filter: AuditQuery, committed: Committed): Promise<StoredAuditEvent[]> {
  const files = new OpenFiles();
  try {
    const search = newest(dir, filter, committed, files);
    let step = search.next();
    while (!step.done) {
      const { path, from, to } = step.value;
      step = search.next(await readRangeAsync(files.fd(path), from, to));
    }
    return step.value;
  } finally {
    files.close();
  }
}

/** All events that match, oldest first, a piece at a time; `limit` is not looked at. */
export async function* readFiles(
  dir: string,
  filter: AuditQuery,
  committed: Committed,
): AsyncGenerator<StoredAuditEvent> {
  const matcher = new Matcher(filter);
  const files = new OpenFiles();
  try {
    for (const paths of daysOf(dir, filter)) {
      if (paths.length === 1) {
        yield* forward(paths[0]!, filter, matcher, committed, files);
        continue;
      }
      // A day whose clock was set back: its parts overlap.
      const parts: StoredAuditEvent[][] = [];
      for (const path of paths) {
        const part: StoredAuditEvent[] = [];
        for await (const event of forward(path, filter, matcher, committed, files)) part.push(event);
        parts.push(part);
      }
      yield* newestOf(parts, Number.POSITIVE_INFINITY);
    }
  } finally {
    files.close();
  }
}

/** Paths of the files that can hold matching events, by day. */
function daysOf(dir: string, { fromMs, toMs }: AuditQuery): string[][] {
  const days = new Map<string, string[]>();
  for (const { name, day } of listAuditFiles(dir)) {
    const startMs = Date.parse(`${day}T00:00:00Z`);
    if (toMs !== undefined && startMs >= toMs) continue;
    if (fromMs !== undefined && startMs + 86_400_000 <= fromMs) continue;
    days.set(day, [...(days.get(day) ?? []), join(dir, name)]);
  }
  return [...days.values()];
}

function newestOf(parts: readonly StoredAuditEvent[][], limit: number): StoredAuditEvent[] {
  if (parts.length === 1) return parts[0]!;
  const all = parts.flat().sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  return all.length > limit ? all.slice(-limit) : all;
}

function* newest(dir: string, filter: AuditQuery, committed: Committed, files: OpenFiles): Search<StoredAuditEvent[]> {
  const matcher = new Matcher(filter);
  const limit = filter.limit ?? Number.POSITIVE_INFINITY;
  const days: StoredAuditEvent[][] = [];
  let found = 0;
  for (const paths of daysOf(dir, filter).reverse()) {
    if (found >= limit) break;
    const parts: StoredAuditEvent[][] = [];
    for (const path of paths) parts.push(yield* backward(path, filter, matcher, limit - found, committed, files));
    const day = newestOf(parts, limit - found);
    days.push(day);
    found += day.length;
    files.close();
  }
  return days.reverse().flat();
}

function* backward(
  path: string,
  filter: AuditQuery,
  matcher: Matcher,
  limit: number,
  committed: Committed,
  files: OpenFiles,
): Search<StoredAuditEvent[]> {
  if (!existsSync(path)) return []; // Somebody cleared old files away meanwhile.
  const [from, to] = rangeOf(files.fd(path), filter, committed.get(path));
  const pieces: StoredAuditEvent[][] = [];
  let found = 0;
  let end = to;
  while (end > from && found < limit) {
    // A piece begins at a line; the part of a line before that is left to the next piece.
    const start = Math.max(from, end - CHUNK_BYTES);
    const bytes = yield { path, from: start, to: end };
    const first = start === from ? 0 : bytes.indexOf(NEWLINE) + 1;
    const events = matcher.search(bytes.subarray(first));
    pieces.push(events);
    found += events.length;
    end = start + first;
  }
  const all = pieces.reverse().flat();
  return all.length > limit ? all.slice(-limit) : all;
}

async function* forward(
  path: string,
  filter: AuditQuery,
  matcher: Matcher,
  committed: Committed,
  files: OpenFiles,
): AsyncGenerator<StoredAuditEvent> {
  if (!existsSync(path)) return;
  const fd = files.fd(path);
  const [from, to] = rangeOf(fd, filter, committed.get(path));
  for (let start = from; start < to; ) {
    const bytes = await readRangeAsync(fd, start, Math.min(start + CHUNK_BYTES, to));
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end === 0) return;
    yield* matcher.search(bytes.subarray(0, end));
    start += end;
  }
}

/** Files opened by path for the time of one search. */
class OpenFiles {
  readonly #byPath = new Map<string, number>();

  fd(path: string): number {
    const fd = this.#byPath.get(path) ?? openSync(path, 'r');
    this.#byPath.set(path, fd);
    return fd;
  }

  close(): void {
    for (const fd of this.#byPath.values()) closeSync(fd);
    this.#byPath.clear();
  }
}

/** The bytes from the first line at or after `fromMs` to the first at or after `toMs`. */
function rangeOf(fd: number, { fromMs, toMs }: AuditQuery, committed: number | undefined): [number, number] {
  const size = Math.min(committed ?? Number.POSITIVE_INFINITY, fstatSync(fd).size);
  const from = fromMs === undefined ? 0 : firstLineAt(fd, fromMs, size);
  return [from, toMs === undefined ? size : firstLineAt(fd, toMs, size)];
}

/** Offset of the first line whose time is `timeMs` or later, `size` where there is none; by halving. */
function firstLineAt(fd: number, timeMs: number, size: number): number {
  let low = 0;
  let high = size;
  // INVARIANT: `low` begins a line, every line before it is earlier; `high` ends a line, every line from it on is not.
  while (low < high) {
    const line = lineAfter(fd, low + Math.floor((high - low) / 2), low, high);
    if (line === undefined) return low;
    if (line.timeMs !== undefined && line.timeMs < timeMs) low = line.end;
    else high = line.start;
  }
  return low;
}

/** The line that holds the byte at `middle`, between `low` and `high`, which are bounds of lines. */
function lineAfter(
  fd: number,
  middle: number,
  low: number,
  high: number,
): { start: number; end: number; timeMs: number | undefined } | undefined {
  for (let width = PROBE_BYTES; ; width *= 4) {
    const from = Math.max(low, middle - width);
    const to = Math.min(high, middle + width);
    const bytes = readRange(fd, from, to);
    const at = middle - from;
    const before = at === 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1);
    const newline = bytes.indexOf(NEWLINE, at);
    const whole = (before >= 0 || from === low) && (newline >= 0 || to === high);
    if (whole) {
      const end = newline < 0 ? bytes.length : newline + 1;
      return { start: from + before + 1, end: from + end, timeMs: lineTimeMs(bytes.subarray(before + 1, end)) };
    }
    if (width > 4 * MAX_LINE_BYTES) return undefined;
  }
}

function readRange(fd: number, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe(to - from);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, from + filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

function readRangeAsync(fd: number, from: number, to: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    read(fd, Buffer.allocUnsafe(to - from), 0, to - from, from, (error, count, bytes) => {
      if (error) reject(error);
      else resolve(bytes.subarray(0, count));
    });
  });
}

/** Decides about lines, by their bytes as far as possible. */
class Matcher {
  readonly #filter: AuditQuery;
  readonly #events: ReadonlySet<string> | undefined;
  /** Bytes that every matching line has. */
  readonly #needle: Buffer | undefined;

  constructor(filter: AuditQuery) {
    this.#filter = filter;
    this.#events = filter.events && new Set(filter.events);
    if (filter.sid !== undefined) this.#needle = memberBytes('sid', filter.sid);
    else if (filter.user !== undefined) this.#needle = memberBytes('user', filter.user);
    else if (filter.events?.length === 1) this.#needle = memberBytes('event', filter.events[0]!);
  }

  /** The matching events among whole lines. */
  search(bytes: Buffer): StoredAuditEvent[] {
    const found: StoredAuditEvent[] = [];
    for (let from = 0; from < bytes.length; ) {
      let start = from;
      if (this.#needle !== undefined) {
        const hit = bytes.indexOf(this.#needle, from);
        if (hit < 0) break;
        start = hit === 0 ? 0 : bytes.lastIndexOf(NEWLINE, hit - 1) + 1;
      }
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      const event = this.#match(bytes.subarray(start, end));
      if (event !== undefined) found.push(event);
      from = end + 1;
    }
    return found;
  }

  #match(line: Buffer): StoredAuditEvent | undefined {
    if (this.#events !== undefined && !this.#mayBeEvent(line, this.#events)) return undefined;
    let event: StoredAuditEvent;
    try {
      event = JSON.parse(line.toString()) as StoredAuditEvent;
    } catch {
      return undefined;
    }
    const { fromMs, toMs, user, sid } = this.#filter;
    if (this.#events !== undefined && !this.#events.has(event.event)) return undefined;
    if (user !== undefined && event['user'] !== user) return undefined;
    if (sid !== undefined && event['sid'] !== sid) return undefined;
    if (fromMs === undefined && toMs === undefined) return event;
    const timeMs = Date.parse(event.time);
    return timeMs >= (fromMs ?? timeMs) && timeMs < (toMs ?? Number.POSITIVE_INFINITY) ? event : undefined;
  }

  /** Reads the name where the log puts it: `{"time":"…24 characters…","event":"NAME"`. */
  #mayBeEvent(line: Buffer, events: ReadonlySet<string>): boolean {
    if (line.toString('latin1', 33, 44) !== '","event":"') return true;
    const end = line.indexOf(0x22, 44);
    return events.has(line.toString('latin1', 44, end));
  }
}

function memberBytes(name: string, value: string): Buffer {
  return Buffer.from(`"${name}":${escapeControls(JSON.stringify(value))}`);
}
