import { createHmac } from 'node:crypto';

/** A cipher suite of TLS 1.3 (RFC 8446 appendix B.4). */
export interface CipherSuite {
  /** OpenSSL's name of the cipher. */
  readonly cipher: string;
  /** Hash of the key schedule. */
  readonly hash: string;
  readonly keyBytes: number;
}

/** By the name that RFC 8446 gives them. */
export const CIPHER_SUITES: ReadonlyMap<string, CipherSuite> = new Map([
  ['TLS_AES_128_GCM_SHA256', { cipher: 'aes-128-gcm', hash: 'sha256', keyBytes: 16 }],
  ['TLS_AES_256_GCM_SHA384', { cipher: 'aes-256-gcm', hash: 'sha384', keyBytes: 32 }],
  ['TLS_CHACHA20_POLY1305_SHA256', { cipher: 'chacha20-poly1305', hash: 'sha256', keyBytes: 32 }],
]);

const IV_BYTES = 12;

/** What protects one direction until its next key update. */
export interface TrafficKey {
  readonly key: Buffer;
  readonly iv: Buffer;
}

/** Key and IV of a traffic secret (RFC 8446 section 7.3). */
export function trafficKey(suite: CipherSuite, secret: Buffer): TrafficKey {
  return {
    key: expandLabel(suite, secret, 'key', suite.keyBytes),
    iv: expandLabel(suite, secret, 'iv', IV_BYTES),
  };
}

/** The traffic secret after a key update (RFC 8446 section 7.2). */
export function nextTrafficSecret(suite: CipherSuite, secret: Buffer): Buffer {
  return expandLabel(suite, secret, 'traffic upd', secret.length);
}

/** HKDF-Expand-Label with an empty context (RFC 8446 section 7.1), for lengths of one block of the hash. */
function expandLabel(suite: CipherSuite, secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`, 'latin1');
  const info = Buffer.concat([Buffer.from([length >>> 8, length & 0xff, name.length]), name, Buffer.from([0])]);
  // The first block of HKDF-Expand (RFC 5869 section 2.3): there is none before it, and its counter is 1.
  return createHmac(suite.hash, secret)
    .update(info)
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, length);
}
