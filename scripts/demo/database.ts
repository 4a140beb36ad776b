import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type EmbeddedPostgres,
  embeddedPostgresBinDir,
  startEmbeddedPostgres,
} from '../../src/gateways/postgres/embedded-postgres.ts';
import type { Daemon } from '../../src/server/daemon.ts';
import { freePort } from '../free-port.ts';

/** A PostgreSQL from npm that trusts the gateway, registered as the database `demo`; undefined where npm has none for this machine. */
export async function startDatabase(
  { context }: Daemon,
  dataDir: string,
  ending: AbortSignal,
): Promise<EmbeddedPostgres | undefined> {
  if (embeddedPostgresBinDir() === undefined) return undefined;
  const port = await freePort();
  const database = await startEmbeddedPostgres({
    dataDir: databaseFolder(dataDir),
    port,
    superuser: 'demo',
    certificate: await context.ca.issueDatabaseServer({ names: ['localhost'], ttlMs: 30 * 24 * 3_600_000 }),
    databaseCa: context.ca.databaseCa,
    // What psql asks for where no name is given: the user's.
    initialSql: ['create database demo'],
  });
  void database.closed.then(() => {
    // Ctrl-C in a terminal ends the database too.
    if (!ending.aborted) console.error('The database of the demo has ended; the gateway goes on without it.');
  });
  context.policy.setStatic('db', [
    {
      kind: 'db',
      version: 'v3',
      metadata: { name: 'demo', labels: { env: 'demo' } },
      spec: {
        protocol: 'postgres',
        uri: `localhost:${port}`,
        tls: { mode: 'verify-full', ca_cert: context.ca.databaseCa },
        audit_queries: true,
      },
    },
  ]);
  return database;
}

/** An empty folder of this start's own. As root the database runs under another user, who must be able to reach it. */
function databaseFolder(dataDir: string): string {
  if (process.getuid?.() !== 0) {
    const folder = join(dataDir, 'postgres');
    rmSync(folder, { recursive: true, force: true });
    return folder;
  }
  const folder = mkdtempSync(join(tmpdir(), 'nightlatch-demo-postgres-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
