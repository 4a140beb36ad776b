import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.ts';
import { DecodeError, errorMessage, NightlatchError } from '../../core/errors.ts';
import { DISCONNECT, decodeDisconnect, encodeDisconnect, MSG } from '../../wire/ssh/messages.ts';
import { readShared } from '../common/shared-read.ts';
import { IdentReader } from './ident.ts';
import { type HandshakeResult, type HostKey, KeyExchange, type VerifyHostKey } from './key-exchange.ts';
import type { PacketPeer, PeerClosed } from './packet-peer.ts';
import { PacketFramer, PacketWriter } from './packet-stream.ts';

/** Software version that both sides of the gateway announce (RFC 4253 section 4.2). */
const IDENT = Buffer.from('SSH-2.0-Nightlatch', 'latin1');
const IDENT_LINE = Buffer.from('SSH-2.0-Nightlatch\r\n', 'latin1');

/** New keys after so many bytes or packets either way, and after so long (RFC 4253 section 9, RFC 4344 section 3.1). */
export interface RekeyLimits {
  readonly bytes: number;
  readonly packets: number;
  readonly ms: number;
}

const DEFAULT_REKEY: RekeyLimits = { bytes: 1 << 30, packets: 2 ** 30, ms: 3_600_000 };
/** A peer that does not answer a key exchange after the first within this time is cut, in milliseconds. */
const REKEY_TIMEOUT_MS = 30_000;
/** How long the last bytes may take to go out when we close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_500;
/** Bytes that may wait while keys are exchanged: then the other side is asked to stop; then the peer is taken for hostile. */
const HIGH_QUEUED_BYTES = 1024 * 1024;
const MAX_QUEUED_BYTES = 32 * 1024 * 1024;

export interface TransportOptions {
  readonly stream: Duplex;
  readonly clock: Clock;
  readonly role: 'server' | 'client';
  /** Server: the keys it proves itself with, best first. */
  readonly hostKeys?: readonly HostKey[];
  /** Client: whether the server's key or certificate is the one expected; the signature by it is checked here. */
  readonly verifyHostKey?: VerifyHostKey;
  /** Client: host key algorithms to ask for, best first. */
  readonly hostKeyAlgorithms?: readonly string[];
  readonly rekey?: RekeyLimits;
  /** Restricts the offer (tests and benchmarks); unknown names are refused. */
  readonly kex?: readonly string[];
  readonly ciphers?: readonly string[];
}

/**
 * The transport layer of SSH (RFC 4253) over any duplex stream: identification, key exchange with strict mode, packet protection,
 * new keys by bytes and time. Packets of the authentication protocol go to `onAuthPacket`; those of the connection protocol to
 * `onPacket`, which are fatal before `authenticated` is set.
 */
export class SshTransport implements PacketPeer {
  onAuthPacket: (packet: Buffer) => void = () => {};
  onPacket: (packet: Buffer) => void = () => {};
  onWritable: (writable: boolean) => void = () => {};
  onClose: (closed: PeerClosed) => void = () => {};
  /** The first key exchange is done: the peer may be talked to. */
  onHandshake: (result: HandshakeResult) => void = () => {};
  /** Set by whoever authenticated the peer: from then on connection packets pass and authentication packets are ignored. */
  authenticated = false;

  readonly #stream: Duplex;
  readonly #clock: Clock;
  readonly #rekey: RekeyLimits;
  readonly #ident: IdentReader;
  readonly #framer = new PacketFramer();
  readonly #writer: PacketWriter;
  readonly #kex: KeyExchange;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #bytesSinceKex = 0;
  #packetsSinceKex = 0;
  #unpausableBytes = 0;
  #kexAtMs: number;
  #rekeyTimer: Timer | undefined;
  #paused = false;
  #writable = true;
  #streamWritable = true;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #closeTimer: Timer | undefined;
  #why: PeerClosed | undefined;
  #peerDisconnect: string | undefined;
  #closed = Promise.withResolvers<void>();

  constructor(options: TransportOptions) {
    this.#stream = options.stream;
    this.#clock = options.clock;
    this.#rekey = options.rekey ?? DEFAULT_REKEY;
    this.#kexAtMs = options.clock.now();
    this.#ident = new IdentReader(options.role === 'client');
    this.#writer = new PacketWriter(options.stream, (writable) => {
      this.#streamWritable = writable;
      this.#tellWritable();
    });
    this.#kex = new KeyExchange(options, IDENT, {
      send: (packet) => this.#writer.write(packet),
      newSendKeys: (sealer, resetSequence) => this.#writer.useKeys(sealer, resetSequence),
      newReceiveKeys: (opener, resetSequence) => this.#framer.useKeys(opener, resetSequence),
      sendReady: (result, first) => this.#sendReady(result, first),
      complete: () => this.#complete(),
    });
    readShared(this.#stream, (chunk) => this.#receive(chunk));
    this.#stream.on('error', (error) => this.#finish({ by: 'error', detail: errorMessage(error) }));
    this.#stream.on('end', () => this.#peerEnded());
    this.#stream.on('close', () => this.#streamClosed());
    this.#writer.writeRaw(IDENT_LINE);
    this.#kex.start();
  }

  /** Session identifier: the exchange hash of the first key exchange (RFC 4253 section 7.2). Only after `onHandshake`. */
  get sessionId(): Buffer {
    return this.#kex.sessionId;
  }

  /** Key exchanges completed so far. */
  get exchanges(): number {
    return this.#kex.completed;
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** Resolves when the transport is closed, after `onClose`. */
  get whenClosed(): Promise<void> {
    return this.#closed.promise;
  }

  send(packet: Uint8Array): void {
    if (this.#state !== 'open') return;
    if (this.#kex.blocksSending) {
      // RFC 4253 section 7.1: between KEXINIT and NEWKEYS nothing but the key exchange is sent.
      this.#queuedBytes += packet.length;
      if (this.#queuedBytes > MAX_QUEUED_BYTES) {
        this.#fail(new NightlatchError('limit_exceeded', 'too much waits for a key exchange'));
        return;
      }
      this.#queue.push(Buffer.from(packet));
      this.#tellWritable();
      return;
    }
    this.#writer.write(packet);
    this.#count(packet.length);
  }

  /** Starts a key exchange now, unless one is under way. */
  rekey(): void {
    if (this.#state !== 'open' || !this.#kex.idle) return;
    this.#armRekeyTimer();
    this.#kex.start();
    this.#applyPause();
  }

  pause(): void {
    this.#paused = true;
    this.#applyPause();
  }

  resume(): void {
    this.#paused = false;
    this.#applyPause();
  }

  disconnect(reason: number, text: string): Promise<void> {
    if (this.#state === 'open') {
      this.#why = { by: 'local', detail: text };
      this.#goodbye(reason, text);
    }
    return this.#closed.promise;
  }

  abort(): void {
    if (this.#state === 'closed') return;
    this.#finish({ by: 'local', detail: 'aborted' });
    this.#stream.destroy();
  }

  #receive(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    try {
      let rest = chunk;
      if (this.#ident.peer === undefined) {
        const after = this.#ident.read(rest);
        if (after === undefined) return;
        rest = after;
        this.#kex.peerIdent(this.#ident.peer!);
      }
      this.#framer.feed(rest, (payload) => this.#packet(payload));
      if (this.#clock.now() - this.#kexAtMs > this.#rekey.ms) this.rekey();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @returns false to stop reading packets: the connection is over. */
  #packet(payload: Buffer): boolean {
    const type = payload[0]!;
    if (type >= 80 && this.#kex.passesData) {
      if (!this.authenticated) {
        throw new NightlatchError('protocol', `a packet of type ${type} came before authentication`);
      }
      this.#count(payload.length);
      if (this.#paused && !this.#kex.idle) this.#countUnpausable(payload.length);
      this.onPacket(payload);
      return this.#state === 'open';
    }
    if (type === MSG.DISCONNECT) {
      const { description } = decodeDisconnect(payload);
      this.#peerDisconnect = `disconnected by the peer: ${printable(description)}`;
      this.#finish({ by: 'peer', detail: this.#peerDisconnect });
      this.#end();
      return false;
    }
    if (this.#kex.packet(payload, this.#framer.lastSequence)) {
      this.#applyPause();
      return this.#state === 'open';
    }
    switch (type) {
      case MSG.IGNORE:
      case MSG.UNIMPLEMENTED:
      case MSG.DEBUG:
      case MSG.EXT_INFO:
        break;
      default:
        if (type === MSG.SERVICE_REQUEST || type === MSG.SERVICE_ACCEPT || (type >= 50 && type < 80)) {
          // RFC 4252 section 5.1: requests after the success are ignored.
          if (!this.authenticated) this.onAuthPacket(payload);
        } else this.#unimplemented();
    }
    return this.#state === 'open';
  }

  /** Reading is not paused while keys are exchanged: whoever sends on and on instead of its KEXINIT must not fill the memory. */
  #countUnpausable(bytes: number): void {
    this.#unpausableBytes += bytes;
    if (this.#unpausableBytes > MAX_QUEUED_BYTES) {
      throw new NightlatchError('limit_exceeded', 'the peer sends data instead of exchanging keys');
    }
  }

  /** RFC 4253 section 11.4. */
  #unimplemented(): void {
    const packet = Buffer.alloc(5);
    packet[0] = MSG.UNIMPLEMENTED;
    packet.writeUInt32BE(this.#framer.lastSequence, 1);
    this.send(packet);
  }

  #count(bytes: number): void {
    this.#bytesSinceKex += bytes;
    this.#packetsSinceKex++;
    if (this.#bytesSinceKex > this.#rekey.bytes || this.#packetsSinceKex > this.#rekey.packets) this.rekey();
  }

  /** Our NEWKEYS is out: whatever waited may follow it. */
  #sendReady(result: HandshakeResult, first: boolean): void {
    this.#bytesSinceKex = 0;
    this.#packetsSinceKex = 0;
    this.#unpausableBytes = 0;
    this.#kexAtMs = this.#clock.now();
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const packet of queue) this.#writer.write(packet);
    this.#tellWritable();
    if (first) this.onHandshake(result);
  }

  /** The peer's NEWKEYS is in: the exchange is over. */
  #complete(): void {
    this.#rekeyTimer?.cancel();
    this.#rekeyTimer = undefined;
    this.#applyPause();
  }

  #armRekeyTimer(): void {
    this.#rekeyTimer ??= this.#clock.at(this.#clock.now() + REKEY_TIMEOUT_MS, () => {
      this.#fail(new NightlatchError('timeout', 'the peer does not answer a key exchange'));
    });
  }

  /** A key exchange goes on while reading is paused: else two sides that wait for each other would never finish theirs. */
  #applyPause(): void {
    if (this.#state !== 'open') return;
    const pause = this.#paused && this.#kex.idle;
    if (pause !== this.#stream.isPaused()) {
      if (pause) this.#stream.pause();
      else this.#stream.resume();
    }
  }

  #tellWritable(): void {
    const writable = this.#streamWritable && this.#queuedBytes < HIGH_QUEUED_BYTES;
    if (this.#writable === writable) return;
    this.#writable = writable;
    this.onWritable(writable);
  }

  #fail(error: unknown): void {
    if (this.#state !== 'open') return;
    const message = errorMessage(error);
    this.#why = { by: 'error', detail: message };
    const known = error instanceof NightlatchError || error instanceof DecodeError;
    this.#goodbye(DISCONNECT.PROTOCOL_ERROR, known ? message : 'internal error');
  }

  /** Sends SSH_MSG_DISCONNECT and closes the stream when it has gone out, or after a short time. */
  #goodbye(reason: number, text: string): void {
    this.#state = 'closing';
    try {
      this.#writer.write(encodeDisconnect(reason, text));
    } catch {
      // The stream is gone; closing it is all that is left.
    }
    this.#end();
  }

  #end(): void {
    this.#writer.flush();
    this.#closeTimer ??= this.#clock.at(this.#clock.now() + CLOSE_TIMEOUT_MS, () => this.#stream.destroy());
    // What the peer still sends must be read, else its data keeps the stream from closing.
    this.#stream.resume();
    this.#stream.end(() => this.#stream.destroy());
  }

  #peerEnded(): void {
    if (this.#state === 'open')
      this.#finish({ by: 'peer', detail: this.#peerDisconnect ?? 'the peer closed its connection' });
    if (this.#closeTimer === undefined) this.#end();
  }

  #streamClosed(): void {
    this.#closeTimer?.cancel();
    this.#finish({ by: 'error', detail: 'the connection was cut' });
  }

  #finish(closed: PeerClosed): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#rekeyTimer?.cancel();
    this.#queue = [];
    this.#writer.free();
    this.#framer.free();
    this.#closed.resolve();
    this.onClose(this.#why ?? closed);
  }
}

/** A peer's words with control characters taken out, for logs and messages. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ').slice(0, 200);
}
