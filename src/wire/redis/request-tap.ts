import { DecodeError } from '../../core/errors.ts';
import { type CommandText, CommandTextBuilder, MAX_AUDITED_ARGUMENT } from './command-text.ts';
import { answerOf, HELD_COMMANDS, isLivenessCheck } from './commands.ts';
import type { PendingReply, ReplyTracker } from './reply-tracker.ts';
import { decodeCommandHead, encodeCommand, encodeError, MAX_BULK_BYTES } from './resp.ts';

/** Longest name of a command. */
const MAX_NAME = 64;
/** Longest argument, and longest whole, of a command that is looked at as a whole. */
const MAX_HELD_BYTES = 64 * 1024;
/**
 * What the server gets in place of a command that the gateway answers: no server has it, so that the answer comes in its turn, as an error,
 * whatever state the connection is in; a transaction is aborted by it, as by every refused command.
 */
const PLACEHOLDER = encodeCommand('NIGHTLATCH.ANSWERED');

/** What becomes of a command: answered by the gateway, replaced, or (undefined) sent as it is. */
export type RequestDecision =
  | { readonly answer: Buffer }
  | {
      readonly replace: Buffer;
      readonly replies: readonly PendingReply[];
      /** Nothing more goes to the server until `RequestTap.goOn`. */
      readonly wait?: boolean;
    }
  | undefined;

/** Who decides about commands and hears of them. */
export interface RequestListener {
  /** A command before the server has it; `args` are all of its arguments, name first, for `HELD_COMMANDS`, and absent for others. */
  decide(name: string, args: readonly Buffer[] | undefined): RequestDecision;
  /** For the audit, in the order of sending. Absent where nothing is to be audited: no text is kept then. */
  command?(text: CommandText): void;
}

/** Answers to requests that the gateway refuses. */
export function refusal(code: string, text: string): RequestDecision {
  return { answer: encodeError(code, text) };
}

/**
 * Walks the commands of the client. Most pass as they come, once their name is known; those that change who or where the connection is wait until
 * they are whole.
 */
export class RequestTap {
  readonly #tracker: ReplyTracker;
  readonly #listener: RequestListener;
  /** Bytes that are not decided yet, or wait. */
  #held: Buffer | undefined;
  /** Arguments of the present command that are still to come. */
  #arguments = 0;
  /** Bytes of the present argument with its CR LF that are still to come. */
  #rest = 0;
  /** The header of an argument, as far as it has come. */
  #header = '';
  /** The present command is answered by the gateway: its bytes go nowhere. */
  #dropping = false;
  /** The present command counts as input. */
  #counting = false;
  #text: CommandTextBuilder | undefined;
  #argument: Buffer[] = [];
  #argumentBytes = 0;
  #argumentLength = 0;
  #replies: 'on' | 'off' | 'skip' = 'on';
  #input = false;
  #waiting = false;
  /** The client has said goodbye. */
  terminated = false;

  constructor(tracker: ReplyTracker, listener: RequestListener) {
    this.#tracker = tracker;
    this.#listener = listener;
  }

  /** Nothing is half sent to the server. */
  get atBoundary(): boolean {
    return this.#arguments === 0 || this.#dropping;
  }

  /** True when something in the last chunk counts as input (SPEC 2.3): a command, but no PING. */
  get input(): boolean {
    return this.#input;
  }

  /** What the client sends is held back. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** What was waited for has come: `push` (with nothing) goes on with what was held back. */
  goOn(): void {
    this.#waiting = false;
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
    while (at < bytes.length && !this.#waiting) {
      if (this.#arguments > 0) {
        const next = this.#pass(bytes, at);
        if (this.#dropping) {
          out.push(bytes.subarray(from, at));
          from = next;
        } else if (this.#counting) this.#input = true;
        at = next;
        if (this.#arguments === 0) this.#ended();
        continue;
      }
      const head = decodeCommandHead(bytes, at, 1, MAX_NAME);
      if (head === undefined) break;
      if (head.count === 0) {
        at = head.next;
        continue;
      }
      const name = (head.args[0]?.toString('latin1') ?? '').toUpperCase();
      const inline = bytes[at] !== 0x2a;
      let next = head.next;
      let replacement: Buffer | undefined;
      if (inline || HELD_COMMANDS.has(name)) {
        const whole = inline ? head : decodeCommandHead(bytes, at, head.count, MAX_HELD_BYTES);
        if (whole === undefined ? bytes.length - at > MAX_HELD_BYTES : whole.args.length < whole.count)
          throw new DecodeError(`a ${name} command that is too long`);
        if (whole === undefined) break;
        next = whole.next;
        replacement = this.#whole(name, whole.args);
      } else replacement = this.#begin(name, head.count, head.args.length);
      if (replacement !== undefined) {
        out.push(bytes.subarray(from, at), replacement);
        from = next;
      }
      at = next;
    }
    if (at < bytes.length) this.#held = Buffer.from(bytes.subarray(at));
    if (from === 0 && out.length === 0) return at === bytes.length ? bytes : bytes.subarray(0, at);
    out.push(bytes.subarray(from, at));
    return Buffer.concat(out);
  }

  /** A command that passes once its name is known. Returns what the server gets in its place, or undefined. */
  #begin(name: string, count: number, decoded: number): Buffer | undefined {
    const decision = this.#listener.decide(name, undefined);
    this.#arguments = count - decoded;
    if (this.#listener.command !== undefined && !isLivenessCheck(name))
      this.#text = new CommandTextBuilder(name, count);
    const counts = !isLivenessCheck(name);
    this.#counting = counts;
    if (counts) this.#input = true;
    let replacement: Buffer | undefined;
    if (decision !== undefined) {
      this.#dropping = true;
      replacement = this.#replace(decision);
    } else this.#expect({ answer: answerOf(name, count), counts });
    if (this.#arguments === 0) this.#ended();
    return replacement;
  }

  /** A command that is looked at as a whole. */
  #whole(name: string, args: readonly Buffer[]): Buffer | undefined {
    const decision = this.#listener.decide(name, args);
    const counts = !isLivenessCheck(name);
    if (counts) this.#input = true;
    if (this.#listener.command !== undefined && counts) {
      const text = new CommandTextBuilder(name, args.length);
      for (const argument of args.slice(1)) text.argument(argument);
      this.#listener.command(text.finish());
    }
    if (decision !== undefined) return this.#replace(decision);
    if (name === 'QUIT') this.terminated = true;
    if (!this.#setsReplies(name, args)) this.#expect({ answer: answerOf(name, args.length), counts });
    return undefined;
  }

  #replace(decision: NonNullable<RequestDecision>): Buffer {
    if ('answer' in decision) {
      const { answer } = decision;
      this.#expect({ answer: { kind: 'plain' }, counts: false, rewrite: () => answer });
      return PLACEHOLDER;
    }
    // RESET switches the answers on again.
    if (decision.replies[0]?.answer.kind === 'reset') this.#replies = 'on';
    for (const reply of decision.replies) this.#expect(reply);
    if (decision.wait === true) this.#waiting = true;
    return decision.replace;
  }

  /** CLIENT REPLY: true when it has no answer itself. */
  #setsReplies(name: string, args: readonly Buffer[]): boolean {
    if (name !== 'CLIENT' || args.length !== 3 || args[1]!.toString('latin1').toUpperCase() !== 'REPLY') return false;
    switch (args[2]!.toString('latin1').toUpperCase()) {
      case 'ON':
        this.#replies = 'on';
        return false;
      case 'OFF':
        this.#replies = 'off';
        return true;
      case 'SKIP':
        if (this.#replies === 'on') this.#replies = 'skip';
        return true;
      default:
        return false;
    }
  }

  #expect(reply: PendingReply): void {
    if (this.#replies === 'on') {
      this.#tracker.sent(reply);
      return;
    }
    // What came of it decides what may follow, and nobody would say.
    if (reply.done !== undefined) throw new DecodeError('a SELECT whose answer is switched off (CLIENT REPLY)');
    if (this.#replies === 'skip') this.#replies = 'on';
  }

  /** Arguments go by. Returns where it stopped: at the command's end or the chunk's. */
  #pass(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length && this.#arguments > 0) {
      if (this.#rest === 0) {
        at = this.#readHeader(bytes, at);
        continue;
      }
      const take = Math.min(this.#rest, bytes.length - at);
      this.#keep(bytes, at, take);
      this.#rest -= take;
      at += take;
      if (this.#rest === 0) this.#argumentEnded();
    }
    return at;
  }

  /** `$LENGTH`, in one piece or byte by byte. */
  #readHeader(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length) {
      const byte = bytes[at]!;
      at += 1;
      this.#header += String.fromCharCode(byte);
      if (byte === 10) {
        const length = /^\$(\d{1,10})\r\n$/.exec(this.#header)?.[1];
        if (length === undefined || Number(length) > MAX_BULK_BYTES)
          throw new DecodeError('an argument without a length');
        this.#header = '';
        this.#argumentLength = Number(length);
        this.#rest = this.#argumentLength + 2;
        return at;
      }
      if (this.#header.length > 16) throw new DecodeError('an argument without a length');
    }
    return at;
  }

  /** Keeps an argument's beginning for the audit. */
  #keep(bytes: Buffer, at: number, take: number): void {
    if (this.#text === undefined || this.#text.full) return;
    const passed = this.#argumentLength + 2 - this.#rest;
    const length = Math.min(take, this.#argumentLength - passed, MAX_AUDITED_ARGUMENT - this.#argumentBytes);
    if (length <= 0) return;
    this.#argument.push(Buffer.from(bytes.subarray(at, at + length)));
    this.#argumentBytes += length;
  }

  #argumentEnded(): void {
    this.#arguments -= 1;
    this.#text?.argument(Buffer.concat(this.#argument, this.#argumentBytes), this.#argumentLength);
    this.#argument = [];
    this.#argumentBytes = 0;
  }

  #ended(): void {
    this.#dropping = false;
    const text = this.#text;
    this.#text = undefined;
    if (text !== undefined) this.#listener.command?.(text.finish());
  }
}
