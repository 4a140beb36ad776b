import { DecodeError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';
import { decodePixelFormat, type PixelFormat } from './pixel-format.ts';
import { encodeVncAuthResponse } from './vnc-auth.ts';

/**
 * Both sides of the RFB handshake (RFC 6143, 7.1 to 7.3) as generators without IO: they yield what they need next and get
 * the bytes they asked for. A gateway is a client towards the desktop and a server towards the browser.
 */
export type HandshakeStep =
  | { readonly kind: 'read'; readonly bytes: number }
  | { readonly kind: 'write'; readonly data: Buffer }
  /** Wrap the connection in TLS now (VeNCrypt). */
  | { readonly kind: 'tls' };

/** How the handshake went wrong: the server refused, or it offers nothing that may be used. */
export class RfbHandshakeError extends Error {
  readonly reason: 'authentication' | 'unsupported' | 'refused';

  constructor(reason: 'authentication' | 'unsupported' | 'refused', message: string) {
    super(message);
    this.name = 'RfbHandshakeError';
    this.reason = reason;
  }
}

/** What the desktop says of itself. */
export interface ServerInit {
  /** The whole message, to be passed on. */
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly name: string;
}

const SECURITY_NONE = 1;
const SECURITY_VNC = 2;
const SECURITY_VENCRYPT = 19;
const VENCRYPT_X509_NONE = 260;
const VENCRYPT_X509_VNC = 261;
const VENCRYPT_X509_PLAIN = 262;
const MAX_REASON_BYTES = 4096;
const MAX_NAME_BYTES = 64 * 1024;

const read = (bytes: number): HandshakeStep => ({ kind: 'read', bytes });
const write = (data: Buffer): HandshakeStep => ({ kind: 'write', data });

type Walk<T> = Generator<HandshakeStep, T, Buffer>;

export interface RfbClientOptions {
  readonly username: string;
  readonly password: Secret<string> | undefined;
  /** Whether the connection must be wrapped in TLS, by VeNCrypt. */
  readonly tls: boolean;
}

/** The client's side: towards the desktop. Ends behind ServerInit. @throws {RfbHandshakeError|DecodeError} */
export function* rfbClientHandshake(options: RfbClientOptions): Walk<ServerInit> {
  const version = parseVersion(yield read(12));
  yield write(Buffer.from(`RFB 003.00${version}\n`, 'latin1'));
  const type = yield* chooseSecurity(version, options);
  switch (type) {
    case SECURITY_NONE:
      break;
    case SECURITY_VNC:
      yield* vncAuth(options);
      break;
    default:
      yield* vencrypt(options);
  }
  // Before 3.8, security type None has no result.
  if (version === 8 || type !== SECURITY_NONE) yield* securityResult(version);
  // Always shared: nobody who connects throws others out.
  yield write(Buffer.from([1]));
  return yield* serverInit();
}

/** 3, 7 or 8: the highest minor version that both know. */
function parseVersion(bytes: Buffer): 3 | 7 | 8 {
  const match = /^RFB (\d{3})\.(\d{3})\n$/.exec(bytes.toString('latin1'));
  if (match === null) throw new DecodeError('not an RFB server');
  const major = Number(match[1]);
  const minor = Number(match[2]);
  if (major > 3) return 8;
  return minor >= 8 ? 8 : minor === 7 ? 7 : 3;
}

function* chooseSecurity(version: 3 | 7 | 8, options: RfbClientOptions): Walk<number> {
  let offered: number[];
  if (version === 3) {
    const type = (yield read(4)).readUInt32BE(0);
    if (type === 0) throw new RfbHandshakeError('refused', yield* reasonText());
    offered = [type];
  } else {
    const count = (yield read(1))[0]!;
    if (count === 0) throw new RfbHandshakeError('refused', yield* reasonText());
    offered = [...(yield read(count))];
  }
  const wanted = options.tls
    ? [SECURITY_VENCRYPT]
    : options.password === undefined
      ? [SECURITY_NONE]
      : [SECURITY_VNC, SECURITY_NONE];
  const type = wanted.find((candidate) => offered.includes(candidate));
  if (type === undefined) {
    const needsPassword = !options.tls && options.password === undefined && offered.includes(SECURITY_VNC);
    throw needsPassword
      ? new RfbHandshakeError('authentication', 'the desktop asks for a password')
      : new RfbHandshakeError('unsupported', `the desktop offers security types ${offered.join(', ')} only`);
  }
  if (version !== 3) yield write(Buffer.from([type]));
  return type;
}

function* vncAuth(options: RfbClientOptions): Walk<void> {
  const challenge = yield read(16);
  if (options.password === undefined) {
    throw new RfbHandshakeError('authentication', 'the desktop asks for a password');
  }
  yield write(encodeVncAuthResponse(challenge, options.password.reveal()));
}

/** VeNCrypt 0.2 with a certificate of the server (the community's specification, "VeNCrypt"). */
function* vencrypt(options: RfbClientOptions): Walk<void> {
  const version = yield read(2);
  if (version.readUInt16BE(0) < 2) throw new RfbHandshakeError('unsupported', 'the desktop speaks VeNCrypt 0.1 only');
  yield write(Buffer.from([0, 2]));
  if ((yield read(1))[0] !== 0) throw new RfbHandshakeError('refused', 'the desktop refuses VeNCrypt 0.2');
  const count = (yield read(1))[0]!;
  const list = yield read(4 * count);
  const offered = Array.from({ length: count }, (_, i) => list.readUInt32BE(4 * i));
  const wanted =
    options.password === undefined
      ? [VENCRYPT_X509_NONE]
      : [VENCRYPT_X509_PLAIN, VENCRYPT_X509_VNC, VENCRYPT_X509_NONE];
  const type = wanted.find((candidate) => offered.includes(candidate));
  if (type === undefined) {
    throw new RfbHandshakeError('unsupported', `the desktop offers VeNCrypt types ${offered.join(', ')} only`);
  }
  const choice = Buffer.alloc(4);
  choice.writeUInt32BE(type);
  yield write(choice);
  if ((yield read(1))[0] !== 1) throw new RfbHandshakeError('refused', 'the desktop cannot start TLS');
  yield { kind: 'tls' };
  if (type === VENCRYPT_X509_VNC) yield* vncAuth(options);
  if (type === VENCRYPT_X509_PLAIN) {
    const name = Buffer.from(options.username);
    const password = Buffer.from(options.password?.reveal() ?? '');
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(name.length, 0);
    lengths.writeUInt32BE(password.length, 4);
    yield write(Buffer.concat([lengths, name, password]));
  }
}

function* securityResult(version: 3 | 7 | 8): Walk<void> {
  if ((yield read(4)).readUInt32BE(0) === 0) return;
  const text = version === 8 ? yield* reasonText() : 'the desktop refuses the password';
  throw new RfbHandshakeError('authentication', text);
}

function* reasonText(): Walk<string> {
  const length = (yield read(4)).readUInt32BE(0);
  if (length > MAX_REASON_BYTES) throw new DecodeError(`RFB reason of ${length} bytes`);
  return (yield read(length)).toString('utf8');
}

function* serverInit(): Walk<ServerInit> {
  const head = Buffer.from(yield read(24));
  const length = head.readUInt32BE(20);
  if (length > MAX_NAME_BYTES) throw new DecodeError(`RFB desktop name of ${length} bytes`);
  const name = yield read(length);
  return {
    data: Buffer.concat([head, name]),
    width: head.readUInt16BE(0),
    height: head.readUInt16BE(2),
    format: decodePixelFormat(head, 4),
    name: name.toString('utf8'),
  };
}

/** The server's side: towards the browser, which has been authenticated before. Ends behind ClientInit. @throws {DecodeError} */
export function* rfbServerHandshake(): Walk<void> {
  yield write(Buffer.from('RFB 003.008\n', 'latin1'));
  const version = parseVersion(yield read(12));
  if (version !== 8) throw new DecodeError('the client does not speak RFB 3.8');
  yield write(Buffer.from([1, SECURITY_NONE]));
  if ((yield read(1))[0] !== SECURITY_NONE)
    throw new DecodeError('the client chose a security type that was not offered');
  yield write(Buffer.alloc(4));
  yield read(1);
}
