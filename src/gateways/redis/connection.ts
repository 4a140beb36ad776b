import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Identity } from '../../identity/types.ts';
import { checkDbAccess } from '../../policy/access.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { Database } from '../../resources/index.ts';
import type {
  IdleWarning,
  Session,
  SessionControl,
  SessionEnd,
  SessionManager,
  SessionSpec,
} from '../../session/types.ts';
import { encodeError, encodePushMessage } from '../../wire/redis/resp.ts';
import { DbCommandRelay } from '../common/db-command-relay.ts';
import { databaseSession } from '../common/db-target.ts';
import type { DbUpstreamTls } from '../common/db-upstream.ts';
import { deadline } from '../common/deadline.ts';
import type { FastPath } from '../common/fast-path.ts';
import { finishStream } from '../common/stream-relay.ts';
import { EarlyBytes } from './early-bytes.ts';
import { RedisTaps } from './redis-taps.ts';
import { type RequestRights, requestPolicy } from './request-policy.ts';
import { DEFAULT_USER, loginUpstream, type UpstreamLogin } from './upstream.ts';

/** Longest wait for the database to be ready for commands. */
const UPSTREAM_LOGIN_MS = 30_000;
/** The channel on which subscribers that speak RESP3 are told what the gateway has to say. */
const NOTICE_CHANNEL = 'nightlatch';

/** What every connection shares. */
export interface ConnectionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly upstreamTls: DbUpstreamTls;
  /** The faster way to move bytes, where this Node has it. */
  fastPath(): FastPath | undefined;
}

/** A client that has proven who it is. */
export interface AuthenticatedClient {
  readonly stream: Duplex;
  readonly clientAddr: string;
  readonly identity: Identity;
  /** The Redis user that its first command named. */
  readonly namedUser: string | undefined;
  /** What it has sent already. */
  readonly early: Buffer;
}

/** What a client asks for, checked against its certificate. */
interface Wanted {
  readonly database: Database;
  readonly dbUser: string;
  /** Number of the database to begin with, where the certificate names one. */
  readonly dbName: string | undefined;
}

/** Ends a connection that has no session with an error that its user can read. */
export function refuse(stream: Duplex, code: string, text: string): Promise<void> {
  stream.on('error', () => undefined);
  stream.resume();
  return finishStream(stream, encodeError(code, text));
}

function wantedOf({ identity, namedUser }: AuthenticatedClient, policy: LivePolicy): Wanted {
  const { route } = identity;
  if (route?.kind !== 'db')
    throw new NightlatchError(
      'unauthenticated',
      'the certificate is for no database: use the one from "tsh db login NAME"',
    );
  const dbUser = namedUser ?? route.dbUser ?? DEFAULT_USER;
  if (route.dbUser !== undefined && route.dbUser !== dbUser)
    throw new NightlatchError(
      'unauthenticated',
      `the certificate is for Redis user "${route.dbUser}", not "${dbUser}"`,
    );
  const dbName = route.dbName;
  if (dbName !== undefined && !/^(?:0|[1-9]\d{0,8})$/.test(dbName))
    throw new NightlatchError('bad_parameter', `the certificate names database "${dbName}": Redis has numbers`);
  const database = policy.current.databases.get(route.name);
  if (database === undefined || database.spec.protocol !== 'redis')
    throw new NightlatchError('unauthenticated', `there is no Redis database "${route.name}"`);
  return { database, dbUser, dbName };
}

/**
 * One client connection from its login to its end: opens the session, signs in to the database, and hands over to the relay. It is the session's
 * `SessionControl` the whole time.
 */
export class RedisConnection implements SessionControl {
  readonly #deps: ConnectionDeps;
  readonly #client: AuthenticatedClient;
  readonly #ahead: EarlyBytes;
  readonly #aborted = new AbortController();
  #relay: DbCommandRelay | undefined;
  #taps: RedisTaps | undefined;
  #session: Session | undefined;
  /** `db.session.start` is written, so `db.session.end` has to be. */
  #started = false;
  /** What the client is told when the database could not be had. */
  #refusal: Buffer | undefined;
  /** Number of the database that is selected; undefined while the one that Redis begins with is not allowed. */
  #selected: string | undefined;

  constructor(deps: ConnectionDeps, client: AuthenticatedClient) {
    this.#deps = deps;
    this.#client = client;
    this.#ahead = new EarlyBytes(client.stream);
  }

  /** Runs until the session has begun or was refused; never rejects. `admitted` is called when the session is open. */
  async run(admitted: () => void): Promise<void> {
    const { stream } = this.#client;
    try {
      const wanted = wantedOf(this.#client, this.#deps.policy);
      this.#selected = wanted.dbName ?? (this.#refuses(wanted, '0') === undefined ? '0' : undefined);
      const opened = await this.#deps.sessions.open(this.#spec(wanted), this);
      if (!opened.ok) {
        this.#ahead.detach();
        const denied = opened.cause === 'denied' || opened.cause === 'locked';
        await refuse(stream, denied ? 'NOPERM' : 'ERR', opened.text);
        return;
      }
      this.#session = opened.session;
      admitted();
      await this.#begin(opened.session, wanted);
    } catch (error) {
      if (this.#session === undefined) {
        this.#ahead.detach();
        await refuse(stream, ...failure(error));
      } else await this.#failedLogin(this.#session, error);
    }
  }

  #spec({ database, dbUser }: Wanted): SessionSpec {
    const { identity, clientAddr } = this.#client;
    const request = { protocol: 'redis', database, dbUser, clientAddr, identity } as const;
    return {
      ...databaseSession({ ...request, dbName: this.#selected }),
      // The session may have selected another database since.
      authorize: (snapshot) => databaseSession({ ...request, dbName: this.#selected }).authorize(snapshot),
    };
  }

  #refuses({ database, dbUser }: Wanted, number: string): string | undefined {
    const snapshot = this.#deps.policy.current;
    const { user, route } = this.#client.identity;
    if (route?.dbName !== undefined && route.dbName !== number)
      return `the certificate is for database ${route.dbName}`;
    const current = snapshot.databases.get(database.metadata.name);
    if (current === undefined) return `database "${database.metadata.name}" is not registered any more`;
    const access = checkDbAccess(snapshot, { user, database: current, dbUser, dbName: number });
    return access.allowed ? undefined : access.reason;
  }

  async #begin(session: Session, wanted: Wanted): Promise<void> {
    const { clock, log, upstreamTls } = this.#deps;
    const { stream, early } = this.#client;
    const { database, dbUser } = wanted;
    const onGone = (): void => {
      void session.end('client_closed');
    };
    stream.once('close', onGone);
    const limit = deadline(clock, UPSTREAM_LOGIN_MS, 'the database was not ready for commands', this.#aborted.signal);
    const initial = this.#selected;
    const upstream = await loginUpstream({
      database,
      user: dbUser,
      select: initial ?? '0',
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
    const taps = new RedisTaps({
      decide: requestPolicy(this.#rights(wanted, upstream, initial)),
      ...(database.spec.audit_queries
        ? {
            command: ({ text, truncated }) => {
              const { event, code } = EVENTS.databaseSessionQuery;
              session.audit(event, code, { db_query: text, ...(truncated ? { db_query_truncated: true } : {}) });
            },
          }
        : {}),
    });
    this.#taps = taps;
    const relay = new DbCommandRelay({
      session,
      client: stream,
      server: upstream.stream,
      log,
      taps,
      fastPath: this.#deps.fastPath(),
    });
    this.#relay = relay;
    const rest = this.#ahead.detach();
    session.audit(EVENTS.databaseSessionStart.event, EVENTS.databaseSessionStart.code, {
      success: true,
      ...session.spec.auditFields,
    });
    this.#started = true;
    session.ready();
    relay.start(Buffer.concat([early, rest]), Buffer.alloc(0));
  }

  #rights(wanted: Wanted, upstream: UpstreamLogin, initial: string | undefined): RequestRights {
    return {
      user: wanted.dbUser,
      refuseDatabase: (number) => this.#refuses(wanted, number),
      selected: () => this.#selected,
      databaseSelected: (number) => {
        this.#selected = number;
      },
      signInAgain: () => ({ commands: upstream.commands, selected: initial }),
      signedInAgain: () => this.#taps?.goOn(),
    };
  }

  /** The database could not be reached or refused the login. */
  async #failedLogin(session: Session, error: unknown): Promise<void> {
    // The session is ending by itself, and has cut the login short.
    if (this.#aborted.signal.aborted) return;
    this.#deps.log.warn('redis: the login at the database failed', {
      sid: session.id,
      database: session.spec.target.name,
      error: errorMessage(error),
    });
    const [code, text] = failure(error);
    const { event, code: eventCode } = EVENTS.databaseSessionStartFailed;
    session.audit(event, eventCode, { success: false, error: text, ...session.spec.auditFields });
    this.#refusal = encodeError(code, text);
    await session.end('target_closed', text);
  }

  /** SessionControl.warn: clients that do not listen would take a message for the answer to their next command. */
  warn(warning: IdleWarning): void {
    this.#tell(warning.text.replace('Press any key to keep it.', 'Any command keeps it.'));
  }

  /** SessionControl.warningCancelled */
  warningCancelled(text: string): void {
    this.#tell(text);
  }

  #tell(text: string): void {
    if (this.#taps?.listens === true) this.#relay?.tell(encodePushMessage(NOTICE_CHANNEL, text));
  }

  async close(end: SessionEnd): Promise<void> {
    const session = this.#session;
    if (this.#started && session !== undefined) {
      const { event, code } = EVENTS.databaseSessionEnd;
      session.audit(event, code, { cause: end.cause, ...session.spec.auditFields });
    }
    if (this.#relay !== undefined) return this.#relay.close(end);
    this.#aborted.abort(new NightlatchError('cancelled', end.text));
    const { stream } = this.#client;
    this.#ahead.detach();
    stream.on('error', () => undefined);
    stream.resume();
    await finishStream(stream, end.tell ? (this.#refusal ?? encodeError('ERR', end.text)) : undefined);
  }

  abort(): void {
    this.#aborted.abort(new NightlatchError('cancelled', 'the session was cut'));
    this.#relay?.abort();
    this.#client.stream.destroy();
  }
}

/** Redis' word for what went wrong before the session was usable, and the text for the user. */
export function failure(error: unknown): [code: string, text: string] {
  if (!(error instanceof NightlatchError)) return ['ERR', 'internal error'];
  return [error.code === 'unauthenticated' || error.code === 'access_denied' ? 'NOAUTH' : 'ERR', error.message];
}
