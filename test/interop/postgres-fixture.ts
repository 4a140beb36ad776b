import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/gateways/postgres/embedded-postgres.ts';
import { createPostgresGateway, type LoginLimits, type PostgresGateway } from '../../src/gateways/postgres/gateway.ts';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import type { CertRoute } from '../../src/identity/types.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';

/** Debian's PostgreSQL 15. */
export const DEBIAN_BIN = '/usr/lib/postgresql/15/bin';
export const PSQL = join(DEBIAN_BIN, 'psql');
export const PGBENCH = join(DEBIAN_BIN, 'pgbench');

/** A free port on loopback. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A temporary folder that others may enter (servers run as an unprivileged user), removed with `dispose`. */
export function tempDir(): { path: string; dispose(): void } {
  const path = mkdtempSync(join(tmpdir(), 'nightlatch-pg-'));
  chmodSync(path, 0o755);
  return { path, dispose: () => rmSync(path, { recursive: true, force: true }) };
}

/** What ran and what came of it. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function run(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string } = {},
): Promise<Finished> {
  const child = start(program, args, options.env);
  child.stdin!.end(options.input ?? '');
  return finished(child);
}

/** Starts a program whose input stays open. */
export function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(program, args, {
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', LC_ALL: 'C.UTF-8', ...env },
  });
  child.stdin!.on('error', () => undefined);
  return child;
}

export function finished(child: ChildProcess): Promise<Finished> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr!.on('data', (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** The role that the tests' user has; `options` and `allow` on top of access to everything. */
export function role(options: Record<string, unknown> = {}, allow: Record<string, unknown> = {}): unknown {
  return {
    kind: 'role',
    version: 'v7',
    metadata: { name: 'dba' },
    spec: { options, allow: { db_labels: { '*': '*' }, db_users: ['*'], db_names: ['*'], ...allow } },
  };
}

export function database(name: string, uri: string, spec: Record<string, unknown> = {}): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name, labels: { env: 'test' } },
    spec: { protocol: 'postgres', uri, ...spec },
  };
}

/** A gateway on a port of its own, with the real session layer, the real authorities and a policy that tests change. */
export interface Fixture {
  readonly ca: ClusterAuthorities;
  readonly policy: TestPolicy;
  readonly audit: MemoryAuditLog;
  readonly log: MemoryLogger;
  readonly sessions: Sessions;
  readonly gateway: PostgresGateway;
  readonly port: number;
  readonly dir: string;
  /** Client files for psql and pgbench: certificate, key and CA, and the environment that names them. */
  client(options?: { user?: string; route?: CertRoute; ttlMs?: number }): Promise<ClientFiles>;
  /** A PostgreSQL that trusts the database CA. */
  postgres(options?: {
    binDir?: string;
    hba?: readonly string[];
    initialSql?: readonly string[];
    settings?: Record<string, string>;
  }): Promise<EmbeddedPostgres>;
  stop(): Promise<void>;
}

export interface ClientFiles {
  readonly cert: string;
  readonly key: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly env: NodeJS.ProcessEnv;
}

export async function startFixture(options: { limits?: LoginLimits } = {}): Promise<Fixture> {
  const clock = systemClock;
  const scratch = tempDir();
  const ca = await loadCertAuthority({
    store: memoryStore(clock),
    masterKey: testMasterKey,
    clock,
    clusterName: 'test',
  });
  const policy = new TestPolicy([
    role(),
    { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['dba'] } },
  ]);
  const audit = new MemoryAuditLog(clock);
  const log = new MemoryLogger();
  const sessions = new Sessions({ clock, log, audit, policy });
  const gateway = createPostgresGateway({
    clock,
    log,
    sessions,
    policy,
    ca,
    tls: { current: await ca.mintTlsServer(['localhost', '127.0.0.1']), onChange: () => () => undefined },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const server = net.createServer((socket) =>
    gateway.accept(socket, { clientAddr: `${socket.remoteAddress}:${socket.remotePort}` }),
  );
  server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 });
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  const hostCa = join(scratch.path, 'host-ca.pem');
  writeFileSync(hostCa, ca.tlsHostCa);
  const databases: EmbeddedPostgres[] = [];
  let clients = 0;
  let servers = 0;
  return {
    ca,
    policy,
    audit,
    log,
    sessions,
    gateway,
    port,
    dir: scratch.path,
    async client({ user = 'alice', route = { kind: 'db', name: 'db15' } as CertRoute, ttlMs = 3_600_000 } = {}) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const issued = await ca.issueUserCertificates({
        user,
        principals: [],
        extensions: [],
        tlsPublicKeySpkiDer: pair.publicKey.export({ format: 'der', type: 'spki' }),
        ttlMs,
        route,
      });
      const certPem = issued.tlsCertPem!;
      const keyPem = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
      clients += 1;
      const cert = join(scratch.path, `client-${clients}.crt`);
      const key = join(scratch.path, `client-${clients}.key`);
      writeFileSync(cert, certPem);
      writeFileSync(key, keyPem, { mode: 0o600 });
      const env = {
        PGHOST: 'localhost',
        PGHOSTADDR: '127.0.0.1',
        PGPORT: String(port),
        PGUSER: 'postgres',
        PGDATABASE: 'postgres',
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: hostCa,
        PGSSLCERT: cert,
        PGSSLKEY: key,
      };
      return { cert, key, certPem, keyPem, env };
    },
    async postgres({ binDir, hba, initialSql, settings } = {}) {
      const started = await startEmbeddedPostgres({
        dataDir: join(scratch.path, `data-${++servers}`),
        port: await freePort(),
        superuser: 'postgres',
        certificate: await ca.issueDatabaseServer({ names: ['localhost', '127.0.0.1'], ttlMs: 3_600_000 }),
        databaseCa: ca.databaseCa,
        ...(binDir === undefined ? {} : { binDir }),
        ...(hba === undefined ? {} : { hba }),
        ...(initialSql === undefined ? {} : { initialSql }),
        ...(settings === undefined ? {} : { settings }),
      });
      databases.push(started);
      return started;
    },
    async stop() {
      await sessions.drain(0);
      sessions.close();
      gateway.close();
      await new Promise((resolve) => server.close(resolve));
      await Promise.all(databases.map((one) => one.stop()));
      scratch.dispose();
    },
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

/** Lets time pass: for what must not happen within it. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `probe` gives something; polls with a deadline. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
