import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { NightlatchError } from '../../core/errors.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, authenticate, type Caller, callerName } from './caller.ts';
import { may } from './permissions.ts';
import { visibleSessions } from './session-routes.ts';

/** Streams open at once; each holds a connection and wakes every second. */
const MAX_STREAMS = 200;
/** Those of one user: a browser opens one a tab. */
const MAX_STREAMS_PER_USER = 20;
/** How often the sessions are sent, in milliseconds: idle times move without any event. */
const SESSIONS_EVERY_MS = 1_000;
/** Events that wait for a slow reader; beyond that it is cut off and comes again. */
const MAX_WAITING = 1_000;

/**
 * `/v1/events` (server-sent events): `sessions` with the live sessions the caller may see, every second while they change; `policy`
 * when the policy has changed; `audit` with each event, for those who may read the log. A reader that is slow gets the sessions less often.
 */
export function eventRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  /** Streams that are open, by caller. */
  const open = new Map<string, number>();
  routes.get('/', (c) => {
    // Hono asks here for HEAD as well, and drops the body without a word to whoever fills it.
    if (c.req.method === 'HEAD') return c.body(null, 200, { 'content-type': 'text/event-stream' });
    const name = callerName(c.var.caller);
    const own = open.get(name) ?? 0;
    const all = [...open.values()].reduce((sum, count) => sum + count, 0);
    if (own >= MAX_STREAMS_PER_USER || all >= MAX_STREAMS) {
      throw new NightlatchError('limit_exceeded', 'too many live views are open');
    }
    open.set(name, own + 1);
    const response = streamSSE(
      c,
      async (stream) => {
        const ended = Promise.withResolvers<void>();
        const feed = new Feed(
          ctx,
          c.var.caller,
          async (event, data) => stream.writeSSE({ event, data }),
          ended.resolve,
        );
        stream.onAbort(() => ended.resolve());
        try {
          feed.start(async () => {
            await authenticate(ctx, c);
          });
          await ended.promise;
        } finally {
          feed.stop();
          const left = open.get(name)! - 1;
          if (left > 0) open.set(name, left);
          else open.delete(name);
        }
      },
      async (error) => ctx.log.debug('a live view ended', { error: error.message }),
    );
    // HTTP/2 forbids them (RFC 9113 section 8.2.2), and HTTP/1.1 gets them from Node.
    response.headers.delete('transfer-encoding');
    response.headers.delete('connection');
    return response;
  });
  return routes;
}

/** What one live view is fed with. */
class Feed {
  readonly #ctx: ServerContext;
  readonly #caller: Caller;
  readonly #send: (event: string, data: string) => Promise<void>;
  readonly #end: () => void;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  #lastSessions = '';
  #stops: (() => void)[] = [];

  constructor(
    ctx: ServerContext,
    caller: Caller,
    send: (event: string, data: string) => Promise<void>,
    end: () => void,
  ) {
    this.#ctx = ctx;
    this.#caller = caller;
    this.#send = send;
    this.#end = end;
  }

  /** `check` throws once the caller's sign-in is no longer good. */
  start(check: () => Promise<void>): void {
    const { audit, policy } = this.#ctx;
    this.#stops.push(
      policy.onChange((snapshot) => this.#queue('policy', JSON.stringify({ revision: snapshot.revision }))),
      audit.onEvent((event) => {
        if (may(this.#ctx, this.#caller, 'event', 'list')) this.#queue('audit', JSON.stringify(event));
      }),
    );
    this.#tick(check);
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  #tick(check: () => Promise<void>): void {
    // They are as good a second later: for a reader that has not taken the last ones they do not pile up.
    if (this.#waiting === 0) {
      const sessions = JSON.stringify({ sessions: visibleSessions(this.#ctx, this.#caller) });
      if (sessions !== this.#lastSessions) this.#queue('sessions', sessions);
      this.#lastSessions = sessions;
    }
    const { clock } = this.#ctx;
    const timer = clock.at(clock.now() + SESSIONS_EVERY_MS, () => {
      check().then(
        () => {
          if (this.#stops.length > 0) this.#tick(check);
        },
        () => this.#end(),
      );
    });
    this.#stops = this.#stops.filter((stop) => stop !== this.#cancelTimer);
    this.#cancelTimer = () => timer.cancel();
    this.#stops.push(this.#cancelTimer);
  }

  #cancelTimer: () => void = () => {};

  #queue(event: string, data: string): void {
    if (this.#waiting >= MAX_WAITING) {
      this.#end();
      return;
    }
    this.#waiting += 1;
    this.#tail = this.#tail
      .then(() => this.#send(event, data))
      .then(
        () => {
          this.#waiting -= 1;
        },
        () => this.#end(),
      );
  }
}
