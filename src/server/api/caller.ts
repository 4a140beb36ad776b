import type { Context } from 'hono';
import { getCookie } from 'hono/cookie';
import { NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { CSRF_HEADER } from '../../wire/api/web-messages.ts';
import { refuseIfLocked } from '../certificates.ts';
import type { ApiBindings, ServerContext } from '../context.ts';

/** Cookie of the web application's session. */
export const SESSION_COOKIE = '__Host-session';

/** Who makes a request. */
export type Caller =
  /** The daemon's own socket. */
  | { readonly kind: 'local' }
  | {
      readonly kind: 'user';
      readonly user: string;
      /** End of the credential, milliseconds since the epoch. */
      readonly expiresAtMs: number;
      readonly via: 'certificate' | 'bearer' | 'cookie';
    };

/** Hono's type parameters for every route here. */
export interface ApiEnv {
  Bindings: ApiBindings;
  Variables: { caller: Caller };
}

export type ApiContext = Context<ApiEnv>;

/** Name of the caller in audit events; the slash keeps it apart from every user's name. */
export function callerName(caller: Caller): string {
  return caller.kind === 'local' ? 'local/admin' : caller.user;
}

/** IP address of the client, or '' on the local socket. */
export function clientIp(c: ApiContext): string {
  const { caller } = c.env;
  return caller.kind === 'tls' ? caller.clientIp : '';
}

/**
 * Finds out who calls: the local socket, a bearer token, the web session's cookie or a client certificate, in this order. Who is locked out is
 * refused.
 * @throws {NightlatchError} `unauthenticated`, whose reason goes to the log, not to the peer; `access_denied` for a lock.
 */
export async function authenticate(ctx: ServerContext, c: ApiContext): Promise<Caller> {
  const transport = c.env.caller;
  if (transport.kind === 'local') return { kind: 'local' };
  const caller = await credentialOf(ctx, c);
  if (caller === undefined) throw new NightlatchError('unauthenticated', 'sign in first');
  if (!ctx.policy.current.users.has(caller.user)) throw refused(ctx, c, `there is no user ${caller.user}`);
  refuseIfLocked(ctx, caller.user);
  return caller;
}

async function credentialOf(ctx: ServerContext, c: ApiContext): Promise<(Caller & { kind: 'user' }) | undefined> {
  const bearer = /^Bearer (\S+)$/.exec(c.req.header('authorization') ?? '')?.[1];
  const cookie = bearer === undefined ? getCookie(c, SESSION_COOKIE) : undefined;
  const token = bearer ?? cookie;
  if (token !== undefined) {
    const verified = await ctx.identity.sessions.verify(new Secret(token));
    if (!verified.ok) throw refused(ctx, c, verified.reason);
    if (bearer === undefined) checkSameOrigin(c);
    const { user, expiresAtMs } = verified.identity;
    return { kind: 'user', user, expiresAtMs, via: bearer === undefined ? 'cookie' : 'bearer' };
  }
  const transport = c.env.caller;
  if (transport.kind !== 'tls' || transport.clientCertificate === undefined) return undefined;
  const verified = ctx.ca.verifyTlsUser(transport.clientCertificate);
  if (!verified.ok) throw refused(ctx, c, verified.reason);
  const { user, expiresAtMs, route } = verified.identity;
  // A certificate bound to one database or cluster is given to other programs; it opens nothing else.
  if (route !== undefined)
    throw refused(ctx, c, `a certificate for ${route.kind} ${route.name} is not good for the API`);
  return { kind: 'user', user, expiresAtMs, via: 'certificate' };
}

/** A cookie is sent by the browser whoever made the page: what changes something must come from our own. */
function checkSameOrigin(c: ApiContext): void {
  if (c.req.method === 'GET' || c.req.method === 'HEAD') return;
  refuseForeign(c);
}

/**
 * Refuses what a page of another site may have sent: the origin must be the gateway's own, and a header must be there that other sites cannot set
 * without being asked first (Fetch, CORS-preflight).
 * @throws {NightlatchError} `access_denied`
 */
export function refuseForeign(c: ApiContext): void {
  const own = `https://${new URL(c.req.url).host}`;
  if (c.req.header('origin') === own && c.req.header(CSRF_HEADER) !== undefined) return;
  throw new NightlatchError('access_denied', 'the request comes from another site');
}

function refused(ctx: ServerContext, c: ApiContext, reason: string): NightlatchError {
  ctx.log.info('API call refused', { ip: clientIp(c), path: c.req.path, reason });
  return new NightlatchError('unauthenticated', 'sign in again: your certificate or session is not valid');
}
