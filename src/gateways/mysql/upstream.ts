import type { Duplex } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';
import type { Database } from '../../resources/index.ts';
import { MysqlAuthenticator } from '../../wire/mysql/authenticator.ts';
import { CAPABILITY, FORMAT_CAPABILITIES } from '../../wire/mysql/capabilities.ts';
import { COMMAND } from '../../wire/mysql/commands.ts';
import {
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeSslRequest,
  type ServerGreeting,
} from '../../wire/mysql/handshake.ts';
import { decodeError, encodePacket, MARK } from '../../wire/mysql/packets.ts';
import { DbReader } from '../common/db-reader.ts';
import { connectTcp, type DbUpstreamTls, databaseAddress, databasePassword } from '../common/db-upstream.ts';
import { readPacket } from './packet-io.ts';

/** Bytes that a server may send before it is told to go on. */
const MAX_UNREAD = 256 * 1024;
/** Packets of one authentication; the longest takes five. */
const MAX_AUTH_ROUNDS = 12;

/** The database refused the login in its own words, which the client is given as they came. */
export class UpstreamRefusal extends NightlatchError {
  readonly errorPayload: Buffer;

  constructor(errorPayload: Buffer) {
    const { code, message } = decodeError(errorPayload);
    super('unavailable', `the database refused the login: ${message} (${code})`);
    this.errorPayload = errorPayload;
  }
}

/** What the client has settled, and what the login at the server takes over from it. */
export interface LoginWishes {
  readonly user: string;
  /** '' for none. */
  readonly dbName: string;
  /** Capabilities that the client and the gateway have in common. */
  readonly capabilities: number;
  readonly maxPacket: number;
  readonly charset: number;
  readonly attributes: Buffer;
}

/** A server connection that is ready for commands. */
export interface UpstreamLogin {
  readonly stream: Duplex;
  /** Payload of the server's OK packet. */
  readonly okPayload: Buffer;
  readonly threadId: number;
  readonly serverVersion: string;
  readonly capabilities: number;
  /** What came behind it. */
  readonly early: Buffer;
}

/** Flags for the server: the client's, less those that were settled with the gateway alone. */
function serverFlags(wishes: LoginWishes, server: ServerGreeting): number {
  const settledHere =
    CAPABILITY.tls | CAPABILITY.connectWithDb | CAPABILITY.connectAttributes | CAPABILITY.pluginAuthLenenc;
  let flags = wishes.capabilities & ~settledHere;
  flags |= CAPABILITY.protocol41 | CAPABILITY.secureConnection | CAPABILITY.pluginAuth | CAPABILITY.longPassword;
  if (wishes.dbName !== '') flags |= CAPABILITY.connectWithDb;
  if (wishes.attributes.length > 0) flags |= CAPABILITY.connectAttributes & server.capabilities;
  flags |= CAPABILITY.pluginAuthLenenc & server.capabilities;
  const missing = flags & FORMAT_CAPABILITIES & ~server.capabilities;
  if (missing !== 0)
    throw new NightlatchError(
      'unavailable',
      `the database (${server.serverVersion}) lacks what the client was offered (${missing.toString(16)}): connect again`,
    );
  return flags >>> 0;
}

/**
 * Connects to the database and signs in: by the gateway's certificate, or by the password of the resource.
 * @throws {UpstreamRefusal} with the server's own error; {NightlatchError} for everything else; {DecodeError} for garbage.
 */
export async function loginUpstream(options: {
  database: Database;
  wishes: LoginWishes;
  tls: DbUpstreamTls;
  signal: AbortSignal;
  /** Called when the server has said what it is, before anything can fail for it. */
  greeted?: (greeting: ServerGreeting) => void;
}): Promise<UpstreamLogin> {
  const { database, wishes, signal } = options;
  const password = await databasePassword(database);
  const socket = await connectTcp(databaseAddress(database), signal);
  let stream: Duplex = socket;
  let reader = new DbReader(socket, MAX_UNREAD);
  const onAbort = (): void => {
    stream.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const first = await readPacket(reader);
    if (first.payload[0] === MARK.err) throw new UpstreamRefusal(first.payload);
    const server = decodeHandshakeV10(first.payload);
    options.greeted?.(server);
    const flags = serverFlags(wishes, server);
    const { maxPacket, charset } = wishes;
    let sequence = first.sequence + 1;
    const { mode } = database.spec.tls;
    if (mode !== 'disable') {
      if ((server.capabilities & CAPABILITY.tls) === 0)
        throw new NightlatchError(
          'unavailable',
          'the database does not offer TLS (tls.mode disable allows to go on without)',
        );
      // Bytes behind the greeting would be taken for part of the encrypted stream.
      if (reader.detach().length > 0) throw new NightlatchError('protocol', 'the database sent bytes ahead of TLS');
      socket.write(encodePacket(sequence++, encodeSslRequest(flags, maxPacket, charset)));
      stream = await options.tls.connect(socket, database, wishes.user, { signal });
      reader = new DbReader(stream, MAX_UNREAD);
    }
    const authenticator = new MysqlAuthenticator(wishes.user, password, {
      encrypted: mode !== 'disable',
      verified: mode === 'verify-full' || mode === 'verify-ca',
    });
    const { plugin, authData } = authenticator.first(server.plugin, server.salt);
    stream.write(
      encodePacket(
        sequence,
        encodeHandshakeResponse({
          capabilities: mode === 'disable' ? flags : flags | CAPABILITY.tls,
          maxPacket,
          charset,
          user: wishes.user,
          authData,
          database: wishes.dbName,
          plugin,
          attributes: wishes.attributes,
        }),
      ),
    );
    const okPayload = await authenticate(stream, reader, authenticator);
    const { threadId, serverVersion, capabilities } = server;
    return { stream, okPayload, threadId, serverVersion, capabilities, early: reader.detach() };
  } catch (error) {
    stream.on('error', () => undefined);
    reader.detach();
    stream.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function authenticate(stream: Duplex, reader: DbReader, authenticator: MysqlAuthenticator): Promise<Buffer> {
  for (let round = 0; round < MAX_AUTH_ROUNDS; round++) {
    const packet = await readPacket(reader);
    const step = authenticator.answer(packet.payload);
    switch (step.kind) {
      case 'ok':
        return step.payload;
      case 'error':
        throw new UpstreamRefusal(step.payload);
      case 'send':
        stream.write(encodePacket(packet.sequence + 1, step.payload));
        break;
      case 'wait':
        break;
    }
  }
  throw new NightlatchError('protocol', 'the database does not come to the end of its authentication');
}

/**
 * Ends a connection of the same user at the server: a connection of its own with `KILL` as its only statement. A server notices only when it sends
 * something that a client has gone, and until then a statement runs on.
 */
export async function killUpstream(options: {
  database: Database;
  user: string;
  threadId: number;
  tls: DbUpstreamTls;
  signal: AbortSignal;
}): Promise<void> {
  const { database, user, threadId, tls, signal } = options;
  const login = await loginUpstream({
    database,
    wishes: {
      user,
      dbName: '',
      capabilities: CAPABILITY.protocol41 | CAPABILITY.transactions,
      maxPacket: 0xff_ffff,
      charset: 45,
      attributes: Buffer.alloc(0),
    },
    tls,
    signal,
  });
  const { stream } = login;
  const onAbort = (): void => {
    stream.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  stream.on('error', () => undefined);
  const reader = new DbReader(stream, MAX_UNREAD);
  try {
    stream.write(encodePacket(0, Buffer.concat([Buffer.from([COMMAND.query]), Buffer.from(`KILL ${threadId}`)])));
    const { payload } = await readPacket(reader);
    if (payload[0] === MARK.err) throw new NightlatchError('unavailable', decodeError(payload).message);
  } finally {
    signal.removeEventListener('abort', onAbort);
    reader.detach();
    stream.end(encodePacket(0, Buffer.from([COMMAND.quit])), () => stream.destroy());
  }
}
