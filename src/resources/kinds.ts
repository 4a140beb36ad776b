import type { z } from 'zod';
import { type ClusterAuthPreference, clusterAuthPreferenceSchema } from './cluster-auth-preference.ts';
import { type ClusterNetworkingConfig, clusterNetworkingConfigSchema } from './cluster-networking-config.ts';
import { type Database, databaseSchema } from './database.ts';
import { type KubeCluster, kubeClusterSchema } from './kube-cluster.ts';
import { type Lock, lockSchema } from './lock.ts';
import { type Node, nodeSchema } from './node.ts';
import { type Role, roleSchema } from './role.ts';
import { type User, userSchema } from './user.ts';
import { type WindowsDesktop, windowsDesktopSchema } from './windows-desktop.ts';

/** Every resource there is. */
export type Resource =
  | ClusterAuthPreference
  | ClusterNetworkingConfig
  | Role
  | User
  | Node
  | Database
  | KubeCluster
  | WindowsDesktop
  | Lock;

/** The kind of a resource, as it stands in the resource. */
export type Kind = Resource['kind'];

/** The resource of one kind. */
export type ResourceOf<K extends Kind> = Extract<Resource, { kind: K }>;

/** The schema of each kind. */
export const SCHEMAS: { readonly [K in Kind]: z.ZodType<ResourceOf<K>> } = {
  cluster_auth_preference: clusterAuthPreferenceSchema,
  cluster_networking_config: clusterNetworkingConfigSchema,
  role: roleSchema,
  user: userSchema,
  node: nodeSchema,
  db: databaseSchema,
  kube_cluster: kubeClusterSchema,
  windows_desktop: windowsDesktopSchema,
  lock: lockSchema,
};

/** All kinds, in the order in which a reader meets them. */
export const KINDS = Object.keys(SCHEMAS) as readonly Kind[];

/** The kinds of which there is one resource only, with its name. */
export const SINGLETONS: Readonly<Partial<Record<Kind, string>>> = {
  cluster_auth_preference: 'cluster-auth-preference',
  cluster_networking_config: 'cluster-networking-config',
};

const ALIASES: Readonly<Record<Kind, readonly string[]>> = {
  cluster_auth_preference: ['cap', 'cluster_auth_preferences', 'auth_preference', 'authpreference'],
  cluster_networking_config: ['cnc', 'cluster_networking_configs', 'networking_config', 'netconfig'],
  role: ['roles'],
  user: ['users'],
  node: ['nodes', 'server', 'servers'],
  db: ['dbs', 'database', 'databases'],
  kube_cluster: ['kube_clusters', 'kube', 'kubes', 'kubernetes_cluster'],
  windows_desktop: ['windows_desktops', 'desktop', 'desktops', 'win_desktop'],
  lock: ['locks'],
};

/** The other names of a kind that `tctl` understands. */
export function kindAliases(kind: Kind): readonly string[] {
  return ALIASES[kind];
}

const kindByAlias = new Map<string, Kind>(
  KINDS.flatMap((kind) => [kind, ...ALIASES[kind]].map((name) => [name, kind])),
);

/** The kind a person means by `cap`, `cnc`, `roles`, `nodes` …; undefined for anything else. */
export function kindFromAlias(alias: string): Kind | undefined {
  return kindByAlias.get(alias.toLowerCase().replaceAll('-', '_'));
}
