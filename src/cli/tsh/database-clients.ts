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

/**
 * How MariaDB's and Oracle's clients are told not to ask for TLS on this computer, where their option files may. `mysql` is the latter's where
 * there is no `mariadb`.
 */
function withoutTls(program: string): string[] {
  return program === 'mariadb' ? ['--skip-ssl', '--skip-ssl-verify-server-cert'] : ['--loose-ssl-mode=DISABLED'];
}

function mysqlProgram(): string {
  return findProgram('mariadb') === undefined ? 'mysql' : 'mariadb';
}

function mysqlArguments(program: string, { dbUser, dbName }: DatabaseOptions): string[] {
  return [
    ...withoutTls(program),
    ...(dbUser === undefined ? [] : [`--user=${dbUser}`]),
    ...(dbName === undefined ? [] : [`--database=${dbName}`]),
  ];
}

/** The client of a protocol, connected to a socket of `openLocalTunnel`. `more` are arguments of the user's own. */
export function clientCommand(
  protocol: DatabaseProtocol,
  socket: string,
  options: DatabaseOptions,
  more: readonly string[],
): ClientCommand {
  const { dbUser, dbName } = options;
  switch (protocol) {
    case 'postgres':
      return {
        program: 'psql',
        // An empty hostaddr: the one of the environment would win over the socket.
        args: [conninfo({ host: dirname(socket), hostaddr: '', port: '5432', user: dbUser, dbname: dbName }), ...more],
        env: {},
        hint: 'the package postgresql-client brings it',
      };
    case 'mysql': {
      const program = mysqlProgram();
      // A host of the environment or of an option file would win over the socket.
      const where = ['--protocol=SOCKET', '--host=localhost', `--socket=${socket}`];
      return {
        program,
        args: [...where, ...mysqlArguments(program, options), ...more],
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

/** The command line of the same client for a port on this computer, without TLS. */
export function portCommand(protocol: DatabaseProtocol, port: number, options: DatabaseOptions): string[] {
  const { dbUser, dbName } = options;
  switch (protocol) {
    case 'postgres':
      return ['psql', conninfo({ host: '127.0.0.1', port: String(port), user: dbUser, dbname: dbName })];
    case 'mysql': {
      const program = mysqlProgram();
      return [program, '--host=127.0.0.1', `--port=${port}`, ...mysqlArguments(program, options)];
    }
    case 'redis':
      return ['redis-cli', '-p', String(port), ...(dbName === undefined ? [] : ['-n', dbName])];
  }
}

/** A connection string of libpq (keyword = value): values in quotes where they are more than a word, so that nothing in them is a keyword. */
export function conninfo(values: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(values)
    .filter((entry): entry is [string, string] => entry[1] !== undefined)
    .map(([key, value]) =>
      /^[\w.@/:-]+$/.test(value) ? `${key}=${value}` : `${key}='${value.replace(/[\\']/g, (char) => `\\${char}`)}'`,
    )
    .join(' ');
}
