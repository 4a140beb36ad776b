import { Hono } from 'hono';
import { z } from 'zod';
import { allowedLogins } from '../../policy/access.ts';
import { effectiveIdlePolicy, mergeIdlePolicy } from '../../policy/idle.ts';
import type { StatusResponse } from '../../wire/api/messages.ts';
import { issueCertificates } from '../certificates.ts';
import type { ServerContext } from '../context.ts';
import type { ApiEnv, Caller } from './caller.ts';
import { ownUser } from './permissions.ts';
import { certificatesOf, definedOf, keyFields } from './public-routes.ts';
import { fields, readJson } from './request-body.ts';

const certificatesRequest = z.strictObject({
  ...keyFields,
  route: z
    .strictObject({
      kind: z.enum(['db', 'kube_cluster']),
      name: fields.name,
      dbUser: fields.name.optional(),
      dbName: fields.name.optional(),
    })
    .optional(),
});

/** What callers may do about themselves. */
export function selfRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.get('/status', (c) => c.json(statusOf(ctx, c.var.caller)));

  // Further certificates for who has one: for another key, or bound to a database or a cluster. They end no later than what asks for them.
  routes.post('/certificates', async (c) => {
    const { caller } = c.var;
    const user = ownUser(caller);
    const { route, ...keys } = await readJson(c, certificatesRequest);
    const issued = await issueCertificates(ctx, {
      user,
      by: user,
      ...definedOf(keys),
      ...(route === undefined ? {} : { route: { kind: route.kind, name: route.name, ...definedOf(route) } }),
      ...(caller.kind === 'user' ? { notAfterMs: caller.expiresAtMs } : {}),
    });
    return c.json(certificatesOf(ctx, user, issued));
  });

  return routes;
}

function statusOf(ctx: ServerContext, caller: Caller): StatusResponse {
  const snapshot = ctx.policy.current;
  const common = { clusterName: ctx.clusterName, version: ctx.version };
  if (caller.kind === 'local') {
    const idle = mergeIdlePolicy(snapshot.authPreference, snapshot.networkingConfig, []);
    return { ...common, user: '', roles: [], traits: {}, logins: [], idle, administrator: true };
  }
  const user = snapshot.users.get(caller.user)!;
  return {
    ...common,
    user: caller.user,
    roles: user.spec.roles,
    traits: user.spec.traits,
    logins: allowedLogins(snapshot, caller.user),
    idle: effectiveIdlePolicy(snapshot, caller.user),
    administrator: false,
  };
}
