import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import { migrate } from './schema.ts';

/**
 * How long a statement waits for a lock that another process holds (a backup, somebody's `sqlite3`), in milliseconds. Short: the
 * call is synchronous, and everything else this process does waits with it.
 */
const BUSY_TIMEOUT_MS = 100;

/** An open store file, and the lock that keeps a second daemon away from it. */
export interface SqliteFile {
  readonly db: DatabaseSync;
  close(): void;
}

/**
 * Opens (or makes, mode 0600) the file in WAL mode with `synchronous=FULL`, so that a commit that has returned survives a power cut.
 * @throws {NightlatchError} `unavailable`, naming the file.
 */
export function openSqliteFile(path: string): SqliteFile {
  const lock = openPrivate(`${path}.lock`, 0);
  try {
    takeLock(lock, path);
    const db = openPrivate(path, BUSY_TIMEOUT_MS);
    try {
      prepareDatabase(db, path);
    } catch (error) {
      db.close();
      throw error;
    }
    return {
      db,
      close() {
        // Folds the log into the file; without it, it is done at the next opening.
        try {
          db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
        } finally {
          db.close();
          lock.close();
        }
      },
    };
  } catch (error) {
    lock.close();
    throw storeError(error, path);
  }
}

function prepareDatabase(db: DatabaseSync, path: string): void {
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode'];
  if (mode !== 'wal')
    throw new NightlatchError('unavailable', `the store ${path} is on a file system without shared memory (no WAL)`);
  db.exec('PRAGMA synchronous = FULL');
  // Keys and tokens that are deleted are gone from the file as well.
  db.exec('PRAGMA secure_delete = ON');
  db.exec('PRAGMA trusted_schema = OFF');
  migrate(db, path);
}

/**
 * Two daemons on one file would each hold a policy that misses the other's changes. The lock is a database of its own, locked for
 * as long as the process lives: the system drops it however the process ends, and readers of the store itself are not kept out.
 */
function takeLock(lock: DatabaseSync, path: string): void {
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    if (resultCode(error) !== SQLITE_BUSY) throw error;
    throw new NightlatchError(
      'unavailable',
      `the store ${path} is in use by another Nightlatch: stop that one first, or give this one a data directory of its own`,
      { cause: error },
    );
  }
}

function openPrivate(path: string, busyTimeoutMs: number): DatabaseSync {
  try {
    createPrivate(path);
    return new DatabaseSync(path, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
  } catch (error) {
    throw storeError(error, path);
  }
}

/**
 * SQLite makes files by the umask; ours are made private before it sees them (its -wal and -shm take the same mode).
 * INVARIANT: an existing file is never opened here. Closing any descriptor of it would drop this process's locks on it (fcntl).
 */
function createPrivate(path: string): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    chmodSync(path, 0o600);
    return;
  }
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

// Primary result codes, https://www.sqlite.org/rescode.html
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const REASONS: ReadonlyMap<number, string> = new Map([
  [SQLITE_BUSY, 'is locked by another process'],
  [SQLITE_LOCKED, 'is locked by another process'],
  [8, 'cannot be written (read-only file or directory)'],
  [10, 'cannot be read or written (I/O error)'],
  [11, 'is damaged'],
  [13, 'cannot be written: no space left on the disk'],
  [14, 'cannot be opened'],
  [26, 'is not an SQLite database'],
]);

function resultCode(error: unknown): number {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === 'number' ? code & 0xff : 0;
}

/** What SQLite or the file system threw, as an `unavailable` that names the file; errors of this program pass unchanged. */
export function storeError(error: unknown, path: string): NightlatchError {
  if (error instanceof NightlatchError) return error;
  const reason = REASONS.get(resultCode(error));
  return new NightlatchError('unavailable', `the store ${path} ${reason ?? 'failed'}: ${errorMessage(error)}`, {
    cause: error,
  });
}
