import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { lineTimeMs, listAuditFiles } from './audit-files.ts';
import { escapeControls, MAX_LINE_BYTES } from './audit-line.ts';
import type { AuditQuery, StoredAuditEvent } from './events.ts';

// The files themselves are the index. Times within a file never go back, so a range of time is found by halving; within it the
// bytes are searched for the most telling value, and only the lines that have it are parsed. A database beside the files would make
// a lookup by session faster still, but would have to be written with every event, repaired, rebuilt and kept in step.

const CHUNK_BYTES = 1024 * 1024;
const PROBE_BYTES = 4096;
const NEWLINE = 0x0a;

/**
 * The newest events that match, oldest of them first. Reads synchronously; `committed` gives, by path, how much of a file that is
 * being written may be read.
 */
export function queryFiles(
  dir: string,
  filter: AuditQuery,
  committed: ReadonlyMap<string, number>,
): StoredAuditEvent[] {
  const matcher = new Matcher(filter);
  const limit = filter.limit ?? Number.POSITIVE_INFINITY;
  let newest: StoredAuditEvent[] = [];
  for (const paths of daysOf(dir, filter).reverse()) {
    if (newest.length >= limit) break;
    const missing = limit - newest.length;
    const parts = paths.map((path) => searchBackward(path, filter, matcher, missing, committed));
    newest = [...newestOf(parts, missing), ...newest];
  }
  return newest;
}

/** All events that match, oldest first, read asynchronously and a piece at a time; `limit` is not looked at. */
export async function* readFiles(
  dir: string,
  filter: AuditQuery,
  committed: ReadonlyMap<string, number>,
): AsyncGenerator<StoredAuditEvent> {
  const matcher = new Matcher(filter);
  for (const paths of daysOf(dir, filter)) {
    if (paths.length === 1) {
      yield* searchForward(paths[0]!, filter, matcher, committed);
    } else {
      // A day whose clock was set back: its parts overlap.
      const parts: StoredAuditEvent[][] = [];
      for (const path of paths) {
        const part: StoredAuditEvent[] = [];
        for await (const event of searchForward(path, filter, matcher, committed)) part.push(event);
        parts.push(part);
      }
      yield* newestOf(parts, Number.POSITIVE_INFINITY);
    }
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

function searchBackward(
  path: string,
  filter: AuditQuery,
  matcher: Matcher,
  limit: number,
  committed: ReadonlyMap<string, number>,
): StoredAuditEvent[] {
  const fd = openSync(path, 'r');
  try {
    const [from, to] = rangeOf(fd, filter, committed.get(path));
    const pieces: StoredAuditEvent[][] = [];
    let found = 0;
    let end = to;
    while (end > from && found < limit) {
      // A piece begins at a line; the part of a line before that is left to the next piece.
      const start = Math.max(from, end - CHUNK_BYTES);
      const bytes = readRange(fd, start, end);
      const first = start === from ? 0 : bytes.indexOf(NEWLINE) + 1;
      const events = matcher.search(bytes.subarray(first));
      pieces.push(events);
      found += events.length;
      end = start + first;
    }
    const all = pieces.reverse().flat();
    return all.length > limit ? all.slice(-limit) : all;
  } finally {
    closeSync(fd);
  }
}

async function* searchForward(
  path: string,
  filter: AuditQuery,
  matcher: Matcher,
  committed: ReadonlyMap<string, number>,
): AsyncGenerator<StoredAuditEvent> {
  const handle = await open(path, 'r');
  try {
    const [from, to] = rangeOf(handle.fd, filter, committed.get(path));
    const bytes = Buffer.alloc(CHUNK_BYTES);
    for (let start = from; start < to; ) {
      const { bytesRead } = await handle.read(bytes, 0, Math.min(CHUNK_BYTES, to - start), start);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      if (end === 0) return;
      yield* matcher.search(bytes.subarray(0, end));
      start += end;
    }
  } finally {
    await handle.close();
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
    const read = readSync(fd, bytes, filled, bytes.length - filled, from + filled);
    if (read === 0) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
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
