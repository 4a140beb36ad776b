import type { Answer, SubscriptionKind } from './reply-tracker.ts';
import { PLAIN } from './reply-tracker.ts';

/** Commands that are looked at as a whole before the server has them. */
export const HELD_COMMANDS: ReadonlySet<string> = new Set([
  'AUTH',
  'CLIENT',
  'COPY',
  'HELLO',
  'MOVE',
  'PSYNC',
  'QUIT',
  'REPLCONF',
  'RESET',
  'SELECT',
  'SWAPDB',
  'SYNC',
]);

/** Commands that touch no key: they may come before a database is selected. */
export const KEYLESS_COMMANDS: ReadonlySet<string> = new Set([
  'ACL',
  'AUTH',
  'CLIENT',
  'COMMAND',
  'ECHO',
  'HELLO',
  'INFO',
  'LOLWUT',
  'PING',
  'PSUBSCRIBE',
  'PUBLISH',
  'PUBSUB',
  'PUNSUBSCRIBE',
  'QUIT',
  'RESET',
  'SELECT',
  'SUBSCRIBE',
  'TIME',
  'UNSUBSCRIBE',
]);

const SUBSCRIPTIONS: Readonly<Record<string, SubscriptionKind>> = {
  SUBSCRIBE: 'channels',
  UNSUBSCRIBE: 'channels',
  PSUBSCRIBE: 'patterns',
  PUNSUBSCRIBE: 'patterns',
  SSUBSCRIBE: 'shards',
  SUNSUBSCRIBE: 'shards',
};

/** The kind of answer that a command of `count` arguments (its name among them) gets. */
export function answerOf(name: string, count: number): Answer {
  const of = SUBSCRIPTIONS[name];
  if (of !== undefined) return { kind: 'subscription', of, channels: count - 1 };
  if (name === 'HELLO') return { kind: 'hello' };
  if (name === 'MONITOR') return { kind: 'monitor' };
  return PLAIN;
}

/** A liveness check: it never counts as activity. */
export function isLivenessCheck(name: string): boolean {
  return name === 'PING';
}
