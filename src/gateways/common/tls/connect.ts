import type net from 'node:net';
import tls from 'node:tls';
import { HandshakeWire } from './handshake-wire.ts';
import { nativeRecords } from './native-records.ts';
import { takeOver } from './takeover.ts';
import type { SecureStream } from './tls-stream.ts';

/**
 * The client's side of TLS on a connected socket that nobody has read from yet. A handshake that fails closes the socket.
 * @throws the error of Node's TLS, or the signal's reason.
 */
export function connectTls(
  socket: net.Socket,
  options: tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<SecureStream> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const native = nativeRecords;
    const wire = native === undefined ? undefined : new HandshakeWire(socket, Buffer.alloc(0));
    const secure = tls.connect({ ...options, socket: wire ?? socket });
    const stop = (): void => {
      signal.removeEventListener('abort', onAbort);
      secure.off('secureConnect', onSecure);
      secure.off('error', onError);
      secure.off('close', onClose);
      secure.on('error', ignore);
    };
    const onSecure = (): void => {
      stop();
      if (native === undefined || wire === undefined) resolve(secure);
      else takeOver(native, secure, wire, false).then(resolve, onError);
    };
    const onError = (error: Error): void => {
      stop();
      socket.on('error', ignore);
      secure.destroy();
      socket.destroy();
      reject(error);
    };
    const onClose = (): void => onError(new Error('the other end closed the connection'));
    const onAbort = (): void => onError(signal.reason as Error);
    if (wire !== undefined) secure.on('keylog', (line) => wire.noteKeys(line));
    secure.once('secureConnect', onSecure);
    secure.once('error', onError);
    secure.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

function ignore(): void {
  // 'close' follows every error.
}
