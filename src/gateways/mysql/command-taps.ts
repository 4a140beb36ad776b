import type { SessionEnd } from '../../session/types.ts';
import { type ClientListener, ClientTap } from '../../wire/mysql/client-tap.ts';
import { COMMAND } from '../../wire/mysql/commands.ts';
import { encodeError, encodePacket } from '../../wire/mysql/packets.ts';
import { ResponseTracker } from '../../wire/mysql/response-tracker.ts';
import { ServerTap } from '../../wire/mysql/server-tap.ts';
import type { CommandTaps, Rewrite } from '../common/db-command-relay.ts';
import { errorOf } from './error-codes.ts';

const QUIT = encodePacket(0, Buffer.from([COMMAND.quit]));

/** What the relay of a MySQL session looks at (protocol, "Command Phase"). */
export class MysqlTaps implements CommandTaps {
  readonly #tracker: ResponseTracker;
  readonly #front: ClientTap;
  readonly #back: ServerTap;
  /** No command has to wait for the answer of another. */
  readonly waiting = false;

  /** @param options.deprecateEof - client and server have agreed to do without EOF packets. */
  constructor(listener: ClientListener, options: { deprecateEof: boolean }) {
    this.#tracker = new ResponseTracker(options);
    this.#front = new ClientTap(this.#tracker, listener);
    this.#back = new ServerTap(this.#tracker);
  }

  fromClient(chunk: Buffer): Buffer {
    return this.#front.push(chunk);
  }

  get input(): boolean {
    return this.#front.input;
  }

  get terminated(): boolean {
    return this.#front.terminated;
  }

  fromServer(chunk: Buffer, start: number, end: number, stopAtBoundary: boolean): number {
    return this.#back.push(chunk, start, end, stopAtBoundary);
  }

  get atBoundary(): boolean {
    return this.#back.atBoundary;
  }

  get rewrites(): boolean {
    return this.#tracker.rewrites;
  }

  rewriteAt(): Rewrite | undefined {
    return this.#tracker.head?.rewrite;
  }

  get busy(): boolean {
    return this.#tracker.busy;
  }

  get transactionOpen(): boolean {
    return this.#tracker.transactionOpen;
  }

  lastWords(end: SessionEnd): Buffer {
    const { code, sqlState } = errorOf(end.cause);
    return encodePacket(this.#tracker.nextSequence, encodeError(code, sqlState, end.text));
  }

  get goodbye(): Buffer | undefined {
    return this.#front.atBoundary && !this.#front.terminated ? QUIT : undefined;
  }
}
