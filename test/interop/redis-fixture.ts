import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createRedisGateway, type RedisGateway } from '../../src/gateways/redis/gateway.ts';
import type { ClusterAuthorities } from '../../src/identity/certificate-authority.ts';
import type { CertRoute } from '../../src/identity/types.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { testAuthority } from '../fixtures/db-authority.ts';
import { MemoryAuditLog } from '../fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../fixtures/memory-logger.ts';
import { TestPolicy } from '../fixtures/test-policy.ts';
import { freePort, tempDir, until } from './postgres-fixture.ts';

/** Debian's client, and its load generator. */
export const REDIS_CLI = '/usr/bin/redis-cli';
export const REDIS_BENCHMARK = '/usr/bin/redis-benchmark';
const REDIS_SERVER = '/usr/bin/redis-server';

export function database(name: string, uri: string, spec: Record<string, unknown> = {}): unknown {
  return {
    kind: 'db',
    version: 'v3',
    metadata: { name, labels: { env: 'test' } },
    spec: { protocol: 'redis', uri, ...spec },
  };
}

/** Files of a client, and the arguments of redis-cli and redis-benchmark that name them. */
export interface ClientFiles {
  readonly certPem: string;
  readonly keyPem: string;
  readonly args: readonly string[];
}

/** A running Redis with a port for TLS, where a client certificate is demanded, and one without. */
export interface Redis {
  readonly tlsPort: number;
  readonly plainPort: number;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** A gateway on a port of its own, with the real session layer, the real authorities and a policy that tests change. */
export interface Fixture {
  readonly ca: ClusterAuthorities;
  readonly policy: TestPolicy;
  readonly audit: MemoryAuditLog;
  readonly log: MemoryLogger;
  readonly sessions: Sessions;
  readonly gateway: RedisGateway;
  readonly port: number;
  readonly dir: string;
  /** Writes a file into the fixture's folder and returns its path. */
  file(name: string, content: string): string;
  client(options?: { user?: string; route?: CertRoute; ttlMs?: number }): Promise<ClientFiles>;
  /** A port whose connections arrive as those of the public port do: TLS done, the client known. */
  tunnel(route: CertRoute): Promise<number>;
  redis(lines?: readonly string[]): Promise<Redis>;
  stop(): Promise<void>;
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

async function startRedis(dir: string, ca: ClusterAuthorities, lines: readonly string[]): Promise<Redis> {
  mkdirSync(dir);
  const server = await ca.issueDatabaseServer({ names: ['localhost', '127.0.0.1'], ttlMs: 3_600_000 });
  const file = (name: string, content: string): string => {
    writeFileSync(join(dir, name), content, { mode: 0o600 });
    return join(dir, name);
  };
  const tlsPort = await freePort();
  const plainPort = await freePort();
  const config = [
    'bind 127.0.0.1',
    `port ${plainPort}`,
    `tls-port ${tlsPort}`,
    `tls-cert-file ${file('server.crt', server.certPem)}`,
    `tls-key-file ${file('server.key', server.keyPem)}`,
    `tls-ca-cert-file ${file('ca.pem', ca.databaseCa)}`,
    'tls-auth-clients yes',
    `dir ${dir}`,
    'save ""',
    'daemonize no',
    'logfile ""',
    'databases 16',
    ...lines,
  ];
  const child = spawn(REDIS_SERVER, [file('redis.conf', `${config.join('\n')}\n`)], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8_000);
    });
  await until(
    'redis-server to be ready',
    () => {
      if (child.exitCode !== null) throw new Error(`redis-server exited: ${output}`);
      return /Ready to accept connections/.test(output);
    },
    30_000,
  );
  return {
    tlsPort,
    plainPort,
    child,
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
  const { ca, tls } = await testAuthority();
  const policy = new TestPolicy([
    role(),
    { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['dba'] } },
  ]);
  const audit = new MemoryAuditLog(clock);
  const log = new MemoryLogger();
  const sessions = new Sessions({ clock, log, audit, policy });
  const gateway = createRedisGateway({
    clock,
    log,
    sessions,
    policy,
    ca,
    tls,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const server = net.createServer((socket) =>
    gateway.accept(socket, { clientAddr: `${socket.remoteAddress}:${socket.remotePort}` }),
  );
  server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 });
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  const file = (name: string, content: string): string => {
    writeFileSync(join(scratch.path, name), content, { mode: 0o600 });
    return join(scratch.path, name);
  };
  const hostCa = file('host-ca.pem', ca.tlsHostCa);
  const servers: Redis[] = [];
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
    file,
    async client({ user = 'alice', route = { kind: 'db', name: 'cache' } as CertRoute, ttlMs = 3_600_000 } = {}) {
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
      const args = [
        '-h',
        '127.0.0.1',
        '-p',
        String(port),
        '--tls',
        '--cacert',
        hostCa,
        '--cert',
        file(`client-${clients}.crt`, certPem),
        '--key',
        file(`client-${clients}.key`, keyPem),
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
    async redis(lines = []) {
      const started = await startRedis(join(scratch.path, `redis-${servers.length + 1}`), ca, lines);
      servers.push(started);
      return started;
    },
    async stop() {
      await sessions.drain(0);
      sessions.close();
      gateway.close();
      await Promise.all([server, ...tunnels].map((one) => new Promise((resolve) => one.close(resolve))));
      await Promise.all(servers.map((one) => one.stop()));
      scratch.dispose();
    },
  };
}
