import { AsyncLocalStorage } from 'node:async_hooks';
import type net from 'node:net';
import type tls from 'node:tls';
import type { Clock, Timer } from '../../../core/clock.ts';
import { errorMessage } from '../../../core/errors.ts';
import { type ClientHello, decodeClientHello } from '../../../wire/tls/client-hello.ts';
import { HandshakeWire } from './handshake-wire.ts';
import { type NativeRecords, nativeRecords } from './native-records.ts';
import { takeOver } from './takeover.ts';
import type { SecureStream } from './tls-stream.ts';

/** Reads of a ClientHello: a client that dribbles is left to Node's TLS. */
const MAX_HELLO_READS = 16;

/** A connection from its first byte until it is secured or has failed. */
interface Handshake {
  readonly socket: net.Socket;
  readonly timer: Timer;
  /** Where Node's TLS may be taken out of the connection. */
  wire: HandshakeWire | undefined;
  /** Whom to tell; undefined once the handshake is over, one way or the other. */
  secured: ((stream: SecureStream) => void) | undefined;
}

export interface TlsAcceptorOptions {
  readonly clock: Clock;
  /** From the first byte until the connection is secured. */
  readonly handshakeTimeoutMs: number;
  /** Which connections may be carried on without Node's TLS, where that is possible. */
  mayTakeOver(hello: ClientHello): boolean;
  /** A handshake did not succeed; the connection is gone. Once for each. */
  failed(error: Error, socket: net.Socket): void;
  /** What protects the records; `null` leaves all connections to Node's TLS. For tests. */
  readonly native?: NativeRecords | null;
}

/** The server's side of TLS on sockets that another server has accepted, at any point of their protocol. */
export class TlsAcceptor {
  readonly #server: tls.Server;
  readonly #options: TlsAcceptorOptions;
  readonly #native: NativeRecords | undefined;
  /** Tells whose handshake an event of the server is about. */
  readonly #current = new AsyncLocalStorage<Handshake>();

  /** @param server - does not listen: its options and its contexts are what is used of it. */
  constructor(server: tls.Server, options: TlsAcceptorOptions) {
    this.#server = server;
    this.#options = options;
    this.#native = options.native === undefined ? nativeRecords : (options.native ?? undefined);
    server.on('keylog', (line) => this.#current.getStore()?.wire?.noteKeys(line));
    server.on('secureConnection', (stream) => this.#onSecure(stream));
    server.on('tlsClientError', (error, stream) => {
      const handshake = this.#current.getStore();
      // Without one it is the end of the socket that is told, which is seen here besides.
      if (handshake !== undefined) this.#fail(handshake, error);
      stream.destroy();
    });
  }

  /** The next byte of `socket` is the client's ClientHello. `secured` is called when the handshake is done; a failed one closes the socket. */
  accept(socket: net.Socket, secured: (stream: SecureStream) => void): void {
    const { clock, handshakeTimeoutMs } = this.#options;
    const fail = (text: string) => () => this.#fail(handshake, new Error(text));
    const timer = clock.at(clock.now() + handshakeTimeoutMs, fail('the TLS handshake took too long'));
    const handshake: Handshake = { socket, timer, wire: undefined, secured };
    socket.on('error', ignore);
    socket.once('close', fail('the client closed the connection during the TLS handshake'));
    if (socket.destroyed) this.#fail(handshake, new Error('the client closed the connection before the TLS handshake'));
    else if (this.#native === undefined) this.#emit(handshake, socket);
    else this.#readHello(handshake);
  }

  #readHello(handshake: Handshake): void {
    const { socket } = handshake;
    let received: Buffer = Buffer.alloc(0);
    let reads = 0;
    const stop = (): void => {
      socket.pause();
      socket.off('data', onData);
      socket.off('end', onEnd);
    };
    const onEnd = (): void => {
      stop();
      this.#fail(handshake, new Error('the client closed the connection before its ClientHello'));
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
      if (hello?.offersTls13 === true && this.#options.mayTakeOver(hello)) {
        handshake.wire = new HandshakeWire(socket, received);
        this.#emit(handshake, handshake.wire);
        return;
      }
      socket.unshift(received);
      this.#emit(handshake, socket);
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.resume();
  }

  #emit(handshake: Handshake, connection: net.Socket | HandshakeWire): void {
    this.#current.run(handshake, () => this.#server.emit('connection', connection));
  }

  #onSecure(stream: tls.TLSSocket): void {
    stream.on('error', ignore);
    const handshake = this.#current.getStore();
    if (handshake?.secured === undefined) {
      stream.destroy();
      return;
    }
    const { wire } = handshake;
    this.#current.exit(() => {
      if (wire === undefined) {
        this.#succeed(handshake, stream);
        return;
      }
      takeOver(this.#native!, stream, wire, true)
        .then((carriedOn) => this.#succeed(handshake, carriedOn))
        .catch((error: unknown) => {
          this.#fail(handshake, new Error(errorMessage(error), { cause: error }));
          stream.destroy();
        });
    });
  }

  #succeed(handshake: Handshake, stream: SecureStream): void {
    const { secured } = handshake;
    this.#over(handshake);
    if (secured === undefined) stream.destroy();
    else secured(stream);
  }

  #fail(handshake: Handshake, error: Error): void {
    const { secured, socket } = handshake;
    if (secured === undefined) return;
    this.#over(handshake);
    this.#options.failed(error, socket);
    socket.destroy();
  }

  /** Lets go of what the context of the connection's events would keep. */
  #over(handshake: Handshake): void {
    handshake.timer.cancel();
    handshake.secured = undefined;
    handshake.wire = undefined;
  }
}

function ignore(): void {
  // 'close' follows every error.
}
