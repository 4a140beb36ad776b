import type { SessionEnd } from '../../session/types.ts';
import { ReplyTap } from '../../wire/redis/reply-tap.ts';
import { ReplyTracker } from '../../wire/redis/reply-tracker.ts';
import { type RequestListener, RequestTap } from '../../wire/redis/request-tap.ts';
import { encodeError } from '../../wire/redis/resp.ts';
import type { CommandTaps, Rewrite } from '../common/db-command-relay.ts';

/** What the relay of a Redis session looks at. */
export class RedisTaps implements CommandTaps {
  readonly #tracker = new ReplyTracker();
  readonly #front: RequestTap;
  readonly #back: ReplyTap;

  constructor(listener: RequestListener) {
    this.#front = new RequestTap(this.#tracker, listener);
    this.#back = new ReplyTap((message) => this.#tracker.message(message));
  }

  /** The gateway has signed in again: what the client sent meanwhile goes on. */
  goOn(): void {
    this.#front.goOn();
  }

  /** Messages out of turn reach the client: it speaks RESP3 and listens. */
  get listens(): boolean {
    return this.#tracker.resp3 && this.#tracker.subscribed;
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

  get waiting(): boolean {
    return this.#front.waiting;
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

  rewriteAt(chunk: Buffer, at: number, end: number): Rewrite | undefined {
    return this.#tracker.rewriteAt(chunk[at]!, at + 1 < end ? chunk[at + 1] : undefined);
  }

  get busy(): boolean {
    return this.#tracker.busy;
  }

  lastWords(end: SessionEnd): Buffer {
    return encodeError('ERR', end.text);
  }

  /** A transaction that is being collected (MULTI) holds nothing on the server. */
  readonly transactionOpen = false;

  /** A Redis client just goes. */
  readonly goodbye = undefined;
}
