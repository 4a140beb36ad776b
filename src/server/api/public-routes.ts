import { Hono } from 'hono';
import { z } from 'zod';
import { Secret } from '../../core/secret.ts';
import type {
  CertAuthoritiesResponse,
  CertificatesResponse,
  InvitationResponse,
  PingResponse,
} from '../../wire/api/messages.ts';
import { type IssuedCertificates, issueCertificates, refuseIfLocked } from '../certificates.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, clientIp } from './caller.ts';
import { fields, readJson } from './request-body.ts';

/** Nothing that somebody sends who has not signed in needs more. */
const MAX_PUBLIC_BODY_BYTES = 16 * 1024;

const secretText = z.string().min(1).max(1024);

/** Keys to certify, as they come with a request. */
export const keyFields = {
  sshPublicKey: z.string().max(4096).optional(),
  tlsPublicKey: z.string().max(4096).optional(),
  ttlMs: fields.ttlMs.optional(),
};

const loginRequest = z.strictObject({
  user: fields.name,
  password: secretText,
  otp: z.string().max(16).optional(),
  ...keyFields,
});
const tokenRequest = z.strictObject({ token: secretText });
const acceptRequest = z.strictObject({
  token: secretText,
  password: secretText,
  otp: z.string().max(16).optional(),
});

/** What can be called by somebody who has not signed in. Everything else demands a caller. */
export function publicRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.get('/ping', (c) => c.json(pingOf(ctx)));
  routes.get('/cas', (c) => c.json(authoritiesOf(ctx)));

  routes.post('/login', async (c) => {
    const { password, user, otp, ...keys } = await readJson(c, loginRequest, MAX_PUBLIC_BODY_BYTES);
    const name = await ctx.identity.login.signIn({
      user,
      password: new Secret(password),
      clientIp: clientIp(c),
      ...(otp === undefined ? {} : { otp }),
    });
    refuseIfLocked(ctx, name);
    return c.json(
      certificatesOf(ctx, name, await issueCertificates(ctx, { user: name, by: name, ...definedOf(keys) })),
    );
  });

  routes.post('/invitations/lookup', async (c) => {
    const { token } = await readJson(c, tokenRequest, MAX_PUBLIC_BODY_BYTES);
    const { user, kind, secondFactor, otpUri, expiresAtMs } = await ctx.identity.invitations.view(new Secret(token));
    const answer: InvitationResponse = {
      user,
      kind,
      secondFactor,
      clusterName: ctx.clusterName,
      expiresAtMs,
      ...(otpUri === undefined ? {} : { otpUri }),
    };
    return c.json(answer);
  });

  routes.post('/invitations/accept', async (c) => {
    const { token, password, otp } = await readJson(c, acceptRequest, MAX_PUBLIC_BODY_BYTES);
    const user = await ctx.identity.invitations.accept({
      token: new Secret(token),
      password: new Secret(password),
      clientIp: clientIp(c),
      ...(otp === undefined ? {} : { otp }),
    });
    return c.json({ user });
  });

  return routes;
}

function pingOf(ctx: ServerContext): PingResponse {
  return {
    version: ctx.version,
    clusterName: ctx.clusterName,
    secondFactor: ctx.policy.current.authPreference.spec.second_factor,
    publicAddr: ctx.publicAddr(),
    caPin: ctx.ca.caPin,
    ports: ctx.ports(),
  };
}

/** Public halves of all authorities. */
export function authoritiesOf(ctx: ServerContext): CertAuthoritiesResponse {
  const { ca, clusterName } = ctx;
  const { caPin, sshUserCa, sshHostCa, tlsUserCa, tlsHostCa, databaseCa } = ca;
  return { clusterName, caPin, sshUserCa, sshHostCa, tlsUserCa, tlsHostCa, databaseCa };
}

/** The answer to every request for certificates. */
export function certificatesOf(ctx: ServerContext, user: string, issued: IssuedCertificates): CertificatesResponse {
  return { user, clusterName: ctx.clusterName, ...issued, cas: authoritiesOf(ctx) };
}

/** The fields that are there, for types that tell "absent" from "undefined". */
export function definedOf<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
