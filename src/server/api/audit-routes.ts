import { Hono } from 'hono';
import { z } from 'zod';
import type { ServerContext } from '../context.ts';
import type { ApiEnv } from './caller.ts';
import { demand } from './permissions.ts';
import { fields, readQuery } from './request-body.ts';
import { parseTime } from './times.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 10_000;

const auditQuery = z.object({
  from: z.string().max(64).optional(),
  to: z.string().max(64).optional(),
  /** Names of events between commas. */
  events: z.string().max(1024).optional(),
  user: fields.name.optional(),
  sid: fields.name.optional(),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT),
});

/** `/v1/audit`: the audit log, newest events last. */
export function auditRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  routes.get('/', async (c) => {
    demand(ctx, c.var.caller, 'event', 'list');
    const { from, to, events, user, sid, limit } = readQuery(c, auditQuery);
    const nowMs = ctx.clock.wallMs();
    const found = await ctx.audit.find({
      limit,
      ...(from === undefined ? {} : { fromMs: parseTime(from, nowMs, 'from') }),
      ...(to === undefined ? {} : { toMs: parseTime(to, nowMs, 'to') }),
      ...(events === undefined ? {} : { events: events.split(',') }),
      ...(user === undefined ? {} : { user }),
      ...(sid === undefined ? {} : { sid }),
    });
    return c.json({ events: found });
  });
  return routes;
}
