import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { encodePublicKey, keyTypeOf } from '../../wire/ssh/keys.ts';

/** A fresh key pair in the forms that SSH and TLS want. */
export interface KeyPair {
  /** PEM (SEC 1), which OpenSSH and every TLS library read. */
  readonly privatePem: string;
  /** `ecdsa-sha2-nistp256 AAAA…` */
  readonly sshPublicKey: string;
  /** SubjectPublicKeyInfo, PEM. */
  readonly tlsPublicKey: string;
}

/** ECDSA on P-256: the one kind of key that all clients here (OpenSSH, libpq, MariaDB's, Go's, browsers) take for both SSH and TLS. */
export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privatePem: privateKey.export({ type: 'sec1', format: 'pem' }) as string,
    sshPublicKey: sshPublicKeyLine(publicKey),
    tlsPublicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  };
}

/** `TYPE BASE64`, as it stands in `authorized_keys`. */
export function sshPublicKeyLine(key: KeyObject): string {
  return `${keyTypeOf(key)} ${encodePublicKey(key).toString('base64')}`;
}
