/** Resource kinds as they stand in the store; the short names of `tctl` (`cap`, `cnc`) are the command line's. */
export type ResourceKind =
  | 'cluster_auth_preference'
  | 'cluster_networking_config'
  | 'role'
  | 'user'
  | 'node'
  | 'db'
  | 'kube_cluster'
  | 'windows_desktop'
  | 'lock';

/** One resource at rest. */
export interface StoredResource<T = unknown> {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly value: T;
  /** Grows with every change of anything in the store; the answer to "has it changed since I read it". */
  readonly revision: number;
}

/** A change that is on disk. `value` is undefined after a deletion. */
export interface StoreChange {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly value: unknown;
  readonly revision: number;
}

/** What a write demands of what is there: nothing, absence, presence, or one revision. */
export type WriteCondition = 'any' | 'absent' | 'present' | { readonly revision: number };

/**
 * Resources and private records at rest, with watches. The embedded store (SQLite) is one implementation; one
 * over PostgreSQL will be another, hence the promises. The data path never reads it.
 */
export interface Store {
  get(kind: ResourceKind, name: string): Promise<StoredResource | undefined>;
  list(kind: ResourceKind): Promise<StoredResource[]>;
  /**
   * Acknowledged only when it is on disk. `expiresAtMs` (wall clock) for resources that end by themselves (locks).
   * @throws {NightlatchError} `already_exists`, `not_found`, `conflict` where the condition does not hold; `unavailable` where the store cannot be written.
   */
  put(
    kind: ResourceKind,
    name: string,
    value: unknown,
    options: { condition: WriteCondition; expiresAtMs?: number },
  ): Promise<StoredResource>;
  /** @throws {NightlatchError} `not_found`. */
  delete(kind: ResourceKind, name: string): Promise<void>;
  /** Calls back after every change, in the order of revisions, also for resources that expired. Returns the way to stop. */
  watch(fn: (change: StoreChange) => void): () => void;

  /** Private records that are no resources: keys, password hashes, invitations, web sessions. Values are bytes. */
  getRecord(bucket: string, key: string): Promise<Uint8Array | undefined>;
  putRecord(
    bucket: string,
    key: string,
    value: Uint8Array,
    options?: { condition?: 'any' | 'absent'; expiresAtMs?: number },
  ): Promise<void>;
  /** Deletes and returns the record in one step: a token is good for one use even under races. */
  takeRecord(bucket: string, key: string): Promise<Uint8Array | undefined>;
  deleteRecord(bucket: string, key: string): Promise<void>;
  listRecords(bucket: string): Promise<{ key: string; value: Uint8Array }[]>;
  close(): Promise<void>;
}
