import type net from 'node:net';
import tls from 'node:tls';
import { HandshakeWire } from './handshake-wire.ts';
import { type NativeRecords, nativeRecords } from './native-records.ts';
import { takeOver } from './takeover.ts';
import { type SecureStream, TlsStream } from './tls-stream.ts';

/**
 * The client's side of TLS on a connected socket that nobody has read from yet. What the certificate must be for is `servername`, or else `host`; without
 * either it is `localhost`. A handshake that fails closes the socket.
 * @param native - what protects the records; `null` leaves the connection to Node's TLS.
 * @throws the error of Node's TLS, or the signal's reason.
 */
export function connectTls(
  socket: net.Socket,
  options: tls.ConnectionOptions,
  signal: AbortSignal,
  native: NativeRecords | null = nativeRecords ?? null,
): Promise<SecureStream> {
  return new Promise((resolve, reject) => {
    socket.on('error', ignore);
    if (signal.aborted || socket.destroyed) {
      socket.destroy();
      reject(signal.aborted ? signal.reason : closed());
      return;
    }
    const wire = native === null ? undefined : new HandshakeWire(socket, Buffer.alloc(0));
    const secure = tls.connect({ ...options, socket: wire ?? socket });
    let over = false;
    const settle = (error?: Error): void => {
      over = true;
      signal.removeEventListener('abort', onAbort);
      socket.off('close', onClose);
      secure.off('secureConnect', onSecure);
      secure.off('error', fail);
      secure.on('error', ignore);
      if (error === undefined) return;
      secure.destroy();
      socket.destroy();
      reject(error);
    };
    const succeed = (stream: SecureStream): void => {
      if (over) {
        stream.destroy();
        return;
      }
      settle();
      resolve(stream);
    };
    const fail = (error: Error): void => {
      if (!over) settle(error);
    };
    const onSecure = (): void => {
      // From here on the end of the connection may be that of a conversation.
      socket.off('close', onClose);
      if (native === null || wire === undefined) succeed(secure);
      else takeOver(native, secure, wire, false).then(succeed, fail);
    };
    // An error that Node's TLS has to tell comes first.
    const onClose = (): void => void setImmediate(() => fail(closed()));
    const onAbort = (): void => fail(signal.reason as Error);
    if (wire !== undefined) secure.on('keylog', (line) => wire.noteKeys(line));
    secure.once('secureConnect', onSecure);
    secure.once('error', fail);
    socket.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Servers that are remembered as below, at most. */
const MAX_OLD_SERVERS = 1_000;

/**
 * Connections of one gateway to its servers. A server that chose what cannot be carried on here (TLS 1.2) is left to Node's TLS alone from the next connection on,
 * which is twice as quick without our wire between; one that has learnt TLS 1.3 since is noticed.
 */
export class TlsConnector {
  readonly #old = new Set<string>();

  /** As `connectTls`. @param server - what the server is known by: its address. */
  async connect(
    server: string,
    socket: net.Socket,
    options: tls.ConnectionOptions,
    signal: AbortSignal,
  ): Promise<SecureStream> {
    const stream = await connectTls(socket, options, signal, this.#old.has(server) ? null : undefined);
    if (stream instanceof TlsStream || stream.getProtocol() === 'TLSv1.3') this.#old.delete(server);
    else if (this.#old.size < MAX_OLD_SERVERS) this.#old.add(server);
    return stream;
  }
}

function closed(): Error {
  return new Error('the other end closed the connection');
}

function ignore(): void {
  // 'close' follows every error.
}
