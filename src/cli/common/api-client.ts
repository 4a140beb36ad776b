import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import type { ConnectionOptions } from 'node:tls';
import { type ErrorCode, NightlatchError } from '../../core/errors.ts';
import type { ErrorBody } from '../../wire/api/messages.ts';

/** Where the API is, and how the two sides know each other. */
export type Endpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | {
      readonly kind: 'tls';
      readonly host: string;
      readonly port: number;
      /** Trusted CAs (PEM); without them, those of the system. */
      readonly ca?: readonly string[];
      /** PEM of the client certificate and its key. */
      readonly cert?: string;
      readonly key?: string;
      /** The server is not verified at all. */
      readonly insecure?: boolean;
    };

/** An answer that is larger is not ours. */
const MAX_RESPONSE_BYTES = 256 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

const ERROR_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'access_denied',
  'already_exists',
  'audit_unavailable',
  'bad_parameter',
  'cancelled',
  'conflict',
  'decode',
  'internal',
  'limit_exceeded',
  'not_found',
  'protocol',
  'timeout',
  'too_large',
  'unauthenticated',
  'unavailable',
]);

/** Codes of OpenSSL's verification (X509_STORE_CTX_get_error(3)) for a chain that leads to no trusted authority. */
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
]);

/** The server's certificate is not one that this client trusts. */
export class UntrustedServerError extends NightlatchError {
  /** Whether nothing else is known against the certificate than that its authority is not a trusted one. */
  readonly unknownAuthority: boolean;

  /** `cause` is what Node says of the certificate. */
  constructor(address: string, cause: Error) {
    // Node may add which flag of its own to try: its flags are none of ours.
    const reason = cause.message.replace(/[;,] if the root CA is installed locally.*$/s, '');
    super('unauthenticated', `the certificate of ${address} is not trusted: ${reason}`, { cause });
    this.unknownAuthority = 'code' in cause && UNKNOWN_AUTHORITY.has(String(cause.code));
  }
}

/** TLS options for a connection to the public port, the same for the API and the tunnels. */
export function tlsOptions(endpoint: Endpoint & { kind: 'tls' }, alpn: string): ConnectionOptions {
  return {
    host: endpoint.host,
    port: endpoint.port,
    ALPNProtocols: [alpn],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: endpoint.insecure !== true,
    // An address has no server name (RFC 6066 section 3).
    ...(/^[\d.]+$|:/.test(endpoint.host) ? {} : { servername: endpoint.host }),
    ...(endpoint.ca === undefined ? {} : { ca: [...endpoint.ca] }),
    ...(endpoint.cert === undefined || endpoint.key === undefined ? {} : { cert: endpoint.cert, key: endpoint.key }),
  };
}

/** Whether a connection failed because the other side's certificate does not verify. */
export function isTrustError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /CERT|ISSUER|SELF_SIGNED|VERIFY|ERR_TLS_CERT_ALTNAME_INVALID/.test(code) && !code.startsWith('ERR_SSL');
}

export function addressOf(endpoint: Endpoint): string {
  if (endpoint.kind === 'socket') return endpoint.path;
  return `${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

/** The API over HTTP: JSON both ways, one connection that is kept for the next request. */
export class ApiClient {
  readonly endpoint: Endpoint;
  readonly #timeoutMs: number;
  #agent: Agent | undefined;

  constructor(endpoint: Endpoint, options: { timeoutMs?: number } = {}) {
    this.endpoint = endpoint;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /**
   * `path` begins with `/v1/`.
   * @throws {NightlatchError} with the server's own code and message; `unavailable` when it cannot be reached;
   *   `UntrustedServerError` when its certificate does not verify.
   */
  get<T>(path: string): Promise<T> {
    return this.request<T>('GET', path);
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.request<T>('POST', path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.request<T>('DELETE', path);
  }

  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { status, text } = await this.#exchange(method, path, body);
    if (status >= 200 && status < 300) return (text === '' ? undefined : parse(text, this.endpoint)) as T;
    throw errorFrom(status, text, this.endpoint);
  }

  /** The body of an answer as text, e.g. CSV. */
  async getText(path: string): Promise<string> {
    const { status, text } = await this.#exchange('GET', path);
    if (status >= 200 && status < 300) return text;
    throw errorFrom(status, text, this.endpoint);
  }

  async #exchange(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const options: RequestOptions = {
      method,
      path,
      timeout: this.#timeoutMs,
      headers: {
        accept: 'application/json',
        ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length }),
      },
    };
    const send = this.#transport(options);
    return new Promise((resolve, reject) => {
      const request = send((response) => readBody(response).then(resolve, reject));
      request.on('timeout', () =>
        request.destroy(new NightlatchError('timeout', `no answer from ${addressOf(this.endpoint)}`)),
      );
      request.on('error', (error) => reject(this.#explain(error)));
      request.end(payload);
    });
  }

  /** Takes Node's modules without `import`, which would read all their exports: `http.WebSocket` alone loads undici (80 ms). */
  #transport(options: RequestOptions): (onResponse: (response: IncomingMessage) => void) => ClientRequest {
    const endpoint = this.endpoint;
    if (endpoint.kind === 'socket') {
      const http = process.getBuiltinModule('node:http');
      const agent = this.#agent ?? new http.Agent({ keepAlive: true });
      this.#agent = agent;
      return (onResponse) => http.request({ ...options, socketPath: endpoint.path, agent }, onResponse);
    }
    const https = process.getBuiltinModule('node:https');
    const agent = this.#agent ?? new https.Agent({ keepAlive: true });
    this.#agent = agent;
    return (onResponse) => https.request({ ...options, ...tlsOptions(endpoint, 'http/1.1'), agent }, onResponse);
  }

  #explain(error: Error): Error {
    if (error instanceof NightlatchError) return error;
    const address = addressOf(this.endpoint);
    if (isTrustError(error)) return new UntrustedServerError(address, error);
    const reason = error instanceof AggregateError ? (error.errors[0] as Error).message : error.message;
    return new NightlatchError('unavailable', `cannot reach ${address}: ${reason}`, { cause: error });
  }

  /** Closes the kept connection, so that the program can end. */
  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }
}

async function readBody(response: IncomingMessage): Promise<{ status: number; text: string }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_RESPONSE_BYTES) throw new NightlatchError('too_large', 'the answer is too large');
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}

function parse(text: string, endpoint: Endpoint): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NightlatchError('protocol', `${addressOf(endpoint)} does not answer as Nightlatch does`, { cause });
  }
}

function errorFrom(status: number, text: string, endpoint: Endpoint): NightlatchError {
  let body: Partial<ErrorBody> = {};
  try {
    body = JSON.parse(text) as Partial<ErrorBody>;
  } catch {
    // Not one of our answers; the status below says what there is to say.
  }
  const { code, message } = body.error ?? {};
  if (typeof code === 'string' && ERROR_CODES.has(code) && typeof message === 'string') {
    return new NightlatchError(code as ErrorCode, message);
  }
  return new NightlatchError('protocol', `${addressOf(endpoint)} answered with HTTP status ${status}`);
}
