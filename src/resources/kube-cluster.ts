import { z } from 'zod';
import { block, doc, flag, mapping, nonEmptyLine } from './fields.ts';
import { metadata } from './metadata.ts';

export const kubeClusterSchema = mapping({
  kind: z.literal('kube_cluster'),
  version: z.literal('v3').default('v3'),
  metadata,
  spec: mapping(
    {
      kubeconfig: doc(block(262_144), 'A kubeconfig, base64.', { type: 'text (base64)' }).optional(),
      kubeconfig_file: doc(nonEmptyLine, 'A kubeconfig file on the daemon’s machine.').optional(),
      context: doc(nonEmptyLine, 'The context in it.', { default: 'its current context' }).optional(),
      in_cluster: doc(flag, 'Use the service account of the pod that the daemon runs in.', {
        default: 'no',
      }).optional(),
    },
    { unsupported: { aws: [], azure: [], gcp: [], dynamic_labels: [] } },
  ).superRefine((spec, ctx) => {
    const ways = [spec.kubeconfig, spec.kubeconfig_file, spec.in_cluster || undefined].filter(
      (way) => way !== undefined,
    );
    if (ways.length !== 1) {
      ctx.addIssue({
        code: 'custom',
        path: [],
        message: 'needs exactly one of kubeconfig, kubeconfig_file and in_cluster: yes',
      });
    }
  }),
});

/** A Kubernetes cluster, version v3. */
export type KubeCluster = z.infer<typeof kubeClusterSchema>;
