import { z } from 'zod';
import { doc, duration, mapping, paragraph } from './fields.ts';
import { singletonMetadata } from './metadata.ts';

/** What counts as activity (SPEC 2.3), strictest first. */
export const activityMode = z.enum(['input', 'auto', 'traffic']);

export const clusterNetworkingConfigSchema = mapping(
  {
    kind: z.literal('cluster_networking_config'),
    version: z.literal('v2').default('v2'),
    metadata: singletonMetadata('cluster-networking-config'),
    spec: mapping(
      {
        client_idle_timeout: doc(
          duration,
          'End a session after this long without activity; `never` or `0`: no limit.',
          {
            default: 'never',
          },
        ).optional(),
        idle_timeout_message: doc(
          paragraph,
          "The administrator's own words, shown when a session ends for idleness.",
        ).optional(),
        client_idle_warning: doc(duration, 'How long before the end the user is warned; `never` or `0`: no warning.', {
          default: '1m0s, at most a quarter of the timeout (one that is set: at most half)',
        }).optional(),
        client_idle_activity: doc(activityMode, 'What counts as activity: `input`, `auto` or `traffic`.', {
          default: 'auto',
        }).optional(),
        web_idle_timeout: doc(
          duration,
          'Sign a browser out after this long without activity; `never` or `0`: no limit.',
          {
            default: 'never',
          },
        ).optional(),
      },
      {
        unsupported: {
          assist_command_execution_workers: [],
          case_insensitive_routing: [false],
          keep_alive_count_max: [],
          keep_alive_interval: [],
          proxy_listener_mode: [],
          proxy_ping_interval: [],
          routing_strategy: [],
          session_control_timeout: [],
          ssh_dial_timeout: [],
          tunnel_strategy: [],
        },
        misplaced: {
          client_idle_timeout_message: 'spec.idle_timeout_message (the longer name is that of the configuration file)',
          disconnect_expired_cert: 'spec.disconnect_expired_cert of cluster_auth_preference',
          locking_mode: 'spec.locking_mode of cluster_auth_preference',
          options: 'spec itself: this resource has no options',
        },
      },
    ).default({}),
  },
  { misplaced: { client_idle_timeout: 'spec.client_idle_timeout' } },
);

/** Cluster-wide idle settings (`cnc`), version v2. */
export type ClusterNetworkingConfig = z.infer<typeof clusterNetworkingConfigSchema>;
