import { createCipheriv, createDecipheriv } from 'node:crypto';
import { type NativeCiphers, native } from './native-ciphers.ts';
import {
  badTag,
  type CipherInfo,
  type DirectionKeys,
  type PacketOpener,
  type PacketSealer,
} from './packet-protection.ts';

const GCM_TAG = 16;
const POLY1305_TAG = 16;

/** AES-GCM as in RFC 5647 with the fixes of OpenSSH's PROTOCOL (section 1.6): the length is additional data, in clear. */
export class NativeGcmSealer implements PacketSealer {
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

export class NativeGcmOpener implements PacketOpener {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(ciphers: NativeCiphers, info: CipherInfo, keys: DirectionKeys) {
    this.#cipher = new ciphers.AESGCMDecipher(info.opensslName, keys.key, keys.iv);
  }

  length(bytes: Buffer, at: number): number {
    return bytes.readUInt32BE(at);
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

/** AES-GCM by node:crypto, which makes a cipher context a packet. */
abstract class GcmFallback {
  readonly blockBytes = 16;
  readonly tagBytes = GCM_TAG;
  readonly lengthApart = true;
  protected readonly name: 'aes-128-gcm';
  protected readonly key: Buffer;
  protected readonly nonce: Buffer;

  constructor(info: CipherInfo, keys: DirectionKeys) {
    // Of the union of names that node:crypto takes for GCM; aes-256-gcm has the same interface.
    this.name = info.opensslName as 'aes-128-gcm';
    this.key = keys.key;
    this.nonce = Buffer.from(keys.iv);
  }

  /** Counts up the invocation field, the last eight bytes of a GCM nonce (RFC 5647 section 7.1). */
  protected nextNonce(): void {
    this.nonce.writeBigUInt64BE((this.nonce.readBigUInt64BE(4) + 1n) & 0xffff_ffff_ffff_ffffn, 4);
  }

  free(): void {}
}

export class GcmSealer extends GcmFallback implements PacketSealer {
  seal(packet: Buffer): void {
    const end = packet.length - GCM_TAG;
    const cipher = createCipheriv(this.name, this.key, this.nonce);
    cipher.setAAD(packet.subarray(0, 4));
    packet.set(cipher.update(packet.subarray(4, end)), 4);
    cipher.final();
    packet.set(cipher.getAuthTag(), end);
    this.nextNonce();
  }
}

export class GcmOpener extends GcmFallback implements PacketOpener {
  length(bytes: Buffer, at: number): number {
    return bytes.readUInt32BE(at);
  }

  open(packet: Buffer): void {
    const end = packet.length - GCM_TAG;
    const decipher = createDecipheriv(this.name, this.key, this.nonce, { authTagLength: GCM_TAG });
    decipher.setAAD(packet.subarray(0, 4));
    decipher.setAuthTag(packet.subarray(end));
    packet.set(decipher.update(packet.subarray(4, end)), 4);
    try {
      decipher.final();
    } catch {
      throw badTag();
    }
    this.nextNonce();
  }
}

/** chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305): the length has a key of its own. */
export class ChaChaSealer implements PacketSealer {
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

export class ChaChaOpener implements PacketOpener {
  readonly blockBytes = 8;
  readonly tagBytes = POLY1305_TAG;
  readonly lengthApart = true;
  readonly #cipher;

  constructor(key: Buffer) {
    this.#cipher = new (native as NativeCiphers).ChaChaPolyDecipher(key);
  }

  length(bytes: Buffer, at: number, sequence: number): number {
    return this.#cipher.decryptLen(bytes.subarray(at, at + 4), sequence);
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
