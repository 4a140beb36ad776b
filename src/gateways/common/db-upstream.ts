import { readFile } from 'node:fs/promises';
import net from 'node:net';
import tls from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { CertAuthority } from '../../identity/types.ts';
import type { Database } from '../../resources/index.ts';
import { TlsConnector } from './tls/connect.ts';
import type { SecureStream } from './tls/tls-stream.ts';

/** Life of a client certificate for a database. The gateway's own: it never leaves it. */
const CLIENT_CERT_TTL_MS = 60 * 60_000;
/** A context is made anew when its certificate has less than this to live. */
const CLIENT_CERT_MARGIN_MS = 10 * 60_000;
const MAX_CONTEXTS = 512;

/** Where a database listens. */
export interface DbAddress {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT` of a database resource; an IPv6 address stands in brackets. */
export function databaseAddress(database: Database): DbAddress {
  const { uri } = database.spec;
  const colon = uri.lastIndexOf(':');
  const host = uri.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(uri.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port))
    throw new NightlatchError('bad_parameter', `database "${database.metadata.name}": uri "${uri}" is not HOST:PORT`);
  return { host, port };
}

/**
 * A TCP connection to a database.
 * @throws {NightlatchError} `unavailable`, or the signal's reason.
 */
export function connectTcp(address: DbAddress, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = net.connect({ ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
    const settle = (error?: Error): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect);
      socket.off('error', onError);
      // An error may come at any time from now on; whoever has the socket sees its 'close'.
      socket.on('error', () => undefined);
      if (error === undefined) resolve(socket);
      else {
        socket.destroy();
        reject(error);
      }
    };
    const onConnect = (): void => settle();
    const onError = (error: Error): void =>
      settle(new NightlatchError('unavailable', `cannot reach the database: ${error.message}`, { cause: error }));
    const onAbort = (): void => settle(signal.reason as Error);
    socket.once('connect', onConnect);
    socket.once('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

interface CachedContext {
  readonly context: tls.SecureContext;
  readonly goodUntilMs: number;
}

/**
 * TLS to databases: the checks that the resource asks for, and the gateway's client certificates. Contexts are kept, since making one takes
 * longer than a whole login.
 */
export class DbUpstreamTls {
  readonly #ca: CertAuthority;
  readonly #clock: Clock;
  readonly #contexts = new Map<string, Promise<CachedContext>>();
  readonly #connector = new TlsConnector();

  constructor(ca: CertAuthority, clock: Clock) {
    this.#ca = ca;
    this.#clock = clock;
  }

  /**
   * Starts TLS on a connected socket, which a failure closes, and checks the server (resource, `tls.mode`). The gateway's client certificate is shown where it signs in by it, and
   * with `alwaysCertificate` also where it does so by password.
   * @throws {NightlatchError} `unavailable` when the handshake fails or the server's certificate is not the one demanded; the signal's reason.
   */
  async connect(
    socket: net.Socket,
    database: Database,
    dbUser: string,
    options: { alpn?: string; signal: AbortSignal; alwaysCertificate?: boolean },
  ): Promise<SecureStream> {
    const { mode, server_name: configuredName } = database.spec.tls;
    const host = configuredName ?? databaseAddress(database).host;
    const byCertificate = options.alwaysCertificate === true || database.spec.auth === undefined;
    const secureContext = await this.#context(database, byCertificate ? dbUser : undefined).catch((error: unknown) => {
      socket.destroy();
      throw error;
    });
    try {
      return await this.#connector.connect(
        database.spec.uri,
        socket,
        {
          secureContext,
          ...(net.isIP(host) === 0 ? { servername: host } : {}),
          ...(options.alpn === undefined ? {} : { ALPNProtocols: [options.alpn] }),
          rejectUnauthorized: mode !== 'insecure',
          checkServerIdentity: (_name, certificate) =>
            mode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
        },
        options.signal,
      );
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      throw new NightlatchError('unavailable', `TLS to the database failed: ${errorMessage(error)}`, { cause: error });
    }
  }

  async #context(database: Database, dbUser: string | undefined): Promise<tls.SecureContext> {
    const { mode, ca_cert: caPem, ca_cert_file: caFile } = database.spec.tls;
    const key = JSON.stringify([mode, caPem, caFile, dbUser ?? null]);
    const known = await this.#contexts.get(key);
    if (known !== undefined && known.goodUntilMs > this.#clock.wallMs()) return known.context;
    const making = this.#make(caPem, caFile, dbUser);
    this.#contexts.delete(key);
    this.#contexts.set(key, making);
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size > MAX_CONTEXTS) this.#contexts.delete(oldest!);
    try {
      return (await making).context;
    } catch (error) {
      this.#contexts.delete(key);
      throw error;
    }
  }

  async #make(
    caPem: string | undefined,
    caFile: string | undefined,
    dbUser: string | undefined,
  ): Promise<CachedContext> {
    const ca =
      caPem ??
      (caFile === undefined ? undefined : await readFile(caFile, 'utf8').catch(unreadable('tls.ca_cert_file')));
    const credential =
      dbUser === undefined ? undefined : await this.#ca.mintDatabaseClient({ dbUser, ttlMs: CLIENT_CERT_TTL_MS });
    const context = tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(credential === undefined ? {} : { cert: credential.certPem, key: credential.keyPem }),
    });
    // The CA file may be replaced at any time; it is read again after a while even where no certificate expires.
    return { context, goodUntilMs: this.#clock.wallMs() + CLIENT_CERT_TTL_MS - CLIENT_CERT_MARGIN_MS };
  }
}

/** The password that the gateway signs in with, or undefined where it does so by certificate. The file is read at each login. */
export async function databasePassword(database: Database): Promise<Secret<string> | undefined> {
  const path = database.spec.auth?.password_file;
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch(unreadable('auth.password_file'));
  return new Secret(text.replace(/\r?\n$/, ''));
}

function unreadable(key: string): (error: unknown) => never {
  return (error) => {
    throw new NightlatchError('unavailable', `${key} cannot be read: ${errorMessage(error)}`, { cause: error });
  };
}
