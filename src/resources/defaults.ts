import type { ClusterAuthPreference } from './cluster-auth-preference.ts';
import type { ClusterNetworkingConfig } from './cluster-networking-config.ts';
import type { Resource } from './kinds.ts';
import { ORIGIN_LABEL, type Origin } from './metadata.ts';

/** `cap` as it is when nobody has set it. */
export function defaultAuthPreference(): ClusterAuthPreference {
  return {
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name: 'cluster-auth-preference', labels: { [ORIGIN_LABEL]: 'defaults' } },
    spec: { type: 'local', second_factor: 'on', disconnect_expired_cert: false, locking_mode: 'best_effort' },
  };
}

/** `cnc` as it is when nobody has set it. */
export function defaultNetworkingConfig(): ClusterNetworkingConfig {
  return {
    kind: 'cluster_networking_config',
    version: 'v2',
    metadata: { name: 'cluster-networking-config', labels: { [ORIGIN_LABEL]: 'defaults' } },
    spec: {},
  };
}

/** Where a resource's value comes from; one without the label was made by a person. */
export function originOf(resource: Resource): Origin {
  const label = resource.metadata.labels?.[ORIGIN_LABEL];
  return label === 'defaults' || label === 'config-file' ? label : 'dynamic';
}

/** The same resource with its origin label set. */
export function withOrigin<R extends Resource>(resource: R, origin: Origin): R {
  return {
    ...resource,
    metadata: { ...resource.metadata, labels: { ...resource.metadata.labels, [ORIGIN_LABEL]: origin } },
  };
}
