import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { DecodeError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';
import { md4, Rc4 } from './legacy-crypto.ts';

/** NTLMv2 as a client (MS-NLMP), as far as CredSSP needs it: session security with signing, sealing and key exchange. */

const SIGNATURE = Buffer.from('NTLMSSP\0', 'latin1');
/** 56, KEY_EXCH, 128, VERSION, EXTENDED_SESSIONSECURITY, ALWAYS_SIGN, NTLM, SEAL, SIGN, REQUEST_TARGET, OEM, UNICODE (2.2.2.5). */
const FLAGS = 0xe208_8237;
const REQUIRED_FLAGS = 0x4008_8031;
const VERSION = Buffer.from([10, 0, 0x61, 0x58, 0, 0, 0, 15]);

// AV_PAIR ids (2.2.2.1).
const AV_EOL = 0;
const AV_FLAGS = 6;
const AV_TIMESTAMP = 7;
const AV_TARGET_NAME = 9;
const AV_CHANNEL_BINDINGS = 10;
const AV_FLAG_MIC = 2;
const MAX_AV_PAIRS = 32;

export interface NtlmCredentials {
  readonly username: string;
  readonly domain: string;
  readonly password: Secret<string>;
}

/** What must not be the same twice, and the time, given from outside. */
export interface NtlmEntropy {
  /** 8 bytes. */
  readonly clientChallenge: Buffer;
  /** 16 bytes. */
  readonly sessionKey: Buffer;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Encodes NEGOTIATE_MESSAGE (2.2.1.1). */
export function encodeNtlmNegotiate(): Buffer {
  const out = Buffer.alloc(40);
  SIGNATURE.copy(out);
  out.writeUInt32LE(1, 8);
  out.writeUInt32LE(FLAGS, 12);
  VERSION.copy(out, 32);
  return out;
}

interface Challenge {
  readonly flags: number;
  readonly serverChallenge: Buffer;
  readonly pairs: readonly { readonly id: number; readonly value: Buffer }[];
}

/** Decodes CHALLENGE_MESSAGE (2.2.1.2). @throws {DecodeError} */
export function decodeNtlmChallenge(message: Buffer): Challenge {
  if (message.length < 48 || !message.subarray(0, 8).equals(SIGNATURE) || message.readUInt32LE(8) !== 2) {
    throw new DecodeError('NTLM: not a CHALLENGE_MESSAGE');
  }
  const length = message.readUInt16LE(40);
  const start = message.readUInt32LE(44);
  if (start + length > message.length) throw new DecodeError('NTLM: target info is cut short');
  const info = message.subarray(start, start + length);
  const pairs: { id: number; value: Buffer }[] = [];
  for (let offset = 0; offset < info.length; ) {
    if (offset + 4 > info.length || pairs.length === MAX_AV_PAIRS) throw new DecodeError('NTLM: bad target info');
    const id = info.readUInt16LE(offset);
    const size = info.readUInt16LE(offset + 2);
    if (id === AV_EOL) break;
    if (offset + 4 + size > info.length) throw new DecodeError('NTLM: bad target info');
    pairs.push({ id, value: Buffer.from(info.subarray(offset + 4, offset + 4 + size)) });
    offset += 4 + size;
  }
  return {
    flags: message.readUInt32LE(20),
    serverChallenge: Buffer.from(message.subarray(24, 32)),
    pairs,
  };
}

/**
 * Answers a challenge: the AUTHENTICATE_MESSAGE (2.2.1.3) and the session security that comes of it. `service` is the service
 * principal name that the answer is bound to, `TERMSRV/host`.
 * @throws {DecodeError}
 */
export function answerNtlmChallenge(
  negotiate: Buffer,
  challenge: Buffer,
  credentials: NtlmCredentials,
  service: string,
  entropy: NtlmEntropy,
): { readonly message: Buffer; readonly security: NtlmSecurity } {
  const { flags, serverChallenge, pairs } = decodeNtlmChallenge(challenge);
  if ((flags & REQUIRED_FLAGS) !== REQUIRED_FLAGS) throw new DecodeError('NTLM: the server lacks session security');
  const { username, domain, password } = credentials;
  const key = ntlmV2Key(username, domain, password.reveal());

  const serverTime = pairs.find((pair) => pair.id === AV_TIMESTAMP)?.value;
  const time = serverTime?.length === 8 ? serverTime : fileTime(entropy.nowMs);
  const blob = Buffer.concat([
    Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]),
    time,
    entropy.clientChallenge,
    Buffer.alloc(4),
    answeredTargetInfo(pairs, serverTime !== undefined, service),
    Buffer.alloc(4),
  ]);
  const proof = hmacMd5(key, serverChallenge, blob);
  const baseKey = hmacMd5(key, proof);
  const encryptedKey = new Rc4(baseKey).apply(entropy.sessionKey);
  const lm =
    serverTime !== undefined
      ? Buffer.alloc(24)
      : Buffer.concat([hmacMd5(key, serverChallenge, entropy.clientChallenge), entropy.clientChallenge]);

  const parts = [lm, Buffer.concat([proof, blob]), utf16(domain), utf16(username), utf16('NIGHTLATCH'), encryptedKey];
  const header = Buffer.alloc(88);
  SIGNATURE.copy(header);
  header.writeUInt32LE(3, 8);
  let offset = header.length;
  parts.forEach((part, i) => {
    header.writeUInt16LE(part.length, 12 + 8 * i);
    header.writeUInt16LE(part.length, 14 + 8 * i);
    header.writeUInt32LE(offset, 16 + 8 * i);
    offset += part.length;
  });
  header.writeUInt32LE((flags & FLAGS) >>> 0, 60);
  VERSION.copy(header, 64);
  const message = Buffer.concat([header, ...parts]);
  hmacMd5(entropy.sessionKey, negotiate, challenge, message).copy(message, 72);
  return { message, security: new NtlmSecurity(entropy.sessionKey) };
}

/** The server's target info with what the client adds: that a MIC follows, no channel bindings, the service. */
function answeredTargetInfo(pairs: Challenge['pairs'], withMic: boolean, service: string): Buffer {
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(
    (pairs.find((pair) => pair.id === AV_FLAGS)?.value.readUInt32LE(0) ?? 0) | (withMic ? AV_FLAG_MIC : 0),
  );
  const replaced = new Set([AV_FLAGS, AV_CHANNEL_BINDINGS, AV_TARGET_NAME]);
  const all = [
    ...pairs.filter((pair) => !replaced.has(pair.id)),
    { id: AV_FLAGS, value: flags },
    { id: AV_CHANNEL_BINDINGS, value: Buffer.alloc(16) },
    { id: AV_TARGET_NAME, value: utf16(service) },
  ];
  const encoded = all.map(({ id, value }) => {
    const head = Buffer.alloc(4);
    head.writeUInt16LE(id, 0);
    head.writeUInt16LE(value.length, 2);
    return Buffer.concat([head, value]);
  });
  return Buffer.concat([...encoded, Buffer.alloc(4)]);
}

/** NTOWFv2 (3.3.2). */
export function ntlmV2Key(username: string, domain: string, password: string): Buffer {
  return hmacMd5(md4(utf16(password)), utf16(username.toUpperCase() + domain));
}

/** 100-nanosecond steps since 1601 (MS-DTYP 2.3.3). */
function fileTime(nowMs: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE((BigInt(Math.trunc(nowMs)) + 11_644_473_600_000n) * 10_000n);
  return out;
}

function hmacMd5(key: Buffer, ...data: readonly Buffer[]): Buffer {
  const hmac = createHmac('md5', key);
  for (const part of data) hmac.update(part);
  return hmac.digest();
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le');
}

/** One direction of session security (3.4.4): a signature key, a keystream, a running number. */
class Direction {
  readonly #signKey: Buffer;
  readonly #stream: Rc4;
  #sequence = 0;

  constructor(sessionKey: Buffer, direction: 'client-to-server' | 'server-to-client') {
    const derive = (use: string) =>
      createHash('md5')
        .update(sessionKey)
        .update(`session key to ${direction} ${use} key magic constant\0`, 'latin1')
        .digest();
    this.#signKey = derive('signing');
    this.#stream = new Rc4(derive('sealing'));
  }

  seal(plain: Buffer): Buffer {
    const sealed = this.#stream.apply(plain);
    return Buffer.concat([this.#signature(plain), sealed]);
  }

  unseal(message: Buffer): Buffer {
    if (message.length < 16) throw new DecodeError('NTLM: sealed message is cut short');
    const plain = this.#stream.apply(message.subarray(16));
    if (!timingSafeEqual(this.#signature(plain), message.subarray(0, 16))) {
      throw new DecodeError('NTLM: wrong signature');
    }
    return plain;
  }

  #signature(plain: Buffer): Buffer {
    const sequence = Buffer.alloc(4);
    sequence.writeUInt32LE(this.#sequence);
    this.#sequence += 1;
    const checksum = this.#stream.apply(hmacMd5(this.#signKey, sequence, plain).subarray(0, 8));
    return Buffer.concat([Buffer.from([1, 0, 0, 0]), checksum, sequence]);
  }
}

/** Seals what the client sends and opens what the server sends, each in order. */
export class NtlmSecurity {
  readonly #out: Direction;
  readonly #in: Direction;

  constructor(sessionKey: Buffer, side: 'client' | 'server' = 'client') {
    const [there, back] = [
      new Direction(sessionKey, 'client-to-server'),
      new Direction(sessionKey, 'server-to-client'),
    ];
    [this.#out, this.#in] = side === 'client' ? [there, back] : [back, there];
  }

  seal(plain: Buffer): Buffer {
    return this.#out.seal(plain);
  }

  /** @throws {DecodeError} when the signature is not right. */
  unseal(message: Buffer): Buffer {
    return this.#in.unseal(message);
  }
}
