import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net, { isIP } from 'node:net';
import tls, { type ConnectionOptions } from 'node:tls';
import { type Dispatcher, Pool } from 'undici';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { KubeCluster } from '../../resources/index.ts';
import { deadline } from '../common/deadline.ts';
import { TlsConnector } from '../common/tls/connect.ts';
import type { SecureStream } from '../common/tls/tls-stream.ts';
import { type KubeEndpoint, loadEndpoint } from './kubeconfig.ts';

/** Service account tokens are renewed in their file well before they expire. */
const TOKEN_FRESH_MS = 60_000;
const CONNECT_LIMIT_MS = 10_000;
/** Longest head of an answer to an upgrade. */
const MAX_HEAD = 32_768;

/** The head of an HTTP/1.1 answer, and what came behind it. */
export interface UpgradeAnswer {
  readonly socket: SecureStream;
  /** The head as it came, with the empty line. */
  readonly head: Buffer;
  readonly statusCode: number;
  /** Value of a header of it, '' without. */
  header(name: string): string;
  readonly rest: Buffer;
}

/** One API server: its connections, the gateway's credentials there, its certificate pinned to the CA of the kubeconfig. */
export class KubeUpstream {
  readonly cluster: KubeCluster;
  readonly endpoint: KubeEndpoint;
  readonly #clock: Clock;
  readonly #pool: Pool;
  readonly #tls: ConnectionOptions;
  readonly #connector = new TlsConnector();
  #fileToken: { readonly value: string; readonly atMs: number } | undefined;

  constructor(cluster: KubeCluster, endpoint: KubeEndpoint, clock: Clock) {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.#clock = clock;
    const { hostname, port } = new URL(endpoint.origin);
    const host = hostname.replace(/^\[|\]$/g, '');
    const name = endpoint.serverName ?? host;
    this.#tls = {
      host,
      port: port === '' ? 443 : Number(port),
      // An IP address is checked against the certificate's addresses and must not be sent as SNI (RFC 6066 section 3).
      ...(isIP(name) === 0 ? { servername: name } : {}),
      // One for all connections: a context of its own would cost each tens of kilobytes.
      secureContext: tls.createSecureContext({
        minVersion: 'TLSv1.2',
        ...(endpoint.ca === undefined ? {} : { ca: endpoint.ca }),
        ...(endpoint.clientCert === undefined
          ? {}
          : { cert: endpoint.clientCert.certPem, key: endpoint.clientCert.keyPem.reveal() }),
      }),
    };
    const { host: _host, port: _port, ...connect } = this.#tls;
    this.#pool = new Pool(endpoint.origin, {
      connect: { ...connect, timeout: CONNECT_LIMIT_MS } as NonNullable<Pool.Options['connect']>,
      connections: null,
      // Watches and logs are silent for as long as they like.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 30_000,
      pipelining: 1,
    });
  }

  get host(): string {
    return new URL(this.endpoint.origin).host;
  }

  /** The gateway's own `Authorization`, or undefined where it shows a certificate instead. */
  async authorization(): Promise<string | undefined> {
    const { token, tokenFile } = this.endpoint;
    if (tokenFile === undefined) return token === undefined ? undefined : `Bearer ${token.reveal()}`;
    const now = this.#clock.now();
    if (this.#fileToken === undefined || now - this.#fileToken.atMs > TOKEN_FRESH_MS) {
      try {
        this.#fileToken = { value: (await readFile(tokenFile, 'utf8')).trim(), atMs: now };
      } catch (error) {
        throw new NightlatchError('unavailable', `the token file cannot be read: ${errorMessage(error)}`, {
          cause: error,
        });
      }
    }
    return `Bearer ${this.#fileToken.value}`;
  }

  request(options: Omit<Dispatcher.RequestOptions, 'origin'>): Promise<Dispatcher.ResponseData> {
    return this.#pool.request(options);
  }

  /**
   * Sends an upgrade request over a connection of its own and reads the head of the answer.
   * @throws {NightlatchError} `unavailable`, `timeout`, `protocol`.
   */
  async upgrade(request: Buffer, signal: AbortSignal): Promise<UpgradeAnswer> {
    const opening = deadline(this.#clock, CONNECT_LIMIT_MS, 'the Kubernetes API server does not answer', signal);
    // The host stays among the options: where there is no server name, it is what the certificate must be for.
    const { port = 0, ...connection } = this.#tls;
    const { host = '' } = connection;
    const tcp = net.connect({ host, port, noDelay: true });
    tcp.on('error', () => undefined);
    const onAbort = (): void => void tcp.destroy(opening.signal.reason as Error);
    opening.signal.addEventListener('abort', onAbort, { once: true });
    try {
      await once(tcp, 'connect', { signal: opening.signal });
      const socket = await this.#connector.connect(
        this.host,
        tcp,
        { ...connection, ALPNProtocols: ['http/1.1'] },
        opening.signal,
      );
      socket.write(request);
      return await readAnswer(socket);
    } catch (error) {
      tcp.destroy();
      if (signal.aborted) throw new NightlatchError('cancelled', 'the client is gone');
      opening.signal.throwIfAborted();
      if (error instanceof NightlatchError) throw error;
      throw new NightlatchError('unavailable', `the Kubernetes API server cannot be reached: ${errorMessage(error)}`, {
        cause: error,
      });
    } finally {
      opening.clear();
      opening.signal.removeEventListener('abort', onAbort);
    }
  }

  /** No new requests; those under way go on. */
  retire(): void {
    void this.#pool.close();
  }

  close(): void {
    void this.#pool.destroy();
  }
}

function readAnswer(socket: SecureStream): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const stop = (): void => {
      socket.off('data', onData);
      socket.off('error', onError);
      socket.off('close', onClose);
    };
    const onError = (error: Error): void => {
      stop();
      socket.on('error', () => undefined);
      reject(error);
    };
    const onClose = (): void => {
      stop();
      reject(new NightlatchError('unavailable', 'the Kubernetes API server closed the connection'));
    };
    const onData = (chunk: Buffer): void => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0 && received.length <= MAX_HEAD) return;
      stop();
      socket.pause();
      socket.on('error', () => undefined);
      if (end < 0) {
        reject(new NightlatchError('protocol', 'the Kubernetes API server sent too long a head'));
        return;
      }
      const head = received.subarray(0, end + 4);
      const lines = head.toString('latin1').split('\r\n');
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(lines[0]!);
      if (status === null) {
        reject(new NightlatchError('protocol', 'the Kubernetes API server does not speak HTTP/1.1'));
        return;
      }
      const header = (name: string): string =>
        lines
          .slice(1)
          .find((line) => line.toLowerCase().startsWith(`${name}:`))
          ?.slice(name.length + 1)
          .trim() ?? '';
      resolve({ socket, head, statusCode: Number(status[1]), header, rest: received.subarray(end + 4) });
    };
    socket.on('data', onData);
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}

/** The API servers of the registered clusters, each opened when it is first needed and replaced when its resource changes. */
export class KubeUpstreams {
  readonly #clock: Clock;
  readonly #upstreams = new Map<string, { readonly cluster: KubeCluster; readonly upstream: Promise<KubeUpstream> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws {NightlatchError} as `loadEndpoint`. */
  get(cluster: KubeCluster): Promise<KubeUpstream> {
    const { name } = cluster.metadata;
    const known = this.#upstreams.get(name);
    if (known !== undefined && (known.cluster === cluster || sameTarget(known.cluster, cluster))) return known.upstream;
    known?.upstream.then(
      (one) => one.retire(),
      () => undefined,
    );
    const upstream = loadEndpoint(cluster).then((endpoint) => new KubeUpstream(cluster, endpoint, this.#clock));
    this.#upstreams.set(name, { cluster, upstream });
    upstream.catch(() => {
      // What failed once is tried again with the next request.
      if (this.#upstreams.get(name)?.upstream === upstream) this.#upstreams.delete(name);
    });
    return upstream;
  }

  close(): void {
    for (const { upstream } of this.#upstreams.values()) {
      upstream.then(
        (one) => one.close(),
        () => undefined,
      );
    }
    this.#upstreams.clear();
  }
}

function sameTarget(a: KubeCluster, b: KubeCluster): boolean {
  return JSON.stringify(a.spec) === JSON.stringify(b.spec);
}
