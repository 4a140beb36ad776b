import { DecodeError } from '../../core/errors.ts';
import { STATUS } from './capabilities.ts';
import { COMMAND, type ResponseShape } from './commands.ts';
import { MARK, PayloadReader } from './packets.ts';

/** Bytes at the beginning of a server's packet that the tracker needs: an OK packet up to its status flags. */
export const HEAD_BYTES = 24;
/** An EOF packet is shorter than this; a row that begins with the same byte is not. */
const EOF_LIMIT = 9;
/** MariaDB's progress reports look like errors with this code. */
const PROGRESS_CODE = 0xffff;
/** ER_LOCK_DEADLOCK: the server has rolled the transaction back. */
const DEADLOCK_CODE = 1213;

/** Where in its answer the server is. */
type State =
  | 'start' // the first packet of a result
  | 'columns'
  | 'columns-end' // the EOF behind the columns
  | 'rows'
  | 'infile' // the server reads a file from the client
  | 'prepare'
  | 'definitions' // of parameters and columns of a prepared statement
  | 'single'
  | 'stream'; // a binary log, packet by packet

/** A command whose answer is not complete. */
export interface PendingCommand {
  readonly command: number;
  readonly shape: Exclude<ResponseShape, 'none'>;
  /** Whether it counts as work while it runs. */
  readonly counts: boolean;
  /** Sequence number of its last packet. */
  sequence: number;
  /** The answer, which is one packet, is replaced with what this returns. */
  readonly rewrite?: (packet: Buffer) => Buffer;
  /** A statement was prepared: its id and its number of parameters. */
  readonly prepared?: (statementId: number, parameters: number) => void;
  /** The answer is complete; an ERR packet was the last of it or not. */
  readonly done?: (failed: boolean) => void;
}

const FIRST_STATE: Readonly<Record<PendingCommand['shape'], State>> = {
  result: 'start',
  prepare: 'prepare',
  rows: 'rows',
  single: 'single',
  stream: 'stream',
};

/** Knows which commands are running, from the first packet of the client's to the last of the server's (protocol, "Command Phase"). */
export class ResponseTracker {
  readonly #deprecateEof: boolean;
  readonly #queue: PendingCommand[] = [];
  #state: State = 'start';
  #left = 0;
  #counted = 0;
  #rewrites = 0;
  /** Sequence number of the last packet in the present answer; -1 before it has begun. */
  #lastSequence = -1;
  /** The last answer said that a transaction is open. */
  transactionOpen = false;

  constructor(options: { deprecateEof: boolean }) {
    this.#deprecateEof = options.deprecateEof;
  }

  /** A command that counts as work is running. */
  get busy(): boolean {
    return this.#counted > 0;
  }

  /** The server owes an answer. */
  get pending(): boolean {
    return this.#queue.length > 0;
  }

  /** The server reads a file from the client (LOAD DATA LOCAL). */
  get infile(): boolean {
    return this.#state === 'infile' && this.#queue.length > 0;
  }

  /** Some answer has to be replaced. */
  get rewrites(): boolean {
    return this.#rewrites > 0;
  }

  /** The command whose answer comes next. */
  get head(): PendingCommand | undefined {
    return this.#queue[0];
  }

  /** The sequence number that the client expects on the next packet from the server. */
  get nextSequence(): number {
    const head = this.#queue[0];
    if (head === undefined) return 1;
    return ((this.#lastSequence >= 0 ? this.#lastSequence : head.sequence) + 1) & 0xff;
  }

  /** The client has begun to send a command that is answered. */
  sent(command: PendingCommand): void {
    this.#queue.push(command);
    if (command.counts) this.#counted += 1;
    if (command.rewrite !== undefined) this.#rewrites += 1;
    if (this.#queue.length === 1) this.#begin();
  }

  /** A further packet of the client's last command, or of the file that the server reads. */
  continued(sequence: number): void {
    const last = this.#queue.at(-1);
    if (last === undefined) return;
    last.sequence = sequence;
    if (this.#state === 'infile') this.#lastSequence = sequence;
  }

  /** The client has sent the whole file. */
  fileEnded(sequence: number): void {
    this.#lastSequence = sequence;
    this.#state = 'start';
  }

  /**
   * A packet of the server has begun. `head` has its first bytes (`HEAD_BYTES`, or all of it) at `at`; `length` is that of the payload.
   * @throws {DecodeError} for an answer that nobody asked for, or that cannot be one.
   */
  packet(head: Buffer, at: number, available: number, length: number, sequence: number): void {
    const command = this.#queue[0];
    if (length === 0) throw new DecodeError('server packet without a payload');
    const mark = head[at]!;
    if (command === undefined) {
      // A server that ends the connection says so unasked.
      if (mark === MARK.err) return;
      throw new DecodeError('the server answers without a command');
    }
    this.#lastSequence = sequence;
    if (this.#state === 'rows' && mark !== MARK.eof && mark !== MARK.err) return;
    if (mark === MARK.err) {
      const code = available >= 3 ? head.readUInt16LE(at + 1) : 0;
      if (code === PROGRESS_CODE) return;
      if (code === DEADLOCK_CODE) this.transactionOpen = false;
      this.#finish(true);
      return;
    }
    this.#step(command, mark, head.subarray(at, at + available), length);
  }

  #step(command: PendingCommand, mark: number, head: Buffer, length: number): void {
    switch (this.#state) {
      case 'start':
        this.#first(mark, head, length);
        return;
      case 'columns':
        this.#left -= 1;
        if (this.#left === 0) this.#state = this.#deprecateEof ? 'rows' : 'columns-end';
        return;
      case 'columns-end':
        // With a cursor the rows come by COM_STMT_FETCH.
        if ((eofStatus(head) & STATUS.cursorExists) !== 0) this.#resultEnded(eofStatus(head));
        else this.#state = 'rows';
        return;
      case 'rows':
        if (this.#deprecateEof ? length < 0xff_ffff : length < EOF_LIMIT)
          this.#resultEnded(this.#deprecateEof ? okStatus(head) : eofStatus(head));
        return;
      case 'prepare':
        this.#prepared(command, head);
        return;
      case 'definitions':
        this.#left -= 1;
        if (this.#left === 0) this.#finish(false);
        return;
      case 'single':
        if (mark === MARK.ok) this.#tellTransaction(okStatus(head));
        this.#finish(false);
        return;
      case 'stream':
        if (mark === MARK.eof && length < EOF_LIMIT) this.#finish(false);
        return;
      case 'infile':
        throw new DecodeError('the server answers while it reads a file');
    }
  }

  /** OK, a request for a file, or the number of columns. */
  #first(mark: number, head: Buffer, length: number): void {
    if (mark === MARK.ok) {
      this.#resultEnded(okStatus(head));
    } else if (mark === MARK.localInfile) {
      // What the client has sent behind the statement would be taken for the file's content.
      if (this.#queue.length > 1) throw new DecodeError('commands behind LOAD DATA LOCAL');
      this.#state = 'infile';
    } else if (mark === MARK.eof && length < EOF_LIMIT) {
      this.#resultEnded(eofStatus(head));
    } else {
      this.#left = new PayloadReader(head).lenenc();
      if (this.#left === 0) throw new DecodeError('a result without columns');
      this.#state = 'columns';
    }
  }

  /** COM_STMT_PREPARE_OK. */
  #prepared(command: PendingCommand, head: Buffer): void {
    if (head[0] !== MARK.ok || head.length < 9) throw new DecodeError('not the answer to COM_STMT_PREPARE');
    const columns = head.readUInt16LE(5);
    const parameters = head.readUInt16LE(7);
    command.prepared?.(head.readUInt32LE(1), parameters);
    const end = this.#deprecateEof ? 0 : 1;
    this.#left = (parameters > 0 ? parameters + end : 0) + (columns > 0 ? columns + end : 0);
    if (this.#left === 0) this.#finish(false);
    else this.#state = 'definitions';
  }

  #tellTransaction(status: number): void {
    this.transactionOpen = (status & STATUS.inTransaction) !== 0;
  }

  #resultEnded(status: number): void {
    this.#tellTransaction(status);
    if ((status & STATUS.moreResults) !== 0 && this.#queue[0]!.command !== COMMAND.stmtFetch) this.#state = 'start';
    else this.#finish(false);
  }

  #finish(failed: boolean): void {
    const command = this.#queue.shift()!;
    if (command.counts) this.#counted -= 1;
    if (command.rewrite !== undefined) this.#rewrites -= 1;
    this.#begin();
    command.done?.(failed);
  }

  #begin(): void {
    this.#lastSequence = -1;
    const next = this.#queue[0];
    if (next !== undefined) this.#state = FIRST_STATE[next.shape];
  }
}

/** Status flags of an OK packet, whatever its first byte. */
function okStatus(head: Buffer): number {
  const reader = new PayloadReader(head);
  reader.u8();
  skipLenenc(reader);
  skipLenenc(reader);
  return reader.remaining >= 2 ? reader.u16() : 0;
}

/** Numbers in OK packets use all of 64 bits. */
function skipLenenc(reader: PayloadReader): void {
  const first = reader.u8();
  if (first >= 0xfc) reader.bytes(first === 0xfc ? 2 : first === 0xfd ? 3 : 8);
}

/** Status flags of an EOF packet; servers older than 4.1 have none. */
function eofStatus(head: Buffer): number {
  return head.length >= 5 ? head.readUInt16LE(3) : 0;
}
