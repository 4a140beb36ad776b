import { formatAddress } from './address.ts';

/** Where a Kubernetes cluster is reached through the gateway. */
export interface KubeEndpoint {
  readonly host: string;
  readonly port: number;
  /** Name to ask for in TLS and to expect in the certificate; undefined for `host` itself. */
  readonly serverName?: string;
  /** PEM of the CA; undefined for the system's. */
  readonly ca?: string;
}

/** A kubeconfig with its credentials in it. */
export interface KubeIdentity {
  readonly user: string;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

const base64 = (pem: string) => Buffer.from(pem).toString('base64');

/** The `cluster` of a kubeconfig. */
export function kubeCluster(endpoint: KubeEndpoint): Record<string, string> {
  return {
    server: `https://${formatAddress(endpoint.host, endpoint.port)}`,
    ...(endpoint.serverName === undefined ? {} : { 'tls-server-name': endpoint.serverName }),
    ...(endpoint.ca === undefined ? {} : { 'certificate-authority-data': base64(endpoint.ca) }),
  };
}

/** A kubeconfig for a machine: JSON, which is YAML too. */
export function machineKubeconfig(name: string, endpoint: KubeEndpoint, identity: KubeIdentity): string {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: kubeCluster(endpoint) }],
    users: [
      {
        name: identity.user,
        user: { 'client-certificate-data': base64(identity.cert), 'client-key-data': base64(identity.key) },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: identity.user } }],
    'current-context': name,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
