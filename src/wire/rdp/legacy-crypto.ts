/**
 * MD4 (RFC 1320) and RC4, which NTLM is built on and OpenSSL 3 has put away. They protect nothing here: NTLM runs inside TLS
 * whose certificate was checked before.
 */

const S1 = [3, 7, 11, 19];
const S2 = [3, 5, 9, 13];
const S3 = [3, 9, 11, 15];
const ORDER2 = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
const ORDER3 = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];

/** MD4 of `message`. */
export function md4(message: Buffer): Buffer {
  const padded = Buffer.alloc((((message.length + 8) >> 6) << 6) + 64);
  message.copy(padded);
  padded[message.length] = 0x80;
  padded.writeUInt32LE((message.length << 3) >>> 0, padded.length - 8);
  padded.writeUInt32LE(Math.floor(message.length / 0x2000_0000), padded.length - 4);
  let [a, b, c, d] = [0x6745_2301, 0xefcd_ab89 | 0, 0x98ba_dcfe | 0, 0x1032_5476];
  for (let block = 0; block < padded.length; block += 64) {
    const x = (i: number) => padded.readInt32LE(block + 4 * i);
    const [a0, b0, c0, d0] = [a, b, c, d];
    const step = (mixed: number, word: number, constant: number, shift: number) => {
      const next = rotate((a + mixed + word + constant) | 0, shift);
      [a, b, c, d] = [d, next, b, c];
    };
    for (let i = 0; i < 16; i += 1) step((b & c) | (~b & d), x(i), 0, S1[i & 3]!);
    for (let i = 0; i < 16; i += 1) step((b & c) | (b & d) | (c & d), x(ORDER2[i]!), 0x5a82_7999, S2[i & 3]!);
    for (let i = 0; i < 16; i += 1) step(b ^ c ^ d, x(ORDER3[i]!), 0x6ed9_eba1, S3[i & 3]!);
    [a, b, c, d] = [(a + a0) | 0, (b + b0) | 0, (c + c0) | 0, (d + d0) | 0];
  }
  const out = Buffer.alloc(16);
  [a, b, c, d].forEach((word, i) => {
    out.writeInt32LE(word, 4 * i);
  });
  return out;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** An RC4 keystream that goes on from call to call. */
export class Rc4 {
  readonly #state = new Uint8Array(256);
  #i = 0;
  #j = 0;

  constructor(key: Buffer) {
    const state = this.#state;
    for (let i = 0; i < 256; i += 1) state[i] = i;
    for (let i = 0, j = 0; i < 256; i += 1) {
      j = (j + state[i]! + key[i % key.length]!) & 0xff;
      [state[i], state[j]] = [state[j]!, state[i]!];
    }
  }

  /** Encrypts or decrypts. */
  apply(data: Buffer): Buffer {
    const state = this.#state;
    const out = Buffer.alloc(data.length);
    for (let n = 0; n < data.length; n += 1) {
      this.#i = (this.#i + 1) & 0xff;
      this.#j = (this.#j + state[this.#i]!) & 0xff;
      [state[this.#i], state[this.#j]] = [state[this.#j]!, state[this.#i]!];
      out[n] = data[n]! ^ state[(state[this.#i]! + state[this.#j]!) & 0xff]!;
    }
    return out;
  }
}
