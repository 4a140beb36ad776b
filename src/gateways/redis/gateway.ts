import type net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { DecodeError, errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { RefusedLogin } from '../../identity/refused-logins.ts';
import type { CertAuthority, Identity } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import { DbAdmission, type PendingConnection } from '../common/db-admission.ts';
import { DbClientTls, type TlsProvider } from '../common/db-client-tls.ts';
import { DbReader } from '../common/db-reader.ts';
import { DbUpstreamTls } from '../common/db-upstream.ts';
import { deadline } from '../common/deadline.ts';
import type { FastPathSearch } from '../common/fast-path-search.ts';
import { type ConnectionDeps, failure, RedisConnection, refuse } from './connection.ts';
import { type FirstCommand, readFirstCommand } from './first-command.ts';

/** Content type of a TLS handshake record, the first byte of a ClientHello (RFC 8446, section 5.1). */
const TLS_HANDSHAKE_BYTE = 0x16;
const MAX_UNREAD = 64 * 1024;

const DEFAULT_LIMITS: LoginLimits = { maxPending: 512, timeoutMs: 10_000 };

/** Bounds before anybody has signed in. */
interface LoginLimits {
  /** Connections that have not signed in yet; above it the oldest gives way. */
  readonly maxPending: number;
  /** Milliseconds from the connection to the first command. */
  readonly timeoutMs: number;
}

export interface RedisGatewayDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly ca: CertAuthority;
  readonly tls: TlsProvider;
  /** Somebody was refused for the certificate; resolves when that is in the audit log. */
  refused(refusal: RefusedLogin): Promise<void>;
  readonly limits?: LoginLimits;
  /** Sessions go below the streams where it has found a way; without it they never do. */
  readonly fastPath?: FastPathSearch;
}

export interface RedisGateway {
  /** A TCP connection of the native listener: TLS with a client certificate from the first byte. */
  accept(socket: net.Socket, info: { clientAddr: string }): void;
  /** A stream of the public port whose TLS is done and whose client is known. */
  acceptTunnel(stream: Duplex, info: { clientAddr: string; identity: Identity }): void;
  /** Ends the connections that have no session yet; sessions are ended by their manager. */
  close(): void;
}

/** Builds the Redis gateway: RESP2 and RESP3. */
export function createRedisGateway(deps: RedisGatewayDeps): RedisGateway {
  return new Gateway(deps);
}

class Gateway implements RedisGateway {
  readonly #deps: RedisGatewayDeps;
  readonly #connections: ConnectionDeps;
  readonly #admission: DbAdmission;
  readonly #tls: DbClientTls;

  constructor(deps: RedisGatewayDeps) {
    this.#deps = deps;
    const { clock, log, sessions, policy, ca } = deps;
    this.#connections = {
      clock,
      log,
      sessions,
      policy,
      upstreamTls: new DbUpstreamTls(ca, clock),
      fastPath: () => deps.fastPath?.found,
    };
    const limits = deps.limits ?? DEFAULT_LIMITS;
    this.#admission = new DbAdmission(clock, limits);
    this.#tls = new DbClientTls({
      ca,
      clock,
      log,
      refused: (refusal) => deps.refused(refusal),
      provider: deps.tls,
      protocol: 'redis',
      handshakeTimeoutMs: limits.timeoutMs,
    });
  }

  accept(socket: net.Socket, { clientAddr }: { clientAddr: string }): void {
    socket.setNoDelay(true);
    const pending = this.#enter(socket, clientAddr);
    this.#plain(socket, clientAddr, pending).catch((error: unknown) => this.#dropped(socket, clientAddr, error));
  }

  acceptTunnel(stream: Duplex, { clientAddr, identity }: { clientAddr: string; identity: Identity }): void {
    const pending = this.#enter(stream, clientAddr);
    this.#login(stream, clientAddr, pending, identity).catch((error: unknown) =>
      this.#dropped(stream, clientAddr, error),
    );
  }

  close(): void {
    this.#tls.close();
    this.#admission.close();
  }

  #enter(stream: Duplex, clientAddr: string): PendingConnection {
    stream.on('error', ignore);
    const pending = this.#admission.enter((why) => {
      this.#deps.log.debug('redis: a connection did not sign in', { client: clientAddr, why });
      stream.destroy();
    });
    stream.once('close', () => pending.done());
    return pending;
  }

  #dropped(stream: Duplex, clientAddr: string, error: unknown): void {
    this.#deps.log.debug('redis: a connection ended before its login', {
      client: clientAddr,
      error: errorMessage(error),
    });
    if (error instanceof DecodeError && !stream.destroyed)
      void refuse(stream, 'ERR', `Protocol error: ${error.message}`);
    else stream.destroy();
  }

  /** TLS begins with the first byte; who speaks in plain text is told so. */
  async #plain(socket: net.Socket, clientAddr: string, pending: PendingConnection): Promise<void> {
    const reader = new DbReader(socket, MAX_UNREAD);
    const first = await reader.read(1);
    const rest = reader.detach();
    if (first[0] !== TLS_HANDSHAKE_BYTE) {
      await refuse(
        socket,
        'NOAUTH',
        'TLS with a client certificate is required: sign in with "tsh db login", and connect with --tls, --cert and --key',
      );
      return;
    }
    socket.unshift(Buffer.concat([first, rest]));
    this.#tls.start(socket, (stream) => {
      const failed = (error: unknown): void => this.#dropped(stream, clientAddr, error);
      this.#tls.identityOf(stream, clientAddr).then(
        (identity) => this.#login(stream, clientAddr, pending, identity).catch(failed),
        (error: unknown) => refuse(stream, ...failure(error)),
      );
    });
  }

  /** Where the certificate names no Redis user, the client's first command may. */
  async #login(stream: Duplex, clientAddr: string, pending: PendingConnection, identity: Identity): Promise<void> {
    const first =
      identity.route?.dbUser === undefined
        ? await this.#firstCommand(stream)
        : { user: undefined, bytes: Buffer.alloc(0) };
    const connection = new RedisConnection(this.#connections, {
      stream,
      clientAddr,
      identity,
      namedUser: first.user,
      early: first.bytes,
    });
    await connection.run(() => pending.done());
  }

  async #firstCommand(stream: Duplex): Promise<FirstCommand> {
    const patienceMs = (this.#deps.limits ?? DEFAULT_LIMITS).timeoutMs / 2;
    const patience = deadline(this.#deps.clock, patienceMs, 'no command came', new AbortController().signal);
    try {
      return await readFirstCommand(stream, patience.signal);
    } finally {
      patience.clear();
    }
  }
}

function ignore(): void {
  // 'close' follows every error.
}
