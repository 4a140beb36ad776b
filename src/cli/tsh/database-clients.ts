import { dirname } from 'node:path';
import type { DatabaseOptions, DatabaseProtocol } from './database.ts';
import { findProgram } from './run.ts';

/** A client program and how it is called. */
export interface ClientCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where the program comes from. */
  readonly hint: string;
}

/** Name of the socket that a client looks for in a folder. */
export const SOCKET_NAMES: Readonly<Record<DatabaseProtocol, string>> = {
  postgres: '.s.PGSQL.5432',
  mysql: 'mysql.sock',
  redis: 'redis.sock',
};

/** The client of a protocol, connected to a socket of `openLocalTunnel`. `more` are arguments of the user's own. */
export function clientCommand(
  protocol: DatabaseProtocol,
  socket: string,
  { dbUser, dbName }: DatabaseOptions,
  more: readonly string[],
): ClientCommand {
  switch (protocol) {
    case 'postgres':
      return {
        program: 'psql',
        args: [conninfo({ host: dirname(socket), port: '5432', user: dbUser, dbname: dbName }), ...more],
        env: {},
        hint: 'the package postgresql-client brings it',
      };
    case 'mysql': {
      const program = findProgram('mariadb') === undefined ? 'mysql' : 'mariadb';
      return {
        program,
        args: [
          `--socket=${socket}`,
          ...(dbUser === undefined ? [] : [`--user=${dbUser}`]),
          ...(dbName === undefined ? [] : [`--database=${dbName}`]),
          ...more,
        ],
        env: {},
        hint: 'the package mariadb-client brings it',
      };
    }
    case 'redis':
      return {
        program: 'redis-cli',
        args: ['-s', socket, ...(dbName === undefined ? [] : ['-n', dbName]), ...more],
        env: {},
        hint: 'the package redis-tools brings it',
      };
  }
}

/** A connection string of libpq (keyword = value): values in quotes, so that nothing in them is taken for a keyword. */
export function conninfo(values: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(values)
    .filter((entry): entry is [string, string] => entry[1] !== undefined)
    .map(([key, value]) => `${key}='${value.replace(/[\\']/g, (char) => `\\${char}`)}'`)
    .join(' ');
}
