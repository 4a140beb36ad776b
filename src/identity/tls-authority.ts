import 'reflect-metadata'; // @peculiar/x509 needs it, and first.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  type webcrypto,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import { LruMap } from './lru-map.ts';
import { BACKDATE_MS } from './ssh-authority.ts';
import { decodeTlsIdentity, encodeTlsIdentity, type TlsIdentity } from './tls-identity.ts';
import type { Identity, TlsCredential, Verified } from './types.ts';
import { normalizeUserName } from './user-name.ts';

const CA_TTL_MS = 10 * 365 * 86_400_000;
/** Life of the gateway's own server certificates, and how long one is handed out before it is made anew. */
const SERVER_TTL_MS = 30 * 86_400_000;
const SERVER_RENEW_AFTER_MS = 10 * 86_400_000;
/** Server and database certificates that are kept, of each. */
const MAX_CREDENTIALS = 256;
const MAX_CERTIFICATE_BYTES = 16 * 1024;
/** Certificates whose signature need not be checked again: a client comes with the same one at every request. */
const MAX_KNOWN_USERS = 4096;
const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

type Kind = 'user' | 'host' | 'db';

/** One X.509 authority as it is kept: private key (PKCS#8 DER, base64) and its self-signed certificate (PEM). */
export interface StoredTlsCa {
  readonly pkcs8: string;
  readonly certPem: string;
}

interface TlsCa {
  readonly signingKey: webcrypto.CryptoKey;
  readonly publicKey: KeyObject;
  readonly certificate: X509Certificate;
  readonly certPem: string;
  readonly subject: x509.Name;
  /** What its leaves carry to name it. */
  readonly keyIdentifier: x509.Extension;
}

/** What a leaf certificate is to say. */
interface Leaf {
  readonly subject: x509.Name;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly usages: readonly x509.ExtendedKeyUsage[];
  readonly names: x509.JsonGeneralNames;
  readonly ttlMs: number;
}

interface CachedCredential {
  readonly credential: Promise<TlsCredential>;
  readonly madeAtMs: number;
}

/** A person's certificate that was found good but for the time. */
interface KnownUser {
  readonly validFromMs: number;
  readonly identity: Identity;
}

interface SignedLeaf {
  readonly pem: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
}

/** Makes an X.509 authority: ECDSA P-256, no authorities below it. */
export async function createTlsCa(clusterName: string, commonName: string, wallMs: number): Promise<StoredTlsCa> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pkcs8 = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
  const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' });
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: distinguishedName(clusterName, commonName),
    issuer: distinguishedName(clusterName, commonName),
    notBefore: new Date(wallMs - BACKDATE_MS),
    notAfter: new Date(wallMs + CA_TTL_MS),
    publicKey,
    signingKey: await importSigningKey(pkcs8),
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(new x509.PublicKey(publicKey)),
    ],
  });
  return { pkcs8: pkcs8.toString('base64'), certPem: pem(certificate) };
}

async function loadTlsCa(stored: StoredTlsCa): Promise<TlsCa> {
  const pkcs8 = Buffer.from(stored.pkcs8, 'base64');
  const certificate = new X509Certificate(stored.certPem);
  if (!certificate.checkPrivateKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }))) {
    throw new NightlatchError('internal', 'the certificate of an authority does not belong to its key');
  }
  const parsed = new x509.X509Certificate(stored.certPem);
  return {
    signingKey: await importSigningKey(pkcs8),
    publicKey: certificate.publicKey,
    certificate,
    certPem: stored.certPem,
    subject: parsed.subjectName,
    keyIdentifier: await x509.AuthorityKeyIdentifierExtension.create(parsed.publicKey),
  };
}

function importSigningKey(pkcs8: Uint8Array<ArrayBuffer>): Promise<webcrypto.CryptoKey> {
  return globalThis.crypto.subtle.importKey('pkcs8', pkcs8, SIGNING, false, ['sign']);
}

/** Makes and checks X.509 certificates. */
export class TlsAuthority {
  readonly #cas: Readonly<Record<Kind, TlsCa>>;
  readonly #clock: Clock;
  readonly #clusterName: string;
  /** By SHA-256 of the DER form. */
  readonly #knownUsers = new LruMap<string, KnownUser>(MAX_KNOWN_USERS);
  readonly #servers = new LruMap<string, CachedCredential>(MAX_CREDENTIALS);
  /** By life and database user. */
  readonly #databaseClients = new LruMap<string, CachedCredential>(MAX_CREDENTIALS);

  private constructor(cas: Readonly<Record<Kind, TlsCa>>, clock: Clock, clusterName: string) {
    this.#cas = cas;
    this.#clock = clock;
    this.#clusterName = clusterName;
  }

  static async load(
    stored: Readonly<Record<Kind, StoredTlsCa>>,
    clock: Clock,
    clusterName: string,
  ): Promise<TlsAuthority> {
    const [user, host, db] = await Promise.all([loadTlsCa(stored.user), loadTlsCa(stored.host), loadTlsCa(stored.db)]);
    return new TlsAuthority({ user, host, db }, clock, clusterName);
  }

  /** Certificate of an authority, PEM. */
  caPem(kind: Kind): string {
    return this.#cas[kind].certPem;
  }

  /** `sha256:` and the hexadecimal SHA-256 of the host CA's SubjectPublicKeyInfo, as `tsh login --ca-pin` takes it. */
  get caPin(): string {
    const spki = this.#cas.host.publicKey.export({ format: 'der', type: 'spki' });
    return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
  }

  /**
   * Certifies a person's own key for TLS client authentication.
   * @throws {NightlatchError} `bad_parameter` where the key is none that is accepted.
   */
  async certifyUser(identity: Omit<TlsIdentity, 'cluster'>, spkiDer: Uint8Array, ttlMs: number): Promise<SignedLeaf> {
    if (normalizeUserName(identity.user) !== identity.user)
      throw new NightlatchError('bad_parameter', 'the user name is not valid');
    const uri = encodeTlsIdentity({ ...identity, cluster: this.#clusterName });
    if (decodeTlsIdentity(uri) === undefined)
      throw new NightlatchError('bad_parameter', 'the identity does not fit a certificate');
    return this.#sign('user', {
      subject: distinguishedName(this.#clusterName, identity.user),
      spki: acceptedSpki(spkiDer),
      usages: [x509.ExtendedKeyUsage.clientAuth],
      names: [{ type: 'url', value: uri }],
      ttlMs,
    });
  }

  /** A server certificate of the host CA for these names, with a fresh key; kept for ten days. */
  mintServer(names: readonly string[]): Promise<TlsCredential> {
    const sorted = [...new Set(names.map((name) => name.toLowerCase()))].sort();
    const cacheKey = sorted.join('\n');
    const now = this.#clock.wallMs();
    const cached = this.#servers.get(cacheKey);
    if (cached !== undefined && now < cached.madeAtMs + SERVER_RENEW_AFTER_MS && now >= cached.madeAtMs - BACKDATE_MS) {
      return cached.credential;
    }
    const credential = this.#mintServer('host', sorted, SERVER_TTL_MS);
    this.#servers.set(cacheKey, { credential, madeAtMs: now });
    credential.catch(() => this.#servers.delete(cacheKey));
    return credential;
  }

  /** A server certificate for a database, signed by the database CA (`tctl auth sign --format=db`). */
  mintDatabaseServer(names: readonly string[], ttlMs: number): Promise<TlsCredential> {
    return this.#mintServer('db', names, ttlMs);
  }

  async #mintServer(kind: Kind, names: readonly string[], ttlMs: number): Promise<TlsCredential> {
    if (names.length === 0 || names.length > 256)
      throw new NightlatchError('bad_parameter', 'a server certificate needs 1 to 256 names');
    const generalNames = names.map(generalName);
    const { privateKey, spki } = freshKey();
    const signed = await this.#sign(kind, {
      // A common name holds 64 characters at most (RFC 5280, ub-common-name); clients look at the alternative names.
      subject: distinguishedName(this.#clusterName, names.find((name) => name.length <= 64) ?? 'server'),
      spki,
      usages: [x509.ExtendedKeyUsage.serverAuth],
      names: generalNames,
      ttlMs,
    });
    return { keyPem: privateKey, certPem: signed.pem + this.caPem(kind) };
  }

  /**
   * A client certificate whose common name is the database user, signed by the database CA. One that was made for the same request is
   * given again while it has half of its life left: making one takes milliseconds, and an application may connect often.
   */
  mintDatabaseClient(dbUser: string, ttlMs: number): Promise<TlsCredential> {
    const cacheKey = `${ttlMs}\n${dbUser}`;
    const now = this.#clock.wallMs();
    const cached = this.#databaseClients.get(cacheKey);
    if (cached !== undefined && now < cached.madeAtMs + ttlMs / 2 && now >= cached.madeAtMs) return cached.credential;
    const credential = this.#mintDatabaseClient(dbUser, ttlMs);
    this.#databaseClients.set(cacheKey, { credential, madeAtMs: now });
    credential.catch(() => this.#databaseClients.delete(cacheKey));
    return credential;
  }

  async #mintDatabaseClient(dbUser: string, ttlMs: number): Promise<TlsCredential> {
    if (dbUser === '' || dbUser.length > 64 || /\p{Cc}/u.test(dbUser)) {
      throw new NightlatchError('bad_parameter', 'the database user does not fit a certificate');
    }
    const { privateKey, spki } = freshKey();
    const signed = await this.#sign('db', {
      subject: distinguishedName(this.#clusterName, dbUser),
      spki,
      usages: [x509.ExtendedKeyUsage.clientAuth],
      names: [],
      ttlMs,
    });
    return { keyPem: privateKey, certPem: signed.pem + this.caPem('db') };
  }

  async #sign(kind: Kind, leaf: Leaf): Promise<SignedLeaf> {
    if (!(leaf.ttlMs > 0)) throw new NightlatchError('bad_parameter', 'the life of a certificate must be positive');
    const ca = this.#cas[kind];
    const now = this.#clock.wallMs();
    const notAfterMs = Math.min(now + leaf.ttlMs, ca.certificate.validToDate.getTime());
    const serialNumber = randomSerial();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber,
      subject: leaf.subject,
      issuer: ca.subject,
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(notAfterMs),
      publicKey: leaf.spki as Uint8Array<ArrayBuffer>,
      signingKey: ca.signingKey,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([...leaf.usages]),
        ca.keyIdentifier,
        ...(leaf.names.length > 0 ? [new x509.SubjectAlternativeNameExtension(leaf.names)] : []),
      ],
    });
    return { pem: pem(certificate), serial: serialNumber.replace(/^0+/, '') };
  }

  /** Checks a client certificate; see `CertAuthority.verifyTlsUser`. */
  verifyUser(der: Buffer): Verified {
    if (der.length > MAX_CERTIFICATE_BYTES) return { ok: false, reason: 'the certificate is too long' };
    const cacheKey = createHash('sha256').update(der).digest('base64');
    let known = this.#knownUsers.get(cacheKey);
    if (known === undefined) {
      const checked = this.#checkUser(der);
      if (typeof checked === 'string') return { ok: false, reason: checked };
      known = checked;
      this.#knownUsers.set(cacheKey, known);
    }
    const now = this.#clock.wallMs();
    const { user, expiresAtMs } = known.identity;
    if (!(now >= known.validFromMs)) return { ok: false, reason: 'the certificate is not valid yet', user };
    // Not through its last second, as RFC 5280 section 4.1.2.5 would have it: the end is the same as in SSH certificates.
    if (!(now < expiresAtMs)) return { ok: false, reason: 'the certificate has expired', user };
    return { ok: true, identity: known.identity };
  }

  /** All that does not depend on the time; the reason where it does not hold. */
  #checkUser(der: Buffer): KnownUser | string {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(der);
    } catch {
      return 'the certificate cannot be read';
    }
    const ca = this.#cas.user;
    if (!certificate.raw.equals(der)) return 'the certificate is followed by something else';
    if (!certificate.checkIssued(ca.certificate) || !certificate.verify(ca.publicKey)) {
      return 'the certificate is not from this cluster’s authority';
    }
    // From here on the bytes are ones that we signed.
    if (certificate.ca) return 'the certificate is one of an authority';
    if (!certificate.keyUsage?.includes(x509.ExtendedKeyUsage.clientAuth)) return 'the certificate is not for clients';
    const uri = identityUri(der);
    const identity = uri === undefined ? undefined : decodeTlsIdentity(uri);
    if (identity === undefined) return 'the certificate names no user';
    if (identity.cluster !== this.#clusterName) return 'the certificate is for another cluster';
    const { user, route } = identity;
    return {
      validFromMs: certificate.validFromDate.getTime(),
      identity: {
        user,
        serial: certificate.serialNumber.toLowerCase().replace(/^0+/, ''),
        expiresAtMs: certificate.validToDate.getTime(),
        principals: [],
        extensions: [],
        ...(route && { route }),
      },
    };
  }
}

/** The one URI among the alternative names; undefined where there is none, or more names than that. */
function identityUri(der: Buffer): string | undefined {
  // Not from `subjectAltName` of node:crypto, whose text form has been ambiguous before (CVE-2021-44532).
  const names = new x509.X509Certificate(new Uint8Array(der))
    .getExtension(x509.SubjectAlternativeNameExtension)
    ?.names.toJSON();
  return names?.length === 1 && names[0]?.type === 'url' ? names[0].value : undefined;
}

function freshKey(): { privateKey: string; spki: Buffer } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privateKey: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
    spki: pair.publicKey.export({ format: 'der', type: 'spki' }),
  };
}

/** A person's public key in the form we certify, refused unless it is one TLS clients use and strong enough. */
function acceptedSpki(spkiDer: Uint8Array): Buffer {
  let key: KeyObject;
  try {
    if (spkiDer.length > 4096) throw new Error('too long');
    key = createPublicKey({ key: Buffer.from(spkiDer), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new NightlatchError('bad_parameter', 'the public key cannot be read', { cause });
  }
  const details = key.asymmetricKeyDetails;
  const accepted =
    key.asymmetricKeyType === 'ed25519' ||
    (key.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(details?.namedCurve ?? '')) ||
    (key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= 2048 && (details?.modulusLength ?? 0) <= 8192);
  if (!accepted)
    throw new NightlatchError('bad_parameter', 'the public key is of a kind that is not accepted, or too weak');
  return key.export({ format: 'der', type: 'spki' });
}

function distinguishedName(organization: string, commonName: string): x509.Name {
  // As objects, since plain strings are parsed: quotes in them would be taken for syntax.
  return new x509.Name([{ O: [{ utf8String: organization }] }, { CN: [{ utf8String: commonName }] }]);
}

function generalName(name: string): { type: 'dns' | 'ip'; value: string } {
  if (isIP(name) !== 0 && !name.includes('%')) return { type: 'ip', value: name };
  if (
    name.length > 253 ||
    !/^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i.test(name)
  ) {
    throw new NightlatchError('bad_parameter', `${JSON.stringify(name)} is no host name and no address`);
  }
  return { type: 'dns', value: name };
}

/** 128 random bits; the leading 01 keeps the number positive and its length fixed (RFC 5280 section 4.1.2.2: 20 bytes at most). */
function randomSerial(): string {
  return `01${randomBytes(16).toString('hex')}`;
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}
