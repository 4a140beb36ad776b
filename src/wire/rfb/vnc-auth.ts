import { createCipheriv } from 'node:crypto';

/**
 * The response to a VNC Authentication challenge (RFC 6143, 7.2.2): each half of the 16 bytes encrypted with DES, the
 * password's first eight bytes being the key with the bits of each byte in reverse.
 *
 * DES with one key is not in OpenSSL 3's default provider; three-key DES with the same key thrice is the same function.
 */
export function encodeVncAuthResponse(challenge: Buffer, password: string): Buffer {
  const key = Buffer.alloc(8);
  Buffer.from(password, 'latin1').copy(key, 0, 0, 8);
  for (let i = 0; i < key.length; i += 1) key[i] = reverseBits(key[i]!);
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null);
  cipher.setAutoPadding(false);
  return Buffer.concat([cipher.update(challenge), cipher.final()]);
}

function reverseBits(byte: number): number {
  let out = 0;
  for (let bit = 0; bit < 8; bit += 1) if (byte & (1 << bit)) out |= 0x80 >> bit;
  return out;
}
