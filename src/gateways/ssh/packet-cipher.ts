import {
  type Cipheriv,
  createCipheriv,
  createDecipheriv,
  createHmac,
  type Decipheriv,
  randomFillSync,
  timingSafeEqual,
} from 'node:crypto';
import { createRequire } from 'node:module';
import { NightlatchError } from '../../core/errors.ts';

/** Protects outgoing packets. `packet` holds length, padding length, payload, padding (RFC 4253 section 6) and room for the tag. */
export interface PacketSealer {
  /** What padding fills up to, in bytes. */
  readonly blockBytes: number;
  readonly tagBytes: number;
  /** The length field is outside of what is padded: AEAD ciphers and encrypt-then-MAC. */
  readonly lengthApart: boolean;
  /** Encrypts in place and writes the tag at the end. */
  seal(packet: Buffer, sequence: number): void;
  /** Gives key material back; nothing may be sealed afterwards. */
  free(): void;
}

/** Opens incoming packets. */
export interface PacketOpener {
  readonly blockBytes: number;
  readonly tagBytes: number;
  readonly lengthApart: boolean;
  /** `packet_length` from the first four bytes. Must be called exactly once a packet, before `open`. */
  length(head: Buffer, sequence: number): number;
  /**
   * Checks the tag and decrypts in place all after the length field.
   * @throws {NightlatchError} `protocol` when the tag is wrong.
   */
  open(packet: Buffer, sequence: number): void;
  free(): void;
}

/** Key material of one direction (RFC 4253 section 7.2). */
export interface DirectionKeys {
  readonly cipher: string;
  readonly mac: string;
  readonly iv: Buffer;
  readonly key: Buffer;
  readonly macKey: Buffer;
}

interface CipherInfo {
  readonly sort: 'gcm' | 'chacha' | 'ctr';
  readonly opensslName: string;
  readonly keyBytes: number;
  readonly ivBytes: number;
}

const CIPHERS: Readonly<Record<string, CipherInfo>> = {
  'aes128-gcm@openssh.com': { sort: 'gcm', opensslName: 'aes-128-gcm', keyBytes: 16, ivBytes: 12 },
  'aes256-gcm@openssh.com': { sort: 'gcm', opensslName: 'aes-256-gcm', keyBytes: 32, ivBytes: 12 },
  'chacha20-poly1305@openssh.com': { sort: 'chacha', opensslName: 'chacha20', keyBytes: 64, ivBytes: 0 },
  'aes128-ctr': { sort: 'ctr', opensslName: 'aes-128-ctr', keyBytes: 16, ivBytes: 16 },
  'aes192-ctr': { sort: 'ctr', opensslName: 'aes-192-ctr', keyBytes: 24, ivBytes: 16 },
  'aes256-ctr': { sort: 'ctr', opensslName: 'aes-256-ctr', keyBytes: 32, ivBytes: 16 },
};

interface MacInfo {
  readonly hash: string;
  readonly bytes: number;
  readonly encryptThenMac: boolean;
}

const MACS: Readonly<Record<string, MacInfo>> = {
  'hmac-sha2-256-etm@openssh.com': { hash: 'sha256', bytes: 32, encryptThenMac: true },
  'hmac-sha2-512-etm@openssh.com': { hash: 'sha512', bytes: 64, encryptThenMac: true },
  'hmac-sha2-256': { hash: 'sha256', bytes: 32, encryptThenMac: false },
  'hmac-sha2-512': { hash: 'sha512', bytes: 64, encryptThenMac: false },
};

/** What ssh2's addon offers: cipher contexts that are kept, working in place (`lib/protocol/crypto/src/binding.cc`). */
interface NativeCiphers {
  readonly AESGCMCipher: new (name: string, key: Buffer, iv: Buffer) => { encrypt(packet: Buffer): void; free(): void };
  readonly AESGCMDecipher: new (
    name: string,
    key: Buffer,
    iv: Buffer,
  ) => { decrypt(packet: Buffer, length: number, tag: Buffer): void; free(): void };
  readonly ChaChaPolyCipher: new (key: Buffer) => { encrypt(packet: Buffer, sequence: number): void; free(): void };
  readonly ChaChaPolyDecipher: new (
    key: Buffer,
  ) => {
    decryptLen(head: Buffer, sequence: number): number;
    decrypt(packet: Buffer, tag: Buffer, sequence: number): void;
    free(): void;
  };
}

const RELEASE = 'ssh2/lib/protocol/crypto/build/Release';
const native = loadNative();

function loadNative(): NativeCiphers | undefined {
  try {
    const require = createRequire(import.meta.url);
    // Only an addon that scripts/postinstall.mjs has built is safe: with others Node 24.19 and 24.20 abort (nodejs/node issue 65446).
    require.resolve(`${RELEASE}/built-for-nightlatch`);
    return require(`${RELEASE}/sshcrypto.node`) as NativeCiphers;
  } catch {
    // Not built for this Node: the slower ciphers of node:crypto do; the daemon says so at its start.
    return undefined;
  }
}

/** Whether ssh2's native packet ciphers are there. Without them SSH takes about twice the CPU, and there is no ChaCha20. */
export const nativeCiphersAvailable = native !== undefined;

/** Packet ciphers, best first. */
export const CIPHER_NAMES: readonly string[] = Object.keys(CIPHERS).filter(
  (name) => native !== undefined || CIPHERS[name]!.sort !== 'chacha',
);
/** MACs for those ciphers that need one, best first. */
export const MAC_NAMES: readonly string[] = Object.keys(MACS);

/** Whether a cipher authenticates by itself. */
export function isAead(cipher: string): boolean {
  return CIPHERS[cipher]?.sort !== 'ctr';
}

/** Bytes of key, IV and MAC key that a cipher and a MAC need. */
export function keyLengths(cipher: string, mac: string): { key: number; iv: number; mac: number } {
  const info = cipherInfo(cipher);
  return { key: info.keyBytes, iv: info.ivBytes, mac: isAead(cipher) ? 0 : macInfo(mac).bytes };
}

function cipherInfo(name: string): CipherInfo {
  const info = Object.hasOwn(CIPHERS, name) ? CIPHERS[name] : undefined;
  if (info === undefined) throw new NightlatchError('protocol', `unknown cipher ${name}`);
  return info;
}

function macInfo(name: string): MacInfo {
  const info = Object.hasOwn(MACS, name) ? MACS[name] : undefined;
  if (info === undefined) throw new NightlatchError('protocol', `unknown MAC ${name}`);
  return info;
}

export function createSealer(keys: DirectionKeys): PacketSealer {
  const info = cipherInfo(keys.cipher);
  if (info.sort === 'ctr') return new CtrSealer(info, macInfo(keys.mac), keys);
  if (info.sort === 'chacha') return new ChaChaSealer(keys.key);
  return native === undefined ? new GcmSealer(info, keys) : new NativeGcmSealer(native, info, keys);
}

export function createOpener(keys: DirectionKeys): PacketOpener {
  const info = cipherInfo(keys.cipher);
  if (info.sort === 'ctr') return new CtrOpener(info, macInfo(keys.mac), keys);
  if (info.sort === 'chacha') return new ChaChaOpener(keys.key);
  return native === undefined ? new GcmOpener(info, keys) : new NativeGcmOpener(native, info, keys);
}

/** No protection: before the first NEWKEYS. */
export const PLAIN: PacketSealer & PacketOpener = {
  blockBytes: 8,
  tagBytes: 0,
  lengthApart: false,
  seal() {},
  length: (head) => head.readUInt32BE(0),
  open() {},
  free() {},
};

const GCM_TAG = 16;
const POLY1305_TAG = 16;

function badTag(): NightlatchError {
  return new NightlatchError('protocol', 'a packet fails its integrity check');
}

/** AES-GCM as in RFC 5647 with the fixes of OpenSSH's PROTOCOL (section 1.6): the length is additional data, in clear. */
class NativeGcmSealer implements PacketSealer {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(ciphers: NativeCiphers, info: CipherInfo, keys: DirectionKeys) {
    this.#cipher = new ciphers.AESGCMCipher(info.opensslName, keys.key, keys.iv);
  }

  seal(packet: Buffer): void {
    this.#cipher.encrypt(packet);
  }

  free(): void {
    this.#cipher.free();
  }
}

class NativeGcmOpener implements PacketOpener {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(ciphers: NativeCiphers, info: CipherInfo, keys: DirectionKeys) {
    this.#cipher = new ciphers.AESGCMDecipher(info.opensslName, keys.key, keys.iv);
  }

  length(head: Buffer): number {
    return head.readUInt32BE(0);
  }

  open(packet: Buffer): void {
    const end = packet.length - GCM_TAG;
    try {
      this.#cipher.decrypt(packet.subarray(4, end), end - 4, packet.subarray(end));
    } catch {
      throw badTag();
    }
  }

  free(): void {
    this.#cipher.free();
  }
}

/** Counts up the invocation field, the last eight bytes of a GCM nonce (RFC 5647 section 7.1). */
function nextNonce(nonce: Buffer): void {
  nonce.writeBigUInt64BE((nonce.readBigUInt64BE(4) + 1n) & 0xffff_ffff_ffff_ffffn, 4);
}

class GcmSealer implements PacketSealer {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  readonly #name: 'aes-128-gcm';
  readonly #key: Buffer;
  readonly #nonce: Buffer;

  constructor(info: CipherInfo, keys: DirectionKeys) {
    this.#name = info.opensslName as 'aes-128-gcm';
    this.#key = keys.key;
    this.#nonce = Buffer.from(keys.iv);
  }

  seal(packet: Buffer): void {
    const end = packet.length - GCM_TAG;
    const cipher = createCipheriv(this.#name, this.#key, this.#nonce);
    cipher.setAAD(packet.subarray(0, 4));
    packet.set(cipher.update(packet.subarray(4, end)), 4);
    cipher.final();
    packet.set(cipher.getAuthTag(), end);
    nextNonce(this.#nonce);
  }

  free(): void {}
}

class GcmOpener implements PacketOpener {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  readonly #name: 'aes-128-gcm';
  readonly #key: Buffer;
  readonly #nonce: Buffer;

  constructor(info: CipherInfo, keys: DirectionKeys) {
    this.#name = info.opensslName as 'aes-128-gcm';
    this.#key = keys.key;
    this.#nonce = Buffer.from(keys.iv);
  }

  length(head: Buffer): number {
    return head.readUInt32BE(0);
  }

  open(packet: Buffer): void {
    const end = packet.length - GCM_TAG;
    const decipher = createDecipheriv(this.#name, this.#key, this.#nonce, { authTagLength: GCM_TAG });
    decipher.setAAD(packet.subarray(0, 4));
    decipher.setAuthTag(packet.subarray(end));
    packet.set(decipher.update(packet.subarray(4, end)), 4);
    try {
      decipher.final();
    } catch {
      throw badTag();
    }
    nextNonce(this.#nonce);
  }

  free(): void {}
}

/** chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305): the length has a key of its own. */
class ChaChaSealer implements PacketSealer {
  readonly blockBytes = 8;
  readonly tagBytes = POLY1305_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(key: Buffer) {
    this.#cipher = new (native as NativeCiphers).ChaChaPolyCipher(key);
  }

  seal(packet: Buffer, sequence: number): void {
    this.#cipher.encrypt(packet, sequence);
  }

  free(): void {
    this.#cipher.free();
  }
}

class ChaChaOpener implements PacketOpener {
  readonly blockBytes = 8;
  readonly tagBytes = POLY1305_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(key: Buffer) {
    this.#cipher = new (native as NativeCiphers).ChaChaPolyDecipher(key);
  }

  length(head: Buffer, sequence: number): number {
    return this.#cipher.decryptLen(head.subarray(0, 4), sequence);
  }

  open(packet: Buffer, sequence: number): void {
    const end = packet.length - POLY1305_TAG;
    try {
      this.#cipher.decrypt(packet.subarray(4, end), packet.subarray(end), sequence);
    } catch {
      throw badTag();
    }
  }

  free(): void {
    this.#cipher.free();
  }
}

const SEQUENCE = Buffer.alloc(4);

function authenticate(mac: MacInfo, key: Buffer, sequence: number, packet: Buffer): Buffer {
  SEQUENCE.writeUInt32BE(sequence, 0);
  return createHmac(mac.hash, key).update(SEQUENCE).update(packet).digest();
}

/** AES-CTR (RFC 4344) with a MAC before or after encryption: for clients without an AEAD cipher. */
class CtrSealer implements PacketSealer {
  readonly blockBytes = 16;
  readonly tagBytes: number;
  readonly lengthApart: boolean;
  readonly #cipher: Cipheriv;
  readonly #mac: MacInfo;
  readonly #macKey: Buffer;

  constructor(info: CipherInfo, mac: MacInfo, keys: DirectionKeys) {
    this.#cipher = createCipheriv(info.opensslName, keys.key, keys.iv);
    this.#mac = mac;
    this.#macKey = keys.macKey;
    this.tagBytes = mac.bytes;
    this.lengthApart = mac.encryptThenMac;
  }

  seal(packet: Buffer, sequence: number): void {
    const end = packet.length - this.tagBytes;
    const body = packet.subarray(0, end);
    if (this.#mac.encryptThenMac) {
      body.set(this.#cipher.update(body.subarray(4)), 4);
      packet.set(authenticate(this.#mac, this.#macKey, sequence, body), end);
    } else {
      packet.set(authenticate(this.#mac, this.#macKey, sequence, body), end);
      body.set(this.#cipher.update(body), 0);
    }
  }

  free(): void {}
}

class CtrOpener implements PacketOpener {
  readonly blockBytes = 16;
  readonly tagBytes: number;
  readonly lengthApart: boolean;
  readonly #cipher: Decipheriv;
  readonly #mac: MacInfo;
  readonly #macKey: Buffer;
  #length = 0;

  constructor(info: CipherInfo, mac: MacInfo, keys: DirectionKeys) {
    this.#cipher = createDecipheriv(info.opensslName, keys.key, keys.iv);
    this.#mac = mac;
    this.#macKey = keys.macKey;
    this.tagBytes = mac.bytes;
    this.lengthApart = mac.encryptThenMac;
  }

  length(head: Buffer): number {
    this.#length = (this.#mac.encryptThenMac ? head : this.#cipher.update(head.subarray(0, 4))).readUInt32BE(0);
    return this.#length;
  }

  open(packet: Buffer, sequence: number): void {
    const end = packet.length - this.tagBytes;
    const body = packet.subarray(0, end);
    if (!this.#mac.encryptThenMac) {
      body.writeUInt32BE(this.#length, 0);
      body.set(this.#cipher.update(body.subarray(4)), 4);
    }
    const expected = authenticate(this.#mac, this.#macKey, sequence, body);
    if (!timingSafeEqual(expected, packet.subarray(end))) throw badTag();
    if (this.#mac.encryptThenMac) body.set(this.#cipher.update(body.subarray(4)), 4);
  }

  free(): void {}
}

const paddingPool = Buffer.alloc(4096);
let paddingUsed = paddingPool.length;

/** Fills `count` bytes (at most 255) with random padding; random numbers are drawn in bulk. */
export function fillPadding(packet: Buffer, at: number, count: number): void {
  if (paddingUsed + count > paddingPool.length) {
    randomFillSync(paddingPool);
    paddingUsed = 0;
  }
  paddingPool.copy(packet, at, paddingUsed, paddingUsed + count);
  paddingUsed += count;
}
