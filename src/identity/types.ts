import type { KeyObject } from 'node:crypto';

/** Where a certificate may be used besides the API: a database, a cluster (Teleport calls it the route). */
export interface CertRoute {
  readonly kind: 'db' | 'kube_cluster';
  /** Resource name. */
  readonly name: string;
  /** Database user and database name that the certificate is bound to, where it is. */
  readonly dbUser?: string;
  readonly dbName?: string;
}

/**
 * What a verified certificate proves. Roles are not in it: they are read from the live policy by `user`, so that a
 * change reaches what is already open.
 */
export interface Identity {
  readonly user: string;
  /** Certificate serial number, lower-case hex: for locks, audit and revocation. */
  readonly serial: string;
  /** End of validity, milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** SSH logins (principals) in the certificate; empty for X.509. */
  readonly principals: readonly string[];
  readonly route?: CertRoute;
  /** SSH certificate extensions (`permit-pty`, `permit-agent-forwarding` …); empty for X.509. */
  readonly extensions: readonly string[];
}

/**
 * A refusal is a value: `reason` is for the audit log and the operator, not for the unauthenticated peer. `user` is there where the
 * certificate is one of this cluster's authority, and names that user.
 */
export type Verified =
  | { readonly ok: true; readonly identity: Identity }
  | { readonly ok: false; readonly reason: string; readonly user?: string };

/** A private key with the OpenSSH certificate for it, as an SSH endpoint presents it. */
export interface SshCredential {
  readonly privateKey: KeyObject;
  /** Certificate blob: the wire form that begins with its type string (PROTOCOL.certkeys). */
  readonly certificate: Buffer;
}

/** A private key with its X.509 certificate, PEM. */
export interface TlsCredential {
  readonly keyPem: string;
  /** Leaf first, then its issuer. */
  readonly certPem: string;
}

/**
 * The cluster's certificate authorities as gateways use them. Host CA: SSH host certificates and the gateway's own TLS certificate.
 * Database CA: what databases trust for the gateway's logins. X.509 user CA: people's certificates. SSH user CA: the gateway's logins at
 * targets, which trust it; people's own SSH keys are certified by another one, which gateways alone trust, so that nobody reaches a
 * target past the gateway (docs/decisions/0001-keys-and-certificates.md).
 */
export interface CertAuthority {
  /** `authorized_keys`-style lines (`ssh-ed25519 AAAA…`) of the SSH CAs. */
  readonly sshUserCa: string;
  readonly sshHostCa: string;
  /** PEM of the X.509 CAs. */
  readonly tlsUserCa: string;
  readonly tlsHostCa: string;
  readonly databaseCa: string;

  /** A fresh key and user certificate for one login on one target (`TrustedUserCAKeys` there). */
  mintSshUser(request: { user: string; login: string; ttlMs: number; extensions: readonly string[] }): SshCredential;
  /** A host certificate for the names a client asks for, over the gateway's host key. Kept and renewed by the implementation. */
  mintSshHost(names: readonly string[]): SshCredential;
  /** Checks a person's certificate blob: our login CA, signature, type, validity, `source-address`, unknown critical options. */
  verifySshUser(certificate: Buffer, clientIp: string): Verified;
  /** Checks a host certificate or key an upstream presents against the host CA and the names expected. */
  verifySshHost(certificate: Buffer, names: readonly string[]): { ok: true } | { ok: false; reason: string };

  /** Checks a client certificate (DER) that TLS accepted: our user CA, validity now (also on resumed sessions), usage. */
  verifyTlsUser(certificateDer: Buffer): Verified;
  /** Server certificate for the gateway's own names, signed by the host CA. */
  mintTlsServer(names: readonly string[]): Promise<TlsCredential>;
  /** Client certificate (CN = database user) signed by the database CA; with at least half of `ttlMs` left. */
  mintDatabaseClient(request: { dbUser: string; ttlMs: number }): Promise<TlsCredential>;
}
