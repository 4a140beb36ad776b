import type { Identity } from '../../identity/types.ts';
import { checkDbAccess } from '../../policy/access.ts';
import type { PolicySnapshot } from '../../policy/snapshot.ts';
import { type Database, parseDuration } from '../../resources/index.ts';
import type { SessionProtocol, SessionSpec } from '../../session/types.ts';

/** What a client asks for: a database resource, and whom and what in it. */
export interface DbRequest {
  readonly protocol: Extract<SessionProtocol, 'postgres' | 'mysql' | 'redis'>;
  readonly database: Database;
  readonly dbUser: string;
  /** Database on the server; undefined where the protocol or the client names none. */
  readonly dbName: string | undefined;
  /** PostgreSQL's replication protocol. */
  readonly replication?: boolean;
  readonly clientAddr: string;
  readonly identity: Identity;
}

/** The session to open for a database connection; access is decided anew with every change of policy. */
export function databaseSession(request: DbRequest): SessionSpec {
  const { database, dbUser, dbName, identity } = request;
  const { name } = database.metadata;
  return {
    kind: 'db',
    protocol: request.protocol,
    user: identity.user,
    login: dbUser,
    target: {
      kind: 'db',
      name,
      displayName: name,
      addr: database.spec.uri,
      labels: database.metadata.labels ?? {},
    },
    clientAddr: request.clientAddr,
    certExpiresAtMs: identity.expiresAtMs,
    authorize: (snapshot) => {
      const current = snapshot.databases.get(name);
      if (current === undefined) return { allowed: false, reason: `database "${name}" is not registered any more` };
      return checkDbAccess(snapshot, {
        user: identity.user,
        database: current,
        dbUser,
        ...(dbName === undefined ? {} : { dbName }),
        replication: request.replication === true,
      });
    },
    auditFields: {
      db_service: name,
      db_protocol: request.protocol,
      db_uri: database.spec.uri,
      db_user: dbUser,
      ...(dbName === undefined ? {} : { db_name: dbName }),
      ...(request.replication === true ? { db_replication: true } : {}),
    },
  };
}

/** The shortest `database_idle_in_transaction_timeout` of the user's roles with the role that says so; 0 milliseconds where none does. */
export function idleInTransactionLimit(snapshot: PolicySnapshot, user: string): { timeoutMs: number; source: string } {
  let limit = { timeoutMs: 0, source: '' };
  for (const name of snapshot.users.get(user)?.spec.roles ?? []) {
    const text = snapshot.roles.get(name)?.spec.options.database_idle_in_transaction_timeout;
    const timeoutMs = text === undefined ? 0 : parseDuration(text);
    if (timeoutMs > 0 && (limit.timeoutMs === 0 || timeoutMs < limit.timeoutMs))
      limit = { timeoutMs, source: `role ${name}` };
  }
  return limit;
}
