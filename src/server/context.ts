import type { AuditLog, StoredAuditEvent } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Secret } from '../core/secret.ts';
import type { CertAuthority, CertRoute, Verified } from '../identity/types.ts';
import type { LivePolicy } from '../policy/snapshot.ts';
import type { SessionRegistry } from '../session/types.ts';
import type { Store } from '../store/store.ts';

/** What a client may know before it has signed in. */
export interface ClusterInfo {
  readonly version: string;
  readonly clusterName: string;
  /** `off`, `otp`, `webauthn` or `on` (one of the two). */
  readonly secondFactor: string;
  /** `host:port` under which people reach the public port. */
  readonly publicAddr: string;
  /** `sha256:…` of the host CA's public key, which `tsh login --ca-pin` checks. */
  readonly caPin: string;
  /** Ports of the native listeners that are on. */
  readonly ports: {
    readonly web: number;
    readonly ssh?: number;
    readonly postgres?: number;
    readonly mysql?: number;
    readonly redis?: number;
    readonly kube?: number;
  };
}

/** Public keys a person wants certified, and for what. */
export interface CertificateRequest {
  readonly user: string;
  /** OpenSSH public key line, where an SSH certificate is wanted. */
  readonly sshPublicKey?: string;
  /** SubjectPublicKeyInfo, PEM, where an X.509 certificate is wanted. */
  readonly tlsPublicKey?: string;
  /** Wanted life in milliseconds; the roles' `max_session_ttl` shortens it. */
  readonly ttlMs?: number;
  readonly route?: CertRoute;
}

export interface IssuedCertificates {
  /** OpenSSH certificate line (`ssh-…-cert-v01@openssh.com AAAA… user`). */
  readonly ssh?: string;
  /** PEM. */
  readonly tls?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** SSH logins in the certificate. */
  readonly logins: readonly string[];
}

/** Second factors as they come with a sign-in or an invitation. */
export interface SignInRequest {
  readonly user: string;
  readonly password: Secret<string>;
  readonly otp?: string;
  /** IP address, for the limit on attempts and the audit event. */
  readonly clientIp: string;
}

/** What an invitation is for, shown to the person who holds its link. */
export interface Invitation {
  readonly user: string;
  /** `otpauth://` URI of the factor to enrol; undefined where the second factor is off. */
  readonly otpUri?: string;
  readonly expiresAtMs: number;
}

/** People's sign-in and certificates, as the API needs them; identity/ implements the parts, server/ joins them. */
export interface IdentityServices {
  /** @throws {NightlatchError} `unauthenticated` (one text for every cause), `limit_exceeded` while locked out. */
  signIn(request: SignInRequest): Promise<void>;
  /** @throws {NightlatchError} `not_found`, `access_denied` (locked). */
  issueUserCertificates(request: CertificateRequest): Promise<IssuedCertificates>;
  /** A fresh invitation or password reset of a user; returns the token, which is kept hashed. */
  invite(user: string, ttlMs: number, kind: 'invite' | 'reset'): Promise<{ token: Secret<string>; expiresAtMs: number }>;
  /** @throws {NightlatchError} `not_found` for an unknown, used or expired token. */
  invitation(token: Secret<string>): Promise<Invitation>;
  /** Sets password and second factor, and spends the token. @throws as above, `bad_parameter` for a weak password or wrong code. */
  acceptInvitation(request: { token: Secret<string>; password: Secret<string>; otp?: string; clientIp: string }): Promise<string>;
  /** Forgets password, factors, sessions and invitations of a user. */
  forget(user: string): Promise<void>;
  /** Identity behind a bearer token or web session cookie. */
  verifyBearer(token: Secret<string>): Promise<Verified>;
  /** A web session or ticket of a user; returns the bearer token. */
  createWebSession(user: string): Promise<{ token: Secret<string>; expiresAtMs: number }>;
  endWebSession(token: Secret<string>): Promise<void>;
}

/** An audit log that also tells what it writes as it writes it, for live views. */
export interface LiveAuditLog extends AuditLog {
  onEvent(fn: (event: StoredAuditEvent) => void): () => void;
}

/** Everything the API works on. server/daemon.ts composes one; tests compose smaller ones. */
export interface ServerContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly clusterName: string;
  readonly version: string;
  readonly dataDir: string;
  readonly store: Store;
  readonly policy: LivePolicy;
  readonly audit: LiveAuditLog;
  readonly sessions: SessionRegistry;
  readonly ca: CertAuthority;
  readonly identity: IdentityServices;
  /** What is known of this gateway from outside; a function, since ports are known once they are bound. */
  info(): ClusterInfo;
}

/** Who calls the API, as the listener that took the connection knows it. */
export type TransportCaller =
  /** The daemon's own unix socket: whoever can open it (mode 0600) is the administrator. */
  | { readonly kind: 'local' }
  /** TLS. `clientCertificate` is the DER of the certificate that the TLS handshake accepted, where there was one. */
  | { readonly kind: 'tls'; readonly clientIp: string; readonly clientCertificate?: Buffer };

/** Bindings that the listeners pass to `api.fetch(request, bindings)`. */
export interface ApiBindings {
  readonly caller: TransportCaller;
}
