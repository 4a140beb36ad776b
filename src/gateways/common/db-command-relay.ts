import type { Duplex } from 'node:stream';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Session, SessionEnd } from '../../session/types.ts';
import type { FastPath } from './fast-path.ts';
import { finishStream, StreamRelay, type StreamRelayHandlers } from './stream-relay.ts';
import { TransactionGuard, type TransactionLimit } from './transaction-guard.ts';

const NOTHING = Buffer.alloc(0);

/** Turns one whole answer of the server into what the client gets for it; empty for nothing. */
export type Rewrite = (answer: Buffer) => Buffer;

/** What a protocol of commands and answers knows of the bytes that go by. Everything may throw `DecodeError`. */
export interface CommandTaps {
  /** Bytes from the client (empty: go on after `waiting`); returns what goes on to the server. */
  fromClient(chunk: Buffer): Buffer;
  /** Something in the last chunk counts as input (SPEC 2.3). */
  readonly input: boolean;
  /** The client has said goodbye. */
  readonly terminated: boolean;
  /** The client's bytes are held back until the server has answered. */
  readonly waiting: boolean;
  /**
   * Bytes from the server, from `start` to `end`. With `stopAtBoundary` it takes no more than what completes the message that is half sent, or
   * one whole message. Returns where it stopped.
   */
  fromServer(chunk: Buffer, start: number, end: number, stopAtBoundary: boolean): number;
  /** The server is between two messages: something may be put in here. */
  readonly atBoundary: boolean;
  /** Some answer that is due has to be rewritten. */
  readonly rewrites: boolean;
  /** At a boundary: how the message that begins at `at` is to be rewritten, or undefined. */
  rewriteAt(chunk: Buffer, at: number, end: number): Rewrite | undefined;
  /** A command that counts as work is running. */
  readonly busy: boolean;
  /** The server holds a transaction open. */
  readonly transactionOpen: boolean;
  /** The last message to the client, at a boundary. */
  lastWords(end: SessionEnd): Buffer;
  /** The last message to the server, or undefined when one would not be understood now. */
  readonly goodbye: Buffer | undefined;
}

/** The two connections of a session, and what the relay needs to know of it. */
export interface CommandRelayOptions {
  readonly session: Session;
  readonly client: Duplex;
  readonly server: Duplex;
  readonly log: Logger;
  readonly taps: CommandTaps;
  readonly fastPath: FastPath | undefined;
  /** Ends from outside what runs on the server, where the end of the connection would not. */
  stopWork?(): Promise<void>;
  readonly idleInTransaction?: TransactionLimit;
}

/**
 * A session of commands and answers: relays, reports activity, puts the gateway's answers in the place of the server's, and ends at a message
 * boundary. The session's timers are in session/; here is none.
 */
export class DbCommandRelay implements StreamRelayHandlers {
  readonly #options: CommandRelayOptions;
  readonly #taps: CommandTaps;
  readonly #relay: StreamRelay;
  /** Work has been reported as begun to the session. */
  #working = false;
  /** Work ends when the client's connection has taken what was written to it. */
  #draining = false;
  /** An answer that is rewritten, as far as it has come. */
  #withheld: { parts: Buffer[]; rewrite: Rewrite } | undefined;
  /** What waits to be put in where the server is between two messages. */
  #notice: Buffer | undefined;
  #closing = false;
  /** The server's bytes could not be read, and this is where the client stands. */
  #broken: 'between messages' | 'within a message' | undefined;
  #boundaryReached: (() => void) | undefined;
  readonly #transaction: TransactionGuard | undefined;

  constructor(options: CommandRelayOptions) {
    this.#options = options;
    this.#taps = options.taps;
    const { idleInTransaction } = options;
    if (idleInTransaction !== undefined) this.#transaction = new TransactionGuard(options.session, idleInTransaction);
    this.#relay = new StreamRelay(options.client, options.server, this, options.fastPath);
  }

  /** Starts with what either side sent behind the login. */
  start(earlyFromClient: Buffer, earlyFromServer: Buffer): void {
    this.#relay.start(earlyFromClient, earlyFromServer);
  }

  fromClient(chunk: Buffer, length: number): Buffer {
    const { session } = this.#options;
    const forward = this.#taps.fromClient(length === chunk.length ? chunk : chunk.subarray(0, length));
    if (this.#taps.input) session.activity('input');
    this.#workBegins();
    if (this.#taps.busy) this.#transaction?.disarm();
    if (this.#taps.waiting) this.#relay.holdClient();
    return forward;
  }

  fromServer(chunk: Buffer, length: number): number {
    const before = this.#clientAtBoundary;
    try {
      return this.#fromServer(chunk, length);
    } catch (error) {
      // Nothing of the chunk goes on, and where its messages end nobody knows.
      this.#broken = before ? 'between messages' : 'within a message';
      this.#boundaryReached?.();
      throw error;
    }
  }

  #fromServer(chunk: Buffer, length: number): number {
    if (this.#closing) return this.#toBoundary(chunk, length);
    const taps = this.#taps;
    const { waiting } = taps;
    let taken = length;
    if (taps.rewrites || this.#withheld !== undefined || this.#notice !== undefined) {
      this.#messageByMessage(chunk, length);
      taken = 0;
    } else taps.fromServer(chunk, 0, length, false);
    if (waiting && !taps.waiting) this.#goOn();
    if (this.#working && !taps.busy) this.#workDone();
    else this.#workBegins();
    this.#watchTransaction();
    return taken;
  }

  clientEnded(): void {
    const { session } = this.#options;
    // A client that has said goodbye may have sent commands before it: they are carried out to their end.
    if (this.#taps.terminated && !this.#closing && this.#taps.busy) this.#relay.endServer();
    else void session.end('client_closed');
  }

  serverEnded(): void {
    void this.#options.session.end(this.#taps.terminated ? 'client_closed' : 'target_closed');
  }

  failed(error: unknown): void {
    const { session, log } = this.#options;
    log.warn(`${session.spec.protocol}: a message could not be read`, { sid: session.id, error: errorMessage(error) });
    void session.end('error', errorMessage(error));
  }

  /** Puts a message in where the server is between two of its own. */
  tell(message: Buffer): void {
    if (this.#closing) return;
    if (this.#clientAtBoundary) this.#relay.tellClient(message);
    else this.#notice = this.#notice === undefined ? message : Buffer.concat([this.#notice, message]);
  }

  /** SessionControl.policyChanged */
  policyChanged(): void {
    this.#transaction?.policyChanged();
  }

  /** SessionControl.close */
  async close(end: SessionEnd): Promise<void> {
    const { client, server, log, session } = this.#options;
    const taps = this.#taps;
    this.#closing = true;
    this.#relay.muteClient();
    if (taps.busy && !taps.terminated) {
      this.#options.stopWork?.().catch((error: unknown) => {
        log.warn(`${session.spec.protocol}: a running command could not be ended`, { error: errorMessage(error) });
      });
    }
    const unfinished = !this.#clientAtBoundary && this.#broken === undefined;
    if (end.tell && unfinished && !client.destroyed && !server.destroyed)
      await new Promise<void>((resolve) => {
        this.#boundaryReached = resolve;
        server.once('close', resolve);
      });
    await this.#relay.stop();
    const last = end.tell && this.#clientAtBoundary ? taps.lastWords(end) : undefined;
    await Promise.all([finishStream(client, last), finishStream(server, taps.goodbye)]);
  }

  /** SessionControl.abort */
  abort(): void {
    this.#options.client.destroy();
    this.#options.server.destroy();
  }

  /** Nothing is half sent to the client; of an answer that is rewritten it has nothing yet. */
  get #clientAtBoundary(): boolean {
    if (this.#broken !== undefined) return this.#broken === 'between messages';
    return this.#taps.atBoundary || this.#withheld !== undefined;
  }

  /** Lets pass what completes the message that is half sent. */
  #toBoundary(chunk: Buffer, length: number): number {
    if (this.#clientAtBoundary || this.#broken !== undefined) return 0;
    const taken = this.#taps.fromServer(chunk, 0, length, true);
    if (this.#taps.atBoundary) {
      // The relay writes the taken bytes when this returns; the last words must come behind them.
      const reached = this.#boundaryReached;
      this.#boundaryReached = undefined;
      if (reached !== undefined) queueMicrotask(reached);
    }
    return taken;
  }

  /** Goes message by message: rewrites answers, and puts in what waits for a boundary. */
  #messageByMessage(chunk: Buffer, length: number): void {
    const taps = this.#taps;
    const out: Buffer[] = [];
    let at = 0;
    while (at < length) {
      if (taps.atBoundary) {
        if (this.#notice !== undefined) out.push(this.#notice);
        this.#notice = undefined;
        const rewrite = taps.rewriteAt(chunk, at, length);
        if (rewrite !== undefined) this.#withheld = { parts: [], rewrite };
      }
      const next = taps.fromServer(chunk, at, length, true);
      const part = chunk.subarray(at, next);
      at = next;
      if (this.#withheld === undefined) {
        out.push(part);
        continue;
      }
      this.#withheld.parts.push(Buffer.from(part));
      if (!taps.atBoundary) continue;
      out.push(this.#withheld.rewrite(Buffer.concat(this.#withheld.parts)));
      this.#withheld = undefined;
    }
    if (this.#notice !== undefined && taps.atBoundary) {
      out.push(this.#notice);
      this.#notice = undefined;
    }
    const bytes = Buffer.concat(out);
    if (bytes.length > 0) this.#relay.tellClient(bytes);
  }

  /** What the client sent while it had to wait goes on. */
  #goOn(): void {
    const forward = this.fromClient(NOTHING, 0);
    if (forward.length > 0) this.#relay.tellServer(forward);
    if (!this.#taps.waiting) this.#relay.releaseClient();
  }

  #workBegins(): void {
    if (this.#working || !this.#taps.busy) return;
    this.#working = true;
    this.#options.session.workStarted();
  }

  /** The server owes nothing: work is over once the client has it. */
  #workDone(): void {
    if (this.#draining) return;
    if (!this.#relay.clientBacklogged) {
      this.#workEnded();
      return;
    }
    this.#draining = true;
    this.#relay.whenClientDrained(() => {
      this.#draining = false;
      if (!this.#taps.busy) this.#workEnded();
    });
  }

  #workEnded(): void {
    if (!this.#working) return;
    this.#working = false;
    this.#options.session.workEnded();
  }

  /** An open transaction is left idle from the moment that nothing runs; liveness checks do not touch it. */
  #watchTransaction(): void {
    if (this.#transaction === undefined || this.#taps.busy) return;
    if (this.#taps.transactionOpen) this.#transaction.arm();
    else this.#transaction.disarm();
  }
}
