import { createHash, randomBytes, type X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';
import type { Database } from '../../resources/index.ts';
import {
  AUTHENTICATION,
  BACKEND,
  decodeBodyLength,
  decodeServerError,
  encodePassword,
  encodeSaslInitial,
} from '../../wire/postgres/messages.ts';
import { md5Response, ScramClient } from '../../wire/postgres/scram.ts';
import { ALPN_POSTGRESQL, encodeCancelRequest, encodeSslRequest, encodeStartup } from '../../wire/postgres/startup.ts';
import { DbReader } from '../common/db-reader.ts';
import { connectTcp, type DbUpstreamTls, databaseAddress, databasePassword } from '../common/db-upstream.ts';
import { isSecure } from '../common/tls/tls-stream.ts';

/** Bounds of what a server may send before it is ready for queries, in bytes: one message, and what is kept unread. */
const MAX_LOGIN_MESSAGE = 64 * 1024;
const MAX_GREETING = 512 * 1024;

/** The database refused the login in its own words, which the client is given as they came. */
export class UpstreamRefusal extends NightlatchError {
  readonly errorResponse: Buffer;

  constructor(errorResponse: Buffer, message: string) {
    super('unavailable', message);
    this.errorResponse = errorResponse;
  }
}

/** The key that cancels what runs on a server connection. */
export interface CancelKey {
  readonly processId: number;
  readonly secret: Buffer;
}

/** A server connection that is ready for queries. */
export interface UpstreamLogin {
  readonly stream: Duplex;
  /** AuthenticationOk, parameters and notices, as they came, without BackendKeyData and the final ReadyForQuery. */
  readonly greeting: Buffer;
  readonly readyForQuery: Buffer;
  readonly key: CancelKey | undefined;
  /** The server speaks 3.0 though the client asked for more. */
  readonly minorRefused: boolean;
  /** How the gateway signed in: `certificate or trust`, `password`, or the SASL mechanism. */
  readonly method: string;
  /** What came behind ReadyForQuery. */
  readonly early: Buffer;
}

interface Message {
  readonly type: number;
  readonly body: Buffer;
  readonly raw: Buffer;
}

async function nextMessage(reader: DbReader): Promise<Message> {
  const header = await reader.read(5);
  const length = decodeBodyLength(header, MAX_LOGIN_MESSAGE);
  const body = length === 0 ? Buffer.alloc(0) : await reader.read(length);
  return { type: header[0]!, body, raw: Buffer.concat([header, body]) };
}

/**
 * Connects to the database, with TLS unless the resource says `disable`.
 * @throws {NightlatchError}
 */
async function connect(database: Database, dbUser: string, tls: DbUpstreamTls, signal: AbortSignal): Promise<Duplex> {
  const socket = await connectTcp(databaseAddress(database), signal);
  if (database.spec.tls.mode === 'disable') return socket;
  const reader = new DbReader(socket, 1024);
  try {
    socket.write(encodeSslRequest());
    const answer = (await untilAborted(reader.read(1), signal))[0];
    // Bytes behind the answer would be taken for part of the encrypted stream (CVE-2021-23222).
    if (reader.detach().length > 0) throw new NightlatchError('protocol', 'the database sent bytes ahead of TLS');
    if (answer !== 0x53)
      throw new NightlatchError(
        'unavailable',
        'the database does not offer TLS (tls.mode disable allows to go on without)',
      );
  } catch (error) {
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  }
  return tls.connect(socket, database, dbUser, { alpn: ALPN_POSTGRESQL, signal });
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * Signs in to a database as `parameters.user`: by the gateway's certificate, or by the password of the resource.
 * @throws {UpstreamRefusal} with the server's own error; {NightlatchError} for everything else; {DecodeError} for garbage.
 */
export async function loginUpstream(options: {
  database: Database;
  protocol: number;
  parameters: ReadonlyMap<string, string>;
  tls: DbUpstreamTls;
  signal: AbortSignal;
}): Promise<UpstreamLogin> {
  const { database, parameters, signal } = options;
  const user = parameters.get('user') ?? '';
  const password = await databasePassword(database);
  const stream = await connect(database, user, options.tls, signal);
  const reader = new DbReader(stream, MAX_GREETING);
  const onAbort = (): void => {
    stream.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    stream.write(encodeStartup(options.protocol, parameters));
    return await answerAuthentication(stream, reader, user, password);
  } catch (error) {
    stream.on('error', () => undefined);
    reader.detach();
    stream.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function answerAuthentication(
  stream: Duplex,
  reader: DbReader,
  user: string,
  password: Secret<string> | undefined,
): Promise<UpstreamLogin> {
  const greeting: Buffer[] = [];
  let size = 0;
  let key: CancelKey | undefined;
  let minorRefused = false;
  let scram: ScramClient | undefined;
  for (;;) {
    const message = await nextMessage(reader);
    size += message.raw.length;
    if (size > MAX_GREETING)
      throw new NightlatchError('limit_exceeded', 'the database sends without end during the login');
    switch (message.type) {
      case BACKEND.authentication: {
        const next = await authenticate(message, { stream, user, password, scram });
        if (next === 'ok') greeting.push(message.raw);
        else scram = next;
        break;
      }
      case BACKEND.errorResponse: {
        const { sqlstate, message: text } = decodeServerError(message.body);
        throw new UpstreamRefusal(message.raw, `the database refused the login: ${text} (${sqlstate})`);
      }
      case BACKEND.backendKeyData:
        if (message.body.length < 8) throw new DecodeError('BackendKeyData of the wrong length');
        key = { processId: message.body.readUInt32BE(0), secret: Buffer.from(message.body.subarray(4)) };
        break;
      case BACKEND.readyForQuery:
        return {
          stream,
          greeting: Buffer.concat(greeting),
          readyForQuery: message.raw,
          key,
          minorRefused,
          method: scram?.mechanism ?? (password === undefined ? 'certificate or trust' : 'password'),
          early: reader.detach(),
        };
      case BACKEND.negotiateProtocolVersion:
        if (message.body.length < 8) throw new DecodeError('NegotiateProtocolVersion of the wrong length');
        minorRefused = (message.body.readUInt32BE(0) & 0xffff) === 0;
        greeting.push(message.raw);
        break;
      case BACKEND.parameterStatus:
      case BACKEND.noticeResponse:
        greeting.push(message.raw);
        break;
      default:
        throw new DecodeError(`message of type ${message.type} during the login`);
    }
  }
}

async function authenticate(
  message: Message,
  login: { stream: Duplex; user: string; password: Secret<string> | undefined; scram: ScramClient | undefined },
): Promise<'ok' | ScramClient | undefined> {
  const { stream, user } = login;
  const { body } = message;
  if (body.length < 4) throw new DecodeError('Authentication of the wrong length');
  const request = body.readUInt32BE(0);
  if (request === AUTHENTICATION.ok) return 'ok';
  const password = login.password;
  if (password === undefined)
    throw new NightlatchError(
      'unauthenticated',
      `the database asks for a password for user "${user}", and the gateway signs in by certificate: does it trust the database CA (hostssl … cert)?`,
    );
  switch (request) {
    case AUTHENTICATION.cleartext:
      if (!isSecure(stream))
        throw new NightlatchError('unauthenticated', 'the database asks for a password in clear text without TLS');
      stream.write(encodePassword(Buffer.from(`${password.reveal()}\0`)));
      return undefined;
    case AUTHENTICATION.md5:
      if (body.length < 8) throw new DecodeError('AuthenticationMD5Password of the wrong length');
      stream.write(encodePassword(Buffer.from(`${md5Response(user, password, body.subarray(4, 8))}\0`)));
      return undefined;
    case AUTHENTICATION.sasl: {
      const mechanisms = body.toString('latin1', 4).split('\0').filter(Boolean);
      const scram = new ScramClient({
        password,
        mechanisms,
        channelBinding: endPointBinding(stream),
        nonce: randomBytes(18),
      });
      stream.write(encodeSaslInitial(scram.mechanism, scram.first()));
      return scram;
    }
    case AUTHENTICATION.saslContinue:
      if (login.scram === undefined) throw new DecodeError('SASL continues before it began');
      stream.write(encodePassword(await login.scram.final(body.toString('utf8', 4))));
      return login.scram;
    case AUTHENTICATION.saslFinal:
      if (login.scram === undefined) throw new DecodeError('SASL ends before it began');
      login.scram.verify(body.toString('utf8', 4));
      return login.scram;
    default:
      throw new NightlatchError(
        'unauthenticated',
        `the database asks for an authentication that is not supported (${request})`,
      );
  }
}

/** The `tls-server-end-point` channel binding (RFC 5929, section 4.1): the server's certificate, hashed as its signature is. */
function endPointBinding(stream: Duplex): Buffer | undefined {
  if (!isSecure(stream)) return undefined;
  const certificate = stream.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  const hash = signatureHash(certificate);
  return hash === undefined ? undefined : createHash(hash).update(certificate.raw).digest();
}

function signatureHash(certificate: X509Certificate): string | undefined {
  const algorithm = certificate.signatureAlgorithm?.toLowerCase() ?? '';
  const match = /(?:with-?)?(sha-?\d+|md5)/.exec(algorithm);
  if (match === null) return undefined;
  const hash = match[1]!.replace('-', '');
  return hash === 'md5' || hash === 'sha1' ? 'sha256' : hash;
}

/**
 * Asks the database to cancel what runs on a connection: a connection of its own that carries nothing else (protocol documentation,
 * "Canceling Requests in Progress"). Resolves when the server has closed it, which it does whether the key fits or not.
 */
export async function cancelUpstream(
  database: Database,
  dbUser: string,
  key: CancelKey,
  tls: DbUpstreamTls,
  signal: AbortSignal,
): Promise<void> {
  const stream = await connect(database, dbUser, tls, signal);
  const onAbort = (): void => {
    stream.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  await new Promise<void>((resolve) => {
    stream.on('error', () => undefined);
    stream.once('close', resolve);
    stream.resume();
    stream.end(encodeCancelRequest(key.processId, key.secret));
  });
  signal.removeEventListener('abort', onAbort);
}
