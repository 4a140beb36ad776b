import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto';
import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';
import {
  curveOf,
  decodePublicKey,
  encodePublicKey,
  isKeyType,
  type KeyType,
  keyTypeOf,
  MAX_RSA_BITS,
  type PublicKey,
  sshSign,
  sshVerify,
} from './keys.ts';

const MAGIC = Buffer.from('openssh-key-v1\0', 'latin1');
const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----';
const END = '-----END OPENSSH PRIVATE KEY-----';
/** Block size of the cipher `none`. */
const BLOCK_BYTES = 8;
const MAX_FILE_CHARACTERS = 64 * 1024;

/** A private key file's content. */
export interface PrivateKeyFile {
  readonly privateKey: KeyObject;
  readonly comment: string;
}

/** Writes a private key as `ssh-keygen` does without a passphrase (PROTOCOL.key), with an end of line. */
export function encodePrivateKey(privateKey: KeyObject, comment = ''): string {
  const publicBlob = encodePublicKey(privateKey);
  const check = randomBytes(4);
  const secret = new SshWriter(1024).bytes(check).bytes(check);
  writePrivateFields(keyTypeOf(privateKey), privateKey, publicBlob, secret);
  secret.string(comment);
  for (let pad = 1; secret.length % BLOCK_BYTES !== 0; pad++) secret.byte(pad);
  const blob = new SshWriter(2048)
    .bytes(MAGIC)
    .string('none')
    .string('none')
    .string('')
    .uint32(1)
    .string(publicBlob)
    .string(secret.finish())
    .finish();
  const lines = blob.toString('base64').match(/.{1,70}/g) ?? [];
  return `${[BEGIN, ...lines, END].join('\n')}\n`;
}

function writePrivateFields(type: KeyType, key: KeyObject, publicBlob: Buffer, writer: SshWriter): void {
  const jwk = key.export({ format: 'jwk' });
  const member = (name: 'd' | 'p' | 'q' | 'qi' | 'n' | 'e') => Buffer.from(String(jwk[name]), 'base64url');
  if (type === 'ssh-ed25519') {
    const publicBytes = publicBlob.subarray(-32);
    writer
      .string(type)
      .string(publicBytes)
      .string(Buffer.concat([member('d'), publicBytes]));
  } else if (type === 'ssh-rsa') {
    writer.string(type).mpint(member('n')).mpint(member('e')).mpint(member('d'));
    writer.mpint(member('qi')).mpint(member('p')).mpint(member('q'));
  } else {
    writer.bytes(publicBlob).mpint(member('d'));
  }
}

/**
 * Reads an OpenSSH private key file that has no passphrase.
 * @throws {DecodeError} also for keys with a passphrase, saying so.
 */
export function decodePrivateKey(text: string): PrivateKeyFile {
  if (text.length > MAX_FILE_CHARACTERS) throw new DecodeError('a private key file is too long');
  const trimmed = text.trim();
  if (!trimmed.startsWith(BEGIN) || !trimmed.endsWith(END) || trimmed.length < BEGIN.length + END.length) {
    throw new DecodeError('a file is no OpenSSH private key');
  }
  const body = trimmed.slice(BEGIN.length, -END.length).replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body)) throw new DecodeError('a private key file is no base64');
  const reader = new SshReader(Buffer.from(body, 'base64'));
  if (!reader.bytes(Math.min(MAGIC.length, reader.remaining)).equals(MAGIC))
    throw new DecodeError('a private key file has a bad begin');
  const cipher = reader.name();
  const kdf = reader.name();
  if (cipher !== 'none' || kdf !== 'none') throw new DecodeError('the private key has a passphrase');
  if (reader.string(0).length !== 0 || reader.uint32() !== 1)
    throw new DecodeError('a private key file must hold one key');
  const announced = decodePublicKey(reader.string());
  const secret = reader.string();
  reader.end();
  if (secret.length % BLOCK_BYTES !== 0) throw new DecodeError('a private key file is not padded');
  return readSecret(secret, announced);
}

function readSecret(secret: Buffer, announced: PublicKey): PrivateKeyFile {
  const reader = new SshReader(secret);
  if (!reader.bytes(4).equals(reader.bytes(4))) throw new DecodeError('a private key file is damaged');
  const type = reader.name();
  if (!isKeyType(type)) throw new DecodeError(`private keys of the type ${type} are not supported`);
  const jwk = readPrivateFields(type, reader);
  const comment = reader.utf8(1024);
  for (let pad = 1; reader.remaining > 0; pad++) {
    if (pad >= BLOCK_BYTES || reader.byte() !== pad) throw new DecodeError('a private key file has bad padding');
  }
  let privateKey: KeyObject;
  let belongs: boolean;
  try {
    privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
    const probe = randomBytes(32);
    belongs = sshVerify(announced.key, probe, sshSign(privateKey, probe));
  } catch (cause) {
    throw new DecodeError('a private key is not valid', { cause });
  }
  if (!belongs || !encodePublicKey(privateKey).equals(announced.blob))
    throw new DecodeError('the halves of a private key file do not belong together');
  return { privateKey, comment };
}

function readPrivateFields(type: KeyType, reader: SshReader): Record<string, string> {
  if (type === 'ssh-ed25519') {
    const x = reader.string(32);
    const pair = reader.string(64);
    if (x.length !== 32 || pair.length !== 64 || !pair.subarray(32).equals(x))
      throw new DecodeError('a private key is not valid');
    return { kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url'), d: pair.toString('base64url', 0, 32) };
  }
  if (type === 'ssh-rsa') {
    const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => reader.mpint(MAX_RSA_BITS / 8)) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ];
    const number = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex') || '0'}`);
    if (number(p) < 3n || number(q) < 3n) throw new DecodeError('a private key is not valid');
    if (number(p) * number(q) !== number(n)) throw new DecodeError('a private key is not valid');
    const text = (bytes: Buffer) => bytes.toString('base64url');
    const reduced = (prime: Buffer) => {
      const hex = (number(d) % (number(prime) - 1n)).toString(16);
      return text(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'));
    };
    return {
      kty: 'RSA',
      n: text(n),
      e: text(e),
      d: text(d),
      p: text(p),
      q: text(q),
      dp: reduced(p),
      dq: reduced(q),
      qi: text(qi),
    };
  }
  const curve = curveOf(type)!;
  if (reader.name() !== curve.id) throw new DecodeError('a private key names another curve than its type');
  const point = reader.string(1 + 2 * curve.size);
  if (point.length !== 1 + 2 * curve.size || point[0] !== 4) throw new DecodeError('a private key has a bad point');
  const d = reader.mpint(curve.size);
  return {
    kty: 'EC',
    crv: curve.crv,
    x: point.toString('base64url', 1, 1 + curve.size),
    y: point.toString('base64url', 1 + curve.size),
    d: Buffer.concat([Buffer.alloc(curve.size - d.length), d]).toString('base64url'),
  };
}
