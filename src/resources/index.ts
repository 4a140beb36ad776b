export type { ClusterAuthPreference } from './cluster-auth-preference.ts';
export type { ClusterNetworkingConfig } from './cluster-networking-config.ts';
export { type Config, type ConfigFile, type ConfigResources, configResources, parseConfigFile } from './config-file.ts';
export type { Database } from './database.ts';
export { checkResource, decodeResource } from './decode.ts';
export { defaultAuthPreference, defaultNetworkingConfig, originOf, withOrigin } from './defaults.ts';
export { formatDuration, parseDuration } from './duration.ts';
export {
  KINDS,
  type Kind,
  kindAliases,
  kindFromAlias,
  type Resource,
  type ResourceOf,
  SCHEMAS,
  SINGLETONS,
} from './kinds.ts';
export type { KubeCluster } from './kube-cluster.ts';
export { KUBE_V7_KINDS } from './kube-kinds.ts';
export type { Lock } from './lock.ts';
export { compileMatcher } from './matcher.ts';
export { ORIGIN_LABEL } from './metadata.ts';
export type { Node } from './node.ts';
export { plainResource } from './plain-resource.ts';
export { conditionsOf, type FilledConditions, type Role, type RoleOptions } from './role.ts';
export type { KubernetesResource } from './role-conditions.ts';
export { sampleConfig } from './sample-config.ts';
export { expandTemplate, type Traits } from './template.ts';
export type { User } from './user.ts';
export type { WindowsDesktop } from './windows-desktop.ts';
