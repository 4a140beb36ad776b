// The one place that touches private parts of Node: reading and writing sockets below their streams. It saves the relay a quarter of its time in
// user space (one shared read buffer, no stream machinery), and half of it between two TLS connections, whose records come one by one and are
// gathered for one write. `loadFastPath` tests it before it is used; without it the relay uses streams.
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Slab, SlabPool, Views } from './slabs.ts';
import { MAX_CONTENT_BYTES, sealedBytes } from './tls/records.ts';
import { TlsStream } from './tls/tls-stream.ts';

/** One read buffer for all connections: what is in it is passed on, or copied, before the next read. */
export const READ_BUFFER_BYTES = 64 * 1024;
/** A direction reads no more while so much waits to be written, in bytes. */
const MAX_QUEUED_BYTES = 128 * 1024;
/** What fits into a slab of its own and needs no queue, in bytes. */
const SMALL_BYTES = 4 * 1024;
/** A TLS record of full length (RFC 8446 section 5.1): behind it there is most likely another. */
const FULL_RECORD_BYTES = 16 * 1024;

interface WriteRequest {
  handle: StreamHandle;
  async: boolean;
  oncomplete: (status: number) => void;
  buffer: Buffer;
}

/** `_handle` of a socket, as far as it is used here. */
interface StreamHandle {
  onread: (this: StreamHandle, buffer?: ArrayBuffer) => unknown;
  reading: boolean;
  useUserBuffer(buffer: Buffer): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, buffer: Buffer): number;
}

export interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

/** What the relay does with bytes: it returns those to write, or undefined for none. They are used before the next call. */
export type Transform = (chunk: Buffer, length: number) => Buffer | undefined;

function handleOf(socket: unknown): StreamHandle | undefined {
  if (!(socket instanceof net.Socket) || socket.destroyed) return undefined;
  const handle = (socket as unknown as { _handle?: StreamHandle | null })._handle;
  return typeof handle?.useUserBuffer === 'function' && typeof handle.writeBuffer === 'function' ? handle : undefined;
}

/** One end of what a fast path joins. */
interface FastEnd {
  readonly stream: Duplex;
  readonly handle: StreamHandle;
  /** The stream, where its records are protected here, above the handle. */
  readonly tls: TlsStream | undefined;
}

/** Undefined where the stream has no handle that can be taken over. */
function fastEnd(stream: Duplex): FastEnd | undefined {
  const tls = stream instanceof TlsStream ? stream : undefined;
  const handle = stream.destroyed || tls?.detachable === false ? undefined : handleOf(tls?.socket ?? stream);
  return handle === undefined ? undefined : { stream, handle, tls };
}

/** One direction between two sockets. */
export class FastDirection {
  readonly #path: FastPath;
  readonly #source: Duplex;
  readonly #target: Duplex;
  readonly #from: StreamHandle;
  readonly #to: StreamHandle;
  /** The source, where its records are opened here. */
  readonly #opens: TlsStream | undefined;
  /** The target, where its records are sealed here. */
  readonly #seals: TlsStream | undefined;
  readonly #transform: Transform;
  /** The target's handle keeps a pointer to what it is given; only Node's TLS copies it into its own buffers at once. */
  readonly #copies: boolean;
  /** The source gives a record at a time, not all that has come. */
  readonly #inRecords: boolean;
  #original: StreamHandle['onread'] | undefined;
  /** What waits to be written, in slabs of the pool; sealed where the target's records are. */
  #queue: Slab[] = [];
  #queuedBytes = 0;
  /** The slab that is being written, to be given back after it. */
  #underWay: Slab | undefined;
  /** What waits is written at the end of this turn of the event loop, of this read, or when it is enough for a call. */
  #gathering = false;
  /** INVARIANT: one write at a time. TLS aborts the process on a second one. */
  #writing = false;
  #stopped = false;
  #held = false;
  /** Records of the chunk during which the source was taken over still wait in its reader. */
  #starting = false;
  #flushed: (() => void)[] = [];

  constructor(path: FastPath, source: FastEnd, target: FastEnd, transform: Transform) {
    this.#path = path;
    this.#source = source.stream;
    this.#target = target.stream;
    this.#from = source.handle;
    this.#to = target.handle;
    this.#opens = source.tls;
    this.#seals = target.tls;
    this.#transform = transform;
    this.#copies = !(target.stream instanceof TLSSocket);
    this.#inRecords = source.stream instanceof TLSSocket;
  }

  /** Takes the source's reads over. */
  start(): void {
    const from = this.#from;
    const opens = this.#opens;
    if (opens !== undefined) {
      opens.detach();
      this.#starting = true;
      process.nextTick(() => {
        this.#starting = false;
        if (!this.#held) this.#takeContent(opens);
      });
    }
    if (this.#seals !== undefined) this.#seals.sealer = this;
    this.#original = from.onread;
    from.useUserBuffer(this.#path.buffer);
    from.onread = () => this.#onRead();
    from.reading = true;
    from.readStart();
  }

  /** Something waits for the target to take what it was given before. */
  get backlogged(): boolean {
    return this.#queuedBytes > 0;
  }

  /** Writes bytes of the gateway's own behind what was passed on. They must not be changed afterwards. */
  write(bytes: Buffer): void {
    if (bytes.length === 0 || this.#target.destroyed) return;
    if (this.#writing || this.#gathering) this.#enqueue(bytes);
    else this.#sendNow(bytes);
  }

  /** Takes nothing more from the source until `release`. */
  hold(): void {
    this.#held = true;
    this.#opens?.reader.stop();
    if (!this.#source.destroyed) this.#from.readStop();
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    const opens = this.#opens;
    if (opens !== undefined && !this.#starting) this.#takeContent(opens);
    if (!(this.#held || this.#stopped || this.#source.destroyed)) this.#from.readStart();
  }

  /** Runs once nothing is under way: the target's own `write` and `end` may be used from then on, and `write` no more. */
  whenFlushed(fn: () => void): void {
    if (!(this.#writing || this.#gathering) || this.#target.destroyed) fn();
    else this.#flushed.push(fn);
  }

  #onRead(): unknown {
    const { buffer, binding } = this.#path;
    const length = binding.streamBaseState[binding.kReadBytesOrError]!;
    if (length > 0) {
      const opens = this.#opens;
      if (opens !== undefined) {
        this.#takeContent(opens, buffer, length);
        return;
      }
      const bytes = this.#transform(buffer, length);
      if (bytes === undefined || this.#target.destroyed) return;
      if (this.#inRecords && !this.#gathering && !this.#writing && length >= FULL_RECORD_BYTES) {
        this.#gathering = true;
        setImmediate(this.#onTurnEnd);
      }
      if (this.#writing || this.#gathering) this.#enqueue(bytes);
      else this.#sendNow(bytes);
      return;
    }
    // 0 is EAGAIN.
    if (length === 0) return;
    // End or error: the socket's own code knows what to do.
    this.#handBack();
    return this.#original!.call(this.#from);
  }

  /** Reads are the source's own again. */
  #handBack(): void {
    this.#from.onread = this.#original!;
    this.#opens?.socket.resume();
    this.#source.resume();
  }

  /** Passes on in one write what is in the records that were read, or that waited while the source was held. */
  #takeContent(opens: TlsStream, read?: Buffer, length = 0): void {
    if (opens.destroyed) return;
    const outer = this.#gathering;
    this.#gathering = true;
    try {
      if (read === undefined) opens.reader.resume(this.#onContent);
      else opens.reader.feed(read, length, this.#onContent);
    } catch (error) {
      opens.fail(error as Error);
    }
    if (!outer) this.#onTurnEnd();
    if (!opens.records.ended || this.#from.onread === this.#original) return;
    this.#handBack();
    opens.endReading();
  }

  readonly #onContent = (content: Buffer): void => {
    const bytes = this.#transform(content, content.length);
    if (bytes !== undefined && !this.#target.destroyed) this.#enqueue(bytes);
  };

  /** Nothing waits, so that the bytes can go at once. */
  #sendNow(bytes: Buffer): void {
    if (this.#seals === undefined && !(this.#copies && bytes.buffer === this.#path.buffer.buffer)) {
      this.#send(bytes);
      return;
    }
    if (this.#seals === undefined && bytes.length <= SMALL_BYTES) {
      const slab = this.#path.slabs.take();
      slab.append(bytes, 0);
      this.#send(slab.content, slab);
      return;
    }
    this.#enqueue(bytes);
    if (!this.#writing) this.#sendQueued();
  }

  #enqueue(bytes: Buffer): void {
    const seals = this.#seals;
    for (let taken = 0; taken < bytes.length; ) {
      const wanted = seals === undefined ? 1 : sealedBytes(Math.min(bytes.length - taken, MAX_CONTENT_BYTES));
      let last = this.#queue.at(-1);
      if (last === undefined || last.free < wanted) {
        last = this.#path.slabs.take();
        this.#queue.push(last);
      }
      const before = last.used;
      taken += seals === undefined ? last.append(bytes, taken) : last.seal(seals.records, bytes, taken);
      this.#queuedBytes += last.used - before;
    }
    if (this.#queuedBytes < MAX_QUEUED_BYTES) return;
    if (!this.#writing) this.#sendQueued();
    else if (!(this.#stopped || this.#source.destroyed)) {
      this.#stopped = true;
      this.#from.readStop();
    }
  }

  readonly #onTurnEnd = (): void => {
    this.#gathering = false;
    if (this.#writing) return;
    if (!this.#target.destroyed) this.#sendQueued();
    if (!this.#writing) this.#settle();
  };

  /** Writes what waits, as far as that can be done at once. */
  #sendQueued(): void {
    while (!this.#writing && this.#queuedBytes > 0) {
      const slab = this.#queue.shift()!;
      this.#queuedBytes -= slab.used;
      this.#send(slab.content, slab);
    }
  }

  /** @param slab - holds the bytes, and goes back to the pool once they are written. */
  #send(bytes: Buffer, slab?: Slab): void {
    const { binding } = this.#path;
    const request = this.#path.request();
    request.handle = this.#to;
    request.async = false;
    // Node's TLS reports a connection that is lost during the call before the call returns.
    request.oncomplete = this.#onWritten;
    this.#writing = true;
    this.#underWay = slab;
    const error = this.#to.writeBuffer(request, bytes);
    if (!this.#writing) return;
    if (error === 0 && binding.streamBaseState[binding.kLastWriteWasAsync] !== 0) {
      request.async = true;
      request.buffer = bytes;
      return;
    }
    this.#writing = false;
    this.#underWay = undefined;
    if (slab !== undefined) this.#path.slabs.giveBack(slab);
    if (error === 0) this.#path.reuse(request);
    else {
      this.#target.destroy();
      this.#settle();
    }
  }

  readonly #onWritten = (status: number): void => {
    this.#writing = false;
    if (this.#underWay !== undefined) this.#path.slabs.giveBack(this.#underWay);
    this.#underWay = undefined;
    if (status < 0 || this.#target.destroyed) {
      this.#target.destroy();
      this.#settle();
    } else this.#sendQueued();
    if (this.#stopped && this.#queuedBytes === 0 && !this.#source.destroyed) {
      this.#stopped = false;
      if (!this.#held) this.#from.readStart();
    }
    if (!this.#writing) this.#settle();
  };

  #settle(): void {
    for (const slab of this.#queue) this.#path.slabs.giveBack(slab);
    this.#queue = [];
    this.#queuedBytes = 0;
    const waiting = this.#flushed;
    this.#flushed = [];
    for (const fn of waiting) fn();
  }
}

/** Makes directions; see `loadFastPath`. */
export class FastPath {
  readonly binding: StreamBinding;
  readonly buffer: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  readonly slabs = new SlabPool();
  readonly #views = new Views(this.buffer);
  #spare: WriteRequest | undefined;

  constructor(binding: StreamBinding) {
    this.binding = binding;
  }

  /** A direction from one socket to another, or undefined where they are no sockets with handles. What the source has buffered is the caller's. */
  direction(source: Duplex, target: Duplex, transform: Transform): FastDirection | undefined {
    const [from, to] = [fastEnd(source), fastEnd(target)];
    return from === undefined || to === undefined ? undefined : new FastDirection(this, from, to, transform);
  }

  /** The first bytes of a chunk, as a buffer of that length. */
  first(chunk: Buffer, length: number): Buffer {
    return chunk === this.buffer ? this.#views.first(length) : chunk.subarray(0, length);
  }

  request(): WriteRequest {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? new this.binding.WriteWrap();
  }

  /** A request whose write was done at once. */
  reuse(request: WriteRequest): void {
    this.#spare = request;
  }
}
