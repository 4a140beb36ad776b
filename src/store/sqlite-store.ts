import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Clock, Timer } from '../core/clock.ts';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { openSqliteFile, type SqliteFile, storeError } from './sqlite-file.ts';
import type { ResourceKind, Store, StoreChange, StoredResource, WriteCondition } from './store.ts';

/**
 * The longest sleep before looking at the wall clock again, in milliseconds: expiry is a matter of the wall clock, timers are
 * monotonic, and somebody may set the date meanwhile.
 */
const LONGEST_SLEEP_MS = 60_000;
const RETRY_MS = 1_000;

export interface SqliteStoreOptions {
  /** The file; made with mode 0600 where it is missing, its directory with 0700. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The embedded store. */
export interface SqliteStore extends Store {
  readonly path: string;
  /** Revision of the latest change on disk. */
  readonly revision: number;
}

/**
 * Opens the embedded store. Watches have been called when a write's promise resolves.
 * @throws {NightlatchError} `unavailable`: locked, in use by another daemon, newer schema, damaged; the message names the file.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const file = openSqliteFile(options.path);
  try {
    return new EmbeddedStore(file, options);
  } catch (error) {
    file.close();
    throw storeError(error, options.path);
  }
}

class EmbeddedStore implements SqliteStore {
  readonly path: string;
  readonly #file: SqliteFile;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sql: ReturnType<typeof prepareStatements>;
  readonly #watchers = new Set<(change: StoreChange) => void>();
  /** Changes that are on disk and not yet told to the watchers. */
  readonly #undelivered: (StoreChange & { text: string | undefined })[] = [];
  #delivering = false;
  #revision: number;
  #closed = false;
  #timer: Timer | undefined;
  /** Wall time for which the timer is set (or Infinity); an earlier expiry sets it anew. */
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(file: SqliteFile, options: SqliteStoreOptions) {
    this.path = options.path;
    this.#file = file;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#sql = prepareStatements(file.db);
    this.#revision = Number(this.#sql.revision.get()?.['revision']);
    this.#arm();
  }

  get revision(): number {
    return this.#revision;
  }

  async get(kind: ResourceKind, name: string): Promise<StoredResource | undefined> {
    return this.#read(() => {
      const row = this.#sql.get.get(kind, name, this.#clock.wallMs());
      return row && this.#resource(row);
    });
  }

  async list(kind: ResourceKind): Promise<StoredResource[]> {
    return this.#read(() => this.#sql.list.all(kind, this.#clock.wallMs()).map((row) => this.#resource(row)));
  }

  async put(
    kind: ResourceKind,
    name: string,
    value: unknown,
    options: { condition: WriteCondition; expiresAtMs?: number },
  ): Promise<StoredResource> {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new NightlatchError('bad_parameter', `${kind} "${name}" has no value`);
    const expiresAtMs = checkedExpiry(options.expiresAtMs);
    const change = this.#write(() => {
      this.#demand(kind, name, options.condition);
      const revision = this.#nextRevision();
      this.#sql.put.run(kind, name, text, revision, expiresAtMs);
      return { kind, name, value: undefined, revision, text };
    });
    if (expiresAtMs !== null) this.#expiresAt(expiresAtMs);
    this.#deliver([change]);
    return { kind, name, value: JSON.parse(text), revision: change.revision };
  }

  async delete(kind: ResourceKind, name: string): Promise<void> {
    const change = this.#write(() => {
      if (this.#sql.delete.run(kind, name).changes === 0) throw notFound(kind, name);
      return { kind, name, value: undefined, revision: this.#nextRevision(), text: undefined };
    });
    this.#deliver([change]);
  }

  watch(fn: (change: StoreChange) => void): () => void {
    // A function of its own, so that the same `fn` can watch twice and stop each by itself.
    const watcher = (change: StoreChange) => fn(change);
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async getRecord(bucket: string, key: string): Promise<Uint8Array | undefined> {
    return this.#read(() => {
      const row = this.#sql.getRecord.get(bucket, key, this.#clock.wallMs());
      return row && (row['value'] as Uint8Array);
    });
  }

  async putRecord(
    bucket: string,
    key: string,
    value: Uint8Array,
    options: { condition?: 'any' | 'absent'; expiresAtMs?: number } = {},
  ): Promise<void> {
    const expiresAtMs = checkedExpiry(options.expiresAtMs);
    this.#write(() => {
      const statement = options.condition === 'absent' ? this.#sql.addRecord : this.#sql.putRecord;
      if (statement.run(bucket, key, value, expiresAtMs).changes === 0)
        throw new NightlatchError('already_exists', `the record "${key}" in ${bucket} already exists`);
    });
    if (expiresAtMs !== null) this.#expiresAt(expiresAtMs);
  }

  async takeRecord(bucket: string, key: string): Promise<Uint8Array | undefined> {
    return this.#write(() => this.#sql.takeRecord.get(bucket, key)?.['value'] as Uint8Array | undefined);
  }

  async deleteRecord(bucket: string, key: string): Promise<void> {
    this.#write(() => this.#sql.deleteRecord.run(bucket, key));
  }

  async listRecords(bucket: string): Promise<{ key: string; value: Uint8Array }[]> {
    return this.#read(() =>
      this.#sql.listRecords
        .all(bucket, this.#clock.wallMs())
        .map((row) => ({ key: row['key'] as string, value: row['value'] as Uint8Array })),
    );
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#watchers.clear();
    try {
      this.#file.close();
    } catch (error) {
      throw storeError(error, this.path);
    }
  }

  #read<T>(fn: () => T): T {
    this.#refuseWhenClosed();
    try {
      return fn();
    } catch (error) {
      throw storeError(error, this.path);
    }
  }

  /** Runs `fn` in a transaction; when this returns, what it did is on disk. Whatever is past its time is removed first. */
  #write<T>(fn: () => T): T {
    this.#refuseWhenClosed();
    if (this.#nextExpiryMs <= this.#clock.wallMs()) this.#expire();
    return this.#transaction(fn);
  }

  #transaction<T>(fn: () => T): T {
    const { db } = this.#file;
    const before = this.#revision;
    try {
      db.exec('BEGIN IMMEDIATE');
      const result = fn();
      db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#revision = before;
      try {
        if (db.isTransaction) db.exec('ROLLBACK');
      } catch (rollbackError) {
        this.#log.error('store: rollback failed', { file: this.path, error: errorMessage(rollbackError) });
      }
      throw storeError(error, this.path);
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new NightlatchError('unavailable', `the store ${this.path} is closed`);
  }

  #nextRevision(): number {
    this.#revision += 1;
    this.#sql.setRevision.run(this.#revision);
    return this.#revision;
  }

  #demand(kind: ResourceKind, name: string, condition: WriteCondition): void {
    if (condition === 'any') return;
    const present = this.#sql.revisionOf.get(kind, name)?.['revision'] as number | undefined;
    if (condition === 'absent') {
      if (present !== undefined) throw new NightlatchError('already_exists', `${kind} "${name}" already exists`);
    } else if (present === undefined) {
      throw notFound(kind, name);
    } else if (condition !== 'present' && present !== condition.revision) {
      throw new NightlatchError(
        'conflict',
        `${kind} "${name}" was changed by somebody else meanwhile (revision ${present}, expected ${condition.revision})`,
      );
    }
  }

  #resource(row: Record<string, unknown>): StoredResource {
    const kind = row['kind'] as ResourceKind;
    const name = row['name'] as string;
    return { kind, name, value: this.#parse(kind, name, row['value'] as string), revision: row['revision'] as number };
  }

  /** A value that is damaged shows as undefined: one bad row must not hide the others of its kind. */
  #parse(kind: ResourceKind, name: string, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      this.#log.error('store: a damaged value', { file: this.path, kind, name, error: errorMessage(error) });
      return undefined;
    }
  }

  /** Tells the watchers, in the order of revisions also where a watcher itself writes. */
  #deliver(changes: readonly (StoreChange & { text: string | undefined })[]): void {
    this.#undelivered.push(...changes);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#undelivered.shift(); next !== undefined; next = this.#undelivered.shift()) {
        const { kind, name, revision, text } = next;
        for (const watcher of [...this.#watchers]) {
          try {
            watcher({ kind, name, revision, value: text === undefined ? undefined : JSON.parse(text) });
          } catch (error) {
            this.#log.error('store: a watcher failed', { kind, name, revision, error: errorMessage(error) });
          }
        }
      }
    } finally {
      this.#delivering = false;
    }
  }

  #expiresAt(wallMs: number): void {
    if (wallMs < this.#nextExpiryMs) this.#arm();
  }

  /** Sets the one timer for whatever expires first. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const next = this.#sql.nextExpiry.get()?.['at'] as number | null | undefined;
    this.#nextExpiryMs = next ?? Number.POSITIVE_INFINITY;
    if (next === null || next === undefined) return;
    const waitMs = Math.min(Math.max(next - this.#clock.wallMs(), 0), LONGEST_SLEEP_MS);
    this.#wakeIn(waitMs);
  }

  #wakeIn(waitMs: number): void {
    this.#timer = this.#clock.at(this.#clock.now() + waitMs, () => {
      if (this.#closed) return;
      try {
        if (this.#nextExpiryMs <= this.#clock.wallMs()) this.#expire();
        else this.#arm();
      } catch (error) {
        this.#log.warn('store: expired entries could not be removed; trying again', { error: errorMessage(error) });
        this.#wakeIn(RETRY_MS);
      }
    });
  }

  #expire(): void {
    const nowMs = this.#clock.wallMs();
    const changes = this.#transaction(() => {
      this.#sql.expireRecords.run(nowMs);
      return this.#sql.expireResources.all(nowMs).map((row) => ({
        kind: row['kind'] as ResourceKind,
        name: row['name'] as string,
        value: undefined,
        revision: this.#nextRevision(),
        text: undefined,
      }));
    });
    this.#arm();
    this.#deliver(changes);
  }
}

function notFound(kind: ResourceKind, name: string): NightlatchError {
  return new NightlatchError('not_found', `${kind} "${name}" not found`);
}

function checkedExpiry(expiresAtMs: number | undefined): number | null {
  if (expiresAtMs === undefined || expiresAtMs === Number.POSITIVE_INFINITY) return null;
  if (!Number.isFinite(expiresAtMs)) throw new NightlatchError('bad_parameter', 'the time of expiry is not a number');
  return Math.ceil(expiresAtMs);
}

function prepareStatements(db: DatabaseSync) {
  const live = '(expires_at_ms IS NULL OR expires_at_ms > ?)';
  const upsertRecord = 'INSERT INTO records (bucket, key, value, expires_at_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO';
  const sql = {
    revision: 'SELECT revision FROM counter',
    setRevision: 'UPDATE counter SET revision = ?',
    get: `SELECT kind, name, value, revision FROM resources WHERE kind = ? AND name = ? AND ${live}`,
    list: `SELECT kind, name, value, revision FROM resources WHERE kind = ? AND ${live} ORDER BY name`,
    revisionOf: 'SELECT revision FROM resources WHERE kind = ? AND name = ?',
    put: `INSERT INTO resources (kind, name, value, revision, expires_at_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET value = excluded.value, revision = excluded.revision, expires_at_ms = excluded.expires_at_ms`,
    delete: 'DELETE FROM resources WHERE kind = ? AND name = ?',
    expireResources: 'DELETE FROM resources WHERE expires_at_ms <= ? RETURNING kind, name',
    getRecord: `SELECT value FROM records WHERE bucket = ? AND key = ? AND ${live}`,
    listRecords: `SELECT key, value FROM records WHERE bucket = ? AND ${live} ORDER BY key`,
    putRecord: `${upsertRecord} UPDATE SET value = excluded.value, expires_at_ms = excluded.expires_at_ms`,
    addRecord: `${upsertRecord} NOTHING`,
    takeRecord: 'DELETE FROM records WHERE bucket = ? AND key = ? RETURNING value',
    deleteRecord: 'DELETE FROM records WHERE bucket = ? AND key = ?',
    expireRecords: 'DELETE FROM records WHERE expires_at_ms <= ?',
    nextExpiry: `SELECT min(at) AS at FROM (
      SELECT min(expires_at_ms) AS at FROM resources WHERE expires_at_ms IS NOT NULL
      UNION ALL SELECT min(expires_at_ms) FROM records WHERE expires_at_ms IS NOT NULL)`,
  } as const;
  return Object.fromEntries(Object.entries(sql).map(([name, text]) => [name, db.prepare(text)])) as Record<
    keyof typeof sql,
    StatementSync
  >;
}
