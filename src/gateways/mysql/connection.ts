import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Identity } from '../../identity/types.ts';
import { checkDbAccess } from '../../policy/access.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { Database } from '../../resources/index.ts';
import type { Session, SessionControl, SessionEnd, SessionManager, SessionSpec } from '../../session/types.ts';
import { CAPABILITY, OFFERED_CAPABILITIES } from '../../wire/mysql/capabilities.ts';
import type { SentStatement } from '../../wire/mysql/client-tap.ts';
import type { ClientResponse } from '../../wire/mysql/handshake.ts';
import { encodeError, encodePacket } from '../../wire/mysql/packets.ts';
import { DbCommandRelay } from '../common/db-command-relay.ts';
import type { DbReader } from '../common/db-reader.ts';
import { databaseSession, idleInTransactionLimit } from '../common/db-target.ts';
import type { DbUpstreamTls } from '../common/db-upstream.ts';
import { deadline } from '../common/deadline.ts';
import type { FastPath } from '../common/fast-path.ts';
import { finishStream } from '../common/stream-relay.ts';
import { commandPolicy, FAST_AUTH_SUCCESS } from './command-policy.ts';
import { MysqlTaps } from './command-taps.ts';
import { errorOf, errorOfFailure, errorOfRefusal } from './error-codes.ts';
import type { KnownServers } from './known-servers.ts';
import { refuse } from './packet-io.ts';
import type { ThreadIds } from './thread-ids.ts';
import { killUpstream, loginUpstream, UpstreamRefusal } from './upstream.ts';

/** Longest wait for the database to be ready for commands. */
const UPSTREAM_LOGIN_MS = 30_000;
/** Longest wait for the database to end a connection. */
const KILL_MS = 10_000;

/** What every connection shares. */
export interface ConnectionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly upstreamTls: DbUpstreamTls;
  /** The faster way to move bytes, where this Node has it. */
  fastPath(): FastPath | undefined;
  readonly threadIds: ThreadIds;
  readonly knownServers: KnownServers;
}

/** A client that has proven who it is and said what it wants. */
export interface AuthenticatedClient {
  readonly stream: Duplex;
  readonly reader: DbReader;
  readonly clientAddr: string;
  readonly identity: Identity;
  readonly response: ClientResponse;
  /** Capabilities that the greeting offered. */
  readonly offered: number;
  /** Sequence number of the client's last packet. */
  readonly sequence: number;
  /** The thread id that the greeting named. */
  readonly threadId: number;
}

/** What a client asks for, checked against its certificate. */
interface Wanted {
  readonly database: Database;
  readonly dbUser: string;
  /** '' for none. */
  readonly dbName: string;
}

function wantedOf(client: AuthenticatedClient, policy: LivePolicy): Wanted {
  const { identity, response } = client;
  const { route } = identity;
  if (route?.kind !== 'db')
    throw new NightlatchError(
      'unauthenticated',
      'the certificate is for no database: use the one from "tsh db login NAME"',
    );
  const dbUser = response.user === '' ? (route.dbUser ?? '') : response.user;
  if (dbUser === '') throw new NightlatchError('unauthenticated', 'no database user was given');
  const dbName = response.database === '' ? (route.dbName ?? '') : response.database;
  if (route.dbUser !== undefined && route.dbUser !== dbUser)
    throw new NightlatchError(
      'unauthenticated',
      `the certificate is for database user "${route.dbUser}", not "${dbUser}"`,
    );
  if (route.dbName !== undefined && route.dbName !== dbName)
    throw new NightlatchError('unauthenticated', `the certificate is for database "${route.dbName}", not "${dbName}"`);
  const database = policy.current.databases.get(route.name);
  if (database === undefined || database.spec.protocol !== 'mysql')
    throw new NightlatchError('unauthenticated', `there is no MySQL or MariaDB database "${route.name}"`);
  return { database, dbUser, dbName };
}

/**
 * One client connection from its handshake response to its end: opens the session, signs in to the database, and hands over to the relay. It is the
 * session's `SessionControl` the whole time.
 */
export class MysqlConnection implements SessionControl {
  readonly #deps: ConnectionDeps;
  readonly #client: AuthenticatedClient;
  readonly #capabilities: number;
  readonly #aborted = new AbortController();
  #relay: DbCommandRelay | undefined;
  #session: Session | undefined;
  /** `db.session.start` is written, so `db.session.end` has to be. */
  #started = false;
  /** What the client is told when the database could not be had. */
  #refusal: Buffer | undefined;
  /** The database that the session works in; '' for none. */
  #dbName = '';

  constructor(deps: ConnectionDeps, client: AuthenticatedClient) {
    this.#deps = deps;
    this.#client = client;
    this.#capabilities = client.response.capabilities & client.offered & OFFERED_CAPABILITIES;
  }

  /** Runs until the session has begun or was refused; never rejects. `admitted` is called when the session is open. */
  async run(admitted: () => void): Promise<void> {
    const { stream, reader, sequence } = this.#client;
    try {
      const wanted = wantedOf(this.#client, this.#deps.policy);
      this.#dbName = wanted.dbName;
      const opened = await this.#deps.sessions.open(this.#spec(wanted), this);
      if (!opened.ok) {
        reader.detach();
        await refuse(stream, sequence + 1, { ...errorOfRefusal(opened.cause), text: opened.text });
        return;
      }
      this.#session = opened.session;
      admitted();
      await this.#begin(opened.session, wanted);
    } catch (error) {
      if (this.#session === undefined) {
        reader.detach();
        await refuse(stream, sequence + 1, errorOfFailure(error));
      } else await this.#failedLogin(this.#session, error);
    }
  }

  #spec({ database, dbUser, dbName }: Wanted): SessionSpec {
    const { identity, clientAddr } = this.#client;
    const request = { protocol: 'mysql', database, dbUser, clientAddr, identity } as const;
    return {
      ...databaseSession({ ...request, dbName: dbName === '' ? undefined : dbName }),
      // The session may have gone to another database since.
      authorize: (snapshot) =>
        databaseSession({ ...request, dbName: this.#dbName === '' ? undefined : this.#dbName }).authorize(snapshot),
    };
  }

  async #begin(session: Session, wanted: Wanted): Promise<void> {
    const { clock, log, upstreamTls, threadIds, knownServers } = this.#deps;
    const { stream, reader, response, identity, threadId } = this.#client;
    const { database, dbUser, dbName } = wanted;
    const databaseId = database.metadata.name;
    const onGone = (): void => {
      void session.end('client_closed');
    };
    stream.once('close', onGone);
    const limit = deadline(clock, UPSTREAM_LOGIN_MS, 'the database was not ready for commands', this.#aborted.signal);
    const upstream = await loginUpstream({
      database,
      wishes: {
        user: dbUser,
        dbName,
        capabilities: this.#capabilities,
        maxPacket: response.maxPacket,
        charset: response.charset,
        attributes: response.attributes,
      },
      tls: upstreamTls,
      signal: limit.signal,
      greeted: ({ serverVersion, capabilities }) =>
        knownServers.learn(databaseId, { version: serverVersion, capabilities }),
    }).finally(() => {
      limit.clear();
      stream.off('close', onGone);
    });
    if (this.#aborted.signal.aborted || stream.destroyed) {
      upstream.stream.on('error', () => undefined);
      upstream.stream.destroy();
      void session.end('client_closed');
      return;
    }
    threadIds.bind(threadId, { database: databaseId, user: identity.user, serverThreadId: upstream.threadId });
    const taps = new MysqlTaps(
      {
        decide: this.#commandPolicy(wanted),
        ...(database.spec.audit_queries ? { statement: (statement) => auditStatement(session, statement) } : {}),
      },
      { deprecateEof: (this.#capabilities & CAPABILITY.deprecateEof) !== 0 },
    );
    const relay = new DbCommandRelay({
      session,
      client: stream,
      server: upstream.stream,
      log,
      taps,
      fastPath: this.#deps.fastPath(),
      stopWork: () => this.#kill(wanted, upstream.threadId),
      idleInTransaction: () => idleInTransactionLimit(this.#deps.policy.current, identity.user),
    });
    this.#relay = relay;
    const early = reader.detach();
    session.audit(EVENTS.databaseSessionStart.event, EVENTS.databaseSessionStart.code, {
      success: true,
      ...session.spec.auditFields,
    });
    this.#started = true;
    session.ready();
    stream.write(this.#welcome(upstream.okPayload));
    relay.start(early, upstream.early);
  }

  /** The server's OK, behind the word that a caching_sha2_password client waits for when it has sent a password. */
  #welcome(okPayload: Buffer): Buffer {
    const { response, sequence } = this.#client;
    if (response.plugin !== 'caching_sha2_password' || response.authData.length <= 1)
      return encodePacket(sequence + 1, okPayload);
    return Buffer.concat([encodePacket(sequence + 1, FAST_AUTH_SUCCESS), encodePacket(sequence + 2, okPayload)]);
  }

  #commandPolicy({ database, dbUser }: Wanted): ReturnType<typeof commandPolicy> {
    const { policy, threadIds } = this.#deps;
    const { identity } = this.#client;
    const { user, route } = identity;
    const databaseId = database.metadata.name;
    const refuses = (demand: { dbName: string } | { replication: true }): string | undefined => {
      const snapshot = policy.current;
      const current = snapshot.databases.get(databaseId);
      if (current === undefined) return `database "${databaseId}" is not registered any more`;
      const access = checkDbAccess(snapshot, { user, database: current, dbUser, ...demand });
      return access.allowed ? undefined : access.reason;
    };
    return commandPolicy({
      user: dbUser,
      capabilities: this.#capabilities,
      refuseDatabase: (name) =>
        route?.dbName !== undefined && route.dbName !== name
          ? `the certificate is for database "${route.dbName}"`
          : refuses({ dbName: name }),
      databaseChosen: (name) => {
        this.#dbName = name;
      },
      refuseReplication: () => refuses({ replication: true }),
      serverThreadId: (id) => threadIds.serverThreadId(id, databaseId, user),
    });
  }

  async #kill({ database, dbUser }: Wanted, threadId: number): Promise<void> {
    const { clock, upstreamTls } = this.#deps;
    const limit = deadline(clock, KILL_MS, 'the database did not end the connection', new AbortController().signal);
    try {
      await killUpstream({ database, user: dbUser, threadId, tls: upstreamTls, signal: limit.signal });
    } finally {
      limit.clear();
    }
  }

  /** The database could not be reached or refused the login. */
  async #failedLogin(session: Session, error: unknown): Promise<void> {
    // The session is ending by itself, and has cut the login short.
    if (this.#aborted.signal.aborted) return;
    this.#deps.log.warn('mysql: the login at the database failed', {
      sid: session.id,
      database: session.spec.target.name,
      error: errorMessage(error),
    });
    const failure = errorOfFailure(error);
    const { event, code } = EVENTS.databaseSessionStartFailed;
    session.audit(event, code, { success: false, error: failure.text, ...session.spec.auditFields });
    this.#refusal =
      error instanceof UpstreamRefusal ? error.errorPayload : encodeError(failure.code, failure.sqlState, failure.text);
    await session.end('target_closed', failure.text);
  }

  /** SessionControl.warn: the protocol has no way to tell a client anything between its commands. */
  warn(): void {}

  /** SessionControl.warningCancelled */
  warningCancelled(): void {}

  /** SessionControl.policyChanged */
  policyChanged(): void {
    this.#relay?.policyChanged();
  }

  async close(end: SessionEnd): Promise<void> {
    const { stream, reader, sequence, threadId } = this.#client;
    this.#deps.threadIds.release(threadId);
    const session = this.#session;
    if (this.#started && session !== undefined) {
      const { event, code } = EVENTS.databaseSessionEnd;
      session.audit(event, code, { cause: end.cause, ...session.spec.auditFields });
    }
    if (this.#relay !== undefined) return this.#relay.close(end);
    this.#aborted.abort(new NightlatchError('cancelled', end.text));
    reader.detach();
    stream.on('error', () => undefined);
    stream.resume();
    const { code, sqlState } = errorOf(end.cause);
    const last = encodePacket(sequence + 1, this.#refusal ?? encodeError(code, sqlState, end.text));
    await finishStream(stream, end.tell ? last : undefined);
  }

  abort(): void {
    this.#aborted.abort(new NightlatchError('cancelled', 'the session was cut'));
    this.#relay?.abort();
    this.#client.stream.destroy();
  }
}

function auditStatement(session: Session, { text, truncated, parameterCount, statementId }: SentStatement): void {
  const { event, code } = EVENTS.databaseSessionQuery;
  session.audit(event, code, {
    db_query: text,
    ...(truncated ? { db_query_truncated: true } : {}),
    ...(parameterCount === undefined ? {} : { db_query_parameter_count: parameterCount }),
    ...(statementId === undefined ? {} : { db_statement_id: statementId }),
  });
}
