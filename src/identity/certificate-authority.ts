import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { type AuthorityType, exportAuthority } from './export-authority.ts';
import type { MasterKey } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';
import { SshAuthority } from './ssh-authority.ts';
import { createTlsCa, type StoredTlsCa, TlsAuthority } from './tls-authority.ts';
import type { CertAuthority, CertRoute, SshCredential, TlsCredential, Verified } from './types.ts';

/** Bucket of the cluster's private keys. */
const BUCKET = 'authorities';

/** What a person (or a machine, for `tctl auth sign`) gets certified. */
interface UserCertificatesRequest {
  readonly user: string;
  /** SSH logins. With none there can be no SSH certificate. */
  readonly principals: readonly string[];
  /** OpenSSH public key line. */
  readonly sshPublicKey?: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly tlsPublicKeySpkiDer?: Uint8Array;
  readonly ttlMs: number;
  readonly route?: CertRoute;
  /** SSH extensions by role: `permit-pty`, `permit-port-forwarding`, `permit-agent-forwarding`. */
  readonly extensions: readonly string[];
  /** Addresses or CIDR ranges between commas. */
  readonly sourceAddress?: string;
}

interface UserCertificates {
  /** `ssh-…-cert-v01@openssh.com AAAA… user`, where an SSH key came with the request. */
  readonly sshCert?: string;
  /** Serial of the SSH certificate, lower-case hex. */
  readonly sshSerial?: string;
  /** PEM, where a TLS key came with the request. */
  readonly tlsCertPem?: string;
  /** Serial of the X.509 certificate, lower-case hex. */
  readonly tlsSerial?: string;
  /** Milliseconds since the epoch, full seconds. */
  readonly expiresAtMs: number;
}

/** The authorities as server/ uses them: beyond what gateways need, what `tsh login` and `tctl auth` ask for. */
export interface ClusterAuthorities extends CertAuthority {
  /** `sha256:…` of the X.509 host CA's public key, as `tsh login --ca-pin` takes it. */
  readonly caPin: string;
  /** The SSH CA that certifies people's own keys (`ssh-ed25519 AAAA…`); never for a target to trust. */
  readonly sshLoginCa: string;
  /** @throws {NightlatchError} `bad_parameter`, `decode` for keys that are not accepted. */
  issueUserCertificates(request: UserCertificatesRequest): Promise<UserCertificates>;
  /** Certifies a server's host key for names; returns the line of its `-cert.pub` file. */
  issueHostCertificate(request: { sshPublicKey: string; names: readonly string[]; ttlMs: number }): string;
  /** Key and certificate for a database server. */
  issueDatabaseServer(request: { names: readonly string[]; ttlMs: number }): Promise<TlsCredential>;
  /** What `tctl auth export --type=…` prints. */
  exportAuthority(type: AuthorityType): string;
}

/**
 * Loads the cluster's authorities from the store, or makes them at the first start.
 * @throws {NightlatchError} `internal` where the master key does not open them; `unavailable` where the store cannot be used.
 */
export async function loadCertAuthority(options: {
  readonly store: Store;
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  readonly clusterName: string;
}): Promise<ClusterAuthorities> {
  const { store, masterKey, clock, clusterName } = options;
  const sshKey = (name: string) =>
    loadOrCreate(new SealedRecords<string>(store, masterKey, BUCKET), name, createSshKey);
  const tlsCa = (name: string, commonName: string) =>
    loadOrCreate(new SealedRecords<StoredTlsCa>(store, masterKey, BUCKET), name, () =>
      createTlsCa(clusterName, commonName, clock.wallMs()),
    );
  const [loginCa, userCa, hostCa, hostKey] = await Promise.all([
    sshKey('ssh-login-ca'),
    sshKey('ssh-user-ca'),
    sshKey('ssh-host-ca'),
    sshKey('ssh-host-key'),
  ]);
  const [user, host, db] = await Promise.all([
    tlsCa('tls-user-ca', `${clusterName} user CA`),
    tlsCa('tls-host-ca', `${clusterName} host CA`),
    tlsCa('tls-db-ca', `${clusterName} database CA`),
  ]);
  const ssh = new SshAuthority(
    { loginCa: keyOf(loginCa), userCa: keyOf(userCa), hostCa: keyOf(hostCa), hostKey: keyOf(hostKey) },
    clock,
  );
  const tls = await TlsAuthority.load({ user, host, db }, clock, clusterName);
  return new Authorities(ssh, tls, clock, clusterName);
}

/** One gateway of several may make it first: then theirs is used. */
async function loadOrCreate<T>(records: SealedRecords<T>, name: string, create: () => T | Promise<T>): Promise<T> {
  const stored = await records.get(name);
  if (stored !== undefined) return stored;
  const fresh = await create();
  if (await records.add(name, fresh)) return fresh;
  const theirs = await records.get(name);
  if (theirs === undefined) throw new NightlatchError('internal', `the authority ${name} vanished from the store`);
  return theirs;
}

/** An Ed25519 key, PKCS#8 DER in base64. */
function createSshKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
}

function keyOf(pkcs8: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' });
}

class Authorities implements ClusterAuthorities {
  readonly sshLoginCa: string;
  readonly sshUserCa: string;
  readonly sshHostCa: string;
  readonly tlsUserCa: string;
  readonly tlsHostCa: string;
  readonly databaseCa: string;
  readonly caPin: string;
  readonly #ssh: SshAuthority;
  readonly #tls: TlsAuthority;
  readonly #clock: Clock;
  readonly #clusterName: string;

  constructor(ssh: SshAuthority, tls: TlsAuthority, clock: Clock, clusterName: string) {
    this.#ssh = ssh;
    this.#tls = tls;
    this.#clock = clock;
    this.#clusterName = clusterName;
    this.sshLoginCa = ssh.loginCa;
    this.sshUserCa = ssh.userCa;
    this.sshHostCa = ssh.hostCa;
    this.tlsUserCa = tls.caPem('user');
    this.tlsHostCa = tls.caPem('host');
    this.databaseCa = tls.caPem('db');
    this.caPin = tls.caPin;
  }

  mintSshUser(request: { user: string; login: string; ttlMs: number; extensions: readonly string[] }): SshCredential {
    return this.#ssh.mintUser({ ...request, principals: [request.login] });
  }

  mintSshHost(names: readonly string[]): SshCredential {
    return this.#ssh.mintHost(names);
  }

  verifySshUser(certificate: Buffer, clientIp: string): Verified {
    return this.#ssh.verifyUser(certificate, clientIp);
  }

  verifySshHost(certificate: Buffer, names: readonly string[]): { ok: true } | { ok: false; reason: string } {
    return this.#ssh.verifyHost(certificate, names);
  }

  verifyTlsUser(certificateDer: Buffer): Verified {
    return this.#tls.verifyUser(certificateDer);
  }

  mintTlsServer(names: readonly string[]): Promise<TlsCredential> {
    return this.#tls.mintServer(names);
  }

  mintDatabaseClient(request: { dbUser: string; ttlMs: number }): Promise<TlsCredential> {
    return this.#tls.mintDatabaseClient(request.dbUser, request.ttlMs);
  }

  async issueUserCertificates(request: UserCertificatesRequest): Promise<UserCertificates> {
    const { user, principals, extensions, sourceAddress, route, sshPublicKey, tlsPublicKeySpkiDer } = request;
    // Both end in the same full second, whatever part of a second it is now.
    const now = this.#clock.wallMs();
    const expiresAtMs = Math.floor((now + request.ttlMs) / 1000) * 1000;
    const ttlMs = expiresAtMs - now;
    const ssh =
      sshPublicKey === undefined
        ? undefined
        : this.#ssh.certifyUser(sshPublicKey, {
            user,
            principals,
            ttlMs,
            extensions,
            ...(sourceAddress !== undefined && { sourceAddress }),
          });
    const tls =
      tlsPublicKeySpkiDer === undefined
        ? undefined
        : await this.#tls.certifyUser({ user, ...(route && { route }) }, tlsPublicKeySpkiDer, ttlMs);
    return {
      ...(ssh && { sshCert: ssh.line, sshSerial: ssh.serial }),
      ...(tls && { tlsCertPem: tls.pem, tlsSerial: tls.serial }),
      expiresAtMs,
    };
  }

  issueHostCertificate(request: { sshPublicKey: string; names: readonly string[]; ttlMs: number }): string {
    return this.#ssh.certifyHost(request.sshPublicKey, request.names, request.ttlMs);
  }

  issueDatabaseServer(request: { names: readonly string[]; ttlMs: number }): Promise<TlsCredential> {
    return this.#tls.mintDatabaseServer(request.names, request.ttlMs);
  }

  exportAuthority(type: AuthorityType): string {
    return exportAuthority(type, this, this.#clusterName);
  }
}
