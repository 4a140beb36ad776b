import type { SshCredential } from '../../identity/types.ts';
import { CERTIFICATE_SUFFIX } from '../../wire/ssh/certificate.ts';
import {
  encodePublicKey,
  keyTypeOf,
  type SignatureAlgorithm,
  signatureAlgorithmsOf,
  sshSign,
} from '../../wire/ssh/keys.ts';
import type { HostKey } from './key-exchange.ts';

/** A host certificate and, for clients that pin the plain key, the key itself, as the transport offers them. */
export function hostKeysOf(credential: SshCredential): HostKey[] {
  const { privateKey, certificate } = credential;
  const publicBlob = encodePublicKey(privateKey);
  const algorithms = signatureAlgorithmsOf(keyTypeOf(privateKey));
  const key = (suffix: string, blob: Buffer) => (algorithm: SignatureAlgorithm) => ({
    algorithm: algorithm + suffix,
    blob,
    sign: (data: Uint8Array) => sshSign(privateKey, data, algorithm),
  });
  return [...algorithms.map(key(CERTIFICATE_SUFFIX, certificate)), ...algorithms.map(key('', publicBlob))];
}
