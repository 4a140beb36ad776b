import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { loadEndpoint } from '../gateways/kube/kubeconfig.ts';
import type { KubeCluster } from '../resources/index.ts';

/** Why nobody can reach a registered cluster, as far as its kubeconfig tells; undefined where nothing is wrong with that. */
export async function kubeClusterProblem(cluster: KubeCluster): Promise<string | undefined> {
  try {
    await loadEndpoint(cluster);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

/** Says at the start which clusters cannot be reached: their users would be the first to find out. */
export async function warnOfKubeClusters(clusters: Iterable<KubeCluster>, log: Logger): Promise<void> {
  for (const cluster of clusters) {
    const problem = await kubeClusterProblem(cluster);
    if (problem !== undefined)
      log.warn('a Kubernetes cluster cannot be used', { kube_cluster: cluster.metadata.name, problem });
  }
}
