import { createRequire } from 'node:module';

/** What ssh2's addon offers: cipher contexts that are kept, working in place (`lib/protocol/crypto/src/binding.cc`). */
export interface NativeCiphers {
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
/** ssh2's addon, or undefined where it was not built for this Node. */
export const native = loadNative();

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
