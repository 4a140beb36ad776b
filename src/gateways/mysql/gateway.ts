import type net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { DecodeError, errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { RefusedLogin } from '../../identity/refused-logins.ts';
import type { CertAuthority, Identity } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import { CAPABILITY } from '../../wire/mysql/capabilities.ts';
import {
  type ClientResponse,
  decodeHandshakeResponse,
  encodeAuthSwitch,
  encodeHandshakeV10,
  isSslRequest,
} from '../../wire/mysql/handshake.ts';
import { encodePacket } from '../../wire/mysql/packets.ts';
import { DbAdmission, type PendingConnection } from '../common/db-admission.ts';
import { DbClientTls, type TlsProvider } from '../common/db-client-tls.ts';
import { DbReader } from '../common/db-reader.ts';
import { DbUpstreamTls } from '../common/db-upstream.ts';
import type { FastPathSearch } from '../common/fast-path-search.ts';
import { type ConnectionDeps, MysqlConnection } from './connection.ts';
import { ERROR, errorOfFailure } from './error-codes.ts';
import { type Announcement, KnownServers } from './known-servers.ts';
import { makeSalt, readPacket, refuse } from './packet-io.ts';
import { ThreadIds } from './thread-ids.ts';

/** Bytes kept unread before the login is done: a handshake response, and what an eager client sends behind it. */
const MAX_UNREAD = 128 * 1024;
/** Asked of every client, since every client has it; the certificate is what counts. */
const CLIENT_PLUGIN = 'mysql_native_password';
/** Plugins whose first answer is their last, or (caching_sha2_password) for which the gateway knows how to go on. */
const EASY_PLUGINS = new Set(['', CLIENT_PLUGIN, 'caching_sha2_password', 'sha256_password', 'mysql_clear_password']);

const DEFAULT_LIMITS: LoginLimits = { maxPending: 512, timeoutMs: 10_000 };

/** Bounds before anybody has signed in. */
interface LoginLimits {
  /** Connections that have not signed in yet; above it the oldest gives way. */
  readonly maxPending: number;
  /** Milliseconds from the connection to the end of the handshake. */
  readonly timeoutMs: number;
}

export interface MysqlGatewayDeps {
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

export interface MysqlGateway {
  /** A TCP connection of the native listener; the client must go on with TLS and a client certificate. */
  accept(socket: net.Socket, info: { clientAddr: string }): void;
  /** A stream of the public port whose TLS is done and whose client is known. */
  acceptTunnel(stream: Duplex, info: { clientAddr: string; identity: Identity }): void;
  /** Ends the connections that have no session yet; sessions are ended by their manager. */
  close(): void;
}

/** Builds the gateway for MySQL and MariaDB: protocol 10, for every client since MySQL 5.5 and MariaDB 10. */
export function createMysqlGateway(deps: MysqlGatewayDeps): MysqlGateway {
  return new Gateway(deps);
}

/** A connection in its handshake. */
interface Incoming {
  readonly clientAddr: string;
  readonly pending: PendingConnection;
  readonly threadId: number;
  readonly announced: Announcement;
}

class Gateway implements MysqlGateway {
  readonly #deps: MysqlGatewayDeps;
  readonly #connections: ConnectionDeps;
  readonly #admission: DbAdmission;
  readonly #tls: DbClientTls;

  constructor(deps: MysqlGatewayDeps) {
    this.#deps = deps;
    const { clock, log, sessions, policy, ca } = deps;
    this.#connections = {
      clock,
      log,
      sessions,
      policy,
      upstreamTls: new DbUpstreamTls(ca, clock),
      threadIds: new ThreadIds(),
      knownServers: new KnownServers(),
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
      protocol: 'mysql',
      handshakeTimeoutMs: limits.timeoutMs,
    });
  }

  accept(socket: net.Socket, { clientAddr }: { clientAddr: string }): void {
    socket.setNoDelay(true);
    const incoming = this.#enter(socket, clientAddr, this.#connections.knownServers.announce());
    this.#plain(socket, incoming).catch((error: unknown) => this.#dropped(socket, incoming, error));
  }

  acceptTunnel(stream: Duplex, { clientAddr, identity }: { clientAddr: string; identity: Identity }): void {
    const { knownServers } = this.#connections;
    const announced =
      identity.route?.kind === 'db' ? knownServers.announceFor(identity.route.name) : knownServers.announce();
    const incoming = this.#enter(stream, clientAddr, announced);
    this.#tunnelled(stream, incoming, identity).catch((error: unknown) => this.#dropped(stream, incoming, error));
  }

  close(): void {
    this.#tls.close();
    this.#admission.close();
  }

  #enter(stream: Duplex, clientAddr: string, announced: Announcement): Incoming {
    stream.on('error', ignore);
    const { threadIds } = this.#connections;
    const threadId = threadIds.reserve();
    const pending = this.#admission.enter((why) => {
      this.#deps.log.debug('mysql: a connection did not sign in', { client: clientAddr, why });
      stream.destroy();
    });
    stream.once('close', () => {
      pending.done();
      threadIds.release(threadId);
    });
    return { clientAddr, pending, threadId, announced };
  }

  #dropped(stream: Duplex, { clientAddr }: Incoming, error: unknown): void {
    this.#deps.log.debug('mysql: a connection ended before its login', {
      client: clientAddr,
      error: errorMessage(error),
    });
    if (error instanceof DecodeError && !stream.destroyed) void refuse(stream, 2, errorOfFailure(error));
    else stream.destroy();
  }

  /** The greeting, in plain text, and the client's request for TLS. */
  async #plain(socket: net.Socket, incoming: Incoming): Promise<void> {
    this.#greet(socket, incoming, true);
    const reader = new DbReader(socket, MAX_UNREAD);
    const { payload, sequence } = await readPacket(reader, 1);
    const rest = reader.detach();
    if (!isSslRequest(payload)) {
      await refuse(socket, sequence + 1, {
        ...ERROR.secureTransportRequired,
        text: 'TLS with a client certificate is required: sign in with "tsh db login", and connect with ssl-cert and ssl-key',
      });
      return;
    }
    // The ClientHello often comes in one segment with the request. It is part of the encrypted stream: TLS itself rejects anything else there.
    if (rest.length > 0) socket.unshift(rest);
    this.#tls.start(socket, (stream) => {
      this.#login(stream, incoming, 2, () => this.#tls.identityOf(stream, incoming.clientAddr)).catch(
        (error: unknown) => this.#dropped(stream, incoming, error),
      );
    });
  }

  async #tunnelled(stream: Duplex, incoming: Incoming, identity: Identity): Promise<void> {
    this.#greet(stream, incoming, false);
    await this.#login(stream, incoming, 1, () => identity);
  }

  #greet(stream: Duplex, { threadId, announced }: Incoming, offersTls: boolean): void {
    const { serverVersion, capabilities } = announced;
    stream.write(
      encodePacket(
        0,
        encodeHandshakeV10({
          serverVersion,
          threadId,
          salt: makeSalt(),
          capabilities: offersTls ? capabilities | CAPABILITY.tls : capabilities,
          plugin: CLIENT_PLUGIN,
        }),
      ),
    );
  }

  /** The handshake response of a client whose identity is known or can be. */
  async #login(
    stream: Duplex,
    incoming: Incoming,
    due: number,
    identityOf: () => Identity | Promise<Identity>,
  ): Promise<void> {
    const { clientAddr, pending, threadId, announced } = incoming;
    const reader = new DbReader(stream, MAX_UNREAD);
    let { payload, sequence } = await readPacket(reader, due);
    let response: ClientResponse = decodeHandshakeResponse(payload);
    let identity: Identity;
    try {
      identity = await identityOf();
    } catch (error) {
      reader.detach();
      await refuse(stream, sequence + 1, errorOfFailure(error));
      return;
    }
    if (!EASY_PLUGINS.has(response.plugin)) {
      stream.write(encodePacket(sequence + 1, encodeAuthSwitch(CLIENT_PLUGIN, makeSalt())));
      ({ payload, sequence } = await readPacket(reader, sequence + 2));
      response = { ...response, plugin: CLIENT_PLUGIN, authData: payload };
    }
    const connection = new MysqlConnection(this.#connections, {
      stream,
      reader,
      clientAddr,
      identity,
      response,
      offered: announced.capabilities,
      sequence,
      threadId,
    });
    await connection.run(() => pending.done());
  }
}

function ignore(): void {
  // 'close' follows every error.
}
