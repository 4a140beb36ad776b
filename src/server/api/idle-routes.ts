import { Hono } from 'hono';
import { z } from 'zod';
import type { StoredAuditEvent } from '../../audit/events.ts';
import { IDLE_REPORT_EVENTS, idleReport } from '../../audit/idle-report.ts';
import { formatIdleReport } from '../../audit/idle-report-format.ts';
import { NightlatchError } from '../../core/errors.ts';
import { canSee } from '../../policy/access.ts';
import { effectiveIdlePolicy } from '../../policy/idle.ts';
import { decodeResource } from '../../resources/decode.ts';
import type { ExplainResponse } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import type { ApiEnv } from './caller.ts';
import { demand, ownUser } from './permissions.ts';
import { rehearsedSnapshot } from './rehearsed-snapshot.ts';
import { fields, readJson, readQuery } from './request-body.ts';
import { findTarget } from './targets.ts';
import { parseTime } from './times.ts';

const explainRequest = z.strictObject({
  user: fields.name.optional(),
  roles: z.array(fields.name).max(100).default([]),
  resource: fields.name.optional(),
});
const rehearseRequest = z.strictObject({ resources: z.array(z.unknown()).min(1).max(1000) });
const reportQuery = z.object({
  from: z.string().max(64).optional(),
  to: z.string().max(64).optional(),
  format: z.enum(['text', 'json', 'csv']).default('text'),
});

/** How far back a report reaches when nobody says from when. */
const DEFAULT_REPORT_MS = 30 * 86_400_000;
/** Sessions and settings from before the period that may still matter in it. */
const REPORT_LOOKBACK_MS = 400 * 86_400_000;

const CONTENT_TYPES = { text: 'text/plain; charset=utf-8', json: 'application/json', csv: 'text/csv; charset=utf-8' };

/** `/v1/idle`: explaining, rehearsing and proving (SPEC 2.5). */
export function idleRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.post('/explain', async (c) => {
    const { caller } = c.var;
    const request = await readJson(c, explainRequest);
    const user = request.user ?? ownUser(caller);
    // One's own limits are no secret; those of others, and what further roles would do, are for administrators.
    if (caller.kind !== 'user' || user !== caller.user || request.roles.length > 0) demand(ctx, caller, 'user', 'read');
    const snapshot = ctx.policy.current;
    const known = snapshot.users.get(user);
    if (known === undefined) throw new NightlatchError('not_found', `user ${JSON.stringify(user)} is not found`);
    const missing = request.roles.find((role) => !snapshot.roles.has(role));
    if (missing !== undefined) throw new NightlatchError('not_found', `role ${JSON.stringify(missing)} is not found`);
    const answer: ExplainResponse = {
      user,
      roles: [...new Set([...known.spec.roles, ...request.roles])],
      idle: effectiveIdlePolicy(snapshot, user, request.roles),
      ...(request.resource === undefined ? {} : resourceAnswer(ctx, user, request.resource)),
    };
    return c.json(answer);
  });

  routes.post('/rehearse', async (c) => {
    const { caller } = c.var;
    const { resources } = await readJson(c, rehearseRequest);
    demand(ctx, caller, 'session', 'list');
    const changed = resources.map(decodeResource);
    for (const { kind } of changed) demand(ctx, caller, kind, 'read');
    return c.json({ sessions: ctx.sessions.rehearse(rehearsedSnapshot(ctx.policy.current, changed)) });
  });

  routes.get('/report', async (c) => {
    demand(ctx, c.var.caller, 'event', 'list');
    const query = readQuery(c, reportQuery);
    const nowMs = ctx.clock.wallMs();
    const toMs = query.to === undefined ? nowMs : parseTime(query.to, nowMs, 'to');
    const fromMs = query.from === undefined ? toMs - DEFAULT_REPORT_MS : parseTime(query.from, nowMs, 'from');
    if (fromMs >= toMs) throw new NightlatchError('bad_parameter', 'from must be before to');
    const filter = { fromMs: fromMs - REPORT_LOOKBACK_MS, events: IDLE_REPORT_EVENTS };
    const events: StoredAuditEvent[] = [];
    for await (const event of ctx.audit.read(filter)) events.push(event);
    const report = idleReport(events, { fromMs, toMs });
    return c.body(formatIdleReport(report, query.format), 200, { 'content-type': CONTENT_TYPES[query.format] });
  });

  return routes;
}

function resourceAnswer(
  ctx: ServerContext,
  user: string,
  resource: string,
): Pick<ExplainResponse, 'resource' | 'access'> {
  const target = findTarget(ctx, resource);
  const allowed = canSee(ctx.policy.current, user, target);
  return {
    resource: `${target.kind}/${target.metadata.name}`,
    access: allowed ? { allowed } : { allowed, reason: 'no role allows its labels, or one denies them' },
  };
}
