import type { KeyObject } from 'node:crypto';
import type { Secret } from '../core/secret.ts';
import { encodePrivateKey } from '../wire/ssh/private-key.ts';
import { encodeIdentityFile, type IdentityFile } from './identity-file.ts';

/** What `tctl auth sign --format=` takes. */
export const SIGN_FORMATS = ['file', 'openssh', 'db', 'kubernetes'] as const;
export type SignFormat = (typeof SIGN_FORMATS)[number];

/** A file that `tctl auth sign` writes. Every one has mode 0600: libpq refuses a key that others may read. */
export interface SignedFile {
  readonly path: string;
  readonly content: string;
}

/** Where a kubeconfig leads, and as whom. */
export interface KubeconfigRequest {
  readonly clusterName: string;
  /** Name of the `kube_cluster` resource; names the context together with the cluster's. */
  readonly kubeCluster: string;
  /** `https://host:port`. */
  readonly server: string;
  /** SNI name to ask for, where it is not the server's host. */
  readonly tlsServerName?: string;
  readonly user: string;
  /** PEM. */
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: Secret<string>;
  readonly namespace?: string;
}

/** Everything that a format is made of. */
export type SignedIdentity =
  | { readonly format: 'file'; readonly identity: IdentityFile }
  | { readonly format: 'openssh'; readonly privateKey: Secret<KeyObject>; readonly sshCert: string }
  /** Server certificate for a database, leaf first, and the CA its clients' certificates come from. */
  | { readonly format: 'db'; readonly keyPem: Secret<string>; readonly certPem: string; readonly caPem: string }
  | { readonly format: 'kubernetes'; readonly kubeconfig: KubeconfigRequest };

/** The files of a signed identity. `out` is the value of `--out`. */
export function signForFormat(out: string, signed: SignedIdentity): SignedFile[] {
  switch (signed.format) {
    case 'file':
      return [{ path: out, content: encodeIdentityFile(signed.identity) }];
    case 'openssh':
      return [
        { path: out, content: encodePrivateKey(signed.privateKey.reveal()) },
        { path: `${out}-cert.pub`, content: `${signed.sshCert.trim()}\n` },
      ];
    case 'db':
      return [
        { path: `${out}.key`, content: signed.keyPem.reveal() },
        { path: `${out}.crt`, content: signed.certPem },
        { path: `${out}.cas`, content: signed.caPem },
      ];
    case 'kubernetes':
      return [{ path: out, content: encodeKubeconfig(signed.kubeconfig) }];
  }
}

/** A kubeconfig (kind Config, v1) with one cluster, one user and one context. */
export function encodeKubeconfig(request: KubeconfigRequest): string {
  const base64 = (pem: string) => Buffer.from(pem, 'utf8').toString('base64');
  const context = `${request.clusterName}-${request.kubeCluster}`;
  const user = `${context}-${request.user}`;
  // JSON strings are YAML strings: nothing in a name can break out of its place.
  const text = (value: string) => JSON.stringify(value);
  return [
    'apiVersion: v1',
    'kind: Config',
    'clusters:',
    `- name: ${text(context)}`,
    '  cluster:',
    `    server: ${text(request.server)}`,
    ...(request.tlsServerName === undefined ? [] : [`    tls-server-name: ${text(request.tlsServerName)}`]),
    `    certificate-authority-data: ${base64(request.caPem)}`,
    'users:',
    `- name: ${text(user)}`,
    '  user:',
    `    client-certificate-data: ${base64(request.certPem)}`,
    `    client-key-data: ${base64(request.keyPem.reveal())}`,
    'contexts:',
    `- name: ${text(context)}`,
    '  context:',
    `    cluster: ${text(context)}`,
    `    user: ${text(user)}`,
    ...(request.namespace === undefined ? [] : [`    namespace: ${text(request.namespace)}`]),
    `current-context: ${text(context)}`,
    '',
  ].join('\n');
}
