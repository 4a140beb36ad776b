import { randomFillSync } from 'node:crypto';
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
  /** `packet_length` from the four bytes at `at`. Must be called exactly once a packet, before `open`. */
  length(bytes: Buffer, at: number, sequence: number): number;
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

/** A cipher of the table in packet-cipher.ts. */
export interface CipherInfo {
  readonly sort: 'gcm' | 'chacha' | 'ctr';
  readonly opensslName: string;
  readonly keyBytes: number;
  readonly ivBytes: number;
}

export interface MacInfo {
  readonly hash: string;
  readonly bytes: number;
  readonly encryptThenMac: boolean;
}

/** No protection: before the first NEWKEYS. */
export const PLAIN: PacketSealer & PacketOpener = {
  blockBytes: 8,
  tagBytes: 0,
  lengthApart: false,
  seal() {},
  length: (bytes, at) => bytes.readUInt32BE(at),
  open() {},
  free() {},
};

/** What an opener throws for a packet that was changed on its way. */
export function badTag(): NightlatchError {
  return new NightlatchError('protocol', 'a packet fails its integrity check');
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
