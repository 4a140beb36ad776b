import { errorMessage, NightlatchError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { LivePolicy, PolicySnapshot } from '../policy/snapshot.ts';
import {
  type ClusterAuthPreference,
  type ClusterNetworkingConfig,
  defaultAuthPreference,
  defaultNetworkingConfig,
  KINDS,
  type Kind,
  type Resource,
  type ResourceOf,
  SINGLETONS,
} from '../resources/index.ts';
import { decodeStored, denyingRole, salvagedLock } from './damaged.ts';
import { LayeredMap } from './layered-map.ts';
import type { Store, StoreChange } from './store.ts';

/** Where each kind of which there are many stands in the snapshot. */
const MAPS = {
  user: 'users',
  role: 'roles',
  node: 'nodes',
  db: 'databases',
  kube_cluster: 'kubeClusters',
  windows_desktop: 'desktops',
} as const satisfies Partial<Record<Kind, keyof PolicySnapshot>>;
type MapKind = keyof typeof MAPS;

/** Kinds that the configuration file can register for as long as the daemon lives. */
type StaticKind = Exclude<MapKind, 'user' | 'role'>;

export interface LivePolicyOptions {
  readonly store: Store;
  /** What holds while the store has none; those of `resources/` where left out. */
  readonly defaults?: {
    readonly authPreference?: ClusterAuthPreference;
    readonly networkingConfig?: ClusterNetworkingConfig;
  };
  readonly log: Logger;
}

/** The policy in memory, kept in step with the store. */
export interface StoredLivePolicy extends LivePolicy {
  /**
   * Replaces the resources of a kind that the configuration file registers: they are in the snapshot, not in the store, and win
   * over stored ones of the same name.
   */
  setStatic<K extends StaticKind>(kind: K, resources: readonly ResourceOf<K>[]): void;
  /** Whether the configuration file registered it (such a one cannot be changed or deleted through the API). */
  isStatic(kind: Kind, name: string): boolean;
  /** Stops following the store; `current` stays. */
  close(): void;
}

/**
 * Loads all of the store and follows it. A change is in `current`, and the listeners have been called, when the store calls its watch
 * (for the embedded store: when the write's promise resolves).
 *
 * A resource that cannot be read fails closed: what was live stays; a role that was not is replaced by one that denies everything.
 * @throws {NightlatchError} `unavailable` when a cluster-wide setting or a lock cannot be read at the start.
 */
export async function createLivePolicy(options: LivePolicyOptions): Promise<StoredLivePolicy> {
  const policy = new PolicyFollower(options);
  await policy.load();
  return policy;
}

/**
 * When a resource goes away by itself, in milliseconds since the epoch, as the store wants it with a `put`; undefined for never.
 * Locks say it in `spec.expires`, every resource can in `metadata.expires`.
 */
export function resourceExpiryMs(resource: Resource): number | undefined {
  const times = [resource.metadata.expires, resource.kind === 'lock' ? resource.spec.expires : undefined];
  const ms = times.flatMap((time) => (time === undefined ? [] : [Date.parse(time)]));
  return ms.length === 0 ? undefined : Math.min(...ms);
}

class PolicyFollower implements StoredLivePolicy {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #defaults: { authPreference: ClusterAuthPreference; networkingConfig: ClusterNetworkingConfig };
  /** What the store has, decoded; each with its revision, so that a change that is older than what was loaded is known. */
  readonly #stored: ReadonlyMap<Kind, Map<string, { readonly resource: Resource; readonly revision: number }>>;
  readonly #static = new Map<Kind, ReadonlyMap<string, Resource>>();
  readonly #listeners = new Set<(snapshot: PolicySnapshot) => void>();
  #current: PolicySnapshot;
  /** Changes seen while loading; undefined afterwards. */
  #early: StoreChange[] | undefined = [];
  #stopWatching: () => void = () => {};

  constructor({ store, log, defaults }: LivePolicyOptions) {
    this.#store = store;
    this.#log = log;
    this.#defaults = {
      authPreference: defaults?.authPreference ?? defaultAuthPreference(),
      networkingConfig: defaults?.networkingConfig ?? defaultNetworkingConfig(),
    };
    this.#stored = new Map(KINDS.map((kind) => [kind, new Map()]));
    this.#current = this.#rebuilt(0);
  }

  get current(): PolicySnapshot {
    return this.#current;
  }

  onChange(fn: (snapshot: PolicySnapshot) => void): () => void {
    const listener = (snapshot: PolicySnapshot) => fn(snapshot);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async load(): Promise<void> {
    // Watching begins first: what changes while the lists are read is applied on top of them.
    this.#stopWatching = this.#store.watch((change) => {
      if (this.#early === undefined) this.#apply(change);
      else this.#early.push(change);
    });
    try {
      let revision = 0;
      for (const kind of KINDS) {
        for (const { name, value, revision: its } of await this.#store.list(kind)) {
          revision = Math.max(revision, its);
          const resource = this.#decodeAtStart(kind, name, value);
          if (resource !== undefined) this.#stored.get(kind)!.set(name, { resource, revision: its });
        }
      }
      this.#current = this.#rebuilt(revision);
      const early = this.#early ?? [];
      this.#early = undefined;
      for (const change of early) this.#apply(change);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  setStatic<K extends StaticKind>(kind: K, resources: readonly ResourceOf<K>[]): void {
    const byName = new Map<string, Resource>();
    for (const resource of resources as readonly Resource[]) {
      const { name } = resource.metadata;
      if (byName.has(name)) throw new NightlatchError('bad_parameter', `two resources ${kind} are named "${name}"`);
      byName.set(name, resource);
    }
    this.#static.set(kind, byName);
    this.#swap({ ...this.#current, [MAPS[kind]]: this.#merged(kind) });
  }

  isStatic(kind: Kind, name: string): boolean {
    return this.#static.get(kind)?.has(name) ?? false;
  }

  close(): void {
    this.#stopWatching();
    this.#listeners.clear();
  }

  #apply(change: StoreChange): void {
    const { kind, name, revision } = change;
    const stored = this.#stored.get(kind);
    // A kind of a newer program is none of ours.
    if (stored === undefined) return;
    const before = stored.get(name);
    if (before !== undefined && before.revision >= revision) return;
    if (change.value === undefined) {
      if (!stored.delete(name)) {
        this.#current = Object.freeze({ ...this.#current, revision: Math.max(this.#current.revision, revision) });
        return;
      }
    } else {
      const resource = this.#decodeLive(change, before?.resource);
      if (resource === undefined) return;
      stored.set(name, { resource, revision });
      if (resource === before?.resource) return;
    }
    this.#swap(this.#withKind(kind, name, revision));
  }

  /** The current snapshot with what has changed of one kind: the rest is shared. */
  #withKind(kind: Kind, name: string, changedAt: number): PolicySnapshot {
    const current = this.#current;
    const revision = Math.max(current.revision, changedAt);
    switch (kind) {
      case 'cluster_auth_preference':
        return { ...current, revision, authPreference: this.#single(kind) ?? this.#defaults.authPreference };
      case 'cluster_networking_config':
        return { ...current, revision, networkingConfig: this.#single(kind) ?? this.#defaults.networkingConfig };
      case 'lock':
        return { ...current, revision, locks: this.#all('lock') };
      default: {
        const map = current[MAPS[kind]] as LayeredMap<Resource>;
        const resource = this.#static.get(kind)?.get(name) ?? this.#stored.get(kind)!.get(name)?.resource;
        return { ...current, revision, [MAPS[kind]]: map.with(name, resource) };
      }
    }
  }

  #rebuilt(revision: number): PolicySnapshot {
    return Object.freeze({
      revision,
      authPreference: this.#single('cluster_auth_preference') ?? this.#defaults.authPreference,
      networkingConfig: this.#single('cluster_networking_config') ?? this.#defaults.networkingConfig,
      users: this.#merged('user'),
      roles: this.#merged('role'),
      nodes: this.#merged('node'),
      databases: this.#merged('db'),
      kubeClusters: this.#merged('kube_cluster'),
      desktops: this.#merged('windows_desktop'),
      locks: this.#all('lock'),
    });
  }

  #single<K extends Kind>(kind: K): ResourceOf<K> | undefined {
    return this.#stored.get(kind)!.get(SINGLETONS[kind]!)?.resource as ResourceOf<K> | undefined;
  }

  #all<K extends Kind>(kind: K): ResourceOf<K>[] {
    return [...this.#stored.get(kind)!.values()].map(({ resource }) => resource as ResourceOf<K>);
  }

  #merged<K extends Kind>(kind: K): LayeredMap<ResourceOf<K>> {
    const map = new Map<string, ResourceOf<K>>();
    for (const [name, { resource }] of this.#stored.get(kind)!) map.set(name, resource as ResourceOf<K>);
    for (const [name, resource] of this.#static.get(kind) ?? []) map.set(name, resource as ResourceOf<K>);
    return new LayeredMap(map);
  }

  #swap(next: PolicySnapshot): void {
    this.#current = Object.freeze(next);
    for (const listener of [...this.#listeners]) {
      try {
        listener(this.#current);
      } catch (error) {
        this.#log.error('policy: a listener failed', { error: errorMessage(error) });
      }
    }
  }

  /** A change that cannot be read leaves what is live; where there is nothing, it is as at the start. */
  #decodeLive({ kind, name, value }: StoreChange, before: Resource | undefined): Resource | undefined {
    const decoded = decodeStored(kind, value);
    if (decoded.ok) return decoded.resource;
    if (before !== undefined) {
      this.#damaged(kind, name, decoded.reason, 'its previous value stays in force');
      return before;
    }
    return this.#standIn(kind, name, value, decoded.reason);
  }

  #decodeAtStart(kind: Kind, name: string, value: unknown): Resource | undefined {
    const decoded = decodeStored(kind, value);
    if (decoded.ok) return decoded.resource;
    const resource = this.#standIn(kind, name, value, decoded.reason);
    if (resource !== undefined || !(kind === 'lock' || kind in SINGLETONS)) return resource;
    throw new NightlatchError(
      'unavailable',
      `${kind} "${name}" in the store cannot be read, and without it sessions would not be ended as they should: ${decoded.reason}. Restore the store from a backup, or remove this entry from it`,
    );
  }

  #standIn(kind: Kind, name: string, value: unknown, reason: string): Resource | undefined {
    if (kind === 'role') {
      this.#damaged(kind, name, reason, 'those who have it are denied everything');
      return denyingRole(name);
    }
    const lock = kind === 'lock' ? salvagedLock(name, value) : undefined;
    if (lock !== undefined) this.#damaged(kind, name, reason, 'what it names stays locked, without end');
    else this.#damaged(kind, name, reason, 'it is left out');
    return lock;
  }

  #damaged(kind: Kind, name: string, reason: string, consequence: string): void {
    this.#log.error(`policy: a resource in the store cannot be read; ${consequence}`, { kind, name, reason });
  }
}
