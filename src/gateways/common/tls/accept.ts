import { AsyncLocalStorage } from 'node:async_hooks';
import type net from 'node:net';
import type tls from 'node:tls';
import type { Clock } from '../../../core/clock.ts';
import { errorMessage } from '../../../core/errors.ts';
import { type ClientHello, decodeClientHello } from '../../../wire/tls/client-hello.ts';
import { HandshakeWire } from './handshake-wire.ts';
import { nativeRecords } from './native-records.ts';
import { takeOver } from './takeover.ts';
import type { SecureStream } from './tls-stream.ts';

/** Reads of a ClientHello: a client that dribbles is left to Node's TLS. */
const MAX_HELLO_READS = 16;

/** A connection in its handshake. */
interface Handshake {
  readonly wire: HandshakeWire;
  readonly secured: (stream: SecureStream) => void;
}

export interface TlsAcceptorOptions {
  readonly clock: Clock;
  readonly handshakeTimeoutMs: number;
  /** Which connections may be carried on without Node's TLS, where that is possible. */
  mayTakeOver(hello: ClientHello): boolean;
  /** A handshake did not succeed; the connection is gone. */
  failed(error: Error, socket: net.Socket | tls.TLSSocket): void;
}

/** The server's side of TLS on sockets that another server has accepted, at any point of their protocol. */
export class TlsAcceptor {
  readonly #server: tls.Server;
  readonly #options: TlsAcceptorOptions;
  readonly #current = new AsyncLocalStorage<Handshake>();
  /** Connections in their handshake that stay with Node's TLS, by their addresses. */
  readonly #others = new Map<string, (stream: SecureStream) => void>();

  /** @param server - does not listen: its options and its contexts are what is used of it. */
  constructor(server: tls.Server, options: TlsAcceptorOptions) {
    this.#server = server;
    this.#options = options;
    server.on('keylog', (line) => this.#current.getStore()?.wire.noteKeys(line));
    server.on('secureConnection', (stream) => this.#onSecure(stream));
    server.on('tlsClientError', (error, stream) => {
      options.failed(error, this.#current.getStore()?.wire.socket ?? stream);
      // Node tells of a handshake that took too long, and leaves the connection open.
      stream.destroy();
    });
  }

  /** The next byte of `socket` is the client's ClientHello. `secured` is called when the handshake is done; a failed one closes the socket. */
  accept(socket: net.Socket, secured: (stream: SecureStream) => void): void {
    if (nativeRecords === undefined) this.#leaveToNode(socket, secured);
    else this.#readHello(socket, secured);
  }

  #readHello(socket: net.Socket, secured: (stream: SecureStream) => void): void {
    const { clock, handshakeTimeoutMs, mayTakeOver, failed } = this.#options;
    let received: Buffer = Buffer.alloc(0);
    let reads = 0;
    const timer = clock.at(clock.now() + handshakeTimeoutMs, () => {
      stop();
      failed(new Error('no ClientHello came'), socket);
      socket.destroy();
    });
    const stop = (): void => {
      timer.cancel();
      socket.pause();
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.off('close', onEnd);
    };
    const onEnd = (): void => {
      stop();
      socket.destroy();
    };
    const onData = (chunk: Buffer): void => {
      received = reads === 0 ? chunk : Buffer.concat([received, chunk]);
      reads++;
      let hello: ClientHello | undefined;
      try {
        hello = decodeClientHello(received);
        if (hello === undefined && reads < MAX_HELLO_READS) return;
      } catch {
        // Node's TLS says what is wrong with it.
      }
      stop();
      if (hello?.offersTls13 === true && mayTakeOver(hello)) {
        const wire = new HandshakeWire(socket, received);
        this.#current.run({ wire, secured }, () => this.#server.emit('connection', wire));
        return;
      }
      socket.unshift(received);
      this.#leaveToNode(socket, secured);
    };
    socket.on('error', ignore);
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('close', onEnd);
    socket.resume();
  }

  #leaveToNode(socket: net.Socket, secured: (stream: SecureStream) => void): void {
    const key = addressKey(socket);
    this.#others.set(key, secured);
    socket.once('close', () => {
      if (this.#others.get(key) === secured) this.#others.delete(key);
    });
    this.#current.exit(() => this.#server.emit('connection', socket));
  }

  #onSecure(stream: tls.TLSSocket): void {
    stream.on('error', ignore);
    const handshake = this.#current.getStore();
    if (handshake !== undefined) {
      const { wire, secured } = handshake;
      this.#current.exit(() => {
        takeOver(nativeRecords!, stream, wire, true).then(secured, (error: unknown) => {
          this.#options.failed(new Error(errorMessage(error), { cause: error }), wire.socket);
          stream.destroy();
        });
      });
      return;
    }
    const key = addressKey(stream);
    const secured = this.#others.get(key);
    this.#others.delete(key);
    if (secured === undefined) stream.destroy();
    else secured(stream);
  }
}

function addressKey(socket: net.Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localPort}`;
}

function ignore(): void {
  // 'close' follows every error.
}
