import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';
import { fillPadding, type PacketOpener, type PacketSealer, PLAIN } from './packet-protection.ts';

/** Longest `packet_length` that is accepted, in bytes: RFC 4253 section 6.1 asks for 35000 in all. */
export const MAX_PACKET_LENGTH = 35_000;

const EMPTY = Buffer.alloc(0);

/** Room for the largest packet: length field, packet and the longest tag. */
const ASSEMBLY_BYTES = 4 + MAX_PACKET_LENGTH + 64;
/** Packets up to this size take their memory from Node's own pool; larger ones are put together, and sealed, in memory that is used again. */
const SMALL = 2048;
/** Assembly buffers that are kept when nobody uses them. */
const MAX_SPARE_ASSEMBLIES = 16;
const spareAssemblies: Buffer[] = [];

/** Memory to put a packet of `bytes` bytes together. */
function assembly(bytes: number): Buffer {
  if (bytes <= SMALL) return Buffer.allocUnsafe(bytes);
  return (spareAssemblies.pop() ?? Buffer.allocUnsafeSlow(ASSEMBLY_BYTES)).subarray(0, bytes);
}

function giveBack(assembled: Buffer): void {
  if (assembled.buffer.byteLength !== ASSEMBLY_BYTES || spareAssemblies.length >= MAX_SPARE_ASSEMBLIES) return;
  spareAssemblies.push(Buffer.from(assembled.buffer));
}

/** Cuts a stream of bytes into packets, opens them and hands out their payloads (RFC 4253 section 6). */
export class PacketFramer {
  /** Number of the packet that is being handled. */
  lastSequence = 0;

  #opener: PacketOpener = PLAIN;
  #sequence = 0;
  /** Size of the packet that is coming, length field and tag included; 0 while its length is not known. */
  #total = 0;
  /** What has come of a packet that is not complete: allocated at the packet's size as soon as that is known. */
  #partial: Buffer = EMPTY;
  #have = 0;
  #freed = false;

  /** From the next packet on. `resetSequence`: strict key exchange counts from 0 again. */
  useKeys(opener: PacketOpener, resetSequence: boolean): void {
    this.#opener.free();
    this.#opener = opener;
    if (resetSequence) this.#sequence = 0;
  }

  /**
   * Takes bytes, which become the framer's: packets are decrypted in place. `onPayload` gets a view that is valid during the
   * call; it says whether to go on.
   * @throws {NightlatchError} `protocol` for a bad length, padding or tag.
   */
  feed(chunk: Buffer, onPayload: (payload: Buffer) => boolean): void {
    let at = 0;
    while (!this.#freed) {
      if (this.#have > 0) {
        const want = this.#total === 0 ? 4 : this.#total;
        const take = Math.min(want - this.#have, chunk.length - at);
        chunk.copy(this.#partial, this.#have, at, at + take);
        this.#have += take;
        at += take;
        if (this.#have < want) return;
        if (this.#total === 0) {
          this.#total = this.#totalOf(this.#partial, 0);
          const partial = assembly(this.#total);
          this.#partial.copy(partial, 0, 0, 4);
          this.#partial = partial;
          continue;
        }
        const packet = this.#partial;
        this.#partial = EMPTY;
        this.#have = 0;
        const goOn = this.#open(packet, onPayload);
        giveBack(packet);
        if (!goOn) return;
        continue;
      }
      const left = chunk.length - at;
      if (left >= 4 && this.#total === 0) this.#total = this.#totalOf(chunk, at);
      if (left < 4 || left < this.#total) {
        if (left === 0 && this.#total === 0) return;
        this.#partial = assembly(this.#total === 0 ? 4 : this.#total);
        chunk.copy(this.#partial, 0, at);
        this.#have = left;
        return;
      }
      const packet = chunk.subarray(at, at + this.#total);
      at += this.#total;
      if (!this.#open(packet, onPayload)) return;
    }
  }

  free(): void {
    this.#freed = true;
    this.#opener.free();
    this.#opener = PLAIN;
    this.#partial = EMPTY;
  }

  #totalOf(bytes: Buffer, at: number): number {
    const opener = this.#opener;
    const length = opener.length(bytes, at, this.#sequence);
    const padded = opener.lengthApart ? length : length + 4;
    if (length < 5 || length > MAX_PACKET_LENGTH || padded % opener.blockBytes !== 0) {
      throw new NightlatchError('protocol', 'a packet has a bad length');
    }
    return 4 + length + opener.tagBytes;
  }

  #open(packet: Buffer, onPayload: (payload: Buffer) => boolean): boolean {
    this.#total = 0;
    const opener = this.#opener;
    opener.open(packet, this.#sequence);
    this.lastSequence = this.#sequence;
    this.#sequence = (this.#sequence + 1) >>> 0;
    const end = packet.length - opener.tagBytes;
    const padding = packet[4]!;
    // At least four bytes of padding, and a payload of at least its type.
    if (padding < 4 || 5 + padding >= end) throw new NightlatchError('protocol', 'a packet has bad padding');
    return onPayload(packet.subarray(5, end - padding));
  }
}

const ARENA_BYTES = 512 * 1024;
/** Arenas that are kept when nobody uses them. */
const MAX_IDLE_ARENAS = 16;
/** What may wait in the stream before `onWritable(false)`, in bytes. */
const HIGH_WATER = 256 * 1024;

/** Memory for sealed packets, given out in one direction; used again when all that was written from it has gone out. */
class Arena {
  readonly bytes = Buffer.allocUnsafeSlow(ARENA_BYTES);
  used = 0;
  /** Slices that a stream has not written yet. */
  pending = 0;
}

const idleArenas: Arena[] = [];
let current = new Arena();

/** The arena with room for a packet: slices of a batch lie side by side. Large packets are at most `MAX_PACKET_LENGTH` and a little. */
function arenaFor(bytes: number): Arena {
  // From the start whenever all has gone out: a batch is one piece then, and in the cache.
  if (current.pending === 0) current.used = 0;
  else if (current.used + bytes > ARENA_BYTES) current = idleArenas.pop() ?? new Arena();
  return current;
}

function released(arena: Arena): void {
  arena.pending--;
  if (arena.pending > 0 || arena === current) return;
  arena.used = 0;
  if (idleArenas.length < MAX_IDLE_ARENAS) idleArenas.push(arena);
}

/** One piece for the stream: sealed packets that lie side by side. */
interface Piece {
  bytes: Buffer;
  readonly arena: Arena | undefined;
}

/** Makes packets of payloads, seals them in place and writes what one turn of the event loop produced at once. */
export class PacketWriter {
  readonly #stream: Duplex;
  readonly #onWritable: (writable: boolean) => void;
  #sealer: PacketSealer = PLAIN;
  #sequence = 0;
  #batch: Piece[] = [];
  #scheduled = false;
  #waiting = false;
  /** Whether the stream is done with a buffer once it calls back: other streams may hand it on to whoever reads them. */
  readonly #reusable: boolean;

  constructor(stream: Duplex, onWritable: (writable: boolean) => void) {
    this.#stream = stream;
    this.#reusable = stream instanceof Socket;
    this.#onWritable = onWritable;
  }

  /** From the next packet on. */
  useKeys(sealer: PacketSealer, resetSequence: boolean): void {
    this.#sealer.free();
    this.#sealer = sealer;
    if (resetSequence) this.#sequence = 0;
  }

  /** Bytes as they are: the identification string. */
  writeRaw(bytes: Buffer): void {
    this.#push(bytes, undefined);
  }

  write(payload: Uint8Array): void {
    const sealer = this.#sealer;
    const block = sealer.blockBytes;
    // Padding length and payload, and the length field where it is encrypted, fill whole blocks with at least four bytes of padding.
    const counted = (sealer.lengthApart ? 1 : 5) + payload.length;
    let padding = block - (counted % block);
    if (padding < 4) padding += block;
    const length = 1 + payload.length + padding;
    const total = 4 + length + sealer.tagBytes;
    let arena: Arena | undefined;
    let packet: Buffer;
    if (total <= SMALL || !this.#reusable) packet = Buffer.allocUnsafe(total);
    else {
      arena = arenaFor(total);
      packet = arena.bytes.subarray(arena.used, arena.used + total);
      arena.used += total;
    }
    packet.writeUInt32BE(length, 0);
    packet[4] = padding;
    packet.set(payload, 5);
    fillPadding(packet, 5 + payload.length, padding);
    sealer.seal(packet, this.#sequence);
    this.#sequence = (this.#sequence + 1) >>> 0;
    this.#push(packet, arena);
  }

  /** Hands all that waits to the stream. */
  flush(): void {
    this.#scheduled = false;
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const stream = this.#stream;
    if (stream.destroyed || stream.writableEnded) {
      for (const { arena } of batch) if (arena !== undefined) released(arena);
      return;
    }
    if (batch.length > 1) stream.cork();
    for (const { bytes, arena } of batch) {
      if (arena === undefined) stream.write(bytes);
      else stream.write(bytes, () => released(arena));
    }
    if (batch.length > 1) stream.uncork();
    if (!this.#waiting && stream.writableNeedDrain && stream.writableLength > HIGH_WATER) {
      this.#waiting = true;
      this.#onWritable(false);
      stream.once('drain', () => {
        this.#waiting = false;
        this.#onWritable(true);
      });
    }
  }

  free(): void {
    this.#sealer.free();
    this.#sealer = PLAIN;
  }

  #push(bytes: Buffer, arena: Arena | undefined): void {
    const last = this.#batch.at(-1);
    if (
      arena !== undefined &&
      last?.arena === arena &&
      last.bytes.byteOffset + last.bytes.length === bytes.byteOffset
    ) {
      last.bytes = arena.bytes.subarray(last.bytes.byteOffset, bytes.byteOffset + bytes.length);
    } else {
      if (arena !== undefined) arena.pending++;
      this.#batch.push({ bytes, arena });
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => this.flush());
    }
  }
}
