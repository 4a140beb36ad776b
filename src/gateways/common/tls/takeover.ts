// Carries TLS 1.3 connections on without Node's TLS once it has made their handshake. Only documented interfaces are used: TLS over a stream of one's own,
// and the `keylog` event. Certificates, names and cipher suites stay entirely Node's affair.
import type net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { NightlatchError } from '../../../core/errors.ts';
import { CIPHER_SUITES, type CipherSuite } from '../../../wire/tls/key-schedule.ts';
import type { HandshakeWire, WireRemains } from './handshake-wire.ts';
import type { NativeRecords } from './native-records.ts';
import { RecordReader } from './record-reader.ts';
import { RECORD_HEADER_BYTES, TlsRecords } from './records.ts';
import { type HandshakeResult, type SecureStream, TlsStream } from './tls-stream.ts';

/**
 * Takes a connection over whose handshake has just been done (in the `secureConnection` or `secureConnect` event) over `wire`. Where it cannot be carried
 * on here (TLS 1.2, another cipher), the result is `secure` itself.
 * @throws {NightlatchError} when the connection is lost meanwhile.
 */
export async function takeOver(
  native: NativeRecords,
  secure: TLSSocket,
  wire: HandshakeWire,
  isServer: boolean,
): Promise<SecureStream> {
  wire.hold();
  const suite = CIPHER_SUITES.get(secure.getCipher().standardName ?? '');
  if (suite === undefined || secure.getProtocol() !== 'TLSv1.3') {
    wire.release();
    return withAddress(secure, wire.socket);
  }
  secure.on('error', ignore);
  const handshake = resultOf(secure);
  await wire.quiet();
  if (wire.destroyed) throw new NightlatchError('unavailable', 'the connection was closed behind its TLS handshake');
  const remains = wire.cut();
  secure.destroy();
  const { clientSecret, serverSecret, socket } = remains;
  if (clientSecret === undefined || serverSecret === undefined) {
    socket.destroy();
    throw new NightlatchError('internal', 'the keys of a TLS connection are not known');
  }
  const secrets = isServer
    ? { readSecret: clientSecret, writeSecret: serverSecret }
    : { readSecret: serverSecret, writeSecret: clientSecret };
  const written = isServer ? countTickets(native, suite, remains, serverSecret) : 0;
  if (written === undefined) {
    socket.destroy();
    throw new NightlatchError('internal', 'a TLS handshake left what cannot be accounted for');
  }
  const records = new TlsRecords({ native, suite, isServer, ...secrets, written });
  return new TlsStream(socket, records, handshake, remains.received);
}

/**
 * How many records the server has written under its traffic secret: the tickets behind the handshake. INVARIANT: no number of a record is used twice, so
 * they are opened to see that they are what they are taken for; undefined where they are not.
 */
function countTickets(
  native: NativeRecords,
  suite: CipherSuite,
  { written }: WireRemains,
  serverSecret: Buffer,
): number | undefined {
  let count = 0;
  for (let at = 0; at < written.length; count++) {
    if (written.length - at < RECORD_HEADER_BYTES) return undefined;
    at += RECORD_HEADER_BYTES + written.readUInt16BE(at + 3);
    if (at > written.length) return undefined;
  }
  // As the client will read them, which takes tickets and nothing else.
  const client = new TlsRecords({
    native,
    suite,
    isServer: false,
    readSecret: serverSecret,
    writeSecret: serverSecret,
    written: 0,
  });
  try {
    let content = 0;
    new RecordReader(client).feed(Buffer.from(written), written.length, (bytes) => {
      content += bytes.length;
    });
    return content === 0 && !client.ended ? count : undefined;
  } catch {
    return undefined;
  }
}

/** Node's TLS does not know whose connection it is when it is not on a socket itself. */
function withAddress(secure: TLSSocket, { remoteAddress, remotePort, localPort }: net.Socket): TLSSocket {
  return Object.defineProperties(secure, {
    remoteAddress: { value: remoteAddress },
    remotePort: { value: remotePort },
    localPort: { value: localPort },
  });
}

function resultOf(secure: TLSSocket): HandshakeResult {
  const certificate = secure.getPeerX509Certificate();
  return {
    certificate: certificate === undefined ? undefined : ownCopy(certificate.raw),
    authorized: secure.authorized,
    authorizationError: secure.authorizationError ?? undefined,
    alpnProtocol: secure.alpnProtocol,
    servername: (secure as TLSSocket & { servername?: string | false }).servername,
  };
}

/** A copy that is no part of anything larger, as a buffer from the pool would be. */
function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

function ignore(): void {
  // The connection is another's by then.
}
