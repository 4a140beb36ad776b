import {
  type Cipheriv,
  createCipheriv,
  createDecipheriv,
  createHmac,
  type Decipheriv,
  timingSafeEqual,
} from 'node:crypto';
import {
  badTag,
  type CipherInfo,
  type DirectionKeys,
  type MacInfo,
  type PacketOpener,
  type PacketSealer,
} from './packet-protection.ts';

const SEQUENCE = Buffer.alloc(4);

function authenticate(mac: MacInfo, key: Buffer, sequence: number, packet: Buffer): Buffer {
  SEQUENCE.writeUInt32BE(sequence, 0);
  return createHmac(mac.hash, key).update(SEQUENCE).update(packet).digest();
}

/** AES-CTR (RFC 4344) with a MAC before or after encryption: for clients without an AEAD cipher. */
export class CtrSealer implements PacketSealer {
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

export class CtrOpener implements PacketOpener {
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

  length(bytes: Buffer, at: number): number {
    this.#length = this.#mac.encryptThenMac
      ? bytes.readUInt32BE(at)
      : this.#cipher.update(bytes.subarray(at, at + 4)).readUInt32BE(0);
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
