import { ALERT, TlsAlertError } from '../../../wire/tls/alert.ts';
import { CONTENT, MAX_PROTECTED_BYTES, RECORD_HEADER_BYTES, type TlsRecords } from './records.ts';

/** A record of which a part has come is kept in one of these. */
const MAX_RECORD_BYTES = RECORD_HEADER_BYTES + MAX_PROTECTED_BYTES;
const MAX_SPARE_BUFFERS = 64;
const spare: Buffer[] = [];

/** Takes application data out of a stream of protected records, however it is cut. */
export class RecordReader {
  readonly #records: TlsRecords;
  /** The beginning of a record whose rest has not come: the first `#used` bytes. */
  #partial: Buffer | undefined;
  #used = 0;
  /** What was read behind the record at which the reader was stopped. */
  #rest: Buffer | undefined;
  #stopped = false;
  /** INVARIANT: nothing comes out behind a record that was refused, not even where those that follow it are authentic. */
  #broken = false;

  constructor(records: TlsRecords) {
    this.#records = records;
  }

  /** Gives nothing more to `onContent`, not even of the bytes that are being fed; `resume` goes on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Goes on with what was fed while the reader was stopped. @throws {TlsAlertError} as `feed`. */
  resume(onContent: (content: Buffer) => void): void {
    this.#stopped = false;
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.feed(rest, rest.length, onContent);
  }

  /**
   * Opens the records in the first `length` bytes, in place, and hands over what is in them; a handed part is valid during the call only.
   * After close_notify everything is dropped, and after an error too.
   * @throws {TlsAlertError} once.
   */
  feed(bytes: Buffer, length: number, onContent: (content: Buffer) => void): void {
    if (this.#broken) return;
    try {
      this.#take(bytes, length, onContent);
    } catch (error) {
      this.#broken = true;
      this.#partial = undefined;
      this.#rest = undefined;
      throw error;
    }
  }

  #take(bytes: Buffer, length: number, onContent: (content: Buffer) => void): void {
    let at = 0;
    if (this.#used > 0 && !this.#stopped) {
      at = this.#complete(bytes, length);
      const partial = this.#partial!;
      if (this.#used < RECORD_HEADER_BYTES || this.#used < recordBytes(partial, 0)) return;
      this.#used = 0;
      this.#partial = undefined;
      this.#open(partial, 0, onContent);
      if (spare.length < MAX_SPARE_BUFFERS) spare.push(partial);
    }
    while (!(this.#records.ended || this.#stopped) && length - at >= RECORD_HEADER_BYTES) {
      const whole = recordBytes(bytes, at);
      if (length - at < whole) break;
      this.#open(bytes, at, onContent);
      at += whole;
    }
    if (at === length || this.#records.ended) return;
    if (this.#stopped) {
      const left = bytes.subarray(at, length);
      this.#rest = this.#rest === undefined ? Buffer.from(left) : Buffer.concat([this.#rest, left]);
      return;
    }
    this.#partial ??= spare.pop() ?? Buffer.allocUnsafeSlow(MAX_RECORD_BYTES);
    this.#used = bytes.copy(this.#partial, 0, at, length);
  }

  /** Appends to the partial record what of its rest is there; returns how much that was. */
  #complete(bytes: Buffer, length: number): number {
    const partial = this.#partial!;
    let at = 0;
    if (this.#used < RECORD_HEADER_BYTES) {
      at = bytes.copy(partial, this.#used, 0, Math.min(length, RECORD_HEADER_BYTES - this.#used));
      this.#used += at;
      if (this.#used < RECORD_HEADER_BYTES) return at;
    }
    const taken = bytes.copy(partial, this.#used, at, Math.min(length, at + recordBytes(partial, 0) - this.#used));
    this.#used += taken;
    return at + taken;
  }

  #open(bytes: Buffer, at: number, onContent: (content: Buffer) => void): void {
    const content = this.#records.open(bytes, at);
    const start = at + RECORD_HEADER_BYTES;
    if (content > 0) onContent(bytes.subarray(start, start + content));
  }
}

/** Length of the record whose header stands at `at`. */
function recordBytes(bytes: Buffer, at: number): number {
  // Every protected record looks like application data (RFC 8446 section 5.2).
  if (bytes[at] !== CONTENT.applicationData)
    throw new TlsAlertError(ALERT.unexpectedMessage, `a TLS record of an unexpected type (${bytes[at]})`);
  const length = bytes.readUInt16BE(at + 3);
  if (length > MAX_PROTECTED_BYTES) throw new TlsAlertError(ALERT.recordOverflow, 'too long a TLS record');
  return RECORD_HEADER_BYTES + length;
}
