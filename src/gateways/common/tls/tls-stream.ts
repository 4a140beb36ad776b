import { X509Certificate } from 'node:crypto';
import type net from 'node:net';
import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { ALERT, TlsAlertError } from '../../../wire/tls/alert.ts';
import { RecordReader } from './record-reader.ts';
import { MAX_CONTENT_BYTES, sealedBytes, type TlsRecords } from './records.ts';

/** What the handshake found out. */
export interface HandshakeResult {
  /** DER of the other end's certificate. */
  readonly certificate: Buffer | undefined;
  readonly authorized: boolean;
  readonly authorizationError: Error | string | undefined;
  readonly alpnProtocol: string | false | null;
  readonly servername: string | false | undefined;
}

/**
 * A TLS 1.3 connection whose handshake Node has made and whose records are protected here: it takes a few kilobytes, where Node's own takes 60.
 * It has what a gateway uses of `TLSSocket`.
 */
export class TlsStream extends Duplex {
  readonly encrypted = true;
  /** For a relay below the streams: see `detach`. */
  readonly socket: net.Socket;
  readonly records: TlsRecords;
  readonly reader: RecordReader;
  /** What writes sealed records below this stream: see `detach`. */
  sealer: { readonly backlogged: boolean } | undefined;
  readonly #handshake: HandshakeResult;
  /** The other end has said or shown that nothing more comes. */
  #ended = false;

  /** @param received - records that came with the end of the handshake. */
  constructor(socket: net.Socket, records: TlsRecords, handshake: HandshakeResult, received: Buffer) {
    super({ allowHalfOpen: socket.allowHalfOpen });
    this.socket = socket;
    this.records = records;
    this.reader = new RecordReader(records);
    this.#handshake = handshake;
    // As with what Node's TLS has been given: 'close' tells it, and nobody needs to listen for errors from the first moment on.
    this.on('error', ignore);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    if (received.length > 0) this.#onData(received);
    if (socket.readableEnded) this.#onEnd();
    if (socket.destroyed) this.#onClose();
  }

  get authorized(): boolean {
    return this.#handshake.authorized;
  }

  get authorizationError(): Error | string | undefined {
    return this.#handshake.authorizationError;
  }

  get alpnProtocol(): string | false | null {
    return this.#handshake.alpnProtocol;
  }

  get servername(): string | false | undefined {
    return this.#handshake.servername;
  }

  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.socket.remotePort;
  }

  get localPort(): number | undefined {
    return this.socket.localPort;
  }

  /** The other end's certificate, read anew with each call: kept as an object it would take kilobytes. */
  getPeerX509Certificate(): X509Certificate | undefined {
    const { certificate } = this.#handshake;
    return certificate === undefined ? undefined : new X509Certificate(certificate);
  }

  setNoDelay(noDelay = true): this {
    this.socket.setNoDelay(noDelay);
    return this;
  }

  setKeepAlive(enable = true, initialDelayMs = 0): this {
    this.socket.setKeepAlive(enable, initialDelayMs);
    return this;
  }

  setTimeout(timeoutMs: number, callback?: () => void): this {
    this.socket.setTimeout(timeoutMs);
    this.socket.off('timeout', this.#onTimeout);
    this.socket.on('timeout', this.#onTimeout);
    if (callback !== undefined && timeoutMs > 0) this.once('timeout', callback);
    else if (callback !== undefined) this.off('timeout', callback);
    return this;
  }

  /** Closes the connection once what was written is out, whatever the other end does (as `net.Socket` has it). */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** As `end(last)`, with the last bytes and close_notify in one write. Nothing that was written before may be under way. */
  endWith(last: Buffer): void {
    if (this.destroyed || this.writableEnded) return;
    // What a corked socket was given goes with what it is ended with, which is in `_final`.
    this.socket.cork();
    this.socket.write(this.#sealed(last));
    this.end();
  }

  /** Nothing has come that is not in the stream's own buffer: the socket may be left to a relay. */
  get detachable(): boolean {
    return this.socket.readableLength === 0 && !this.socket.readableEnded;
  }

  /**
   * Leaves the socket to a relay below the streams, at a moment when nothing is buffered in either direction. From then on the relay feeds `reader`, which
   * is stopped first (records of the chunk at hand may still wait in it), and writes what `records` seal; `end`, `write` and `destroy` of the stream may be
   * used once the relay's own writes are done.
   */
  detach(): void {
    this.reader.stop();
    this.socket.off('data', this.#onData);
    this.socket.pause();
  }

  /** Nothing more comes from the other end. */
  endReading(): void {
    this.#onEnd();
    // What comes behind close_notify is dropped, and the end of the connection seen.
    this.socket.resume();
  }

  /** Ends the connection because of what the other end sent, and tells it so. */
  fail(error: Error): void {
    if (this.destroyed) return;
    const alert = error instanceof TlsAlertError ? error.alert : ALERT.internalError;
    // Behind records that wait it could not be opened.
    const inOrder = this.sealer?.backlogged !== true;
    if (alert !== undefined && inOrder && this.socket.writable) this.socket.write(this.records.alert(alert));
    this.destroy(error);
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.socket.write(this.#sealed(chunk), callback);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.socket.write(this.#sealed(Buffer.concat(chunks.map(({ chunk }) => chunk))), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.socket.destroyed || this.socket.writableEnded) callback();
    else this.socket.end(this.records.alert(ALERT.closeNotify), () => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // An alert is with the kernel by now. Where it is not, the other end takes nothing, and must not keep the connection by that.
    this.socket.destroy();
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.reader.feed(chunk, chunk.length, this.#onContent);
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    if (this.records.ended) this.endReading();
  };

  readonly #onContent = (content: Buffer): void => {
    // A partial record is put together in memory that is used again.
    if (!this.push(Buffer.from(content))) this.socket.pause();
  };

  readonly #onTimeout = (): void => {
    this.emit('timeout');
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.push(null);
    // As a socket has it: an end with nothing before it needs no reader.
    this.read(0);
  };

  readonly #onError = (error: Error): void => {
    this.destroy(error);
  };

  readonly #onClose = (): void => {
    // What came before the end is still the reader's, however late it reads.
    if (this.#ended && !this.readableEnded) this.once('end', () => this.destroy());
    else this.destroy();
  };

  #sealed(content: Buffer): Buffer {
    const records = this.records;
    const count = Math.max(1, Math.ceil(content.length / MAX_CONTENT_BYTES));
    const out = Buffer.allocUnsafe(content.length + count * sealedBytes(0));
    let used = 0;
    for (let at = 0; at < content.length; at += MAX_CONTENT_BYTES)
      used += records.seal(content, at, Math.min(MAX_CONTENT_BYTES, content.length - at), out, used);
    return out.subarray(0, used);
  }
}

function ignore(): void {
  // 'close' follows every error.
}

/** A TLS connection, with Node's own record layer or with ours. */
export type SecureStream = TLSSocket | TlsStream;

/** Whether what a stream carries is encrypted on its way. */
export function isSecure(stream: Duplex): stream is SecureStream {
  return stream instanceof TLSSocket || stream instanceof TlsStream;
}
