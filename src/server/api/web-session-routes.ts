import { Hono } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { z } from 'zod';
import { NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { tokenKey } from '../../identity/tokens.ts';
import { effectiveIdlePolicy } from '../../policy/idle.ts';
import { certificateTtlMs } from '../../policy/options.ts';
import type {
  MatrixRow,
  WebBrowserMessage,
  WebIdleResponse,
  WebPermissions,
  WebSessionResponse,
} from '../../wire/api/web-messages.ts';
import { refuseIfLocked } from '../certificates.ts';
import type { ServerContext } from '../context.ts';
import { type ApiContext, type ApiEnv, type Caller, clientIp, refuseForeign, SESSION_COOKIE } from './caller.ts';
import { demand, may, ownUser } from './permissions.ts';
import { fields, readJson } from './request-body.ts';

/** Nothing that somebody sends who has not signed in needs more. */
const MAX_PUBLIC_BODY_BYTES = 64 * 1024;
const COOKIE_OPTIONS = { path: '/', secure: true, httpOnly: true, sameSite: 'Strict' } as const;

const secretText = z.string().min(1).max(1024);
const loginRequest = z.strictObject({
  user: fields.name,
  password: secretText,
  otp: z.string().max(16).optional(),
  passkey: z.unknown().optional(),
});
const passkeyRequest = z.strictObject({ user: fields.name, password: secretText });
const tokenRequest = z.strictObject({ token: secretText });
const acceptRequest = z.strictObject({
  token: secretText,
  password: secretText,
  otp: z.string().max(16).optional(),
  passkey: z.unknown().optional(),
});
const activityRequest = z.strictObject({ active: z.boolean() });
const browserRequest = z.strictObject({ id: z.string().min(1).max(128) });

/** `/v1/web`, before somebody has signed in: with password and code, with password and security key, by an invitation. */
export function webLoginRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.post('/login', async (c) => {
    refuseForeign(c);
    const { user, password, otp, passkey } = await readJson(c, loginRequest, MAX_PUBLIC_BODY_BYTES);
    const name = await ctx.identity.login.signIn({
      user,
      password: new Secret(password),
      clientIp: clientIp(c),
      ...(otp === undefined ? {} : { otp }),
      ...(passkey === undefined ? {} : { passkey }),
    });
    return c.json(await beginWebSession(ctx, c, name));
  });

  routes.post('/login/passkey', async (c) => {
    refuseForeign(c);
    const { user, password } = await readJson(c, passkeyRequest, MAX_PUBLIC_BODY_BYTES);
    const request = { user, password: new Secret(password), clientIp: clientIp(c) };
    return c.json(await ctx.identity.login.beginWebauthn(request));
  });

  routes.post('/invitations/passkey', async (c) => {
    refuseForeign(c);
    const { token } = await readJson(c, tokenRequest, MAX_PUBLIC_BODY_BYTES);
    return c.json(await ctx.identity.invitations.beginPasskey(new Secret(token)));
  });

  routes.post('/invitations/accept', async (c) => {
    refuseForeign(c);
    const { token, password, otp, passkey } = await readJson(c, acceptRequest, MAX_PUBLIC_BODY_BYTES);
    const user = await ctx.identity.invitations.accept({
      token: new Secret(token),
      password: new Secret(password),
      clientIp: clientIp(c),
      ...(otp === undefined ? {} : { otp }),
      ...(passkey === undefined ? {} : { passkey }),
    });
    return c.json(await beginWebSession(ctx, c, user));
  });

  // Works whatever became of the session meanwhile.
  routes.post('/logout', async (c) => {
    refuseForeign(c);
    const token = getCookie(c, SESSION_COOKIE);
    if (token !== undefined) await ctx.identity.sessions.end(new Secret(token));
    deleteCookie(c, SESSION_COOKIE, COOKIE_OPTIONS);
    return c.json({});
  });

  return routes;
}

/** `/v1/web` for who has signed in with this browser. */
export function webSessionRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.get('/session', (c) => c.json(sessionOf(ctx, c)));

  routes.post('/activity', async (c) => {
    const { active } = await readJson(c, activityRequest);
    const token = ownToken(c);
    if (active) ctx.identity.sessions.noteActivity(token);
    return c.json(idleOf(ctx, token));
  });

  routes.get('/browsers', async (c) => {
    const current = tokenKey(ownToken(c));
    const browsers: WebBrowserMessage[] = (await ctx.identity.sessions.list(ownUser(c.var.caller))).map(
      ({ id, createdAtMs, expiresAtMs, clientIp: ip = '' }) => ({
        id,
        createdAtMs,
        expiresAtMs,
        clientIp: ip,
        current: id === current,
      }),
    );
    return c.json({ browsers });
  });

  routes.post('/browsers/end', async (c) => {
    const { id } = await readJson(c, browserRequest);
    await ctx.identity.sessions.endById(ownUser(c.var.caller), id);
    return c.json({});
  });

  routes.post('/logout-everywhere', async (c) => {
    const ended = await ctx.identity.sessions.endAll(ownUser(c.var.caller));
    deleteCookie(c, SESSION_COOKIE, COOKIE_OPTIONS);
    return c.json({ ended });
  });

  routes.get('/matrix', (c) => {
    demand(ctx, c.var.caller, 'user', 'list');
    demand(ctx, c.var.caller, 'role', 'list');
    return c.json({ rows: matrixOf(ctx) });
  });

  return routes;
}

/** Begins a session in the browser that calls; it ends no later than `notAfterMs` (milliseconds since the epoch). */
export async function beginWebSession(
  ctx: ServerContext,
  c: ApiContext,
  user: string,
  notAfterMs = Number.POSITIVE_INFINITY,
): Promise<{ user: string; expiresAtMs: number }> {
  refuseIfLocked(ctx, user);
  // Whoever signs in again with the same browser leaves no session behind.
  const before = getCookie(c, SESSION_COOKIE);
  if (before !== undefined) await ctx.identity.sessions.end(new Secret(before));
  const { token, expiresAtMs } = await ctx.identity.sessions.create(user, {
    ttlMs: Math.min(certificateTtlMs(ctx.policy.current, user), notAfterMs - ctx.clock.wallMs()),
    clientIp: clientIp(c),
  });
  setCookie(c, SESSION_COOKIE, token.reveal(), COOKIE_OPTIONS);
  return { user, expiresAtMs };
}

function ownToken(c: ApiContext): Secret<string> {
  const token = getCookie(c, SESSION_COOKIE);
  if (c.var.caller.kind !== 'user' || c.var.caller.via !== 'cookie' || token === undefined) {
    throw new NightlatchError('bad_parameter', 'this is about a browser that has signed in');
  }
  return new Secret(token);
}

function idleOf(ctx: ServerContext, token: Secret<string>): WebIdleResponse {
  const { sessions } = ctx.identity;
  return { timeoutMs: sessions.activity.timeoutMs, idleForMs: sessions.idleForMs(token) };
}

function sessionOf(ctx: ServerContext, c: ApiContext): WebSessionResponse {
  const token = ownToken(c);
  const caller = c.var.caller as Caller & { kind: 'user' };
  const snapshot = ctx.policy.current;
  return {
    user: caller.user,
    clusterName: ctx.clusterName,
    version: ctx.version,
    roles: snapshot.users.get(caller.user)?.spec.roles ?? [],
    expiresAtMs: caller.expiresAtMs,
    idle: idleOf(ctx, token),
    policy: effectiveIdlePolicy(snapshot, caller.user),
    permissions: permissionsOf(ctx, caller),
    publicAddr: ctx.publicAddr(),
  };
}

function permissionsOf(ctx: ServerContext, caller: Caller): WebPermissions {
  const can = (kind: string, ...verbs: Parameters<typeof may>[3][]) =>
    verbs.every((verb) => may(ctx, caller, kind, verb));
  return {
    sessions: can('session', 'list'),
    endSessions: can('session', 'delete'),
    policy: can('cluster_networking_config', 'read') && can('user', 'list') && can('role', 'list'),
    editPolicy: can('cluster_networking_config', 'update') && can('cluster_auth_preference', 'update'),
    audit: can('event', 'list'),
    users: can('user', 'list', 'read'),
    editUsers: can('user', 'create', 'update', 'delete'),
    roles: can('role', 'list', 'read'),
    editRoles: can('role', 'create', 'update', 'delete'),
    desktops: can('windows_desktop', 'list', 'read'),
    editDesktops: can('windows_desktop', 'update'),
    locks: can('lock', 'list', 'read'),
    editLocks: can('lock', 'create', 'delete'),
  };
}

function matrixOf(ctx: ServerContext): MatrixRow[] {
  const snapshot = ctx.policy.current;
  const open = new Map<string, number>();
  for (const { user } of ctx.sessions.list()) open.set(user, (open.get(user) ?? 0) + 1);
  return [...snapshot.users.values()]
    .map(({ metadata: { name }, spec: { roles } }) => ({
      user: name,
      roles,
      idle: effectiveIdlePolicy(snapshot, name),
      openSessions: open.get(name) ?? 0,
    }))
    .sort((a, b) => (a.user < b.user ? -1 : 1));
}
