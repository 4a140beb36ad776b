import type { PolicySnapshot } from '../../policy/snapshot.ts';
import type { Resource } from '../../resources/index.ts';

/** The policy as it would be with these resources written: what `tctl idle rehearse` looks at. */
export function rehearsedSnapshot(current: PolicySnapshot, changed: readonly Resource[]): PolicySnapshot {
  return changed.reduce(withResource, current);
}

function withResource(snapshot: PolicySnapshot, resource: Resource): PolicySnapshot {
  switch (resource.kind) {
    case 'cluster_auth_preference':
      return { ...snapshot, authPreference: resource };
    case 'cluster_networking_config':
      return { ...snapshot, networkingConfig: resource };
    case 'role':
      return { ...snapshot, roles: put(snapshot.roles, resource) };
    case 'user':
      return { ...snapshot, users: put(snapshot.users, resource) };
    case 'node':
      return { ...snapshot, nodes: put(snapshot.nodes, resource) };
    case 'db':
      return { ...snapshot, databases: put(snapshot.databases, resource) };
    case 'kube_cluster':
      return { ...snapshot, kubeClusters: put(snapshot.kubeClusters, resource) };
    case 'windows_desktop':
      return { ...snapshot, desktops: put(snapshot.desktops, resource) };
    case 'lock': {
      const others = snapshot.locks.filter((lock) => lock.metadata.name !== resource.metadata.name);
      return { ...snapshot, locks: [...others, resource] };
    }
  }
}

function put<R extends Resource & { metadata: { name: string } }>(
  map: ReadonlyMap<string, R>,
  resource: R,
): ReadonlyMap<string, R> {
  return new Map(map).set(resource.metadata.name, resource);
}
