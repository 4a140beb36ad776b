import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';

/** Public key formats that are accepted (RFC 4253 section 6.6, RFC 5656, RFC 8709). No DSA, nothing with SHA-1. */
const KEY_TYPES = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** Signature algorithms, best first (RFC 8332 for RSA: `ssh-rsa` names the key there, never a signature here). */
export const SIGNATURE_ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 16384;

interface Curve {
  /** Name in JSON Web Keys. */
  readonly crv: string;
  /** Name in SSH. */
  readonly id: string;
  /** Bytes of a coordinate. */
  readonly size: number;
  readonly hash: string;
}

const CURVES: Readonly<Record<string, Curve>> = {
  'ecdsa-sha2-nistp256': { crv: 'P-256', id: 'nistp256', size: 32, hash: 'sha256' },
  'ecdsa-sha2-nistp384': { crv: 'P-384', id: 'nistp384', size: 48, hash: 'sha384' },
  'ecdsa-sha2-nistp521': { crv: 'P-521', id: 'nistp521', size: 66, hash: 'sha512' },
};

/** How the curve of an ECDSA key type is called and measured; undefined for the other types. */
export function curveOf(type: KeyType): Curve | undefined {
  return CURVES[type];
}

export function isKeyType(name: string): name is KeyType {
  return (KEY_TYPES as readonly string[]).includes(name);
}

/** The signature algorithms that a key of this type can make, best first. */
export function signatureAlgorithmsOf(type: KeyType): readonly SignatureAlgorithm[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type];
}

interface PublicForm {
  readonly type: KeyType;
  readonly blob: Buffer;
}

/** Forms of keys that have been asked for: a CA's key is used in every certificate it signs. */
const forms = new WeakMap<KeyObject, PublicForm>();

function publicForm(key: KeyObject): PublicForm {
  let form = forms.get(key);
  if (form === undefined) {
    form = makePublicForm(key);
    forms.set(key, form);
  }
  return form;
}

function makePublicForm(key: KeyObject): PublicForm {
  // Not createPublicKey(key) for a private key: a JSON Web Key of either sort has the public members.
  const jwk = supported(key) ? key.export({ format: 'jwk' }) : {};
  const member = (name: 'x' | 'y' | 'e' | 'n') => Buffer.from(String(jwk[name]), 'base64url');
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') {
    return { type: 'ssh-ed25519', blob: new SshWriter(64).string('ssh-ed25519').string(member('x')).finish() };
  }
  if (jwk.kty === 'RSA') {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) {
      throw new NightlatchError('bad_parameter', `an RSA key of ${bits} bits is not supported`);
    }
    return {
      type: 'ssh-rsa',
      blob: new SshWriter(600).string('ssh-rsa').mpint(member('e')).mpint(member('n')).finish(),
    };
  }
  for (const type of KEY_TYPES) {
    const curve = CURVES[type];
    if (jwk.kty !== 'EC' || curve?.crv !== jwk.crv || curve === undefined) continue;
    const point = Buffer.concat([Buffer.from([4]), member('x'), member('y')]);
    return { type, blob: new SshWriter().string(type).string(curve.id).string(point).finish() };
  }
  throw new NightlatchError(
    'bad_parameter',
    `keys of the type ${key.asymmetricKeyType ?? key.type} are not supported in SSH`,
  );
}

function supported(key: KeyObject): boolean {
  return key.type !== 'secret' && ['ed25519', 'ec', 'rsa'].includes(key.asymmetricKeyType ?? '');
}

/**
 * The SSH name of a key's type.
 * @throws {NightlatchError} `bad_parameter` where SSH has none, or where the key is too weak.
 */
export function keyTypeOf(key: KeyObject): KeyType {
  return publicForm(key).type;
}

/**
 * The public key blob (RFC 4253 section 6.6) of a public or private key.
 * @throws {NightlatchError} `bad_parameter` where SSH has no such key, or where it is too weak.
 */
export function encodePublicKey(key: KeyObject): Buffer {
  return publicForm(key).blob;
}

/** A public key as it came over the wire. */
export interface PublicKey {
  readonly type: KeyType;
  readonly key: KeyObject;
  /** The blob: a copy that nobody else writes to. */
  readonly blob: Buffer;
}

/**
 * Decodes a plain public key blob, nothing before or after it. Certificates are no plain keys: `decodeCertificate`.
 * @throws {DecodeError}
 */
export function decodePublicKey(blob: Uint8Array): PublicKey {
  const copy = Buffer.from(blob);
  const reader = new SshReader(copy);
  const type = reader.name();
  if (!isKeyType(type)) throw new DecodeError(`public keys of the type ${type} are not supported`);
  const key = readPublicKeyFields(type, reader);
  reader.end();
  return { type, key, blob: copy };
}

/**
 * Reads what follows the type's name in a public key, also inside of a certificate.
 * @throws {DecodeError}
 */
export function readPublicKeyFields(type: KeyType, reader: SshReader): KeyObject {
  if (type === 'ssh-ed25519') {
    const x = reader.string(32);
    if (x.length !== 32) throw new DecodeError(`an Ed25519 key has 32 bytes, not ${x.length}`);
    return importJwk({ kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') });
  }
  if (type === 'ssh-rsa') {
    const e = reader.mpint(4);
    const n = reader.mpint(MAX_RSA_BITS / 8);
    const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
    if (n.length === 0 || bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
      throw new DecodeError(`an RSA key of ${bits} bits is not accepted`);
    if (e.length === 0 || !(e.at(-1)! & 1) || (e.length === 1 && e[0]! < 3))
      throw new DecodeError('an RSA key has a bad exponent');
    if (!(n.at(-1)! & 1)) throw new DecodeError('an RSA key has an even modulus');
    return importJwk({ kty: 'RSA', e: e.toString('base64url'), n: n.toString('base64url') });
  }
  const curve = CURVES[type]!;
  const id = reader.name();
  if (id !== curve.id) throw new DecodeError(`a key of the type ${type} names the curve ${id}`);
  const point = reader.string(1 + 2 * curve.size);
  if (point.length !== 1 + 2 * curve.size || point[0] !== 4)
    throw new DecodeError('an ECDSA key is no uncompressed point');
  const x = point.toString('base64url', 1, 1 + curve.size);
  // The import checks that the point lies on the curve.
  return importJwk({ kty: 'EC', crv: curve.crv, x, y: point.toString('base64url', 1 + curve.size) });
}

function importJwk(jwk: Record<string, string>): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw new DecodeError('a public key is not valid', { cause });
  }
}

/**
 * Signs and wraps as SSH does: `string algorithm, string signature`. RSA keys use `algorithm`, `rsa-sha2-512` by default.
 * @throws {NightlatchError} `bad_parameter` where the key cannot make that signature.
 */
export function sshSign(privateKey: KeyObject, data: Uint8Array, algorithm?: SignatureAlgorithm): Buffer {
  const type = keyTypeOf(privateKey);
  const possible = signatureAlgorithmsOf(type);
  const chosen = algorithm ?? possible[0]!;
  if (!possible.includes(chosen))
    throw new NightlatchError('bad_parameter', `a key of the type ${type} makes no ${chosen} signatures`);
  const writer = new SshWriter().string(chosen);
  if (type === 'ssh-ed25519') return writer.string(sign(null, data, privateKey)).finish();
  const curve = CURVES[type];
  if (curve === undefined) {
    return writer.string(sign(chosen === 'rsa-sha2-256' ? 'sha256' : 'sha512', data, privateKey)).finish();
  }
  // RFC 5656 section 3.1.2: two mpints inside of the string.
  const raw = sign(curve.hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const pair = new SshWriter().mpint(raw.subarray(0, curve.size)).mpint(raw.subarray(curve.size)).finish();
  return writer.string(pair).finish();
}

/** The algorithm that a signature blob names, or undefined where it is malformed. */
export function signatureAlgorithm(signatureBlob: Uint8Array): string | undefined {
  try {
    return new SshReader(signatureBlob).name();
  } catch {
    return undefined;
  }
}

/**
 * Whether the signature blob is one over `data` by this key, made with one of the `allowed` algorithms (all of
 * `SIGNATURE_ALGORITHMS` by default). Malformed blobs are false, too.
 */
export function sshVerify(
  publicKey: KeyObject,
  data: Uint8Array,
  signatureBlob: Uint8Array,
  allowed: readonly string[] = SIGNATURE_ALGORITHMS,
): boolean {
  try {
    const type = keyTypeOf(publicKey);
    const reader = new SshReader(signatureBlob);
    const algorithm = reader.name();
    const signature = reader.string(MAX_RSA_BITS / 8);
    reader.end();
    if (!allowed.includes(algorithm) || !(signatureAlgorithmsOf(type) as readonly string[]).includes(algorithm))
      return false;
    if (type === 'ssh-ed25519') return signature.length === 64 && verify(null, data, publicKey, signature);
    const curve = CURVES[type];
    if (curve === undefined)
      return verify(algorithm === 'rsa-sha2-256' ? 'sha256' : 'sha512', data, publicKey, signature);
    const pair = new SshReader(signature);
    const raw = Buffer.alloc(2 * curve.size);
    const r = pair.mpint(curve.size);
    r.copy(raw, curve.size - r.length);
    const s = pair.mpint(curve.size);
    s.copy(raw, 2 * curve.size - s.length);
    pair.end();
    return verify(curve.hash, data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw);
  } catch {
    // Malformed blobs and keys that OpenSSL cannot work with (a point of small order, say) prove nothing.
    return false;
  }
}

/** `SHA256:…` as OpenSSH prints it, of a public key blob. */
export function fingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** One line of `authorized_keys`, of a `.pub` file or of a `-cert.pub` file (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
export interface AuthorizedKey {
  /** Options before the key as they stand there (`cert-authority,no-pty`), or ''. */
  readonly options: string;
  /** The type's name, the same as inside of the blob; certificates have theirs. */
  readonly type: string;
  readonly blob: Buffer;
  readonly comment: string;
}

/** Writes `TYPE BASE64 COMMENT` without an end of line. Control characters are left out of the comment. */
export function encodeAuthorizedKey(blob: Uint8Array, comment = ''): string {
  const type = new SshReader(blob).name();
  const clean = comment.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '');
  return `${type} ${Buffer.from(blob).toString('base64')}${clean === '' ? '' : ` ${clean}`}`;
}

/**
 * Reads one line. The blob's content is not looked at beyond its type: `decodePublicKey` and `decodeCertificate` do that.
 * @throws {DecodeError}
 */
export function decodeAuthorizedKey(line: string): AuthorizedKey {
  if (line.length > 64 * 1024) throw new DecodeError('a public key line is too long');
  const text = line.trim();
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text))
    throw new DecodeError('a public key line has control characters');
  const first = splitWord(text);
  const plain = tryKey('', first.word, first.rest);
  if (plain !== undefined) return plain;
  const second = splitWord(first.rest);
  const key = tryKey(first.word, second.word, second.rest);
  if (key === undefined) throw new DecodeError('a line is no public key');
  return key;
}

/** Cuts off the first word; blanks between double quotes do not end it. */
function splitWord(text: string): { word: string; rest: string } {
  let quoted = false;
  let end = 0;
  for (; end < text.length; end++) {
    const character = text[end]!;
    if (character === '\\' && quoted) end++;
    else if (character === '"') quoted = !quoted;
    else if (!quoted && (character === ' ' || character === '\t')) break;
  }
  return { word: text.slice(0, end), rest: text.slice(end).trimStart() };
}

function tryKey(options: string, type: string, rest: string): AuthorizedKey | undefined {
  const { word: encoded, rest: comment } = splitWord(rest);
  if (encoded === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined;
  const blob = Buffer.from(encoded, 'base64');
  try {
    if (new SshReader(blob).name() !== type) return undefined;
  } catch {
    return undefined;
  }
  return { options, type, blob, comment };
}
