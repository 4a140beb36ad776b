import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { freePort } from '../../scripts/free-port.ts';
import { embeddedPostgresBinDir, startEmbeddedPostgres } from '../../src/gateways/postgres/embedded-postgres.ts';
import { SETTLED_HEAP } from '../settled-memory.ts';

export const PG_BIN = '/usr/lib/postgresql/15/bin';
const NOBODY = 65_534;

export interface GatewaySettings {
  readonly serverPort: number;
  readonly idleTimeout?: string;
  readonly auditQueries: boolean;
  /** Where the audit log is written, on disk before a session ends; without it nothing is written. */
  readonly auditDir?: string;
  readonly dataPath: 'auto' | 'streams';
  /** For measuring memory: see `settled-memory.ts`. */
  readonly settledHeap?: boolean;
}

export interface GatewayReady {
  readonly tlsPort: number;
  readonly plainPort: number;
  readonly hostCa: string;
  readonly certPem: string;
  readonly keyPem: string;
}

export interface IdleClients {
  readonly port: number;
  readonly count: number;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** TLS from the first byte on, as HAProxy wants it. */
  readonly direct: boolean;
  /** How long they are allowed to be idle, where they are to measure how late they are ended. */
  readonly timeoutMs?: number;
  /** All are open before the first one ends. */
  readonly together?: boolean;
}

/** A proxy under measurement, with the ports of its plain and its TLS listener. */
export interface Peer {
  readonly name: string;
  readonly child: ChildProcess;
  readonly plainPort: number;
  readonly tlsPort: number;
  readonly direct: boolean;
  /** What its clients sign in with, where it wants that, and the files of it. */
  readonly credential?: {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
    readonly certFile: string;
    readonly keyFile: string;
  };
}

/** Folders, certificates, servers and peers of a run; everything ends with `stop`. */
export class Lab {
  readonly dir = mkdtempSync(join(tmpdir(), 'nightlatch-bench-'));
  readonly #children: ChildProcess[] = [];
  readonly #stops: (() => Promise<void>)[] = [];

  constructor() {
    chmodSync(this.dir, 0o755);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: this.dir, stdio: 'ignore' });
    openssl(
      'req',
      '-x509',
      '-nodes',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-days',
      '2',
      '-keyout',
      'peer.key',
      '-out',
      'peer.crt',
    );
    writeFileSync(
      join(this.dir, 'peer.pem'),
      readFileSync(join(this.dir, 'peer.crt'), 'utf8') + readFileSync(join(this.dir, 'peer.key'), 'utf8'),
    );
    for (const name of ['peer.key', 'peer.pem']) this.#own(join(this.dir, name));
    const lib = resolve(embeddedPostgresBinDir()!, '../lib');
    mkdirSync(join(this.dir, 'lib'));
    symlinkSync(join(lib, 'libpq.so.5.18'), join(this.dir, 'lib/libpq.so.5'));
    this.libpq18 = `${join(this.dir, 'lib')}:${lib}`;
  }
  /** LD_LIBRARY_PATH with the libpq of PostgreSQL 18, which knows direct TLS. */
  readonly libpq18: string;

  #own(path: string): void {
    chmodSync(path, 0o600);
    if (process.getuid?.() === 0) chownSync(path, NOBODY, NOBODY);
  }

  async postgres(): Promise<number> {
    const port = await freePort();
    const server = await startEmbeddedPostgres({
      dataDir: join(this.dir, 'data'),
      binDir: PG_BIN,
      port,
      superuser: 'postgres',
      certificate: {
        certPem: readFileSync(join(this.dir, 'peer.crt'), 'utf8'),
        keyPem: readFileSync(join(this.dir, 'peer.key'), 'utf8'),
      },
      databaseCa: readFileSync(join(this.dir, 'peer.crt'), 'utf8'),
      hba: ['hostnossl all all 127.0.0.1/32 trust'],
      settings: { max_connections: '300', shared_buffers: '256MB', max_wal_size: '4GB', autovacuum: 'off' },
    });
    this.#stops.push(() => server.stop());
    return port;
  }

  async fakePostgres(): Promise<number> {
    const child = this.#fork('fake-postgres.ts', []);
    const [message] = (await once(child, 'message')) as [{ port: number }];
    return message.port;
  }

  async gateway(settings: GatewaySettings): Promise<Peer> {
    const child = this.#fork('gateway-process.ts', [JSON.stringify(settings)], settings.settledHeap);
    const [{ ready }] = (await once(child, 'message')) as [{ ready: GatewayReady }];
    const name = settings.dataPath === 'auto' ? 'nightlatch' : 'nightlatch (streams)';
    const [certFile, keyFile] = [join(this.dir, `client-${child.pid}.crt`), join(this.dir, `client-${child.pid}.key`)];
    writeFileSync(certFile, ready.certPem);
    writeFileSync(keyFile, ready.keyPem, { mode: 0o600 });
    const credential = { ca: ready.hostCa, cert: ready.certPem, key: ready.keyPem, certFile, keyFile };
    return { name, child, plainPort: ready.plainPort, tlsPort: ready.tlsPort, direct: false, credential };
  }

  async pgbouncer(serverPort: number, idleTimeoutS = 0): Promise<Peer> {
    const [plainPort, tlsPort] = [await freePort(), await freePort()];
    const start = async (port: number, tls: boolean): Promise<ChildProcess> => {
      const dir = join(this.dir, `pgbouncer-${port}`);
      mkdirSync(dir);
      writeFileSync(join(dir, 'users'), '"postgres" ""\n"bench" ""\n');
      writeFileSync(
        join(dir, 'ini'),
        `[databases]
* = host=127.0.0.1 port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${dir}/users
pool_mode = session
max_client_conn = 9000
default_pool_size = 10000
ignore_startup_parameters = extra_float_digits
client_idle_timeout = ${idleTimeoutS}
log_connections = 0
log_disconnections = 0
log_stats = 0
${tls ? `client_tls_sslmode = require\nclient_tls_key_file = ${this.dir}/peer.key\nclient_tls_cert_file = ${this.dir}/peer.crt\nclient_tls_ca_file = ${this.dir}/peer.crt\n` : ''}`,
      );
      const child = this.#spawn('pgbouncer', [join(dir, 'ini')], true);
      await portOpen(port);
      return child;
    };
    const plain = await start(plainPort, false);
    const secure = await start(tlsPort, true);
    // Two processes, one for each kind; only one of them works at a time.
    return { name: 'pgbouncer', child: Object.assign(secure, { twin: plain }), plainPort, tlsPort, direct: false };
  }

  async haproxy(serverPort: number, idleTimeoutMs = 3_600_000): Promise<Peer> {
    const [plainPort, tlsPort] = [await freePort(), await freePort()];
    const config = join(this.dir, `haproxy-${plainPort}.cfg`);
    writeFileSync(
      config,
      `global
  maxconn 9000
  nbthread 1
  tune.ssl.default-dh-param 2048
defaults
  mode tcp
  timeout connect 5s
  timeout client ${idleTimeoutMs}ms
  timeout server ${idleTimeoutMs}ms
frontend plain
  bind 127.0.0.1:${plainPort}
  default_backend pg
frontend secure
  bind 127.0.0.1:${tlsPort} ssl crt ${this.dir}/peer.pem alpn postgresql
  default_backend pg
backend pg
  server pg 127.0.0.1:${serverPort}
`,
    );
    const child = this.#spawn('haproxy', ['-f', config, '-db', '-q'], true);
    await Promise.all([portOpen(plainPort), portOpen(tlsPort)]);
    return { name: 'haproxy', child, plainPort, tlsPort, direct: true };
  }

  /** Node's own TLS server, see bare-tls.ts. */
  async bareTls(): Promise<Peer> {
    const child = this.#fork('bare-tls.ts', [this.dir], true);
    const [ports] = (await once(child, 'message')) as [{ plainPort: number; tlsPort: number }];
    return { name: 'node:tls alone', child, ...ports, direct: true };
  }

  /** A relay on Node with nothing in it, see bare-relay.ts. */
  async bareRelay(serverPort: number): Promise<Peer> {
    const child = this.#fork('bare-relay.ts', [JSON.stringify({ dir: this.dir, serverPort })]);
    const [ports] = (await once(child, 'message')) as [{ plainPort: number; tlsPort: number }];
    return { name: 'node relay', child, ...ports, direct: true };
  }

  idleClients(settings: IdleClients): ChildProcess {
    return this.#fork('idle-clients.ts', [JSON.stringify(settings)]);
  }

  #fork(script: string, args: readonly string[], settledHeap = false): ChildProcess {
    const child = fork(new URL(script, import.meta.url), args, {
      execArgv: settledHeap ? [...SETTLED_HEAP] : ['--expose-gc', '--disable-warning=ExperimentalWarning'],
    });
    this.#children.push(child);
    return child;
  }

  #spawn(program: string, args: readonly string[], unprivileged: boolean): ChildProcess {
    const child = spawn(program, args, {
      cwd: '/',
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      ...(unprivileged && process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}),
    });
    this.#children.push(child);
    return child;
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.#stops.map((stop) => stop()));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function portOpen(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = net.connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((done) => {
      socket.once('connect', () => done(true));
      socket.once('error', () => done(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** Seconds of CPU that a process (and its twin) has used. */
export function cpuSeconds(child: ChildProcess): number {
  const { twin } = child as ChildProcess & { twin?: ChildProcess };
  return [child, ...(twin === undefined ? [] : [twin])]
    .map((one) => {
      const fields = readFileSync(`/proc/${one.pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    })
    .reduce((a, b) => a + b);
}

/** Resident memory in bytes. */
export function residentBytes(child: ChildProcess): number {
  const { twin } = child as ChildProcess & { twin?: ChildProcess };
  return [child, ...(twin === undefined ? [] : [twin])]
    .map((one) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${one.pid}/status`, 'latin1'))![1]) * 1024)
    .reduce((a, b) => a + b);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
