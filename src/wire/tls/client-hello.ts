import { DecodeError } from '../../core/errors.ts';

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const EXTENSION = { serverName: 0, alpn: 16, supportedVersions: 43 } as const;
const TLS_1_3 = 0x0304;
const RECORD_HEADER_BYTES = 5;
/** Longest content of a record (RFC 8446 section 5.1). */
const MAX_RECORD_CONTENT = 16_384;
/** A ClientHello with several post-quantum key shares has 2 to 4 kB. */
const MAX_CLIENT_HELLO = 32_768;
/** Records that a ClientHello is spread over, at most. One is the rule. */
const MAX_RECORDS = 8;

/** What a client says of itself at the start of TLS, as far as it decides who serves it. */
export interface ClientHello {
  readonly serverName: string | undefined;
  /** Protocols that the client would speak, in its order. */
  readonly alpn: readonly string[];
  /** The client offers TLS 1.3. */
  readonly offersTls13: boolean;
}

/**
 * Reads a ClientHello (RFC 8446 section 4.1.2) at the beginning of a connection; undefined while more bytes are needed.
 * @throws {DecodeError} where the bytes are no ClientHello, or one that is too long.
 */
export function decodeClientHello(bytes: Buffer): ClientHello | undefined {
  const message = handshakeMessage(bytes);
  if (message === undefined) return undefined;
  const fields = new Fields(message);
  // legacy_version and random.
  fields.skip(34);
  fields.vector(1);
  fields.vector(2);
  fields.vector(1);
  let serverName: string | undefined;
  let alpn: string[] = [];
  let offersTls13 = false;
  const extensions = new Fields(fields.left > 0 ? fields.vector(2) : Buffer.alloc(0));
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const extension = new Fields(extensions.vector(2));
    if (type === EXTENSION.serverName) serverName = serverNameOf(new Fields(extension.vector(2)));
    else if (type === EXTENSION.alpn) alpn = protocolNames(new Fields(extension.vector(2)));
    else if (type === EXTENSION.supportedVersions) offersTls13 = listsTls13(new Fields(extension.vector(1)));
  }
  return { serverName, alpn, offersTls13 };
}

/** The body of the first handshake message, which may be spread over several records. */
function handshakeMessage(bytes: Buffer): Buffer | undefined {
  let message: Buffer = Buffer.alloc(0);
  let records = 0;
  for (let at = 0; bytes.length - at >= RECORD_HEADER_BYTES; ) {
    records++;
    if (records > MAX_RECORDS) throw new DecodeError('a ClientHello in too many records');
    if (bytes[at] !== HANDSHAKE) throw new DecodeError('not a TLS handshake');
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD_CONTENT) throw new DecodeError('a TLS record of a wrong length');
    const start = at + RECORD_HEADER_BYTES;
    const content = bytes.subarray(start, start + length);
    message = message.length === 0 ? content : Buffer.concat([message, content]);
    if (message.length > 0 && message[0] !== CLIENT_HELLO) throw new DecodeError('not a ClientHello');
    if (message.length >= 4) {
      const needed = message.readUIntBE(1, 3);
      if (needed > MAX_CLIENT_HELLO) throw new DecodeError('too long a ClientHello');
      if (message.length >= 4 + needed) return message.subarray(4, 4 + needed);
    }
    if (content.length < length) return undefined;
    at = start + length;
  }
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) throw new DecodeError('not a TLS handshake');
  return undefined;
}

function serverNameOf(list: Fields): string | undefined {
  while (list.left > 0) {
    const type = list.number(1);
    const name = list.vector(2);
    // host_name (RFC 6066 section 3).
    if (type === 0) return name.toString('latin1');
  }
  return undefined;
}

function protocolNames(list: Fields): string[] {
  const names: string[] = [];
  while (list.left > 0) names.push(list.vector(1).toString('latin1'));
  return names;
}

function listsTls13(versions: Fields): boolean {
  let found = false;
  while (versions.left > 0) if (versions.number(2) === TLS_1_3) found = true;
  return found;
}

/** Numbers and vectors of TLS's presentation language (RFC 8446 section 3), one after the other. */
class Fields {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(length: number): void {
    if (this.left < length) throw new DecodeError('a ClientHello ends too early');
    this.#at += length;
  }

  number(length: number): number {
    const at = this.#at;
    this.skip(length);
    return this.#bytes.readUIntBE(at, length);
  }

  /** @param lengthBytes - size of the length that stands before the vector. */
  vector(lengthBytes: number): Buffer {
    const length = this.number(lengthBytes);
    const at = this.#at;
    this.skip(length);
    return this.#bytes.subarray(at, at + length);
  }
}
