import type net from 'node:net';
import { Duplex } from 'node:stream';
import { RECORD_HEADER_BYTES } from './records.ts';

const TRAFFIC_SECRET = /^(CLIENT|SERVER)_TRAFFIC_SECRET_0 [0-9a-f]+ ([0-9a-f]+)\n?$/;
/** Longest record of a handshake, protected or not (RFC 8446 section 5.2). */
const MAX_RECORD_BYTES = RECORD_HEADER_BYTES + 16_384 + 256;
/** Turns of the event loop without a write, after which Node's TLS has nothing more to write. */
const QUIET_TURNS = 3;

/** What is left when a handshake is over and the wire is cut from Node's TLS. */
export interface WireRemains {
  readonly socket: net.Socket;
  /** Records that came behind the handshake. */
  readonly received: Buffer;
  /** Records that were written since the last one that was received: tickets, under the traffic secret. */
  readonly written: Buffer;
  readonly clientSecret: Buffer | undefined;
  readonly serverSecret: Buffer | undefined;
}

/**
 * Stands between a socket and Node's TLS during a handshake. Node's TLS gets one record at a time, so that when the handshake is done nothing of what
 * comes behind it has been read; and what it writes is seen. Then the connection can be carried on without it.
 */
export class HandshakeWire extends Duplex {
  readonly #socket: net.Socket;
  /** What has come and was not given to TLS. */
  #received: Buffer;
  /** What TLS wrote since it was given a record. */
  #written: Buffer[] = [];
  #writes = 0;
  /** Writes that the socket has not taken yet. */
  #underWay = 0;
  #whenTaken: (() => void) | undefined;
  /** What TLS writes is kept. */
  #recording = true;
  /** Nothing more is given to TLS: the handshake is done. */
  #held = false;
  #cut = false;
  #ended = false;
  #clientSecret: Buffer | undefined;
  #serverSecret: Buffer | undefined;

  /** @param received - what was read from the socket already. The socket has no other reader. */
  constructor(socket: net.Socket, received: Buffer) {
    super({ allowHalfOpen: socket.allowHalfOpen });
    this.#socket = socket;
    this.#received = received;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    this.on('resume', () => setImmediate(this.#feed));
    socket.resume();
    if (socket.readableEnded) this.#onEnd();
  }

  get socket(): net.Socket {
    return this.#socket;
  }

  /** Takes a line of NSS key log format, as Node's `keylog` event has it. */
  noteKeys(line: Buffer): void {
    const match = TRAFFIC_SECRET.exec(line.toString('latin1'));
    if (match === null) return;
    // Memory of its own: in the pool that small buffers come from it would keep 8 kB for as long as the connection lives.
    const secret = Buffer.allocUnsafeSlow(match[2]!.length / 2);
    secret.write(match[2]!, 'hex');
    if (match[1] === 'CLIENT') this.#clientSecret = secret;
    else this.#serverSecret = secret;
  }

  /** The handshake is done: gives TLS nothing more until `release` or `cut`. Must be called while TLS reads the record that ended it. */
  hold(): void {
    this.#held = true;
  }

  /** TLS keeps the connection. */
  release(): void {
    this.#held = false;
    this.#recording = false;
    this.#written = [];
    this.#feed();
  }

  /** Resolves when TLS has written all that it had to, and the socket has taken it; or when the connection is lost. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < QUIET_TURNS && !this.destroyed; turns++) {
      const before = this.#writes;
      await new Promise(setImmediate);
      if (this.#underWay > 0) {
        await new Promise<void>((resolve) => {
          this.#whenTaken = resolve;
        });
      }
      if (this.#writes !== before) turns = -1;
    }
  }

  /** Takes the socket from TLS, which may be destroyed then: what it still writes goes nowhere. */
  cut(): WireRemains {
    this.#cut = true;
    const socket = this.#socket;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.pause();
    return {
      socket,
      received: this.#received,
      written: Buffer.concat(this.#written),
      clientSecret: this.#clientSecret,
      serverSecret: this.#serverSecret,
    };
  }

  override _read(): void {
    setImmediate(this.#feed);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#writes++;
    if (this.#cut) {
      callback();
      return;
    }
    if (this.#recording) this.#written.push(chunk);
    this.#underWay++;
    this.#socket.write(chunk, (error) => {
      this.#underWay--;
      callback(error);
      if (this.#underWay === 0) this.#whenTaken?.();
    });
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (!this.#cut) this.#socket.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#cut) this.#socket.destroy();
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    if (this.#received.length > 2 * MAX_RECORD_BYTES) this.#socket.pause();
    this.#feed();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#feed();
  };

  readonly #onError = (error: Error): void => {
    this.destroy(error);
  };

  readonly #onClose = (): void => {
    // What came before the end is not lost: it is among what remains.
    if (!(this.#held && this.#ended)) this.destroy();
  };

  readonly #feed = (): void => {
    while (!(this.#held || this.#cut || this.destroyed) && this.readableFlowing === true && this.readableLength === 0) {
      const record = this.#nextRecord();
      if (record === undefined) break;
      this.#written = [];
      this.push(record);
    }
    if (this.#held || this.#cut || this.destroyed) return;
    if (this.#received.length <= 2 * MAX_RECORD_BYTES) this.#socket.resume();
    if (!this.#ended || this.readableEnded) return;
    // Less than a record: TLS says what is wrong with it.
    if (this.#received.length > 0) this.push(this.#received);
    this.#received = Buffer.alloc(0);
    this.push(null);
  };

  #nextRecord(): Buffer | undefined {
    const received = this.#received;
    if (received.length < RECORD_HEADER_BYTES) return undefined;
    const length = RECORD_HEADER_BYTES + received.readUInt16BE(3);
    // What cannot be a record is passed as it is: TLS answers it with an alert.
    const whole = length > MAX_RECORD_BYTES ? received.length : length;
    if (received.length < whole) return undefined;
    this.#received = received.subarray(whole);
    return received.subarray(0, whole);
  }
}
