import { ALERT, TlsAlertError } from '../../../wire/tls/alert.ts';
import { type CipherSuite, nextTrafficSecret, trafficKey } from '../../../wire/tls/key-schedule.ts';
import type { NativeRecords, RecordProtection } from './native-records.ts';

/** Content types (RFC 8446 section 5.1). */
export const CONTENT = { alert: 21, handshake: 22, applicationData: 23 } as const;
const HANDSHAKE = { newSessionTicket: 4, keyUpdate: 24 } as const;
/** What a KeyUpdate has behind its header. */
const KEY_UPDATE_BODY = 1;
export const RECORD_HEADER_BYTES = 5;
/** Longest content of a record. */
export const MAX_CONTENT_BYTES = 16_384;
/** Longest protected record behind its header (section 5.2). */
export const MAX_PROTECTED_BYTES = MAX_CONTENT_BYTES + 256;
/** Type and tag behind the content. */
const TRAILER_BYTES = 17;
/** A KeyUpdate as a record, which may go before any other. */
const KEY_UPDATE_RECORD_BYTES = RECORD_HEADER_BYTES + 5 + TRAILER_BYTES;
/** Records without data in a row, tickets aside: more are an attack (as in OpenSSL). */
const MAX_EMPTY_RECORDS = 32;
/** A ticket has at most 64 kB; so much of a message is waited for. */
const MAX_HANDSHAKE_MESSAGE = 66_000;
/** AES-GCM protects 2^24.5 full records with one key (section 5.5). */
const RECORDS_PER_KEY = 2 ** 24;

/** Room that a record with so much content may take, a key update before it included. */
export function sealedBytes(length: number): number {
  return KEY_UPDATE_RECORD_BYTES + RECORD_HEADER_BYTES + length + TRAILER_BYTES;
}

export interface TlsRecordsOptions {
  readonly native: NativeRecords;
  readonly suite: CipherSuite;
  readonly isServer: boolean;
  /** Traffic secrets of the two directions. */
  readonly readSecret: Buffer;
  readonly writeSecret: Buffer;
  /** Records that were written under the secret already. */
  readonly written: number;
  /** Records after which the key is replaced; less for tests. */
  readonly recordsPerKey?: number;
}

/**
 * The record layer of one TLS 1.3 connection after its handshake (RFC 8446 sections 4.6, 5 and 6): bytes in, bytes out, without a socket. Tickets are
 * dropped, key updates carried out, everything else but data and alerts is refused.
 */
export class TlsRecords {
  readonly #native: NativeRecords;
  readonly #suite: CipherSuite;
  readonly #isServer: boolean;
  readonly #recordsPerKey: number;
  #readSecret: Buffer;
  #writeSecret: Buffer;
  #reading: RecordProtection;
  #writing: RecordProtection;
  /** Records under the present key. */
  #written: number;
  #emptyInRow = 0;
  /** A handshake message of which the rest has not come. */
  #fragment: Buffer | undefined;
  /** The other end asked for a key update: it goes before the next data (section 4.6.3). */
  #owesKeyUpdate = false;
  #ended = false;

  constructor(options: TlsRecordsOptions) {
    const { native, suite, readSecret, writeSecret, written } = options;
    this.#native = native;
    this.#suite = suite;
    this.#isServer = options.isServer;
    this.#recordsPerKey = options.recordsPerKey ?? RECORDS_PER_KEY;
    this.#readSecret = readSecret;
    this.#writeSecret = writeSecret;
    this.#reading = this.#protection(readSecret, false, 0);
    this.#writing = this.#protection(writeSecret, true, written);
    this.#written = written;
  }

  /** The other end has sent close_notify: nothing more comes from it. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Opens the whole record whose header stands at `offset`, in place. Returns the length of the application data behind the header; 0 where
   * the record had none.
   * @throws {TlsAlertError} where the record must not be, or the other end sends an alert.
   */
  open(bytes: Buffer, offset: number): number {
    let length = this.#native.open(this.#reading, bytes, offset);
    if (length < 0) throw new TlsAlertError(ALERT.badRecordMac, 'a TLS record is not authentic');
    const start = offset + RECORD_HEADER_BYTES;
    if (length > MAX_CONTENT_BYTES + 1) throw new TlsAlertError(ALERT.recordOverflow, 'too long a TLS record');
    // Padding is zeros behind the type.
    while (length > 0 && bytes[start + length - 1] === 0) length--;
    if (length === 0) throw new TlsAlertError(ALERT.unexpectedMessage, 'a TLS record without a type');
    length--;
    const type = bytes[start + length];
    if (type === CONTENT.applicationData && this.#fragment === undefined) {
      if (length > 0) this.#emptyInRow = 0;
      else this.#countEmpty();
      return length;
    }
    const content = bytes.subarray(start, start + length);
    if (type === CONTENT.handshake && length > 0) this.#onHandshake(content);
    else if (type === CONTENT.alert && length > 0 && this.#fragment === undefined) this.#onAlert(content);
    else throw new TlsAlertError(ALERT.unexpectedMessage, `a TLS record of an unexpected type (${type})`);
    return 0;
  }

  /** Writes application data, at most `MAX_CONTENT_BYTES`, as a record to where `sealedBytes` of room is; returns how much it took. */
  seal(from: Buffer, offset: number, length: number, to: Buffer, toOffset: number): number {
    let at = toOffset;
    if (this.#owesKeyUpdate || this.#written >= this.#recordsPerKey) at += this.#updateKey(to, at);
    this.#written++;
    return at + this.#native.seal(this.#writing, CONTENT.applicationData, from, offset, length, to, at) - toOffset;
  }

  /** An alert as a record (section 6). */
  alert(description: number): Buffer {
    const level = description === ALERT.closeNotify ? 1 : 2;
    const record = Buffer.alloc(RECORD_HEADER_BYTES + 2 + TRAILER_BYTES);
    this.#written++;
    this.#native.seal(this.#writing, CONTENT.alert, Buffer.from([level, description]), 0, 2, record, 0);
    return record;
  }

  #protection(secret: Buffer, seals: boolean, sequence: number): RecordProtection {
    const { key, iv } = trafficKey(this.#suite, secret);
    const protection = this.#native.create(this.#suite.cipher, key, iv, seals, sequence);
    // The cipher has its own copy.
    key.fill(0);
    iv.fill(0);
    return protection;
  }

  #countEmpty(): void {
    this.#emptyInRow++;
    if (this.#emptyInRow > MAX_EMPTY_RECORDS)
      throw new TlsAlertError(ALERT.unexpectedMessage, 'too many TLS records without data');
  }

  #onAlert(content: Buffer): void {
    this.#countEmpty();
    if (content.length !== 2) throw new TlsAlertError(ALERT.decodeError, 'a TLS alert of a wrong length');
    const description = content[1]!;
    if (description === ALERT.closeNotify) this.#ended = true;
    else if (description !== ALERT.userCanceled)
      throw new TlsAlertError(undefined, `the other end ended TLS with alert ${description}`);
  }

  #onHandshake(content: Buffer): void {
    let bytes = this.#fragment === undefined ? content : Buffer.concat([this.#fragment, content]);
    while (bytes.length > 0) {
      const type = bytes[0];
      const allowed = type === HANDSHAKE.keyUpdate || (type === HANDSHAKE.newSessionTicket && !this.#isServer);
      if (!allowed) throw new TlsAlertError(ALERT.unexpectedMessage, `an unexpected TLS handshake message (${type})`);
      if (bytes.length < 4) break;
      const length = bytes.readUIntBE(1, 3);
      const fits = type === HANDSHAKE.keyUpdate ? length === KEY_UPDATE_BODY : length <= MAX_HANDSHAKE_MESSAGE;
      if (!fits) throw new TlsAlertError(ALERT.decodeError, 'a TLS message of a wrong length');
      if (bytes.length < 4 + length) break;
      if (type === HANDSHAKE.keyUpdate) this.#onKeyUpdate(bytes);
      bytes = bytes.subarray(4 + length);
    }
    this.#fragment = bytes.length === 0 ? undefined : Buffer.from(bytes);
    if (this.#fragment !== undefined) this.#countEmpty();
  }

  /** Everything behind a key update is under the next key, so that nothing can follow it in its record (section 5.1). */
  #onKeyUpdate(bytes: Buffer): void {
    this.#countEmpty();
    if (bytes.length !== 4 + KEY_UPDATE_BODY)
      throw new TlsAlertError(ALERT.unexpectedMessage, 'more in a TLS record than the key update that ends it');
    const request = bytes[4]!;
    if (request > 1) throw new TlsAlertError(ALERT.illegalParameter, 'a wrong TLS key update');
    this.#readSecret = nextTrafficSecret(this.#suite, this.#readSecret);
    this.#reading = this.#protection(this.#readSecret, false, 0);
    if (request === 1) this.#owesKeyUpdate = true;
  }

  #updateKey(to: Buffer, offset: number): number {
    const message = Buffer.from([HANDSHAKE.keyUpdate, 0, 0, 1, 0]);
    const length = this.#native.seal(this.#writing, CONTENT.handshake, message, 0, message.length, to, offset);
    this.#owesKeyUpdate = false;
    this.#writeSecret = nextTrafficSecret(this.#suite, this.#writeSecret);
    this.#writing = this.#protection(this.#writeSecret, true, 0);
    this.#written = 0;
    return length;
  }
}
