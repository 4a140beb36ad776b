import { createPublicKey } from 'node:crypto';
import { EVENTS } from '../audit/catalog.ts';
import { NightlatchError } from '../core/errors.ts';
import type { CertRoute } from '../identity/types.ts';
import { allowedLogins, findLock } from '../policy/access.ts';
import { effectiveIdlePolicy } from '../policy/idle.ts';
import { certificateTtlMs, sshOptions } from '../policy/options.ts';
import { rolesOf } from '../policy/role-set.ts';
import type { ServerContext } from './context.ts';

/** Public keys a person or a machine wants certified, and for what. */
export interface CertificateRequest {
  readonly user: string;
  /** OpenSSH public key line. */
  readonly sshPublicKey?: string;
  /** SubjectPublicKeyInfo, PEM. */
  readonly tlsPublicKey?: string;
  /** Wanted life in milliseconds; roles shorten it, and so does the cluster's `default_session_ttl` for people. */
  readonly ttlMs?: number;
  /** For a machine (`tctl auth sign`): what an administrator wants is shortened by `max_session_ttl` alone. */
  readonly machine?: boolean;
  readonly route?: CertRoute;
  /** The new certificates end no later than this: what proved the caller's identity (milliseconds since the epoch). */
  readonly notAfterMs?: number;
  /** Who asks, for the audit event. */
  readonly by: string;
}

export interface IssuedCertificates {
  readonly ssh?: string;
  readonly tls?: string;
  readonly expiresAtMs: number;
  readonly logins: readonly string[];
}

const MIN_TTL_MS = 1_000;

/**
 * Issues certificates as the user's roles allow: logins, extensions and life come from the live policy.
 * @throws {NightlatchError} `not_found` for an unknown user, `access_denied` for a locked one, `bad_parameter` for keys that are not accepted.
 */
export async function issueCertificates(ctx: ServerContext, request: CertificateRequest): Promise<IssuedCertificates> {
  const { user, sshPublicKey, tlsPublicKey, route, notAfterMs } = request;
  const snapshot = ctx.policy.current;
  const nowMs = ctx.clock.wallMs();
  if (!snapshot.users.has(user)) throw new NightlatchError('not_found', `user ${JSON.stringify(user)} is not found`);
  const held = rolesOf(snapshot, user);
  if ('allowed' in held) throw new NightlatchError('access_denied', held.reason);
  refuseIfLocked(ctx, user);
  const ttlMs = Math.min(
    request.machine === true ? machineTtlMs(ctx, user, request.ttlMs) : certificateTtlMs(snapshot, user, request.ttlMs),
    notAfterMs === undefined ? Number.POSITIVE_INFINITY : notAfterMs - nowMs,
  );
  if (ttlMs < MIN_TTL_MS) throw new NightlatchError('unauthenticated', 'your sign-in is about to end: sign in again');
  const logins = allowedLogins(snapshot, user);
  const { forwardAgent, localForwarding, remoteForwarding } = sshOptions(snapshot, user);
  const issued = await ctx.ca.issueUserCertificates({
    user,
    principals: logins,
    // Without a login there is nothing an SSH certificate could be good for.
    ...(sshPublicKey === undefined || logins.length === 0 ? {} : { sshPublicKey }),
    ...(tlsPublicKey === undefined ? {} : { tlsPublicKeySpkiDer: spkiOf(tlsPublicKey) }),
    ttlMs,
    extensions: [
      'permit-pty',
      ...(localForwarding || remoteForwarding ? ['permit-port-forwarding'] : []),
      ...(forwardAgent ? ['permit-agent-forwarding'] : []),
    ],
    ...(route === undefined ? {} : { route }),
  });
  await ctx.audit.emit({
    ...EVENTS.certCreate,
    user: request.by,
    cert_type: 'user',
    identity: {
      user,
      roles: held.roles.map((role) => role.name),
      logins,
      expires: new Date(issued.expiresAtMs).toISOString(),
      ...(issued.sshSerial === undefined ? {} : { serial: issued.sshSerial }),
      ...(route === undefined ? {} : { [`route_to_${route.kind}`]: route.name }),
    },
  });
  return {
    ...(issued.sshCert === undefined ? {} : { ssh: issued.sshCert }),
    ...(issued.tlsCertPem === undefined ? {} : { tls: issued.tlsCertPem }),
    expiresAtMs: issued.expiresAtMs,
    logins,
  };
}

function machineTtlMs(ctx: ServerContext, user: string, wantedMs: number | undefined): number {
  const snapshot = ctx.policy.current;
  if (wantedMs === undefined) return certificateTtlMs(snapshot, user);
  const { maxSessionTtlMs } = effectiveIdlePolicy(snapshot, user);
  return maxSessionTtlMs === 0 ? wantedMs : Math.min(wantedMs, maxSessionTtlMs);
}

/** @throws {NightlatchError} `access_denied` with the lock's own message. */
export function refuseIfLocked(ctx: ServerContext, user: string): void {
  const snapshot = ctx.policy.current;
  const roles = snapshot.users.get(user)?.spec.roles ?? [];
  const lock = findLock(snapshot, { user, roles, nowMs: ctx.clock.wallMs() });
  if (lock === undefined) return;
  const message = lock.spec.message;
  throw new NightlatchError(
    'access_denied',
    `you are locked out${message === undefined || message === '' ? '' : `: ${message}`}`,
  );
}

function spkiOf(pem: string): Buffer {
  try {
    return createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new NightlatchError('bad_parameter', 'the TLS public key cannot be read', { cause });
  }
}
