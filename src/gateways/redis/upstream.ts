import type { Duplex } from 'node:stream';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';
import type { Database } from '../../resources/index.ts';
import { encodeCommand } from '../../wire/redis/resp.ts';
import { DbReader } from '../common/db-reader.ts';
import { connectTcp, type DbUpstreamTls, databaseAddress, databasePassword } from '../common/db-upstream.ts';

/** Longest answer during the login, in bytes. */
const MAX_LINE = 1024;
const CR = 13;
const LF = 10;
/** The user that a connection has before it signs in. */
export const DEFAULT_USER = 'default';

/** A server connection that is ready for commands. */
export interface UpstreamLogin {
  readonly stream: Duplex;
  /** The commands that bring a fresh connection to the same state; each is answered `+OK`. */
  readonly commands: readonly Buffer[];
}

/** AUTH and SELECT, as far as they are needed. Without a password the user is one that goes by certificate (`nopass`). */
function loginCommands(user: string, password: Secret<string> | undefined, database: string): Buffer[] {
  const commands: Buffer[] = [];
  if (password !== undefined || user !== DEFAULT_USER)
    commands.push(encodeCommand('AUTH', user, password?.reveal() ?? ''));
  if (database !== '0') commands.push(encodeCommand('SELECT', database));
  return commands;
}

/**
 * Connects to the database, signs in and selects a database.
 * @throws {NightlatchError} `unauthenticated` with the server's own words, or for what else went wrong; {DecodeError} for garbage.
 */
export async function loginUpstream(options: {
  database: Database;
  user: string;
  /** Number of the database. */
  select: string;
  tls: DbUpstreamTls;
  signal: AbortSignal;
}): Promise<UpstreamLogin> {
  const { database, user, select, signal } = options;
  const password = await databasePassword(database);
  const socket = await connectTcp(databaseAddress(database), signal);
  // A Redis that checks certificates wants one from everybody, whether they have a password or not.
  const stream: Duplex =
    database.spec.tls.mode === 'disable'
      ? socket
      : await options.tls.connect(socket, database, user, { signal, alwaysCertificate: true });
  const reader = new DbReader(stream, MAX_LINE);
  const onAbort = (): void => {
    stream.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const commands = loginCommands(user, password, select);
    for (const command of commands) {
      stream.write(command);
      await expectOk(reader);
    }
    // A server that wants a password says so only when it is asked for something.
    stream.write(encodeCommand('PING'));
    const pong = await readLine(reader);
    if (/^-(?!NOPERM)/.test(pong)) throw refused(pong);
    if (reader.detach().length > 0) throw new DecodeError('more than was asked for');
    return { stream, commands };
  } catch (error) {
    stream.on('error', () => undefined);
    reader.detach();
    stream.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function readLine(reader: DbReader): Promise<string> {
  const bytes: number[] = [];
  while (bytes.length < MAX_LINE) {
    const byte = (await reader.read(1))[0]!;
    if (bytes.length === 0 && byte !== 0x2b && byte !== 0x2d) throw new DecodeError('the server does not speak RESP');
    if (byte === LF && bytes.at(-1) === CR) return Buffer.from(bytes.slice(0, -1)).toString('utf8');
    bytes.push(byte);
  }
  throw new DecodeError('an answer without end during the login');
}

async function expectOk(reader: DbReader): Promise<void> {
  const line = await readLine(reader);
  if (line.startsWith('-')) throw refused(line);
}

function refused(line: string): NightlatchError {
  return new NightlatchError('unauthenticated', `the database refused the login: ${line.slice(1)}`);
}
