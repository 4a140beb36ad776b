import { BACKEND, FRONTEND } from './messages.ts';

/** Marks of the queue; an entry above zero is a run of extended-query messages of which so many are unanswered. */
const SYNC = -1;
const SIMPLE = -2;
const COPY_END = -3;

/**
 * Knows whether a command is running: from the client's message to the ReadyForQuery that answers it, also in pipelines.
 * Counting Sync against ReadyForQuery drifts around COPY (the server ignores a Sync while it reads copy data) and after errors (it
 * ignores everything up to the next Sync), so the queue follows the server's states (protocol documentation, "Message Flow").
 */
export class CommandTracker {
  readonly #queue: number[] = [];
  /** The server reads copy data, and the client has not ended it yet. */
  #copyIn = false;
  /** After an error the server skips everything up to a Sync that the client has not sent yet. */
  #skipping = false;
  /** The last run of extended-query messages ends with Execute, which may begin a copy; the next message begins another run. */
  #runClosed = false;
  /** A real command is in the queue, and the client waits for its answer: a Sync alone or an empty query is no work. */
  #counted = false;
  /** A real command was sent of which no answer was asked for yet (Sync or Flush): the server may be done with it, and says nothing. */
  #unasked = false;
  /** Transaction status of the last ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one. */
  status = 0x49;

  /** A command that counts as work is running. */
  get busy(): boolean {
    return this.#counted;
  }

  /** The server owes an answer, be it to a liveness check. */
  get pending(): boolean {
    return this.#queue.length > 0;
  }

  /** Copy data means something to the server now, or will when it has come to the command that waits for it. */
  get takesCopyData(): boolean {
    return this.#copyIn || this.#counted || this.#unasked;
  }

  /** The client sent a message of this type; `counts` says whether it carries a command. */
  client(type: number, counts: boolean): void {
    const queue = this.#queue;
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.functionCall:
        if (this.#skipping) return;
        if (this.#copyIn) {
          // The server takes it for the end of the copy, an error, and does not execute it.
          this.#copyIn = false;
          return;
        }
        queue.push(SIMPLE);
        break;
      case FRONTEND.sync:
        if (this.#copyIn) return;
        this.#skipping = false;
        queue.push(SYNC);
        this.#asked();
        return;
      case FRONTEND.flush:
        this.#asked();
        return;
      case FRONTEND.parse:
      case FRONTEND.bind:
      case FRONTEND.execute:
      case FRONTEND.describe:
      case FRONTEND.close: {
        if (this.#skipping) return;
        if (this.#copyIn) {
          this.#copyIn = false;
          return;
        }
        const last = queue.length - 1;
        if (last >= 0 && queue[last]! > 0 && !this.#runClosed) queue[last]! += 1;
        else queue.push(1);
        this.#runClosed = type === FRONTEND.execute;
        if (counts) this.#unasked = true;
        return;
      }
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        if (this.#copyIn) this.#copyIn = false;
        else if (queue.length > 0 && !this.#skipping) queue.push(COPY_END);
        return;
      default:
        return;
    }
    if (counts) this.#counted = true;
  }

  #asked(): void {
    if (this.#unasked) this.#counted = true;
    this.#unasked = false;
  }

  /** The server sent a message of this type. ReadyForQuery comes through `ready`. */
  server(type: number): void {
    switch (type) {
      case BACKEND.parseComplete:
      case BACKEND.bindComplete:
      case BACKEND.closeComplete:
      case BACKEND.rowDescription:
      case BACKEND.noData:
      case BACKEND.commandComplete:
      case BACKEND.portalSuspended:
      case BACKEND.emptyQueryResponse:
        this.#answered();
        return;
      case BACKEND.copyInResponse:
      case BACKEND.copyBothResponse:
        this.#copyStarted();
        return;
      case BACKEND.errorResponse:
        this.#failed();
        return;
      default:
    }
  }

  /** ReadyForQuery with its transaction status. */
  ready(status: number): void {
    this.status = status;
    const queue = this.#queue;
    while (queue.length > 0) {
      const mark = queue.shift()!;
      if (mark === SYNC || mark === SIMPLE) break;
    }
    this.#copyIn = false;
    // What is left is behind the last Sync.
    if (this.#unasked && queue.every((mark) => mark > 0)) this.#counted = false;
    this.#advanced();
  }

  /** The server has come to the next message of the queue. */
  #advanced(): void {
    const queue = this.#queue;
    // What ends a copy that never began means nothing to it.
    while (queue[0] === COPY_END) queue.shift();
    if (queue.length > 0) return;
    this.#counted = false;
    this.#unasked = false;
  }

  /** One extended-query message has its answer. The answers of a simple query mean nothing here. */
  #answered(): void {
    const queue = this.#queue;
    if (queue.length === 0 || queue[0]! <= 0) return;
    queue[0]! -= 1;
    if (queue[0] === 0) {
      queue.shift();
      this.#advanced();
    }
  }

  /** The server reads copy data now, and ignores each Sync until the client ends the copy. */
  #copyStarted(): void {
    const queue = this.#queue;
    const at = queue.length > 0 && queue[0] !== SYNC ? 1 : 0;
    this.#copyIn = true;
    // The server has answered: the command runs, whether that was asked for or not.
    this.#asked();
    while (this.#copyIn && at < queue.length) {
      const mark = queue[at]!;
      if (mark <= 0) queue.splice(at, 1);
      // Any other message ends the copy with an error. That of an extended query skips to a Sync, see `#failed`.
      else if (queue[0] === SIMPLE && --queue[at]! === 0) queue.splice(at, 1);
      this.#copyIn = mark === SYNC;
    }
  }

  #failed(): void {
    const queue = this.#queue;
    this.#copyIn = false;
    // The error of a simple query, or of a Sync that could not commit: ReadyForQuery follows.
    if (queue.length === 0 || queue[0]! <= 0) return;
    while (queue.length > 0 && queue[0] !== SYNC) queue.shift();
    if (queue.length === 0) {
      this.#skipping = true;
      this.#counted = false;
      this.#unasked = false;
    }
  }
}
