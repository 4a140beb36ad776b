import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { DecodeError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { decodeCertificate } from '../wire/ssh/certificate.ts';
import { decodeAuthorizedKey, encodePublicKey } from '../wire/ssh/keys.ts';
import { decodePrivateKey } from '../wire/ssh/private-key.ts';

const MAX_CHARACTERS = 256 * 1024;
const MAX_AUTHORITIES = 64;

/**
 * What `tctl auth sign --format=file` writes and `tsh -i` reads: one key, the certificates for it, and what to trust. In Teleport's order: key,
 * SSH certificate, X.509 certificate, SSH authorities as `known_hosts` lines, X.509 authorities.
 */
export interface IdentityFile {
  readonly privateKey: Secret<KeyObject>;
  /** `ssh-…-cert-v01@openssh.com AAAA…`, without an end of line. */
  readonly sshCert: string;
  /** PEM. */
  readonly tlsCertPem: string;
  /** `@cert-authority …` lines. */
  readonly sshAuthorities: readonly string[];
  /** PEM, one each. */
  readonly tlsAuthorities: readonly string[];
}

export function encodeIdentityFile(file: IdentityFile): string {
  const key = file.privateKey.reveal().export({ format: 'pem', type: 'pkcs8' }) as string;
  const parts = [key, file.sshCert, file.tlsCertPem, ...file.sshAuthorities, ...file.tlsAuthorities];
  return parts.map((part) => `${part.trim()}\n`).join('');
}

/**
 * Reads an identity file, Teleport's too. Lines of other kinds are skipped. Checks that the certificates are for the key, not who signed them.
 * @throws {DecodeError}
 */
export function decodeIdentityFile(text: string): IdentityFile {
  if (text.length > MAX_CHARACTERS) throw new DecodeError('the identity file is too long');
  const blocks: string[] = [];
  const sshAuthorities: string[] = [];
  const certificates: string[] = [];
  const lines = text.split('\n').map((line) => line.trim());
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!;
    if (line.startsWith('-----BEGIN ')) {
      const end = lines.indexOf(line.replace('BEGIN', 'END'), at);
      if (end < 0) throw new DecodeError(`the identity file ends inside of ${line}`);
      blocks.push(`${lines.slice(at, end + 1).join('\n')}\n`);
      at = end;
    } else if (line.startsWith('@cert-authority ')) {
      sshAuthorities.push(line);
    } else if (/^(ssh|ecdsa)-\S+-cert-v01@openssh\.com /.test(line)) {
      certificates.push(line);
    }
    if (blocks.length + sshAuthorities.length > MAX_AUTHORITIES)
      throw new DecodeError('the identity file has too many parts');
  }
  const [keyPem, tlsCertPem, ...tlsAuthorities] = blocks;
  const [sshCert] = certificates;
  if (keyPem === undefined || tlsCertPem === undefined || sshCert === undefined) {
    throw new DecodeError('the identity file lacks a private key, an X.509 certificate or an SSH certificate');
  }
  if (certificates.length > 1) throw new DecodeError('the identity file has more than one SSH certificate');
  const privateKey = readPrivateKey(keyPem);
  checkCertificates(privateKey, sshCert, [tlsCertPem, ...tlsAuthorities]);
  return { privateKey: new Secret(privateKey), sshCert, tlsCertPem, sshAuthorities, tlsAuthorities };
}

function readPrivateKey(pem: string): KeyObject {
  if (pem.startsWith('-----BEGIN OPENSSH PRIVATE KEY-----')) return decodePrivateKey(pem).privateKey;
  if (pem.includes('ENCRYPTED')) throw new DecodeError('the private key of the identity file has a passphrase');
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new DecodeError('the private key of the identity file cannot be read', { cause });
  }
}

function checkCertificates(privateKey: KeyObject, sshCert: string, tlsChain: readonly string[]): void {
  let tlsFits: boolean;
  let publicBlob: Buffer;
  try {
    const parsed = tlsChain.map((pem) => new X509Certificate(pem));
    tlsFits = parsed[0]!.checkPrivateKey(privateKey);
    publicBlob = encodePublicKey(createPublicKey(privateKey));
  } catch (cause) {
    throw new DecodeError('a certificate or the key of the identity file cannot be used', { cause });
  }
  const sshFits = decodeCertificate(decodeAuthorizedKey(sshCert).blob).publicKeyBlob.equals(publicBlob);
  if (!tlsFits || !sshFits) throw new DecodeError('a certificate of the identity file is not for its key');
}
