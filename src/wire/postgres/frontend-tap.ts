import { DecodeError } from '../../core/errors.ts';
import type { CommandTracker } from './command-tracker.ts';
import { FRONTEND, isEmptyText, MAX_MESSAGE_LENGTH } from './messages.ts';
import { PreparedStatements, parameterCount } from './prepared-statements.ts';
import { auditedText, MAX_AUDITED_BYTES, type SentStatement } from './sent-statement.ts';

const HEADER_LENGTH = 5;
/** A message that is longer than this is not empty, whatever it says: enough for a driver's ping, and for the names in Bind. */
const PEEK_BYTES = 1024;

/** What the tap found. */
export interface FrontendListener {
  /** Statement for the audit, in the order of sending. Absent where nothing is to be audited: no text is kept then. */
  statement?(statement: SentStatement): void;
}

/**
 * Walks the headers of what the client sends, and reads only the messages that name statements. Everything else passes unseen.
 */
export class FrontendTap {
  readonly #tracker: CommandTracker;
  readonly #listener: FrontendListener;
  readonly #statements: PreparedStatements;
  readonly #captureLimit: number;
  #rest = 0;
  #headerSeen = 0;
  #type = 0;
  #length = 0;
  /** The beginning of the present message's body, when it began in an earlier chunk. */
  #captured: Buffer[] = [];
  #capturedBytes = 0;
  /** The present message has been told to the tracker as a command. */
  #counting = false;
  /** Copy data is input; on a replication connection it is the standby's status, which no person sends. */
  readonly #copyDataCounts: boolean;
  /** The client has said goodbye. */
  terminated = false;

  constructor(tracker: CommandTracker, listener: FrontendListener, options: { copyDataCounts: boolean }) {
    this.#tracker = tracker;
    this.#listener = listener;
    const audited = listener.statement !== undefined;
    this.#statements = new PreparedStatements(audited);
    this.#captureLimit = audited ? MAX_AUDITED_BYTES + PEEK_BYTES : PEEK_BYTES;
    this.#copyDataCounts = options.copyDataCounts;
  }

  /** Nothing is half sent. */
  get atBoundary(): boolean {
    return this.#rest === 0 && this.#headerSeen === 0;
  }

  /**
   * Takes a chunk; true when something in it counts as input (SPEC 2.3): a command or copy data, but no liveness check.
   * @throws {DecodeError} for a length that no message has.
   */
  push(chunk: Buffer, end = chunk.length): boolean {
    let at = 0;
    let input = false;
    while (at < end) {
      if (this.#rest > 0) {
        const take = Math.min(this.#rest, end - at);
        if (this.#counting) input = true;
        if (this.#reads(this.#type)) {
          if (this.#body(chunk, at, take)) input = true;
        } else this.#rest -= take;
        at += take;
        continue;
      }
      if (this.#headerSeen === 0 && end - at >= HEADER_LENGTH) {
        this.#type = chunk[at]!;
        this.#length = ((chunk[at + 1]! << 24) | (chunk[at + 2]! << 16) | (chunk[at + 3]! << 8) | chunk[at + 4]!) >>> 0;
        at += HEADER_LENGTH;
      } else {
        const byte = chunk[at]!;
        if (this.#headerSeen === 0) {
          this.#type = byte;
          this.#length = 0;
        } else this.#length = ((this.#length << 8) | byte) >>> 0;
        at += 1;
        this.#headerSeen += 1;
        if (this.#headerSeen < HEADER_LENGTH) continue;
        this.#headerSeen = 0;
      }
      if (this.#length < 4 || this.#length > MAX_MESSAGE_LENGTH)
        throw new DecodeError(`client message of ${this.#length} bytes`);
      this.#rest = this.#length - 4;
      if (this.#begin(this.#type)) input = true;
    }
    return input;
  }

  #reads(type: number): boolean {
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.parse:
        return true;
      case FRONTEND.functionCall:
        return this.#listener.statement !== undefined;
      case FRONTEND.bind:
      case FRONTEND.execute:
      case FRONTEND.close:
        return this.#statements.tracksPortals;
      default:
        return false;
    }
  }

  /** At a header: what is decided without the body. True when it counts as input. */
  #begin(type: number): boolean {
    this.#counting = false;
    if (this.#reads(type)) {
      if (this.#rest === 0) throw new DecodeError('client message without a body');
      if (this.#rest <= PEEK_BYTES) return false;
      // Too long to be a liveness check: it counts from its first byte.
      return this.#tell(type, true);
    }
    switch (type) {
      case FRONTEND.bind:
      case FRONTEND.execute:
      case FRONTEND.functionCall:
        return this.#tell(type, true);
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        // The server drops what belongs to no copy.
        this.#counting = this.#copyDataCounts && this.#tracker.takesCopyData;
        this.#tracker.client(type, false);
        return this.#counting;
      case FRONTEND.terminate:
        this.terminated = true;
        return false;
      default:
        this.#tracker.client(type, false);
        return false;
    }
  }

  #tell(type: number, counts: boolean): boolean {
    this.#tracker.client(type, counts);
    this.#counting = counts;
    return counts;
  }

  /** Part of the body of a message that is read. True when the message turns out to count as input. */
  #body(chunk: Buffer, at: number, take: number): boolean {
    const whole = this.#capturedBytes === 0 && take === this.#rest;
    this.#rest -= take;
    if (whole) return this.#message(chunk.subarray(at, at + Math.min(take, this.#captureLimit)));
    const room = this.#captureLimit - this.#capturedBytes;
    if (room > 0) {
      // The chunk's memory is not ours to keep.
      const part = Buffer.from(chunk.subarray(at, at + Math.min(take, room)));
      this.#captured.push(part);
      this.#capturedBytes += part.length;
    }
    if (this.#rest > 0) return false;
    const body = Buffer.concat(this.#captured, this.#capturedBytes);
    this.#captured = [];
    this.#capturedBytes = 0;
    return this.#message(body);
  }

  /** A message that is read is complete; `body` holds at least its beginning. */
  #message(body: Buffer): boolean {
    const length = this.#length - 4;
    const told = length > PEEK_BYTES;
    let counts = true;
    switch (this.#type) {
      case FRONTEND.query: {
        const end = body[body.length - 1] === 0 && body.length === length ? length - 1 : body.length;
        counts = told || !isEmptyText(body, 0, end);
        if (this.#listener.statement !== undefined) this.#listener.statement(auditedText(body, 0, end, length - 1));
        break;
      }
      case FRONTEND.parse:
        counts = this.#statements.parsed(body, length) || told;
        break;
      case FRONTEND.bind: {
        const bound = this.#statements.bound(body);
        counts = bound.counts || told;
        if (this.#listener.statement !== undefined) this.#listener.statement(bound.statement);
        break;
      }
      case FRONTEND.execute:
        counts = this.#statements.executes(body) || told;
        break;
      case FRONTEND.functionCall:
        // No SQL, but it runs any function all the same.
        if (body.length >= 4) {
          const parameters = parameterCount(body, 4);
          this.#listener.statement?.({
            text: `function call ${body.readUInt32BE(0)}`,
            truncated: false,
            parameterCount: parameters,
          });
        }
        break;
      default:
        this.#statements.closed(body);
        counts = false;
    }
    if (told) return this.#counting;
    return this.#tell(this.#type, counts);
  }
}
