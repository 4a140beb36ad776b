import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/clock.ts';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { type AppendFile, type AuditFs, MAX_BATCH_BYTES, nodeFs, openForAppend, repairNewest } from './audit-files.ts';
import { type AuditLine, auditLine } from './audit-line.ts';
import { findInFiles, queryFiles, readFiles } from './audit-reader.ts';
import type { AuditEvent, AuditLog, AuditQuery, StoredAuditEvent } from './events.ts';

/** A wall clock that goes back by less than this (milliseconds) is held still instead: NTP's small corrections. */
const HELD_BACKSTEP_MS = 1_000;
/** A write that takes longer than this (milliseconds) makes the log unhealthy until it is through. */
const STUCK_MS = 5_000;
/** An event that nobody waits for is written by then at the latest (milliseconds), or with the next that somebody waits for. */
const SOON_MS = 10;
const DEFAULT_QUEUE_BYTES = 32 * 1024 * 1024;

export interface AuditLogOptions {
  /** Made with mode 0700 where it is missing. One file a UTC day below it, mode 0600. */
  readonly dir: string;
  readonly clock: Clock;
  readonly clusterName: string;
  readonly log: Logger;
  /** The most that may wait to be written, in bytes; beyond it `emit` is refused. */
  readonly maxQueueBytes?: number;
  /** The file system, for tests. */
  readonly fs?: AuditFs;
}

/** The audit log as files of JSON lines. */
export interface FileAuditLog extends AuditLog {
  /**
   * As `query`, giving way to everything else meanwhile: a search by session or user over whole days reads them all.
   * @throws {NightlatchError} `audit_unavailable`, like `query` and `read`, when the files cannot be read.
   */
  find(filter: AuditQuery): Promise<StoredAuditEvent[]>;
  /** Like `query` (oldest first, without `limit`), reading piece by piece: for reports over days, while sessions go on. */
  read(filter: AuditQuery): AsyncIterable<StoredAuditEvent>;
  /** Calls back with every event once it is on disk, in order. Returns the way to stop. */
  onEvent(fn: (event: StoredAuditEvent) => void): () => void;
  /** Writes what is waiting and closes the file; later events are refused. */
  close(): Promise<void>;
}

/**
 * Opens the log and repairs what a crash left at the end of today's file.
 * @throws {NightlatchError} `audit_unavailable`.
 */
export async function openAuditLog(options: AuditLogOptions): Promise<FileAuditLog> {
  const log = new JsonLinesLog(options);
  await log.open();
  return log;
}

interface Waiting {
  readonly line: AuditLine;
  readonly timeMs: number;
  readonly day: string;
  readonly resolve: (stored: StoredAuditEvent) => void;
  readonly reject: (error: NightlatchError) => void;
}

class JsonLinesLog implements FileAuditLog {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #clusterName: string;
  readonly #log: Logger;
  readonly #fs: AuditFs;
  readonly #maxQueueBytes: number;
  readonly #listeners = new Set<(event: StoredAuditEvent) => void>();
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  /** So many of the queue are to be written now: all up to the last that somebody waits for. */
  #due = 0;
  /** Writes those that nobody waits for. */
  #soon: Timer | undefined;
  #writing: Promise<void> | undefined;
  #file: AppendFile | undefined;
  #failed = false;
  #stuck = false;
  #closed = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  #stamp = { ms: Number.NaN, time: '', day: '' };

  constructor(options: AuditLogOptions) {
    this.#dir = options.dir;
    this.#clock = options.clock;
    this.#clusterName = options.clusterName;
    this.#log = options.log;
    this.#fs = options.fs ?? nodeFs;
    this.#maxQueueBytes = options.maxQueueBytes ?? DEFAULT_QUEUE_BYTES;
  }

  get healthy(): boolean {
    return !this.#failed && !this.#stuck && !this.#closed;
  }

  async open(): Promise<void> {
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
      chmodSync(this.#dir, 0o700);
      const nowMs = this.#clock.wallMs();
      const { day } = stampOf(nowMs);
      await repairNewest({ dir: this.#dir, fs: this.#fs, log: this.#log }, day);
      const file = await this.#fileFor(day, nowMs + HELD_BACKSTEP_MS);
      this.#lastMs = file.lastMs;
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  emit(event: AuditEvent, urgency: 'now' | 'soon' = 'now'): Promise<StoredAuditEvent> {
    if (this.#closed) return Promise.reject(this.#unavailable(new Error('the log is closed')));
    const timeMs = this.#nextTimeMs();
    const { time, day } = this.#stamp;
    const line = auditLine(event, { time, uid: randomUUID(), clusterName: this.#clusterName });
    if (this.#queuedBytes + line.bytes > this.#maxQueueBytes)
      return Promise.reject(this.#unavailable(new Error('too many events wait to be written')));
    this.#queuedBytes += line.bytes;
    return new Promise((resolve, reject) => {
      this.#queue.push({ line, timeMs, day, resolve, reject });
      if (urgency === 'now') this.#writeNow();
      else this.#writeSoon();
    });
  }

  query(filter: AuditQuery): StoredAuditEvent[] {
    try {
      return queryFiles(this.#dir, filter, this.#committed());
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  async find(filter: AuditQuery): Promise<StoredAuditEvent[]> {
    try {
      return await findInFiles(this.#dir, filter, this.#committed());
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  async *read(filter: AuditQuery): AsyncGenerator<StoredAuditEvent> {
    try {
      yield* readFiles(this.#dir, filter, this.#committed());
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  onEvent(fn: (event: StoredAuditEvent) => void): () => void {
    const listener = (event: StoredAuditEvent) => fn(event);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#queue.length > 0) this.#writeNow();
    while (this.#writing !== undefined) await this.#writing;
    this.#listeners.clear();
    await this.#dropFile();
  }

  readonly #writeNow = (): void => {
    this.#soon?.cancel();
    this.#soon = undefined;
    this.#due = this.#queue.length;
    // What else is emitted in this turn goes into the same write.
    this.#writing ??= Promise.resolve().then(() => this.#drain());
  };

  #writeSoon(): void {
    if (this.#writing === undefined) this.#soon ??= this.#clock.at(this.#clock.now() + SOON_MS, this.#writeNow);
  }

  /** The time of the next event: the wall clock's, held still where that went back a little. */
  #nextTimeMs(): number {
    const wallMs = this.#clock.wallMs();
    const behindMs = this.#lastMs - wallMs;
    if (!(behindMs > 0 && behindMs <= HELD_BACKSTEP_MS)) this.#lastMs = wallMs;
    if (this.#stamp.ms !== this.#lastMs) this.#stamp = stampOf(this.#lastMs);
    return this.#lastMs;
  }

  async #drain(): Promise<void> {
    try {
      while (this.#due > 0) await this.#writeBatch(this.#takeBatch());
    } finally {
      this.#writing = undefined;
      if (this.#queue.length > 0) this.#writeSoon();
    }
  }

  /** The oldest events that wait: those of one file, at most MAX_BATCH_BYTES. */
  #takeBatch(): Waiting[] {
    const first = this.#queue[0]!;
    let bytes = 0;
    let count = 0;
    let lastMs = first.timeMs;
    for (const { line, day, timeMs } of this.#queue) {
      if (day !== first.day || timeMs < lastMs || (count > 0 && bytes + line.bytes > MAX_BATCH_BYTES)) break;
      lastMs = timeMs;
      bytes += line.bytes;
      count += 1;
    }
    this.#due = Math.max(0, this.#due - count);
    if (count < this.#queue.length) return this.#queue.splice(0, count);
    const all = this.#queue;
    this.#queue = [];
    return all;
  }

  async #writeBatch(batch: Waiting[]): Promise<void> {
    const stuck = this.#clock.at(this.#clock.now() + STUCK_MS, () => {
      this.#stuck = true;
      this.#log.error('audit: a write does not come to an end', { dir: this.#dir });
    });
    const bytes = Buffer.from(batch.map(({ line }) => line.text).join(''));
    try {
      await this.#append(batch, bytes);
    } catch (error) {
      this.#fail(batch, error);
      return;
    } finally {
      stuck.cancel();
      this.#stuck = false;
      this.#queuedBytes -= bytes.length;
    }
    if (this.#failed) this.#log.info('audit: the log can be written again', { dir: this.#dir });
    this.#failed = false;
    for (const { line, resolve } of batch) {
      resolve(line.stored);
      this.#tell(line.stored);
    }
  }

  async #append(batch: readonly Waiting[], bytes: Buffer): Promise<void> {
    const { day, timeMs } = batch[0]!;
    let file = await this.#fileFor(day, timeMs);
    if (!(await this.#writeTo(file, bytes))) {
      file = await this.#fileFor(day, timeMs);
      if (!(await this.#writeTo(file, bytes))) throw new Error('its file is taken away as soon as it is made');
    }
    file.size += bytes.length;
    file.lastMs = batch.at(-1)!.timeMs;
  }

  /** Resolves when the bytes are on disk; false when the file has lost its name, and they were taken back. */
  async #writeTo(file: AppendFile, bytes: Buffer): Promise<boolean> {
    try {
      // Side by side: whoever waits for the event waits for one turn of the event loop, not two.
      const [there] = await Promise.all([stillThere(file), writeAll(file.handle, bytes)]);
      if (there) return true;
    } catch (error) {
      await this.#takeBack(file);
      throw error;
    }
    await this.#takeBack(file);
    return false;
  }

  /** What is there of the batch is taken out of the file again; where that fails too, opening it again repairs it. */
  async #takeBack(file: AppendFile): Promise<void> {
    this.#file = undefined;
    await file.handle.truncate(file.size).catch(() => {});
    await file.handle.close().catch(() => {});
  }

  /** The open file where it is the right one; else it is opened or made. */
  async #fileFor(day: string, timeMs: number): Promise<AppendFile> {
    const file = this.#file;
    if (file !== undefined && file.day === day && file.lastMs <= timeMs) return file;
    await this.#dropFile();
    this.#file = await openForAppend({ dir: this.#dir, fs: this.#fs, log: this.#log }, day, timeMs);
    return this.#file;
  }

  async #dropFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close().catch((error: unknown) => {
      this.#log.warn('audit: a file did not close', { file: file.path, error: errorMessage(error) });
    });
  }

  #fail(batch: readonly Waiting[], error: unknown): void {
    const unavailable = this.#unavailable(error);
    if (!this.#failed)
      this.#log.error('audit: the log cannot be written', { dir: this.#dir, error: errorMessage(error) });
    this.#failed = true;
    for (const { reject } of batch) reject(unavailable);
  }

  #tell(event: StoredAuditEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error('audit: a listener failed', { event: event.event, error: errorMessage(error) });
      }
    }
  }

  #committed(): ReadonlyMap<string, number> {
    return new Map(this.#file === undefined ? [] : [[this.#file.path, this.#file.size]]);
  }

  #unreadable(error: unknown): NightlatchError {
    const message = `the audit log in ${this.#dir} cannot be read: ${errorMessage(error)}`;
    return new NightlatchError('audit_unavailable', message, { cause: error });
  }

  #unavailable(error: unknown): NightlatchError {
    const message = `the audit log in ${this.#dir} cannot be written: ${errorMessage(error)}`;
    return new NightlatchError('audit_unavailable', message, { cause: error });
  }
}

/** Somebody may have moved or removed the file: writing on would write to nowhere. */
async function stillThere(file: AppendFile): Promise<boolean> {
  try {
    return (await stat(file.path)).ino === file.inode;
  } catch {
    return false;
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; )
    written += (await handle.write(bytes, written, bytes.length - written)).bytesWritten;
}

function stampOf(ms: number): { ms: number; time: string; day: string } {
  const time = new Date(ms).toISOString();
  return { ms, time, day: time.slice(0, 10) };
}
