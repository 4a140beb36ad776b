import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createMysqlGateway, type MysqlGateway } from '../../src/gateways/mysql/gateway.ts';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import type { CertRoute } from '../../src/identity/types.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';
import { freePort, run, tempDir, until } from './postgres-fixture.ts';

/** Debian's client. */
export const MARIADB = '/usr/bin/mariadb';
const MARIADBD = '/usr/sbin/mariadbd';
const INSTALL_DB = '/usr/bin/mariadb-install-db';
/** The server refuses to run as root. */
const NOBODY = 65534;

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
    spec: { protocol: 'mysql', uri, ...spec },
  };
}

/** Files of a client: what `--ssl-cert`, `--ssl-key` and `--ssl-ca` name. */
export interface ClientFiles {
  readonly certPem: string;
  readonly keyPem: string;
  /** Arguments for Debian's `mariadb` and its kin; `--defaults-file` first. */
  readonly args: readonly string[];
}

/** A running MariaDB. */
export interface MariaDb {
  readonly port: number;
  readonly child: ChildProcess;
  /** Runs SQL as root, past the gateway. */
  sql(text: string): Promise<string>;
  stop(): Promise<void>;
}

/** A gateway on a port of its own, with the real session layer, the real authorities and a policy that tests change. */
export interface Fixture {
  readonly ca: ClusterAuthorities;
  readonly policy: TestPolicy;
  readonly audit: MemoryAuditLog;
  readonly log: MemoryLogger;
  readonly sessions: Sessions;
  readonly gateway: MysqlGateway;
  readonly port: number;
  readonly dir: string;
  client(options?: { user?: string; route?: CertRoute; ttlMs?: number }): Promise<ClientFiles>;
  /** A port whose connections arrive as those of the public port do: TLS done, the client known. */
  tunnel(route: CertRoute): Promise<number>;
  /** A MariaDB that trusts the database CA. */
  mariadb(args?: readonly string[]): Promise<MariaDb>;
  stop(): Promise<void>;
}

async function startMariaDb(dir: string, ca: ClusterAuthorities, extra: readonly string[]): Promise<MariaDb> {
  mkdirSync(dir);
  const root = process.getuid?.() === 0;
  const own = (path: string, content?: string): string => {
    if (content !== undefined) writeFileSync(path, content, { mode: 0o600 });
    if (root) chownSync(path, NOBODY, NOBODY);
    return path;
  };
  own(dir);
  const server = await ca.issueDatabaseServer({ names: ['localhost', '127.0.0.1'], ttlMs: 3_600_000 });
  const certificate = own(join(dir, 'server.crt'), server.certPem);
  const key = own(join(dir, 'server.key'), server.keyPem);
  const trusted = own(join(dir, 'ca.pem'), ca.databaseCa);
  const data = join(dir, 'data');
  const identity = root ? { uid: NOBODY, gid: NOBODY } : {};
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: dir, LC_ALL: 'C.UTF-8' };
  await new Promise<void>((resolve, reject) => {
    const install = spawn(
      INSTALL_DB,
      [
        '--no-defaults',
        `--datadir=${data}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        '--innodb-log-file-size=8M',
      ],
      { ...identity, env, cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] },
    );
    install.once('error', reject);
    install.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`mariadb-install-db exited with ${code}`)),
    );
  });
  const port = await freePort();
  const child = spawn(
    MARIADBD,
    [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${join(dir, 's')}`,
      `--pid-file=${join(dir, 'pid')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      '--innodb-buffer-pool-size=32M',
      '--innodb-log-file-size=8M',
      '--innodb-flush-log-at-trx-commit=0',
      '--performance-schema=OFF',
      '--local-infile=ON',
      '--max-allowed-packet=64M',
      '--max-connections=400',
      '--plugin-load-add=auth_ed25519',
      `--ssl-cert=${certificate}`,
      `--ssl-key=${key}`,
      `--ssl-ca=${trusted}`,
      ...extra,
    ],
    { ...identity, env, cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-8_000);
  });
  await until(
    'mariadbd to be ready',
    () => {
      if (child.exitCode !== null) throw new Error(`mariadbd exited: ${errors}`);
      return /ready for connections/.test(errors);
    },
    60_000,
  );
  const sql = async (text: string): Promise<string> => {
    const args = ['--no-defaults', '-uroot', `-S${join(dir, 's')}`, '-N', '-B'];
    const { code, stdout, stderr } = await run(MARIADB, args, { input: text });
    if (code !== 0) throw new Error(stderr);
    return stdout;
  };
  return {
    port,
    child,
    sql,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('close', () => resolve());
        child.kill('SIGKILL');
      }),
  };
}

export async function startFixture(
  options: { limits?: { maxPending: number; timeoutMs: number } } = {},
): Promise<Fixture> {
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
  const gateway = createMysqlGateway({
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
  const databases: MariaDb[] = [];
  const tunnels: net.Server[] = [];
  let clients = 0;
  return {
    ca,
    policy,
    audit,
    log,
    sessions,
    gateway,
    port,
    dir: scratch.path,
    async client({ user = 'alice', route = { kind: 'db', name: 'maria' } as CertRoute, ttlMs = 3_600_000 } = {}) {
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
      const name = (suffix: string) => join(scratch.path, `client-${clients}.${suffix}`);
      writeFileSync(name('crt'), certPem);
      writeFileSync(name('key'), keyPem, { mode: 0o600 });
      const args = [
        '--no-defaults',
        '--host=127.0.0.1',
        `--port=${port}`,
        `--ssl-ca=${hostCa}`,
        '--ssl-verify-server-cert',
        `--ssl-cert=${name('crt')}`,
        `--ssl-key=${name('key')}`,
      ];
      return { certPem, keyPem, args };
    },
    async tunnel(route) {
      const listener = net.createServer((socket) => {
        socket.setNoDelay(true);
        gateway.acceptTunnel(socket, {
          clientAddr: `${socket.remoteAddress}:${socket.remotePort}`,
          identity: {
            user: 'alice',
            serial: '1',
            expiresAtMs: clock.wallMs() + 3_600_000,
            principals: [],
            route,
            extensions: [],
          },
        });
      });
      listener.listen(0, '127.0.0.1');
      await new Promise((resolve) => listener.once('listening', resolve));
      tunnels.push(listener);
      return (listener.address() as net.AddressInfo).port;
    },
    async mariadb(args = []) {
      const started = await startMariaDb(join(scratch.path, `maria-${databases.length + 1}`), ca, args);
      databases.push(started);
      return started;
    },
    async stop() {
      await sessions.drain(0);
      sessions.close();
      gateway.close();
      await Promise.all([server, ...tunnels].map((one) => new Promise((resolve) => one.close(resolve))));
      await Promise.all(databases.map((one) => one.stop()));
      scratch.dispose();
    },
  };
}
