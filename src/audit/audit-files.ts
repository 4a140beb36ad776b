import { constants, readdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../core/logger.ts';
import { MAX_LINE_BYTES } from './audit-line.ts';

/** The most that goes into one write, in bytes; so much of a file's end can be unfinished after a crash. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** What of the file system the log writes with; tests put faults in between. */
export interface AuditFs {
  open(path: string, flags: string | number, mode: number): Promise<FileHandle>;
}

export const nodeFs: AuditFs = { open };

/**
 * A write returns when its bytes are on disk. A call of its own for that would cost whoever waits for the event another turn of the event
 * loop, which is long when the gateway is busy. (A system without O_DSYNC has O_SYNC.)
 */
const APPEND_TO_DISK =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | (constants.O_DSYNC ?? constants.O_SYNC);

/**
 * One file: the events of one UTC day. INVARIANT: times within a file never go back. When the machine's date is set back, the day
 * goes on in another part (`2026-01-15.2.jsonl`).
 */
export interface AuditFileName {
  readonly name: string;
  /** `2026-01-15`. */
  readonly day: string;
  /** 1 for `DAY.jsonl`, then 2, 3, … */
  readonly part: number;
}

const FILE_NAME = /^(\d{4}-\d\d-\d\d)(?:\.(\d+))?\.jsonl$/;

/** The files of the log by day and part. */
export function listAuditFiles(dir: string): AuditFileName[] {
  return readdirSync(dir)
    .flatMap((name) => {
      const match = FILE_NAME.exec(name);
      return match ? [{ name, day: match[1]!, part: Number(match[2] ?? 1) }] : [];
    })
    .sort((a, b) => (a.day < b.day ? -1 : a.day > b.day ? 1 : a.part - b.part));
}

function fileName(day: string, part: number): string {
  return part === 1 ? `${day}.jsonl` : `${day}.${part}.jsonl`;
}

/** Milliseconds since the epoch of a line, or undefined for one that is none of ours. */
export function lineTimeMs(line: Buffer): number | undefined {
  // {"time":"2026-01-15T09:00:00.000Z",
  if (line.length > 34 && line[8] === 0x22 && line[33] === 0x22) {
    const ms = Date.parse(line.toString('latin1', 9, 33));
    if (!Number.isNaN(ms)) return ms;
  }
  try {
    const ms = Date.parse((JSON.parse(line.toString()) as { time: string }).time);
    return Number.isNaN(ms) ? undefined : ms;
  } catch {
    return undefined;
  }
}

/** The file that is being written. */
export interface AppendFile {
  readonly day: string;
  readonly path: string;
  readonly inode: number;
  readonly handle: FileHandle;
  /** Bytes that are on disk and acknowledged; a failed write is cut back to it. */
  size: number;
  /** Time of the latest event in it; -Infinity when it is empty. */
  lastMs: number;
}

/** Opens the file that takes an event of `timeMs` (of the UTC day `day`), repairing its end, or makes it. */
export async function openForAppend(
  { dir, fs, log }: { dir: string; fs: AuditFs; log: Logger },
  day: string,
  timeMs: number,
): Promise<AppendFile> {
  const parts = listAuditFiles(dir).filter((file) => file.day === day);
  const part = parts.at(-1)?.part ?? 1;
  const file = await openPart(dir, fs, log, day, part);
  if (file.lastMs <= timeMs) return file;
  await file.handle.close();
  return openPart(dir, fs, log, day, part + 1);
}

/** Repairs the newest file where it is of another day than `day`: the one that was being written when the last run ended. */
export async function repairNewest(
  { dir, fs, log }: { dir: string; fs: AuditFs; log: Logger },
  day: string,
): Promise<void> {
  const newest = listAuditFiles(dir).at(-1);
  if (newest === undefined || newest.day === day) return;
  const file = await openPart(dir, fs, log, newest.day, newest.part);
  await file.handle.close();
}

async function openPart(dir: string, fs: AuditFs, log: Logger, day: string, part: number): Promise<AppendFile> {
  const path = join(dir, fileName(day, part));
  const handle = await fs.open(path, APPEND_TO_DISK, 0o600);
  try {
    const { size, ino, mode } = await handle.stat();
    if ((mode & 0o777) !== 0o600) await handle.chmod(0o600);
    if (size === 0) {
      await syncDirectory(dir, fs);
      return { day, path, inode: ino, handle, size, lastMs: Number.NEGATIVE_INFINITY };
    }
    return { day, path, inode: ino, handle, ...(await repairEnd(handle, size, path, log)) };
  } catch (error) {
    await handle.close().catch(() => {});
    throw error;
  }
}

async function syncDirectory(dir: string, fs: AuditFs): Promise<void> {
  const handle = await fs.open(dir, 'r', 0);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * After a crash or a full disk the last batch can be there in part: a line cut short, or pages of zeros before a line that made it.
 * Lines that are no JSON are taken out of the end of the file; nothing that was acknowledged is among them.
 */
async function repairEnd(
  handle: FileHandle,
  size: number,
  path: string,
  log: Logger,
): Promise<{ size: number; lastMs: number }> {
  const start = Math.max(0, size - MAX_BATCH_BYTES - MAX_LINE_BYTES);
  const end = Buffer.alloc(size - start);
  const { bytesRead } = await handle.read(end, 0, end.length, start);
  const bytes = end.subarray(0, bytesRead);
  const valid: Buffer[] = [];
  let intact = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  // In the middle of a file, the first line of the window is the rest of one; it is older than any unfinished batch.
  let from = start === 0 ? 0 : bytes.indexOf(0x0a) + 1;
  intact = from;
  let damaged = 0;
  while (from < bytes.length) {
    const newline = bytes.indexOf(0x0a, from);
    const line = bytes.subarray(from, newline < 0 ? bytes.length : newline + 1);
    if (newline >= 0 && isEvent(line)) {
      if (damaged === 0) intact = newline + 1;
      else valid.push(line);
      lastMs = Math.max(lastMs, lineTimeMs(line) ?? lastMs);
    } else {
      damaged += line.length;
    }
    from += line.length;
  }
  if (damaged === 0) return { size, lastMs };
  log.warn('audit: unfinished lines at the end of a file were taken out', { file: path, bytes: damaged });
  await handle.truncate(start + intact);
  const kept = Buffer.concat(valid);
  if (kept.length > 0) await handle.appendFile(kept);
  await handle.datasync();
  return { size: start + intact + kept.length, lastMs };
}

function isEvent(line: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(line.toString());
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}
