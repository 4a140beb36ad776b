import { Hono } from 'hono';
import { z } from 'zod';
import { EVENTS } from '../../audit/catalog.ts';
import { NightlatchError } from '../../core/errors.ts';
import { AUTHORITY_TYPES } from '../../identity/export-authority.ts';
import { issueCertificates } from '../certificates.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, callerName } from './caller.ts';
import { demand } from './permissions.ts';
import { certificatesOf, definedOf, keyFields } from './public-routes.ts';
import { fields, readJson, readQuery } from './request-body.ts';

const userRequest = z.strictObject({
  user: fields.name,
  ...keyFields,
  route: z.strictObject({ kind: z.literal('kube_cluster'), name: fields.name }).optional(),
});
const databaseRequest = z.strictObject({ hosts: z.array(fields.name).min(1).max(100), ttlMs: fields.ttlMs });
const hostRequest = z.strictObject({
  hosts: z.array(fields.name).min(1).max(100),
  sshPublicKey: z.string().max(4096),
  ttlMs: fields.ttlMs,
});

/** `/v1/auth`: identities for machines, and what targets must trust. */
export function authorityRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.get('/export', (c) => {
    // Public keys; whoever has signed in may hand them to a target.
    const { type } = readQuery(c, z.object({ type: z.enum(AUTHORITY_TYPES) }));
    return c.text(ctx.ca.exportAuthority(type));
  });

  // Who may reset somebody's password may sign in as them anyway: the same rule covers certificates.
  routes.post('/sign/user', async (c) => {
    demand(ctx, c.var.caller, 'user', 'update');
    const { user, route, ...keys } = await readJson(c, userRequest);
    const issued = await issueCertificates(ctx, {
      user,
      machine: true,
      by: callerName(c.var.caller),
      ...definedOf(keys),
      ...(route === undefined ? {} : { route }),
    });
    return c.json(certificatesOf(ctx, user, issued));
  });

  routes.post('/sign/database', async (c) => {
    const { hosts, ttlMs } = await readJson(c, databaseRequest);
    demand(ctx, c.var.caller, 'db', 'create');
    await ctx.audit.emit({
      ...EVENTS.certCreate,
      user: callerName(c.var.caller),
      cert_type: 'db',
      hosts,
      ttl_ms: ttlMs,
    });
    const { keyPem, certPem } = await ctx.ca.issueDatabaseServer({ names: hosts, ttlMs });
    return c.json({ keyPem, certPem, ca: ctx.ca.databaseCa });
  });

  routes.post('/sign/host', async (c) => {
    const { hosts, sshPublicKey, ttlMs } = await readJson(c, hostRequest);
    demand(ctx, c.var.caller, 'node', 'create');
    if (hosts.some((host) => host.includes('*'))) {
      throw new NightlatchError('bad_parameter', 'a host certificate names hosts, not patterns');
    }
    await ctx.audit.emit({
      ...EVENTS.certCreate,
      user: callerName(c.var.caller),
      cert_type: 'host',
      hosts,
      ttl_ms: ttlMs,
    });
    return c.json({ certificate: ctx.ca.issueHostCertificate({ sshPublicKey, names: hosts, ttlMs }) });
  });

  return routes;
}
