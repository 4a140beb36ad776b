import { DecodeError } from '../../core/errors.ts';

/** Longest startup packet that is read, in bytes (MAX_STARTUP_PACKET_LENGTH of PostgreSQL's pqcomm.h). */
export const MAX_STARTUP_LENGTH = 10_000;

const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;

/** First byte of a TLS record that carries a handshake: what a client with `sslnegotiation=direct` begins with. */
export const TLS_HANDSHAKE_BYTE = 0x16;
/** The ALPN name that direct TLS must carry (protocol documentation, "SSL Session Encryption"). */
export const ALPN_POSTGRESQL = 'postgresql';
/** The server's one-byte answers to SSLRequest and GSSENCRequest. */
export const ANSWER_YES = Buffer.from('S');
export const ANSWER_NO = Buffer.from('N');

/** `major << 16 | minor`. */
export const PROTOCOL_3_0 = 0x30000;
export const PROTOCOL_3_2 = 0x30002;

/** What a client may send before anything else (protocol documentation, "Message Formats"). */
export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secret: Buffer }
  | { readonly kind: 'startup'; readonly protocol: number; readonly parameters: ReadonlyMap<string, string> };

/**
 * The body length of a startup packet, from its first four bytes.
 * @throws {DecodeError} for a length that no startup packet has.
 */
export function decodeStartupLength(header: Buffer): number {
  const length = header.readUInt32BE(0);
  if (length < 8 || length > MAX_STARTUP_LENGTH) throw new DecodeError(`startup packet of ${length} bytes`);
  return length - 4;
}

/**
 * Decodes a startup packet's body (what follows its length).
 * @throws {DecodeError}
 */
export function decodeStartup(body: Buffer): StartupPacket {
  if (body.length < 4) throw new DecodeError('startup packet too short');
  const code = body.readUInt32BE(0);
  switch (code) {
    case SSL_REQUEST:
    case GSSENC_REQUEST:
      if (body.length !== 4) throw new DecodeError('encryption request of the wrong length');
      return { kind: code === SSL_REQUEST ? 'ssl' : 'gssenc' };
    case CANCEL_REQUEST:
      // Protocol 3.2: the secret key has up to 256 bytes; before, exactly 4.
      if (body.length < 12 || body.length > 8 + 256) throw new DecodeError('cancel request of the wrong length');
      return { kind: 'cancel', processId: body.readUInt32BE(4), secret: Buffer.from(body.subarray(8)) };
    default:
      return { kind: 'startup', protocol: code, parameters: decodeParameters(body) };
  }
}

function decodeParameters(body: Buffer): Map<string, string> {
  const parameters = new Map<string, string>();
  if (body[body.length - 1] !== 0) throw new DecodeError('startup packet without its final zero byte');
  let at = 4;
  const next = (): string => {
    const end = body.indexOf(0, at);
    if (end < 0) throw new DecodeError('startup parameter without its zero byte');
    const text = body.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  while (at < body.length - 1) {
    const name = next();
    if (name === '') throw new DecodeError('startup parameter without a name');
    if (at >= body.length) throw new DecodeError('startup parameter without a value');
    parameters.set(name, next());
  }
  if (at !== body.length - 1) throw new DecodeError('startup packet with bytes behind its end');
  return parameters;
}

function withLength(body: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(body.length + 4);
  packet.writeUInt32BE(body.length + 4, 0);
  body.copy(packet, 4);
  return packet;
}

/** StartupMessage. */
export function encodeStartup(protocol: number, parameters: ReadonlyMap<string, string>): Buffer {
  const text = [...parameters].map(([name, value]) => `${name}\0${value}\0`).join('');
  const body = Buffer.alloc(4 + Buffer.byteLength(text) + 1);
  body.writeUInt32BE(protocol, 0);
  body.write(text, 4);
  return withLength(body);
}

/** SSLRequest. */
export function encodeSslRequest(): Buffer {
  const body = Buffer.alloc(4);
  body.writeUInt32BE(SSL_REQUEST, 0);
  return withLength(body);
}

/** CancelRequest. `secret` is the key as BackendKeyData gave it. */
export function encodeCancelRequest(processId: number, secret: Buffer): Buffer {
  const body = Buffer.alloc(8 + secret.length);
  body.writeUInt32BE(CANCEL_REQUEST, 0);
  body.writeUInt32BE(processId, 4);
  secret.copy(body, 8);
  return withLength(body);
}
