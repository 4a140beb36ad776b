import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Identity } from '../../identity/types.ts';
import type { LivePolicy, PolicySnapshot } from '../../policy/snapshot.ts';
import type { Database } from '../../resources/index.ts';
import type { IdleWarning, Session, SessionControl, SessionEnd, SessionManager } from '../../session/types.ts';
import { encodeBackendKeyData, encodeFatal } from '../../wire/postgres/messages.ts';
import { PROTOCOL_3_2, type StartupPacket } from '../../wire/postgres/startup.ts';
import type { DbReader } from '../common/db-reader.ts';
import { databaseSession, idleInTransactionLimit } from '../common/db-target.ts';
import type { DbUpstreamTls } from '../common/db-upstream.ts';
import { deadline } from '../common/deadline.ts';
import type { FastPath } from '../common/fast-path.ts';
import { finishStream } from '../common/stream-relay.ts';
import type { CancelKeys } from './cancel-keys.ts';
import { RelaySession } from './relay-session.ts';
import { SQLSTATE, sqlstateOf, sqlstateOfError, sqlstateOfRefusal } from './sqlstate.ts';
import { type CancelKey, cancelUpstream, loginUpstream, UpstreamRefusal } from './upstream.ts';

/** Longest wait for the database to be ready for queries. */
const UPSTREAM_LOGIN_MS = 30_000;
/** Longest wait for the database to take a cancel request. */
const CANCEL_MS = 10_000;

/** What every connection shares. */
export interface ConnectionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly upstreamTls: DbUpstreamTls;
  readonly cancelKeys: CancelKeys;
  /** The relay's faster way, once it has passed its test. */
  fastPath(): FastPath | undefined;
}

/** A client that has proven who it is and said what it wants. */
export interface AuthenticatedClient {
  readonly stream: Duplex;
  readonly reader: DbReader;
  readonly clientAddr: string;
  readonly identity: Identity;
  readonly startup: Extract<StartupPacket, { kind: 'startup' }>;
}

/** What a startup message asks for, checked against the certificate. */
interface Wanted {
  readonly database: Database;
  readonly dbUser: string;
  readonly dbName: string;
  readonly replication: boolean;
}

/** Ends a connection that has no session with a FATAL that its user can read. */
export function refuse(stream: Duplex, sqlstate: string, text: string): Promise<void> {
  stream.on('error', () => undefined);
  stream.resume();
  return finishStream(stream, encodeFatal(sqlstate, text));
}

function wantedOf(client: AuthenticatedClient, policy: LivePolicy): Wanted {
  const { identity, startup } = client;
  const { route } = identity;
  if (route?.kind !== 'db')
    throw new NightlatchError(
      'unauthenticated',
      'the certificate is for no database: use the one from "tsh db login NAME"',
    );
  const dbUser = startup.parameters.get('user') ?? '';
  if (dbUser === '') throw new NightlatchError('protocol', 'no database user was given');
  const dbName = startup.parameters.get('database') || dbUser;
  if (route.dbUser !== undefined && route.dbUser !== dbUser)
    throw new NightlatchError(
      'unauthenticated',
      `the certificate is for database user "${route.dbUser}", not "${dbUser}"`,
    );
  if (route.dbName !== undefined && route.dbName !== dbName)
    throw new NightlatchError('unauthenticated', `the certificate is for database "${route.dbName}", not "${dbName}"`);
  const database = policy.current.databases.get(route.name);
  if (database === undefined || database.spec.protocol !== 'postgres')
    throw new NightlatchError('unauthenticated', `there is no PostgreSQL database "${route.name}"`);
  return { database, dbUser, dbName, replication: isReplication(startup.parameters.get('replication')) };
}

/** The values that mean no replication, as PostgreSQL's parse_bool takes them; everything else is a walsender's business. */
function isReplication(value: string | undefined): boolean {
  return value !== undefined && !/^(?:false|fals|fal|fa|f|no|n|off|of|0)$/i.test(value);
}

/**
 * One client connection from its startup message to its end: opens the session, signs in to the database, and hands over to the
 * relay. It is the session's `SessionControl` the whole time.
 */
export class PostgresConnection implements SessionControl {
  readonly #deps: ConnectionDeps;
  readonly #client: AuthenticatedClient;
  readonly #aborted = new AbortController();
  #relay: RelaySession | undefined;
  #session: Session | undefined;
  /** `db.session.start` is written, so `db.session.end` has to be. */
  #started = false;
  /** What the client is told when the database could not be had. */
  #refusal: Buffer | undefined;

  constructor(deps: ConnectionDeps, client: AuthenticatedClient) {
    this.#deps = deps;
    this.#client = client;
  }

  /** Runs until the session has begun or was refused; never rejects. `admitted` is called when the session is open. */
  async run(admitted: () => void): Promise<void> {
    const { stream, reader } = this.#client;
    try {
      const wanted = wantedOf(this.#client, this.#deps.policy);
      const opened = await this.#open(wanted);
      if (!opened.ok) {
        reader.detach();
        await refuse(stream, sqlstateOfRefusal(opened.cause), opened.text);
        return;
      }
      this.#session = opened.session;
      admitted();
      await this.#begin(opened.session, wanted);
    } catch (error) {
      if (this.#session === undefined) {
        reader.detach();
        await refuse(
          stream,
          error instanceof NightlatchError ? sqlstateOfError(error) : SQLSTATE.systemError,
          this.#textOf(error),
        );
      } else await this.#failedLogin(this.#session, error);
    }
  }

  #open(wanted: Wanted): ReturnType<SessionManager['open']> {
    const { identity, clientAddr, startup } = this.#client;
    const spec = databaseSession({ protocol: 'postgres', ...wanted, clientAddr, identity });
    const application = startup.parameters.get('application_name');
    return this.#deps.sessions.open(
      application === undefined
        ? spec
        : { ...spec, auditFields: { ...spec.auditFields, db_application_name: application.slice(0, 64) } },
      this,
    );
  }

  async #begin(session: Session, wanted: Wanted): Promise<void> {
    const { clock, log, upstreamTls, cancelKeys } = this.#deps;
    const { stream, reader, startup } = this.#client;
    const { database } = wanted;
    const onGone = (): void => {
      void session.end('client_closed');
    };
    stream.once('close', onGone);
    const limit = deadline(clock, UPSTREAM_LOGIN_MS, 'the database was not ready for queries', this.#aborted.signal);
    const upstream = await loginUpstream({
      database,
      protocol: startup.protocol,
      parameters: startup.parameters,
      tls: upstreamTls,
      signal: limit.signal,
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
    log.debug('postgres: signed in at the database', { sid: session.id, method: upstream.method });
    const cancel = (): Promise<void> => this.#cancel(wanted, upstream.key);
    const key = cancelKeys.issue(startup.protocol >= PROTOCOL_3_2 && !upstream.minorRefused, () => {
      session.activity('input');
      return cancel();
    });
    void session.ended.then(() => cancelKeys.revoke(key));
    const relay = new RelaySession({
      session,
      client: stream,
      server: upstream.stream,
      log,
      auditQueries: database.spec.audit_queries,
      replication: wanted.replication,
      fastPath: this.#deps.fastPath(),
      idleInTransaction: () => this.#idleInTransaction(),
      cancel,
    });
    this.#relay = relay;
    const early = reader.detach();
    session.audit(EVENTS.databaseSessionStart.event, EVENTS.databaseSessionStart.code, {
      success: true,
      ...session.spec.auditFields,
    });
    this.#started = true;
    session.ready();
    stream.write(
      Buffer.concat([upstream.greeting, encodeBackendKeyData(key.processId, key.secret), upstream.readyForQuery]),
    );
    relay.start(early, upstream.early);
  }

  /** The limit on a transaction left open. It is asked for at every statement of a transaction, and changes with the policy only. */
  #idleInTransaction(): { timeoutMs: number; source: string } {
    const { current } = this.#deps.policy;
    if (this.#transactionLimit?.snapshot !== current)
      this.#transactionLimit = {
        snapshot: current,
        limit: idleInTransactionLimit(current, this.#client.identity.user),
      };
    return this.#transactionLimit.limit;
  }
  #transactionLimit: { snapshot: PolicySnapshot; limit: { timeoutMs: number; source: string } } | undefined;

  async #cancel({ database, dbUser }: Wanted, key: CancelKey | undefined): Promise<void> {
    if (key === undefined) return;
    const { clock, upstreamTls } = this.#deps;
    const limit = deadline(
      clock,
      CANCEL_MS,
      'the database did not take the cancel request',
      new AbortController().signal,
    );
    try {
      await cancelUpstream(database, dbUser, key, upstreamTls, limit.signal);
    } finally {
      limit.clear();
    }
  }

  /** The database could not be reached or refused the login. */
  async #failedLogin(session: Session, error: unknown): Promise<void> {
    this.#deps.log.warn('postgres: the login at the database failed', {
      sid: session.id,
      database: session.spec.target.name,
      error: errorMessage(error),
    });
    const text = this.#textOf(error);
    const { event, code } = EVENTS.databaseSessionStartFailed;
    session.audit(event, code, { success: false, error: text, ...session.spec.auditFields });
    this.#refusal =
      error instanceof UpstreamRefusal
        ? error.errorResponse
        : encodeFatal(error instanceof NightlatchError ? sqlstateOfError(error) : SQLSTATE.systemError, text);
    await session.end('target_closed', text);
  }

  #textOf(error: unknown): string {
    return error instanceof NightlatchError ? error.message : 'internal error';
  }

  warn(warning: IdleWarning): void {
    this.#relay?.warn(warning);
  }

  warningCancelled(text: string): void {
    this.#relay?.warningCancelled(text);
  }

  policyChanged(): void {
    this.#relay?.policyChanged();
  }

  async close(end: SessionEnd): Promise<void> {
    const session = this.#session;
    if (this.#started && session !== undefined) {
      const { event, code } = EVENTS.databaseSessionEnd;
      session.audit(event, code, { cause: end.cause, ...session.spec.auditFields });
    }
    if (this.#relay !== undefined) return this.#relay.close(end);
    this.#aborted.abort(new NightlatchError('cancelled', end.text));
    const { stream, reader } = this.#client;
    reader.detach();
    stream.on('error', () => undefined);
    stream.resume();
    await finishStream(stream, end.tell ? (this.#refusal ?? encodeFatal(sqlstateOf(end.cause), end.text)) : undefined);
  }

  abort(): void {
    this.#aborted.abort(new NightlatchError('cancelled', 'the session was cut'));
    this.#relay?.abort();
    this.#client.stream.destroy();
  }
}
