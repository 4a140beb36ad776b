import { Hono } from 'hono';
import { z } from 'zod';
import { EVENTS } from '../../audit/catalog.ts';
import { NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { createToken, isToken, tokenKey } from '../../identity/tokens.ts';
import type { TicketResponse } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, clientIp, refuseForeign } from './caller.ts';
import { readJson } from './request-body.ts';
import { beginWebSession } from './web-session-routes.ts';

/** A browser that is opened at once needs it no longer. */
const TICKET_TTL_MS = 60_000;
const BUCKET = 'web_tickets';
const MAX_BODY_BYTES = 4 * 1024;

const stored = z.object({ user: z.string(), notAfterMs: z.number(), expiresAtMs: z.number() });
const ticketRequest = z.strictObject({ ticket: z.string().min(1).max(128) });

/**
 * `POST /v1/tickets`: for who has signed in with `tsh`, a ticket that signs a browser in, once and within a minute. What it begins
 * ends no later than the certificate that asked for it.
 */
export function ticketRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  routes.post('/', async (c) => {
    const { caller } = c.var;
    if (caller.kind !== 'user' || caller.via !== 'certificate') {
      throw new NightlatchError('bad_parameter', 'a ticket is for who has signed in with tsh');
    }
    const token = createToken();
    const expiresAtMs = ctx.clock.wallMs() + TICKET_TTL_MS;
    const record = { user: caller.user, notAfterMs: caller.expiresAtMs, expiresAtMs };
    await ctx.store.putRecord(BUCKET, tokenKey(token), Buffer.from(JSON.stringify(record)), { expiresAtMs });
    const answer: TicketResponse = { ticket: token.reveal(), expiresAtMs };
    return c.json(answer);
  });
  return routes;
}

/** `POST /v1/web/login/ticket`: the browser's side of it. */
export function ticketLoginRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  routes.post('/', async (c) => {
    refuseForeign(c);
    const { ticket } = await readJson(c, ticketRequest, MAX_BODY_BYTES);
    const token = new Secret(ticket);
    const record = isToken(token) ? await ctx.store.takeRecord(BUCKET, tokenKey(token)) : undefined;
    const found = record === undefined ? undefined : stored.parse(JSON.parse(Buffer.from(record).toString()));
    const nowMs = ctx.clock.wallMs();
    if (found === undefined || found.expiresAtMs <= nowMs || !ctx.policy.current.users.has(found.user)) {
      throw new NightlatchError('unauthenticated', 'the ticket was used, or has expired');
    }
    await ctx.audit.emit({
      ...EVENTS.userLogin,
      user: found.user,
      success: true,
      method: 'ticket',
      'addr.remote': clientIp(c),
    });
    return c.json(await beginWebSession(ctx, c, found.user, found.notAfterMs));
  });
  return routes;
}
