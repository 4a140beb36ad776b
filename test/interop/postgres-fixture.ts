import { join } from 'node:path';
import pg from 'pg';
import { freePort } from '../../scripts/free-port.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/gateways/postgres/embedded-postgres.ts';
import { createPostgresGateway, type PostgresGateway } from '../../src/gateways/postgres/gateway.ts';
import type { CertRoute } from '../../src/identity/types.ts';
import {
  type ClientRequest,
  databasesOf,
  type FixtureOptions,
  type GatewayFixture,
  type IssuedFiles,
  startGatewayFixture,
} from '../fixtures/db/gateway-fixture.ts';
import { until } from '../fixtures/db/programs.ts';

/** Debian's PostgreSQL 15. */
export const DEBIAN_BIN = '/usr/lib/postgresql/15/bin';
export const PSQL = join(DEBIAN_BIN, 'psql');
export const PGBENCH = join(DEBIAN_BIN, 'pgbench');

export const database = databasesOf('postgres');

/** Client files for psql and pgbench, and the environment that names them. */
export interface ClientFiles extends IssuedFiles {
  readonly env: NodeJS.ProcessEnv;
}

export interface Fixture extends GatewayFixture<PostgresGateway> {
  client(request?: ClientRequest): Promise<ClientFiles>;
  /** A PostgreSQL that trusts the database CA. */
  postgres(options?: {
    binDir?: string;
    hba?: readonly string[];
    initialSql?: readonly string[];
    settings?: Record<string, string>;
  }): Promise<EmbeddedPostgres>;
}

export async function startFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const base = await startGatewayFixture(createPostgresGateway, options);
  return {
    ...base,
    async client({ route = { kind: 'db', name: 'db15' } as const, ...request } = {}) {
      const files = await base.issue({ route, ...request });
      const env = {
        PGHOST: 'localhost',
        PGHOSTADDR: '127.0.0.1',
        PGPORT: String(base.port),
        PGUSER: 'postgres',
        PGDATABASE: 'postgres',
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: base.hostCa,
        PGSSLCERT: files.cert,
        PGSSLKEY: files.key,
      };
      return { ...files, env };
    },
    postgres: (more = {}) =>
      base.serve(async (dataDir, { databaseCa, ...certificate }) =>
        startEmbeddedPostgres({
          dataDir,
          port: await freePort(),
          superuser: 'postgres',
          certificate,
          databaseCa,
          ...more,
        }),
      ),
  };
}

/** A connected node-postgres client of the fixture; errors of its connection are kept in `problems`. */
export async function connectPg(
  fixture: Fixture,
  options: { route?: CertRoute; config?: pg.ClientConfig } = {},
): Promise<{ client: pg.Client; problems: Error[]; notices: string[] }> {
  const files = await fixture.client(options.route === undefined ? {} : { route: options.route });
  const client = new pg.Client({
    host: 'localhost',
    port: fixture.port,
    user: 'postgres',
    database: 'postgres',
    ssl: { ca: fixture.ca.tlsHostCa, cert: files.certPem, key: files.keyPem, servername: 'localhost' },
    ...options.config,
  });
  const problems: Error[] = [];
  const notices: string[] = [];
  client.on('error', (error) => problems.push(error));
  client.on('notice', (notice) => notices.push(notice.message ?? ''));
  await client.connect();
  return { client, problems, notices };
}

/** The running session that began last. */
export function lastSession(fixture: Fixture): string {
  return String(fixture.audit.last('session.start')!['sid']);
}

/** Waits for the end of a session and returns its `client.disconnect` event. */
export function sessionEnd(fixture: Fixture, sid: string): Promise<Readonly<Record<string, unknown>>> {
  return until(`the end of session ${sid}`, () =>
    fixture.audit.events.find((event) => event.event === 'client.disconnect' && event['sid'] === sid),
  );
}
