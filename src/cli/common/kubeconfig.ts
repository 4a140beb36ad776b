/** What a kubeconfig with its credentials in it is made of. */
export interface KubeconfigSpec {
  readonly cluster: string;
  readonly user: string;
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Server name by which the public port knows Kubernetes connections: it begins with `kube.`. */
export function kubeServerName(host: string): string {
  return `kube.${host}`;
}

/** A kubeconfig for a machine: JSON, which is YAML too. */
export function kubeconfig(spec: KubeconfigSpec): string {
  const base64 = (pem: string) => Buffer.from(pem).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: spec.cluster,
        cluster: {
          server: `https://${spec.host.includes(':') ? `[${spec.host}]` : spec.host}:${spec.port}`,
          'tls-server-name': kubeServerName(spec.host),
          'certificate-authority-data': base64(spec.ca),
        },
      },
    ],
    users: [
      {
        name: `${spec.user}@${spec.cluster}`,
        user: { 'client-certificate-data': base64(spec.cert), 'client-key-data': base64(spec.key) },
      },
    ],
    contexts: [{ name: spec.cluster, context: { cluster: spec.cluster, user: `${spec.user}@${spec.cluster}` } }],
    'current-context': spec.cluster,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
