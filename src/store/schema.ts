import type { DatabaseSync } from 'node:sqlite';
import { NightlatchError } from '../core/errors.ts';

/** Marks the file as ours (`application_id`, "NLCH"), so that nobody's other database is migrated by mistake. */
const APPLICATION_ID = 0x4e4c4348;

/**
 * What leads from one schema to the next: the first entry makes version 1 out of an empty file. Entries are never edited
 * once released, only added.
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL) STRICT;
   INSERT INTO counter VALUES (1, 0);
   CREATE TABLE resources (
     kind TEXT NOT NULL,
     name TEXT NOT NULL,
     value TEXT NOT NULL,
     revision INTEGER NOT NULL,
     expires_at_ms INTEGER,
     PRIMARY KEY (kind, name)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX resources_expiry ON resources (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
   CREATE TABLE records (
     bucket TEXT NOT NULL,
     key TEXT NOT NULL,
     value BLOB NOT NULL,
     expires_at_ms INTEGER,
     PRIMARY KEY (bucket, key)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX records_expiry ON records (expires_at_ms) WHERE expires_at_ms IS NOT NULL;`,
];

/** The schema this program writes (`user_version`). */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/**
 * Brings the database to the current schema in one transaction.
 * @throws {NightlatchError} `unavailable` for a file of a newer program, or one that is no store of this program.
 */
export function migrate(db: DatabaseSync, path: string): void {
  const found = pragma(db, 'user_version');
  const applicationId = pragma(db, 'application_id');
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n']);
  if (applicationId !== APPLICATION_ID && (tables > 0 || found > 0 || applicationId !== 0))
    throw new NightlatchError('unavailable', `${path} is an SQLite database, but not a Nightlatch store`);
  if (found > SCHEMA_VERSION)
    throw new NightlatchError(
      'unavailable',
      `the store ${path} was written by a newer Nightlatch (schema ${found}; this one knows up to ${SCHEMA_VERSION}): start the newer version, or restore a backup made before the upgrade`,
    );
  if (found === SCHEMA_VERSION) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const migration of MIGRATIONS.slice(found)) db.exec(migration);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function pragma(db: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}
