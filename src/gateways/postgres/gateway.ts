import type net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { DecodeError, errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { RefusedLogin } from '../../identity/refused-logins.ts';
import type { CertAuthority, Identity } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import {
  ALPN_POSTGRESQL,
  ANSWER_NO,
  ANSWER_YES,
  decodeStartup,
  decodeStartupLength,
  type StartupPacket,
  TLS_HANDSHAKE_BYTE,
} from '../../wire/postgres/startup.ts';
import { DbAdmission, type PendingConnection } from '../common/db-admission.ts';
import { DbClientTls, type TlsProvider } from '../common/db-client-tls.ts';
import { DbReader } from '../common/db-reader.ts';
import { DbUpstreamTls } from '../common/db-upstream.ts';
import type { FastPathSearch } from '../common/fast-path-search.ts';
import { finishStream } from '../common/stream-relay.ts';
import type { SecureStream } from '../common/tls/tls-stream.ts';
import { CancelKeys } from './cancel-keys.ts';
import { type ConnectionDeps, PostgresConnection, refuse } from './connection.ts';
import { SQLSTATE } from './sqlstate.ts';

/** Bytes kept unread before the login is done: a startup message, and what an eager client sends behind it. */
const MAX_UNREAD = 64 * 1024;
/** SSLRequest, GSSENCRequest and a startup message: more rounds than that nobody needs. */
const MAX_STARTUP_PACKETS = 4;

const DEFAULT_LIMITS: LoginLimits = { maxPending: 512, timeoutMs: 10_000 };

/** Bounds before anybody has signed in. */
export interface LoginLimits {
  /** Connections that have not signed in yet; above it the oldest gives way. */
  readonly maxPending: number;
  /** Milliseconds from the connection to the startup message. */
  readonly timeoutMs: number;
}

export interface PostgresGatewayDeps {
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

export interface PostgresGateway {
  /** A TCP connection of the native listener: SSLRequest or direct TLS with a client certificate, or a cancel request. */
  accept(socket: net.Socket, info: { clientAddr: string }): void;
  /** A stream of the public port whose TLS is done and whose client is known. */
  acceptTunnel(stream: Duplex, info: { clientAddr: string; identity: Identity }): void;
  /** Ends the connections that have no session yet; sessions are ended by their manager. */
  close(): void;
}

/** Builds the PostgreSQL gateway: protocol 3.0 and 3.2, for every libpq since 9.6. */
export function createPostgresGateway(deps: PostgresGatewayDeps): PostgresGateway {
  return new Gateway(deps);
}

class Gateway implements PostgresGateway {
  readonly #deps: PostgresGatewayDeps;
  readonly #connections: ConnectionDeps;
  readonly #admission: DbAdmission;
  readonly #tls: DbClientTls;
  readonly #closed = new AbortController();

  constructor(deps: PostgresGatewayDeps) {
    this.#deps = deps;
    const { clock, log, sessions, policy, ca } = deps;
    this.#connections = {
      clock,
      log,
      sessions,
      policy,
      upstreamTls: new DbUpstreamTls(ca, clock),
      cancelKeys: new CancelKeys(),
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
      protocol: 'postgres',
      handshakeTimeoutMs: limits.timeoutMs,
      alpn: ALPN_POSTGRESQL,
    });
  }

  accept(socket: net.Socket, { clientAddr }: { clientAddr: string }): void {
    socket.setNoDelay(true);
    socket.on('error', ignore);
    const pending = this.#enter(socket, clientAddr);
    this.#preamble(socket, clientAddr, pending).catch((error: unknown) => this.#dropped(socket, clientAddr, error));
  }

  acceptTunnel(stream: Duplex, { clientAddr, identity }: { clientAddr: string; identity: Identity }): void {
    stream.on('error', ignore);
    const pending = this.#enter(stream, clientAddr);
    this.#authenticated(stream, clientAddr, pending, () => identity).catch((error: unknown) =>
      this.#dropped(stream, clientAddr, error),
    );
  }

  close(): void {
    this.#closed.abort(new NightlatchError('cancelled', 'the gateway is closed'));
    this.#tls.close();
    this.#admission.close();
  }

  #enter(stream: Duplex, clientAddr: string): PendingConnection {
    const pending = this.#admission.enter((why) => {
      this.#deps.log.debug('postgres: a connection did not sign in', { client: clientAddr, why });
      stream.destroy();
    });
    stream.once('close', () => pending.done());
    return pending;
  }

  #dropped(stream: Duplex, clientAddr: string, error: unknown): void {
    this.#deps.log.debug('postgres: a connection ended before its login', {
      client: clientAddr,
      error: errorMessage(error),
    });
    if (error instanceof DecodeError && !stream.destroyed) {
      void refuse(stream, SQLSTATE.protocolViolation, `this is not the PostgreSQL protocol: ${error.message}`);
    } else stream.destroy();
  }

  /** What comes in plain text: requests for encryption, cancel requests, or the first bytes of direct TLS. */
  async #preamble(socket: net.Socket, clientAddr: string, pending: PendingConnection): Promise<void> {
    const reader = new DbReader(socket, MAX_UNREAD);
    for (let round = 0; round < MAX_STARTUP_PACKETS; round++) {
      const first = await reader.read(1);
      if (first[0] === TLS_HANDSHAKE_BYTE) {
        const rest = reader.detach();
        socket.unshift(Buffer.concat([first, rest]));
        this.#tls.start(socket, (stream) => this.#secured(stream, clientAddr, pending, true));
        return;
      }
      const packet = await readStartup(reader, first);
      switch (packet.kind) {
        case 'ssl':
          // Bytes behind the request would be read as if they had been encrypted (CVE-2021-23214).
          if (reader.detach().length > 0) throw new NightlatchError('protocol', 'bytes ahead of TLS');
          socket.write(ANSWER_YES);
          this.#tls.start(socket, (stream) => this.#secured(stream, clientAddr, pending, false));
          return;
        case 'gssenc':
          socket.write(ANSWER_NO);
          break;
        case 'cancel':
          await this.#cancel(socket, packet);
          return;
        case 'startup':
          reader.detach();
          await refuse(
            socket,
            SQLSTATE.invalidAuthorization,
            'TLS with a client certificate is required: sign in with "tsh db login", and connect with sslmode=verify-full',
          );
          return;
      }
    }
    throw new NightlatchError('protocol', 'too many requests for encryption');
  }

  #secured(stream: SecureStream, clientAddr: string, pending: PendingConnection, direct: boolean): void {
    if (direct && stream.alpnProtocol !== ALPN_POSTGRESQL) {
      // The protocol demands it (ALPACA attacks); PostgreSQL closes such connections too.
      void refuse(stream, SQLSTATE.protocolViolation, 'direct TLS must negotiate the protocol "postgresql" (ALPN)');
      return;
    }
    this.#authenticated(stream, clientAddr, pending, () => this.#tls.identityOf(stream, clientAddr)).catch(
      (error: unknown) => this.#dropped(stream, clientAddr, error),
    );
  }

  /** The startup message of a client whose identity is known or can be. */
  async #authenticated(
    stream: Duplex,
    clientAddr: string,
    pending: PendingConnection,
    identityOf: () => Identity | Promise<Identity>,
  ): Promise<void> {
    const reader = new DbReader(stream, MAX_UNREAD);
    for (let round = 0; round < MAX_STARTUP_PACKETS; round++) {
      const packet = await readStartup(reader, Buffer.alloc(0));
      switch (packet.kind) {
        case 'ssl':
        case 'gssenc':
          // The stream is encrypted already.
          stream.write(ANSWER_NO);
          break;
        case 'cancel':
          await this.#cancel(stream, packet);
          return;
        case 'startup': {
          if (packet.protocol >>> 16 !== 3) {
            reader.detach();
            await refuse(
              stream,
              SQLSTATE.featureNotSupported,
              `protocol ${packet.protocol >>> 16}.${packet.protocol & 0xffff} is not supported: this gateway speaks 3.0 and 3.2`,
            );
            return;
          }
          let identity: Identity;
          try {
            identity = await identityOf();
          } catch (error) {
            reader.detach();
            await refuse(stream, SQLSTATE.invalidAuthorization, errorMessage(error));
            return;
          }
          const connection = new PostgresConnection(this.#connections, {
            stream,
            reader,
            clientAddr,
            identity,
            startup: packet,
          });
          await connection.run(() => pending.done());
          return;
        }
      }
    }
    throw new NightlatchError('protocol', 'too many requests for encryption');
  }

  /** PostgreSQL answers a cancel request by closing the connection, whatever came of it. */
  async #cancel(stream: Duplex, packet: Extract<StartupPacket, { kind: 'cancel' }>): Promise<void> {
    try {
      const known = await this.#connections.cancelKeys.cancel(packet.processId, packet.secret);
      if (!known) this.#deps.log.debug('postgres: a cancel request with an unknown key');
    } finally {
      await finishStream(stream);
    }
  }
}

/**
 * @throws {NightlatchError} `protocol` for what cannot be a startup packet, after which the connection is closed without an answer, as
 * PostgreSQL does it; {DecodeError} for a startup packet that is not in order.
 */
async function readStartup(reader: DbReader, read: Buffer): Promise<StartupPacket> {
  const header = Buffer.concat([read, await reader.read(4 - read.length)]);
  let length: number;
  try {
    length = decodeStartupLength(header);
  } catch (error) {
    throw new NightlatchError('protocol', errorMessage(error), { cause: error });
  }
  return decodeStartup(await reader.read(length));
}

function ignore(): void {
  // 'close' follows every error.
}
