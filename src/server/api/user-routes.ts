import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import { z } from 'zod';
import { EVENTS } from '../../audit/catalog.ts';
import { checkInvitationTtl, DEFAULT_INVITATION_TTL_MS, type InvitationKind } from '../../identity/invitations.ts';
import type { InviteResponse } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, type Caller, callerName } from './caller.ts';
import { demand } from './permissions.ts';
import { fields, readJson } from './request-body.ts';
import type { ResourceService } from './resource-service.ts';

const addRequest = z.strictObject({
  name: fields.name,
  roles: z.array(fields.name).max(100),
  traits: z.record(fields.name, z.array(z.string().max(1024)).max(1000)).default({}),
  ttlMs: fields.ttlMs.default(DEFAULT_INVITATION_TTL_MS),
});
const resetRequest = z.strictObject({ ttlMs: fields.ttlMs.default(DEFAULT_INVITATION_TTL_MS) });
const lockRequest = z.strictObject({
  target: z.record(fields.name, fields.name),
  message: fields.text.optional(),
  ttlMs: fields.ttlMs.optional(),
  expires: z.string().max(64).optional(),
});

/** `/v1/users`: invitations, besides the resources themselves. */
export function userRoutes(ctx: ServerContext, resources: ResourceService): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.post('/', async (c) => {
    const { caller } = c.var;
    const { name, roles, traits, ttlMs } = await readJson(c, addRequest);
    // Before the user is made: an invitation that cannot be is to leave nothing behind.
    checkInvitationTtl(ttlMs);
    const resource = { kind: 'user', version: 'v2', metadata: { name }, spec: { roles, traits } };
    await resources.write(caller, resource, { mode: 'create', confirm: false });
    return c.json(await invite(ctx, caller, name, ttlMs, 'invite'));
  });

  routes.post('/:name/reset', async (c) => {
    const { caller } = c.var;
    const { ttlMs } = await readJson(c, resetRequest);
    checkInvitationTtl(ttlMs);
    demand(ctx, caller, 'user', 'update');
    const name = c.req.param('name');
    // Before it is written down: the audit log tells of no reset of somebody who does not exist.
    ctx.identity.invitations.checkUser(name);
    return c.json(await invite(ctx, caller, name, ttlMs, 'reset'));
  });

  return routes;
}

async function invite(
  ctx: ServerContext,
  caller: Caller,
  user: string,
  ttlMs: number,
  kind: InvitationKind,
): Promise<InviteResponse> {
  await ctx.audit.emit({ ...EVENTS.invitationCreate, user: callerName(caller), name: user, kind, ttl_ms: ttlMs });
  const { token, expiresAtMs } = await ctx.identity.invitations.create(user, ttlMs, kind);

  const url = `https://${ctx.publicAddr()}/web/${kind}/${token.reveal()}`;
  return { user, url, expiresAtMs, ttlMs };
}

/** `/v1/locks`: a lock with a name and times filled in. */
export function lockRoutes(ctx: ServerContext, resources: ResourceService): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  routes.post('/', async (c) => {
    const { target, message, ttlMs, expires } = await readJson(c, lockRequest);
    const end = ttlMs === undefined ? expires : new Date(ctx.clock.wallMs() + ttlMs).toISOString();
    const resource = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: randomUUID() },
      spec: {
        target,
        ...(message === undefined ? {} : { message }),
        ...(end === undefined ? {} : { expires: end }),
      },
    };
    const { name } = await resources.write(c.var.caller, resource, { mode: 'create', confirm: false });
    return c.json({ name });
  });
  return routes;
}
