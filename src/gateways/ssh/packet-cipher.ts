import { NightlatchError } from '../../core/errors.ts';
import { ChaChaOpener, chaChaSealer, GcmOpener, GcmSealer, NativeGcmOpener, nativeGcmSealer } from './aead-ciphers.ts';
import { CtrOpener, CtrSealer } from './ctr-cipher.ts';
import { native } from './native-ciphers.ts';
import type { CipherInfo, DirectionKeys, MacInfo, PacketOpener, PacketSealer } from './packet-protection.ts';

const CIPHERS: Readonly<Record<string, CipherInfo>> = {
  'aes128-gcm@openssh.com': { sort: 'gcm', opensslName: 'aes-128-gcm', keyBytes: 16, ivBytes: 12 },
  'aes256-gcm@openssh.com': { sort: 'gcm', opensslName: 'aes-256-gcm', keyBytes: 32, ivBytes: 12 },
  'chacha20-poly1305@openssh.com': { sort: 'chacha', opensslName: 'chacha20', keyBytes: 64, ivBytes: 0 },
  'aes128-ctr': { sort: 'ctr', opensslName: 'aes-128-ctr', keyBytes: 16, ivBytes: 16 },
  'aes192-ctr': { sort: 'ctr', opensslName: 'aes-192-ctr', keyBytes: 24, ivBytes: 16 },
  'aes256-ctr': { sort: 'ctr', opensslName: 'aes-256-ctr', keyBytes: 32, ivBytes: 16 },
};

const MACS: Readonly<Record<string, MacInfo>> = {
  'hmac-sha2-256-etm@openssh.com': { hash: 'sha256', bytes: 32, encryptThenMac: true },
  'hmac-sha2-512-etm@openssh.com': { hash: 'sha512', bytes: 64, encryptThenMac: true },
  'hmac-sha2-256': { hash: 'sha256', bytes: 32, encryptThenMac: false },
  'hmac-sha2-512': { hash: 'sha512', bytes: 64, encryptThenMac: false },
};

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
  if (info.sort === 'chacha') return chaChaSealer(keys.key);
  return native === undefined ? new GcmSealer(info, keys) : nativeGcmSealer(native, info, keys);
}

export function createOpener(keys: DirectionKeys): PacketOpener {
  const info = cipherInfo(keys.cipher);
  if (info.sort === 'ctr') return new CtrOpener(info, macInfo(keys.mac), keys);
  if (info.sort === 'chacha') return new ChaChaOpener(keys.key);
  return native === undefined ? new GcmOpener(info, keys) : new NativeGcmOpener(native, info, keys);
}
