import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Daemon } from '../../src/server/daemon.ts';
import { type ApiServer, startApiServer } from './cluster/api-server.ts';
import { startContainers, whatContainersLack } from './cluster/containers.ts';

/** The demo's Kubernetes cluster. */
export interface DemoCluster {
  close(): Promise<void>;
}

/**
 * A small API server before a real container (containerd and runc of this machine), registered as the cluster `demo`; undefined where the
 * machine has none or they may not be used.
 */
export async function startCluster({ context }: Daemon, dataDir: string): Promise<DemoCluster | undefined> {
  if (whatContainersLack() !== undefined) return undefined;
  const containers = await startContainers();
  let api: ApiServer | undefined;
  const close = async (): Promise<void> => {
    await api?.close();
    await containers.close();
  };
  try {
    const token = randomBytes(24).toString('base64url');
    api = await startApiServer({ ...(await context.ca.mintTlsServer(['localhost'])), containers, token });
    api.addPod(await containers.runPod('default', 'web', [{ name: 'main' }]));
    const kubeconfig = join(dataDir, 'demo-cluster.kubeconfig');
    writeFileSync(kubeconfig, gatewayKubeconfig(api.port, token, context.ca.tlsHostCa), { mode: 0o600 });
    context.policy.setStatic('kube_cluster', [
      {
        kind: 'kube_cluster',
        version: 'v3',
        metadata: { name: 'demo', labels: { env: 'demo' } },
        spec: { kubeconfig_file: kubeconfig },
      },
    ]);
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

function gatewayKubeconfig(port: number, token: string, ca: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'demo',
    contexts: [{ name: 'demo', context: { cluster: 'demo', user: 'gateway' } }],
    clusters: [
      {
        name: 'demo',
        cluster: {
          server: `https://localhost:${port}`,
          'certificate-authority-data': Buffer.from(ca).toString('base64'),
        },
      },
    ],
    users: [{ name: 'gateway', user: { token } }],
  });
}
