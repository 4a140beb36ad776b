import { DecodeError } from '../../core/errors.ts';
import type { ServerMessage } from './reply-tap.ts';

const TYPE = { array: 0x2a, error: 0x2d, map: 0x25, push: 0x3e, simple: 0x2b } as const;

/** The two kinds of subscription that share one count, and the third that has its own. */
export type SubscriptionKind = 'channels' | 'patterns' | 'shards';

const CONFIRMATIONS: Readonly<Record<string, { readonly kind: SubscriptionKind; readonly adds: boolean }>> = {
  subscribe: { kind: 'channels', adds: true },
  unsubscribe: { kind: 'channels', adds: false },
  psubscribe: { kind: 'patterns', adds: true },
  punsubscribe: { kind: 'patterns', adds: false },
  ssubscribe: { kind: 'shards', adds: true },
  sunsubscribe: { kind: 'shards', adds: false },
};
const MESSAGES = new Set(['message', 'pmessage', 'smessage']);

/** What kind of answer a command gets. */
export type Answer =
  | { readonly kind: 'plain' }
  /** One confirmation a channel; `channels` is 0 for all that there are. */
  | { readonly kind: 'subscription'; readonly of: SubscriptionKind; readonly channels: number }
  | { readonly kind: 'hello' }
  | { readonly kind: 'monitor' }
  | { readonly kind: 'reset' };

export const PLAIN: Answer = { kind: 'plain' };

/** A command whose answer is not complete. */
export interface PendingReply {
  readonly answer: Answer;
  /** Whether it counts as work while it runs. */
  readonly counts: boolean;
  /** The answer, a simple string or an error, is replaced with what this returns. */
  readonly rewrite?: (reply: Buffer) => Buffer;
  /** The answer is complete; it was an error or not. */
  readonly done?: (failed: boolean) => void;
}

interface Pending extends PendingReply {
  /** Confirmations still to come; undefined until the first one may come. */
  left: number | undefined;
}

/**
 * Knows which commands are running, in pipelines too, and what the connection listens to. Answers come in the order of the commands; messages to
 * subscribers and MONITOR's lines come between them.
 */
export class ReplyTracker {
  readonly #queue: Pending[] = [];
  #counted = 0;
  #rewrites = 0;
  readonly #subscribed: Record<SubscriptionKind, number> = { channels: 0, patterns: 0, shards: 0 };
  /** Channels and patterns together, as the last confirmation said. */
  #total = 0;
  #monitoring = false;
  /** The connection speaks RESP3. */
  resp3 = false;

  /** A command that counts as work is running; being subscribed or monitoring is a command that runs. */
  get busy(): boolean {
    return this.#counted > 0 || this.#monitoring || this.subscribed;
  }

  get subscribed(): boolean {
    return this.#total > 0 || this.#subscribed.shards > 0;
  }

  get rewrites(): boolean {
    return this.#rewrites > 0;
  }

  sent(pending: PendingReply): void {
    this.#queue.push({ ...pending, left: undefined });
    if (pending.counts) this.#counted += 1;
    if (pending.rewrite !== undefined) this.#rewrites += 1;
  }

  /** How the message that begins with these bytes is to be rewritten. */
  rewriteAt(first: number, second: number | undefined): ((reply: Buffer) => Buffer) | undefined {
    const rewrite = this.#queue[0]?.rewrite;
    if (rewrite === undefined) return undefined;
    if (first === TYPE.error) return rewrite;
    return first === TYPE.simple && !(this.#monitoring && isDigit(second)) ? rewrite : undefined;
  }

  /**
   * The server has sent a whole message.
   * @throws {DecodeError} for an answer that nobody asked for.
   */
  message({ type, second, kind, third }: ServerMessage): void {
    const head = this.#queue[0];
    if (type === TYPE.push || (type === TYPE.array && !this.resp3 && this.#mayBePush(head, kind))) {
      const confirmation = CONFIRMATIONS[kind];
      if (confirmation !== undefined) this.#confirmed(confirmation.kind, confirmation.adds, third ?? 0);
      return;
    }
    if (type === TYPE.simple && this.#monitoring && isDigit(second)) return;
    if (head === undefined) {
      // A server that ends the connection says so unasked.
      if (type === TYPE.error) return;
      throw new DecodeError('the server answers without a command');
    }
    this.#answered(head, type, second);
  }

  /** In RESP2 messages and confirmations are arrays like answers; while subscribed, no command is answered with one of these words. */
  #mayBePush(head: Pending | undefined, kind: string): boolean {
    if (CONFIRMATIONS[kind] === undefined && !MESSAGES.has(kind)) return false;
    return head === undefined || head.answer.kind === 'subscription' || this.subscribed;
  }

  #confirmed(kind: SubscriptionKind, adds: boolean, total: number): void {
    const head = this.#queue[0];
    if (head?.answer.kind === 'subscription' && head.answer.of === kind)
      head.left ??= head.answer.channels === 0 ? Math.max(1, this.#subscribed[kind]) : head.answer.channels;
    if (kind === 'shards') this.#subscribed.shards = total;
    else {
      if (total > this.#total && adds) this.#subscribed[kind] += 1;
      else if (total < this.#total && !adds) this.#subscribed[kind] = Math.max(0, this.#subscribed[kind] - 1);
      this.#total = total;
    }
    if (head?.left === undefined) return;
    head.left -= 1;
    if (head.left === 0) this.#shift();
  }

  #answered(head: Pending, type: number, second: number): void {
    switch (head.answer.kind) {
      case 'hello':
        if (type === TYPE.map) this.resp3 = true;
        else if (type === TYPE.array) this.resp3 = false;
        break;
      case 'monitor':
        // Not `+QUEUED`, within a transaction.
        if (type === TYPE.simple && second !== 0x51) this.#monitoring = true;
        break;
      case 'reset':
        if (type !== TYPE.error) this.#reset();
        break;
      default:
    }
    this.#shift();
    head.done?.(type === TYPE.error);
  }

  #reset(): void {
    this.resp3 = false;
    this.#monitoring = false;
    this.#total = 0;
    this.#subscribed.channels = 0;
    this.#subscribed.patterns = 0;
    this.#subscribed.shards = 0;
  }

  #shift(): void {
    const done = this.#queue.shift()!;
    if (done.counts) this.#counted -= 1;
    if (done.rewrite !== undefined) this.#rewrites -= 1;
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}
