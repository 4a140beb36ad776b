import { DecodeError } from '../../core/errors.ts';
import { auditedCommandName, COMMAND, responseShape } from './commands.ts';
import { encodeError, encodePacket, HEADER_LENGTH, MAX_PAYLOAD } from './packets.ts';
import type { PendingCommand, ResponseTracker } from './response-tracker.ts';
import { isEmptyStatement } from './sql-text.ts';
import {
  auditedText,
  MAX_AUDITED_BYTES,
  type PreparedStatement,
  Statements,
  type StatementText,
} from './statements.ts';

/** A command up to this length waits until all of it is there, so that it can be looked at before the server has it. */
const HELD_LENGTH = 4096;
/** COM_CHANGE_USER carries connection attributes. */
const MAX_CHANGE_USER = 64 * 1024;

/** A refusal, as an ERR packet tells it. */
export interface Refusal {
  readonly code: number;
  readonly sqlState: string;
  readonly text: string;
}

/** What becomes of a command: refused, replaced by other packets, or (undefined) sent as it is. */
export type Decision =
  | { readonly refuse: Refusal }
  | { readonly replace: Buffer; readonly commands: readonly PendingCommand[] }
  | undefined;

/** A statement that the client has sent to be executed, or a command audited by its name. */
export interface SentStatement extends StatementText {
  /** Parameters of a prepared statement; undefined for everything else. */
  readonly parameterCount?: number;
  readonly statementId?: number;
}

/** Who decides about commands and hears of them. */
export interface ClientListener {
  /**
   * A command of at most `HELD_LENGTH` bytes (COM_CHANGE_USER: any) before the server has it. `text` is the statement's, of COM_QUERY and
   * COM_STMT_PREPARE.
   */
  decide(command: number, payload: Buffer, text: string): Decision;
  /** For the audit, in the order of sending. Absent where nothing is to be audited: no text is kept then. */
  statement?(statement: SentStatement): void;
}

/** A command that passes before all of it is there. */
interface LongCommand {
  readonly command: number;
  wholeLength: number;
  statement?: PreparedStatement;
}

/**
 * Walks the packets of the client, in the command phase. Long ones pass while their beginning is kept for the audit; short ones wait until they
 * are whole, since the listener may refuse or replace them.
 */
export class ClientTap {
  readonly #tracker: ResponseTracker;
  readonly #listener: ClientListener;
  readonly #statements = new Statements();
  /** The beginning of a command that is not decided yet. */
  #held: Buffer | undefined;
  /** Bytes of the present payload that pass. */
  #rest = 0;
  #length = 0;
  #continues = false;
  /** The long command that passes, and its beginning. */
  #long: LongCommand | undefined;
  #captured: Buffer[] = [];
  #capturedBytes = 0;
  #input = false;
  /** The client has said goodbye. */
  terminated = false;

  constructor(tracker: ResponseTracker, listener: ClientListener) {
    this.#tracker = tracker;
    this.#listener = listener;
  }

  /** Nothing is half sent to the server. */
  get atBoundary(): boolean {
    return this.#rest === 0 && !this.#continues;
  }

  /** True when something in the last chunk counts as input (SPEC 2.3): a command or a file's content, but no liveness check. */
  get input(): boolean {
    return this.#input;
  }

  /**
   * Takes a chunk and returns what goes on to the server: the chunk itself wherever nothing is held back or replaced.
   * @throws {DecodeError}
   */
  push(chunk: Buffer): Buffer {
    this.#input = false;
    const bytes = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = undefined;
    const out: Buffer[] = [];
    /** Where the bytes begin that are not in `out` yet. */
    let from = 0;
    let at = 0;
    while (at < bytes.length) {
      if (this.#rest > 0) {
        at = this.#pass(bytes, at);
        continue;
      }
      const available = bytes.length - at;
      if (available < HEADER_LENGTH) break;
      const length = bytes.readUIntLE(at, 3);
      const sequence = bytes[at + 3]!;
      if (this.#continues || this.#tracker.infile) {
        this.#further(length, sequence);
        at += HEADER_LENGTH;
        continue;
      }
      if (length === 0 || sequence !== 0) throw new DecodeError('a client packet that begins no command');
      if (available === HEADER_LENGTH) break;
      const command = bytes[at + HEADER_LENGTH]!;
      if (length > HELD_LENGTH && command !== COMMAND.changeUser) {
        this.#beginLong(command, length);
        at += HEADER_LENGTH;
        continue;
      }
      if (length > MAX_CHANGE_USER) throw new DecodeError(`a command of ${length} bytes that should be short`);
      if (available < HEADER_LENGTH + length) break;
      const end = at + HEADER_LENGTH + length;
      const replacement = this.#short(command, bytes.subarray(at + HEADER_LENGTH, end));
      if (replacement !== undefined) {
        out.push(bytes.subarray(from, at), replacement);
        from = end;
      }
      at = end;
    }
    if (at < bytes.length) this.#held = Buffer.from(bytes.subarray(at));
    if (from === 0) return at === bytes.length ? bytes : bytes.subarray(0, at);
    out.push(bytes.subarray(from, at));
    return Buffer.concat(out);
  }

  /** A packet that goes on a command, or a piece of the file that the server reads. */
  #further(length: number, sequence: number): void {
    const { infile } = this.#tracker;
    const wasContinuing = this.#continues;
    this.#continues = length === MAX_PAYLOAD;
    this.#rest = length;
    this.#input = true;
    if (this.#long !== undefined) this.#long.wholeLength += length;
    this.#tracker.continued(sequence);
    if (infile && length === 0 && !wasContinuing) this.#tracker.fileEnded(sequence);
    if (length === 0 && !this.#continues) this.#endLong();
  }

  #beginLong(command: number, length: number): void {
    switch (command) {
      case COMMAND.query:
      case COMMAND.stmtPrepare:
      case COMMAND.stmtExecute:
      case COMMAND.stmtBulkExecute:
      case COMMAND.stmtSendLongData:
        break;
      default:
        throw new DecodeError(`a command of ${length} bytes that should be short`);
    }
    this.#rest = length;
    this.#continues = length === MAX_PAYLOAD;
    this.#long = { command, wholeLength: length };
    this.#input = true;
  }

  /** Bytes of a long payload go by. */
  #pass(bytes: Buffer, at: number): number {
    const take = Math.min(this.#rest, bytes.length - at);
    if (this.#long !== undefined && this.#capturedBytes <= MAX_AUDITED_BYTES) {
      const part = Buffer.from(bytes.subarray(at, at + Math.min(take, MAX_AUDITED_BYTES + 1 - this.#capturedBytes)));
      const first = this.#capturedBytes === 0;
      this.#captured.push(part);
      this.#capturedBytes += part.length;
      if (first) this.#sentLong(this.#long);
    }
    this.#input = true;
    this.#rest -= take;
    if (this.#rest === 0 && !this.#continues) this.#endLong();
    return at + take;
  }

  /** The first bytes of a long command are on their way. */
  #sentLong(long: LongCommand): void {
    if (long.command === COMMAND.stmtPrepare) {
      // Its text follows before the server can answer.
      long.statement = { text: '', truncated: true, empty: false, parameters: 0 };
      this.#prepare(long.statement);
    } else this.#sent(long.command, true);
  }

  #endLong(): void {
    const long = this.#long;
    if (long === undefined) return;
    this.#long = undefined;
    const beginning = Buffer.concat(this.#captured, this.#capturedBytes);
    this.#captured = [];
    this.#capturedBytes = 0;
    if (long.statement !== undefined)
      Object.assign(long.statement, auditedText(beginning.subarray(1), long.wholeLength - 1));
    this.#audit(long.command, beginning, long.wholeLength);
  }

  /** A whole command. Returns what the server gets in its place, or undefined. */
  #short(command: number, payload: Buffer): Buffer | undefined {
    const hasText = command === COMMAND.query || command === COMMAND.stmtPrepare;
    const text = hasText ? payload.toString('utf8', 1) : '';
    const decision = this.#listener.decide(command, payload, text);
    if (decision !== undefined && 'refuse' in decision) {
      this.#input = true;
      return this.#refuse(decision.refuse);
    }
    const noise = this.#isNoise(command, payload, text);
    if (!noise) this.#input = true;
    if (decision !== undefined) {
      for (const pending of decision.commands) this.#tracker.sent(pending);
      if (command === COMMAND.changeUser) this.#statements.clear();
      this.#audit(command, payload, payload.length);
      return decision.replace;
    }
    switch (command) {
      case COMMAND.quit:
        this.terminated = true;
        break;
      case COMMAND.stmtClose:
        if (payload.length >= 5) this.#statements.close(payload.readUInt32LE(1));
        break;
      case COMMAND.resetConnection:
        this.#statements.clear();
        break;
      default:
    }
    if (command === COMMAND.stmtPrepare)
      this.#prepare({ ...auditedText(payload.subarray(1)), empty: isEmptyStatement(text), parameters: 0 });
    else this.#sent(command, !noise);
    this.#audit(command, payload, payload.length);
    return undefined;
  }

  /** True for what says only that the client is there, or tidies up. */
  #isNoise(command: number, payload: Buffer, text: string): boolean {
    switch (command) {
      case COMMAND.ping:
      case COMMAND.quit:
      case COMMAND.stmtClose:
        return true;
      case COMMAND.query:
      case COMMAND.stmtPrepare:
        return isEmptyStatement(text);
      case COMMAND.stmtExecute:
        return payload.length >= 5 && this.#statements.get(payload.readUInt32LE(1))?.empty === true;
      default:
        return false;
    }
  }

  #sent(command: number, counts: boolean): void {
    const shape = responseShape(command);
    // Commands without a known answer are refused by the listener; what passes has one.
    if (shape === undefined) throw new DecodeError(`command ${command} is not known`);
    if (shape !== 'none') this.#tracker.sent({ command, shape, counts, sequence: 0 });
  }

  #prepare(statement: PreparedStatement): void {
    this.#statements.sent(statement);
    this.#tracker.sent({
      command: COMMAND.stmtPrepare,
      shape: 'prepare',
      counts: !statement.empty,
      sequence: 0,
      prepared: (id, parameters) => {
        statement.parameters = parameters;
        this.#statements.keep(id, statement);
      },
    });
  }

  /** The server is asked for a sign of life instead, and its answer becomes the refusal: so it comes in its turn. */
  #refuse({ code, sqlState, text }: Refusal): Buffer {
    const error = encodePacket(1, encodeError(code, sqlState, text));
    this.#tracker.sent({
      command: COMMAND.ping,
      shape: 'single',
      counts: false,
      sequence: 0,
      rewrite: () => error,
    });
    return encodePacket(0, Buffer.from([COMMAND.ping]));
  }

  #audit(command: number, beginning: Buffer, wholeLength: number): void {
    const { statement } = this.#listener;
    if (statement === undefined) return;
    switch (command) {
      case COMMAND.query:
        this.#listener.statement!(auditedText(beginning.subarray(1), wholeLength - 1));
        return;
      case COMMAND.stmtExecute:
      case COMMAND.stmtBulkExecute: {
        if (beginning.length < 5) return;
        const statementId = beginning.readUInt32LE(1);
        const known = this.#statements.get(statementId);
        this.#listener.statement!({
          text: known?.text ?? '',
          truncated: known?.truncated ?? true,
          parameterCount: known?.parameters ?? 0,
          statementId,
        });
        return;
      }
      default: {
        const name = auditedCommandName(command);
        if (name !== undefined)
          this.#listener.statement!({ text: commandText(name, command, beginning), truncated: false });
      }
    }
  }
}

/** `COM_INIT_DB orders`, `COM_PROCESS_KILL 7`. */
function commandText(name: string, command: number, payload: Buffer): string {
  switch (command) {
    case COMMAND.initDb:
    case COMMAND.createDb:
    case COMMAND.dropDb:
      return `${name} ${payload.toString('utf8', 1)}`;
    case COMMAND.processKill:
      return payload.length >= 5 ? `${name} ${payload.readUInt32LE(1)}` : name;
    default:
      return name;
  }
}
