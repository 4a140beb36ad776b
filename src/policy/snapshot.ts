import type {
  ClusterAuthPreference,
  ClusterNetworkingConfig,
  Database,
  KubeCluster,
  Lock,
  Node,
  Role,
  User,
  WindowsDesktop,
} from '../resources/index.ts';

/**
 * All that decides about access and idleness, in memory, immutable: a change makes a new one. Gateways and sessions read this,
 * never the store.
 */
export interface PolicySnapshot {
  /** The store's revision that this snapshot reflects. */
  readonly revision: number;
  readonly authPreference: ClusterAuthPreference;
  readonly networkingConfig: ClusterNetworkingConfig;
  readonly users: ReadonlyMap<string, User>;
  readonly roles: ReadonlyMap<string, Role>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly databases: ReadonlyMap<string, Database>;
  readonly kubeClusters: ReadonlyMap<string, KubeCluster>;
  readonly desktops: ReadonlyMap<string, WindowsDesktop>;
  readonly locks: readonly Lock[];
}

/** Holds the current snapshot and says when it changes. */
export interface LivePolicy {
  readonly current: PolicySnapshot;
  onChange(fn: (snapshot: PolicySnapshot) => void): () => void;
}
