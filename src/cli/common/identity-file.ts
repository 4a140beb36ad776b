import { NightlatchError } from '../../core/errors.ts';
import { decodeCertificate } from '../../wire/ssh/certificate.ts';

/** What `tctl auth sign --format=file` writes and `tsh -i` reads: all of a machine's credentials in one file, as Teleport's. */
export interface IdentityFile {
  /** PEM. */
  readonly privateKey: string;
  /** OpenSSH certificate line. */
  readonly sshCertificate: string;
  /** PEM. */
  readonly tlsCertificate: string;
  readonly clusterName: string;
  /** `ssh-ed25519 AAAA…` of the CA that signs hosts. */
  readonly sshHostCa: string;
  /** PEM of the CA that signs the gateway's own certificate. */
  readonly tlsHostCa: string;
}

const PEM = /-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----\n?/g;

export function formatIdentityFile(identity: IdentityFile): string {
  const lines = [
    identity.privateKey,
    identity.sshCertificate,
    identity.tlsCertificate,
    knownHostsLine(identity.clusterName, identity.sshHostCa),
    identity.tlsHostCa,
  ];
  return lines.map((part) => `${part.trim()}\n`).join('');
}

/** @throws {NightlatchError} `bad_parameter` naming what is missing. */
export function parseIdentityFile(text: string, path: string): IdentityFile {
  const blocks = [...text.matchAll(PEM)];
  const privateKey = blocks.find((block) => block[1]!.endsWith('PRIVATE KEY'))?.[0];
  const certificates = blocks.filter((block) => block[1] === 'CERTIFICATE').map((block) => block[0]);
  const sshCertificate = /^\S+-cert-v01@openssh\.com \S+.*$/m.exec(text)?.[0];
  const authority = /^@cert-authority (\S+) (\S+ \S+)/m.exec(text);
  const missing = [
    [privateKey, 'a private key'],
    [sshCertificate, 'an SSH certificate'],
    [certificates[0], 'a TLS certificate'],
    [certificates[1], "the cluster's TLS certificate authority"],
    [authority?.[1], "the cluster's SSH certificate authority"],
  ].find(([found]) => found === undefined);
  if (missing !== undefined)
    throw new NightlatchError('bad_parameter', `${path} is no identity file: it lacks ${missing[1]}`);
  return {
    privateKey: privateKey!,
    sshCertificate: sshCertificate!,
    tlsCertificate: certificates[0]!,
    clusterName: authority![1]!.split(',')[0]!,
    sshHostCa: authority![2]!,
    tlsHostCa: certificates.slice(1).join(''),
  };
}

/** What an SSH certificate says of its holder. It is the holder's own file: nothing is verified here. */
export interface SshCertificateInfo {
  readonly user: string;
  readonly logins: readonly string[];
  readonly extensions: readonly string[];
  readonly expiresAtMs: number;
}

export function describeSshCertificate(line: string): SshCertificateInfo {
  const blob = Buffer.from(line.trim().split(/\s+/)[1] ?? '', 'base64');
  const certificate = decodeCertificate(blob);
  return {
    user: certificate.keyId,
    logins: certificate.principals,
    extensions: [...certificate.extensions.keys()].sort(),
    expiresAtMs: Number(certificate.validBefore) * 1000,
  };
}

/** Lets OpenSSH trust every host of a cluster: `NODE.CLUSTER`, and the gateway itself under the cluster's name and those of `gateways`. */
export function knownHostsLine(clusterName: string, sshHostCa: string, gateways: readonly string[] = []): string {
  const patterns = new Set([clusterName, `*.${clusterName}`, ...gateways]);
  return `@cert-authority ${[...patterns].join(',')} ${sshHostCa.trim()}`;
}
