import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import {
  type Certificate,
  type CertificateKind,
  decodeCertificate,
  decodeOptionString,
  isSignatureValid,
  isValidAt,
  mintCertificate,
} from '../wire/ssh/certificate.ts';
import { decodeAuthorizedKey, decodePublicKey, encodeAuthorizedKey, encodePublicKey } from '../wire/ssh/keys.ts';
import { LruMap } from './lru-map.ts';
import { isSourceAddressList, sourceAddressMatches } from './source-address.ts';
import type { SshCredential, Verified } from './types.ts';
import { normalizeUserName } from './user-name.ts';

/** How far back certificates begin, for machines whose clocks run behind, in milliseconds. */
export const BACKDATE_MS = 60_000;
/** Life of the gateway's own host certificates, and when they are made anew. */
const HOST_TTL_MS = 24 * 3_600_000;
const HOST_RENEW_BEFORE_MS = 12 * 3_600_000;
/** Host certificates that are kept: names come from clients that have not signed in. */
const MAX_HOST_CERTIFICATES = 1024;

/** The private keys behind the SSH half of the authorities. */
export interface SshAuthorityKeys {
  /**
   * Certifies people's own keys; gateways alone trust it. INVARIANT: no target does, or people could go to the target without the gateway,
   * where nothing ends their session.
   */
  readonly loginCa: KeyObject;
  /** Certifies the keys with which gateways log in at targets; those keys never leave a gateway. Targets trust it. */
  readonly userCa: KeyObject;
  readonly hostCa: KeyObject;
  /** The gateway's host key. */
  readonly hostKey: KeyObject;
}

/** What a person's SSH certificate is to say. */
export interface SshUserRequest {
  readonly user: string;
  readonly principals: readonly string[];
  readonly ttlMs: number;
  readonly extensions: readonly string[];
  /** Addresses or CIDR ranges between commas, from which alone it is good. */
  readonly sourceAddress?: string;
}

/** Makes and checks SSH certificates. */
export class SshAuthority {
  readonly #keys: SshAuthorityKeys;
  readonly #clock: Clock;
  readonly #hostCertificates = new LruMap<string, { blob: Buffer; renewAtMs: number }>(MAX_HOST_CERTIFICATES);

  constructor(keys: SshAuthorityKeys, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  get loginCa(): string {
    return encodeAuthorizedKey(encodePublicKey(this.#keys.loginCa));
  }

  /** The public half of the user CA as `ssh-ed25519 AAAA…`. */
  get userCa(): string {
    return encodeAuthorizedKey(encodePublicKey(this.#keys.userCa));
  }

  get hostCa(): string {
    return encodeAuthorizedKey(encodePublicKey(this.#keys.hostCa));
  }

  /** A fresh key with a certificate for it, for a gateway's login at a target. */
  mintUser(request: SshUserRequest): SshCredential {
    const { privateKey } = generateKeyPairSync('ed25519');
    return { privateKey, certificate: this.#signUser(this.#keys.userCa, privateKey, request).blob };
  }

  /**
   * Certifies a person's own key, for sign-in at gateways.
   * @throws {NightlatchError} `bad_parameter`, `decode` where the line holds no key that is accepted.
   */
  certifyUser(publicKeyLine: string, request: SshUserRequest): { line: string; serial: string } {
    const { key } = decodePublicKey(decodeAuthorizedKey(publicKeyLine).blob);
    const { blob, serial } = this.#signUser(this.#keys.loginCa, key, request);
    return { line: encodeAuthorizedKey(blob, request.user), serial };
  }

  #signUser(signer: KeyObject, publicKey: KeyObject, request: SshUserRequest): { blob: Buffer; serial: string } {
    if (normalizeUserName(request.user) !== request.user)
      throw new NightlatchError('bad_parameter', 'the user name is not valid');
    const { sourceAddress } = request;
    if (sourceAddress !== undefined && !isSourceAddressList(sourceAddress)) {
      throw new NightlatchError('bad_parameter', 'source-address is not a list of addresses and CIDR ranges');
    }
    const serial = randomSerial();
    const blob = mintCertificate({
      kind: 'user',
      publicKey,
      signer,
      serial,
      keyId: request.user,
      principals: request.principals,
      ...this.#validity(request.ttlMs),
      criticalOptions: sourceAddress === undefined ? {} : { 'source-address': sourceAddress },
      extensions: Object.fromEntries(request.extensions.map((name) => [name, ''])),
    });
    return { blob, serial: serial.toString(16) };
  }

  /** The gateway's host key with a certificate for these names, from the cache where that has one with enough life left. */
  mintHost(names: readonly string[]): SshCredential {
    const principals = [...new Set(names.map((name) => name.toLowerCase()))].sort();
    const cacheKey = principals.join('\n');
    let cached = this.#hostCertificates.get(cacheKey);
    const now = this.#clock.wallMs();
    // Also made anew where the clock was set back to before it began.
    if (
      cached === undefined ||
      now >= cached.renewAtMs ||
      now < cached.renewAtMs - HOST_RENEW_BEFORE_MS - BACKDATE_MS
    ) {
      const blob = this.#signHost(this.#keys.hostKey, principals, HOST_TTL_MS);
      cached = { blob, renewAtMs: now + HOST_TTL_MS - HOST_RENEW_BEFORE_MS };
      this.#hostCertificates.set(cacheKey, cached);
    }
    return { privateKey: this.#keys.hostKey, certificate: cached.blob };
  }

  /** Certifies the host key of a server for these names; returns the line for its `-cert.pub` file. */
  certifyHost(publicKeyLine: string, names: readonly string[], ttlMs: number): string {
    const { key } = decodePublicKey(decodeAuthorizedKey(publicKeyLine).blob);
    const principals = names.map((name) => name.toLowerCase());
    return encodeAuthorizedKey(this.#signHost(key, principals, ttlMs), names[0]);
  }

  #signHost(publicKey: KeyObject, principals: readonly string[], ttlMs: number): Buffer {
    return mintCertificate({
      kind: 'host',
      publicKey,
      signer: this.#keys.hostCa,
      serial: randomSerial(),
      keyId: principals[0] ?? '',
      principals,
      ...this.#validity(ttlMs),
    });
  }

  #validity(ttlMs: number): { validAfterMs: number; validBeforeMs: number } {
    if (!(ttlMs > 0)) throw new NightlatchError('bad_parameter', 'the life of a certificate must be positive');
    const now = this.#clock.wallMs();
    return { validAfterMs: Math.max(0, now - BACKDATE_MS), validBeforeMs: now + ttlMs };
  }

  /** Checks a user certificate; see `CertAuthority.verifySshUser`. */
  verifyUser(blob: Buffer, clientIp: string): Verified {
    const checked = this.#check(blob, 'user', this.#keys.loginCa);
    const { certificate } = checked;
    const named = certificate !== undefined && normalizeUserName(certificate.keyId) === certificate.keyId;
    const refusal = (reason: string): Verified => ({
      ok: false,
      reason,
      ...(named ? { user: certificate.keyId } : {}),
    });
    if (checked.reason !== undefined) return refusal(checked.reason);
    for (const [name, data] of checked.certificate.criticalOptions) {
      if (name !== 'source-address') return refusal(`the certificate has the unknown critical option ${name}`);
      let ranges: string;
      try {
        ranges = decodeOptionString(data);
      } catch {
        return refusal('the certificate has a malformed source-address');
      }
      if (!sourceAddressMatches(ranges, clientIp)) {
        return refusal(`the certificate is not good for connections from ${clientIp}`);
      }
    }
    if (!named) return refusal('the certificate names no user');
    return {
      ok: true,
      identity: {
        user: certificate.keyId,
        serial: certificate.serial.toString(16),
        expiresAtMs: Number(certificate.validBefore) * 1000,
        principals: certificate.principals,
        extensions: [...certificate.extensions.keys()],
      },
    };
  }

  /** Checks a host certificate; see `CertAuthority.verifySshHost`. */
  verifyHost(blob: Buffer, names: readonly string[]): { ok: true } | { ok: false; reason: string } {
    const checked = this.#check(blob, 'host', this.#keys.hostCa);
    if (checked.reason !== undefined) return { ok: false, reason: checked.reason };
    const { certificate } = checked;
    for (const name of certificate.criticalOptions.keys()) {
      return { ok: false, reason: `the host certificate has the unknown critical option ${name}` };
    }
    const principals = new Set(certificate.principals.map((name) => name.toLowerCase()));
    if (!names.some((name) => principals.has(name.toLowerCase()))) {
      return {
        ok: false,
        reason: `the host certificate is for ${certificate.principals.join(', ')}, not for ${names.join(', ')}`,
      };
    }
    return { ok: true };
  }

  /** What both kinds have in common; the reason where it does not hold. A certificate is there where the authority did sign it. */
  #check(blob: Buffer, kind: CertificateKind, authority: KeyObject): Checked {
    let certificate: Certificate;
    try {
      certificate = decodeCertificate(blob);
    } catch (error) {
      return { reason: `no certificate: ${(error as Error).message}` };
    }
    // First whose it is, so that nobody else's signature costs us a verification.
    if (!certificate.signatureKeyBlob.equals(encodePublicKey(authority)))
      return { reason: 'the certificate is not from this cluster’s authority' };
    if (certificate.kind !== kind) return { reason: `the certificate is a ${certificate.kind} certificate` };
    if (!isSignatureValid(certificate)) return { reason: 'the signature of the certificate is wrong' };
    const now = this.#clock.wallMs();
    if (!isValidAt(certificate, now)) {
      const early = BigInt(Math.floor(now / 1000)) < certificate.validAfter;
      return { certificate, reason: early ? 'the certificate is not valid yet' : 'the certificate has expired' };
    }
    if (certificate.principals.length === 0) return { certificate, reason: 'the certificate has no principals' };
    return { certificate };
  }
}

type Checked =
  | { readonly certificate: Certificate; readonly reason?: undefined }
  | { readonly certificate?: Certificate; readonly reason: string };

/** 64 random bits, all that fits; never 0, which OpenSSH takes as "no serial number". */
function randomSerial(): bigint {
  return randomBytes(8).readBigUInt64BE() || 1n;
}
