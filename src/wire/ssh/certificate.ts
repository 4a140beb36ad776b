import { type KeyObject, randomBytes } from 'node:crypto';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';
import {
  decodePublicKey,
  encodePublicKey,
  isKeyType,
  type KeyType,
  keyTypeOf,
  readPublicKeyFields,
  type SignatureAlgorithm,
  sshSign,
  sshVerify,
} from './keys.ts';

/** What is appended to a key type's name in certificates (PROTOCOL.certkeys). */
export const CERTIFICATE_SUFFIX = '-cert-v01@openssh.com';
/** `valid before` of a certificate that does not end. */
export const FOREVER = 0xffff_ffff_ffff_ffffn;

const MAX_CERTIFICATE_BYTES = 64 * 1024;
const MAX_KEY_ID_BYTES = 1024;
const MAX_PRINCIPALS = 256;
const MAX_PRINCIPAL_BYTES = 512;
const MAX_OPTIONS = 64;
const MAX_OPTION_BYTES = 8 * 1024;

/** User certificates are type 1, host certificates type 2. */
export type CertificateKind = 'user' | 'host';

/** A certificate as it stands in its blob. Nothing in it is true before `isSignatureValid` and a check of `signatureKeyBlob`. */
export interface Certificate {
  /** `ssh-ed25519-cert-v01@openssh.com`, … */
  readonly type: string;
  /** Type of the certified key: `ssh-ed25519`, … */
  readonly keyType: KeyType;
  /** The certified key, and its plain blob. */
  readonly publicKey: KeyObject;
  readonly publicKeyBlob: Buffer;
  readonly serial: bigint;
  readonly kind: CertificateKind;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since the epoch; valid from this one … */
  readonly validAfter: bigint;
  /** … up to, and not with, this one. */
  readonly validBefore: bigint;
  /** Data of each option as it stands there; `decodeOptionString` reads those that hold a string. */
  readonly criticalOptions: ReadonlyMap<string, Buffer>;
  readonly extensions: ReadonlyMap<string, Buffer>;
  /** The authority that claims to have signed. */
  readonly signatureKey: KeyObject;
  readonly signatureKeyBlob: Buffer;
  readonly signature: Buffer;
  /** The bytes that the signature covers: all before it. */
  readonly signedBytes: Buffer;
}

/** Whether a key type's name is one of a certificate. */
export function isCertificateType(type: string): boolean {
  return type.endsWith(CERTIFICATE_SUFFIX) && isKeyType(type.slice(0, -CERTIFICATE_SUFFIX.length));
}

/**
 * Decodes an OpenSSH certificate (PROTOCOL.certkeys, version 01), nothing before or after it. Checks its form only.
 * @throws {DecodeError}
 */
export function decodeCertificate(blob: Uint8Array): Certificate {
  if (blob.length > MAX_CERTIFICATE_BYTES) throw new DecodeError(`a certificate of ${blob.length} bytes is too long`);
  const bytes = Buffer.from(blob);
  const reader = new SshReader(bytes);
  const type = reader.name();
  const keyType = type.endsWith(CERTIFICATE_SUFFIX) ? type.slice(0, -CERTIFICATE_SUFFIX.length) : '';
  if (!isKeyType(keyType)) throw new DecodeError(`${type} is no supported type of certificate`);
  reader.string(256); // The nonce; it only makes the signed bytes unpredictable.
  const publicKey = readPublicKeyFields(keyType, reader);
  const serial = reader.uint64();
  const kind = reader.uint32();
  if (kind !== 1 && kind !== 2) throw new DecodeError(`a certificate has the unknown type ${kind}`);
  const keyId = reader.utf8(MAX_KEY_ID_BYTES);
  const principals = readPrincipals(reader.string(MAX_CERTIFICATE_BYTES));
  const validAfter = reader.uint64();
  const validBefore = reader.uint64();
  const criticalOptions = readOptions(reader.string(MAX_CERTIFICATE_BYTES));
  const extensions = readOptions(reader.string(MAX_CERTIFICATE_BYTES));
  reader.string(1024); // Reserved; to be ignored.
  const authority = decodePublicKey(reader.string(MAX_OPTION_BYTES));
  const signedBytes = bytes.subarray(0, reader.offset);
  const signature = reader.string(MAX_OPTION_BYTES);
  reader.end();
  return {
    type,
    keyType,
    publicKey,
    publicKeyBlob: encodePublicKey(publicKey),
    serial,
    kind: kind === 1 ? 'user' : 'host',
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    signatureKey: authority.key,
    signatureKeyBlob: authority.blob,
    signature,
    signedBytes,
  };
}

function readPrincipals(bytes: Buffer): string[] {
  const reader = new SshReader(bytes);
  const principals: string[] = [];
  while (reader.remaining > 0) {
    if (principals.length === MAX_PRINCIPALS)
      throw new DecodeError(`a certificate has more than ${MAX_PRINCIPALS} principals`);
    principals.push(reader.utf8(MAX_PRINCIPAL_BYTES));
  }
  return principals;
}

function readOptions(bytes: Buffer): Map<string, Buffer> {
  const reader = new SshReader(bytes);
  const options = new Map<string, Buffer>();
  let last: Buffer | undefined;
  while (reader.remaining > 0) {
    if (options.size === MAX_OPTIONS) throw new DecodeError(`a certificate has more than ${MAX_OPTIONS} options`);
    const start = reader.offset + 4;
    const name = reader.name();
    const nameBytes = bytes.subarray(start, reader.offset);
    if (last !== undefined && Buffer.compare(last, nameBytes) >= 0) {
      throw new DecodeError('the options of a certificate are not in order');
    }
    last = nameBytes;
    options.set(name, reader.string(MAX_OPTION_BYTES));
  }
  return options;
}

/**
 * The string that an option such as `source-address` or `force-command` holds; '' where it holds no data.
 * @throws {DecodeError}
 */
export function decodeOptionString(data: Uint8Array): string {
  if (data.length === 0) return '';
  const reader = new SshReader(data);
  const value = reader.utf8(MAX_OPTION_BYTES);
  reader.end();
  return value;
}

/** Whether `signatureKey` has signed exactly these bytes. Whether that key may sign is for the caller to say. */
export function isSignatureValid(certificate: Certificate, allowed?: readonly SignatureAlgorithm[]): boolean {
  return sshVerify(certificate.signatureKey, certificate.signedBytes, certificate.signature, allowed);
}

/** Whether the certificate is valid at a time in milliseconds since the epoch: `validAfter <= now < validBefore`. */
export function isValidAt(certificate: Certificate, wallMs: number): boolean {
  const now = BigInt(Math.floor(wallMs / 1000));
  return certificate.validAfter <= now && now < certificate.validBefore;
}

/** What is to be certified. */
export interface CertificateSpec {
  readonly kind: CertificateKind;
  /** The key to certify: a public key, or a private one whose public half is meant. */
  readonly publicKey: KeyObject;
  /** The authority's private key. */
  readonly signer: KeyObject;
  readonly serial: bigint;
  readonly keyId: string;
  /** At least one: OpenSSH takes an empty list as every user or host. */
  readonly principals: readonly string[];
  /** Milliseconds since the epoch; rounded down to seconds, never to a longer life than asked for at the end. */
  readonly validAfterMs: number;
  readonly validBeforeMs: number;
  /** Values by name; '' for an option without data. */
  readonly criticalOptions?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
}

/**
 * Makes the blob of a certificate: nonce of 32 random bytes, options in order, signed (RSA authorities: `rsa-sha2-512`).
 * @throws {NightlatchError} `bad_parameter` where the certificate would be one that `decodeCertificate` refuses, or one for everybody.
 */
export function mintCertificate(spec: CertificateSpec): Buffer {
  checkSpec(spec);
  const type = keyTypeOf(spec.publicKey);
  const principals = new SshWriter(64);
  for (const principal of spec.principals) principals.string(principal);
  const writer = new SshWriter(768)
    .string(type + CERTIFICATE_SUFFIX)
    .string(randomBytes(32))
    // The key's own fields are its blob without the type's name.
    .bytes(encodePublicKey(spec.publicKey).subarray(4 + type.length))
    .uint64(spec.serial)
    .uint32(spec.kind === 'user' ? 1 : 2)
    .string(spec.keyId)
    .string(principals.finish())
    .uint64(BigInt(Math.floor(spec.validAfterMs / 1000)))
    .uint64(BigInt(Math.floor(spec.validBeforeMs / 1000)))
    .string(encodeOptions(spec.criticalOptions))
    .string(encodeOptions(spec.extensions))
    .string('')
    .string(encodePublicKey(spec.signer));
  return writer.string(sshSign(spec.signer, writer.finish())).finish();
}

function encodeOptions(options: Readonly<Record<string, string>> = {}): Buffer {
  const writer = new SshWriter(128);
  // Names are US-ASCII: the order of UTF-16 units is the order of bytes.
  for (const [name, value] of Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1))) {
    writer.string(name).string(value === '' ? '' : new SshWriter().string(value).finish());
  }
  return writer.finish();
}

function checkSpec(spec: CertificateSpec): void {
  const bytes = (text: string) => Buffer.byteLength(text, 'utf8');
  const refuse = (what: string): never => {
    throw new NightlatchError('bad_parameter', `cannot make the certificate: ${what}`);
  };
  if (spec.serial < 0n || spec.serial > FOREVER) refuse('the serial number does not fit 64 bits');
  if (bytes(spec.keyId) > MAX_KEY_ID_BYTES) refuse('the key id is too long');
  if (spec.principals.length === 0) refuse('it has no principals and would be good for all of them');
  if (spec.principals.length > MAX_PRINCIPALS) refuse('it has too many principals');
  if (
    spec.principals.some(
      (name) => name === '' || bytes(name) > MAX_PRINCIPAL_BYTES || /[\u0000-\u001f\u007f]/.test(name),
    )
  ) {
    refuse('a principal is empty, too long or has control characters');
  }
  if (!(spec.validAfterMs >= 0 && spec.validBeforeMs < Number.MAX_SAFE_INTEGER)) refuse('its validity is out of range');
  if (!(spec.validAfterMs < spec.validBeforeMs)) refuse('it would end before it begins');
  for (const options of [spec.criticalOptions ?? {}, spec.extensions ?? {}]) {
    const entries = Object.entries(options);
    if (entries.length > MAX_OPTIONS) refuse('it has too many options');
    for (const [name, value] of entries) {
      if (!/^[\x21-\x7e]{1,256}$/.test(name)) refuse(`an option's name is not printable US-ASCII`);
      if (bytes(value) > MAX_OPTION_BYTES - 4) refuse(`the option ${name} is too long`);
    }
  }
}
