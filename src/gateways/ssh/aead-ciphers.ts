import { createCipheriv, createDecipheriv } from 'node:crypto';
import { type NativeCiphers, native } from './native-ciphers.ts';
import {
  badTag,
  type CipherInfo,
  type DirectionKeys,
  type PacketOpener,
  type PacketSealer,
} from './packet-protection.ts';

/** Bytes of the tag of AES-GCM, and of Poly1305. */
const AEAD_TAG = 16;
/** To what a packet is padded. */
const [GCM_BLOCK, CHACHA_BLOCK] = [16, 8];

/** A cipher context of the addon's, which is kept for all packets of a direction. */
abstract class Native<Context extends { free(): void }> {
  readonly blockBytes: number;
  readonly tagBytes = AEAD_TAG;
  readonly lengthApart = true;
  protected readonly context: Context;

  constructor(context: Context, blockBytes: number) {
    this.context = context;
    this.blockBytes = blockBytes;
  }

  free(): void {
    this.context.free();
  }
}

/** Seals by the addon, in either way that is below. AES-GCM counts its packets itself and asks for no sequence number. */
class NativeSealer extends Native<{ encrypt(packet: Buffer, sequence: number): void; free(): void }> {
  seal(packet: Buffer, sequence: number): void {
    this.context.encrypt(packet, sequence);
  }
}

/** AES-GCM as in RFC 5647 with the fixes of OpenSSH's PROTOCOL (section 1.6): the length is additional data, in clear. */
export function nativeGcmSealer(ciphers: NativeCiphers, info: CipherInfo, keys: DirectionKeys): PacketSealer {
  return new NativeSealer(new ciphers.AESGCMCipher(info.opensslName, keys.key, keys.iv), GCM_BLOCK);
}

export class NativeGcmOpener extends Native<InstanceType<NativeCiphers['AESGCMDecipher']>> implements PacketOpener {
  constructor(ciphers: NativeCiphers, info: CipherInfo, keys: DirectionKeys) {
    super(new ciphers.AESGCMDecipher(info.opensslName, keys.key, keys.iv), GCM_BLOCK);
  }

  length(bytes: Buffer, at: number): number {
    return bytes.readUInt32BE(at);
  }

  open(packet: Buffer): void {
    const end = packet.length - AEAD_TAG;
    try {
      this.context.decrypt(packet.subarray(4, end), end - 4, packet.subarray(end));
    } catch {
      throw badTag();
    }
  }
}

/** chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305): the length has a key of its own. */
export function chaChaSealer(key: Buffer): PacketSealer {
  return new NativeSealer(new (native as NativeCiphers).ChaChaPolyCipher(key), CHACHA_BLOCK);
}

export class ChaChaOpener extends Native<InstanceType<NativeCiphers['ChaChaPolyDecipher']>> implements PacketOpener {
  constructor(key: Buffer) {
    super(new (native as NativeCiphers).ChaChaPolyDecipher(key), CHACHA_BLOCK);
  }

  length(bytes: Buffer, at: number, sequence: number): number {
    return this.context.decryptLen(bytes.subarray(at, at + 4), sequence);
  }

  open(packet: Buffer, sequence: number): void {
    const end = packet.length - AEAD_TAG;
    try {
      this.context.decrypt(packet.subarray(4, end), packet.subarray(end), sequence);
    } catch {
      throw badTag();
    }
  }
}

/** AES-GCM by node:crypto, which makes a cipher context a packet. */
abstract class GcmFallback {
  readonly blockBytes = GCM_BLOCK;
  readonly tagBytes = AEAD_TAG;
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
    const end = packet.length - AEAD_TAG;
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
    const end = packet.length - AEAD_TAG;
    const decipher = createDecipheriv(this.name, this.key, this.nonce, { authTagLength: AEAD_TAG });
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
