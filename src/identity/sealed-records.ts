import { NightlatchError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';

/** Records of one bucket that are JSON inside and sealed outside. */
export class SealedRecords<T> {
  readonly #store: Store;
  readonly #masterKey: MasterKey;
  readonly #bucket: string;

  constructor(store: Store, masterKey: MasterKey, bucket: string) {
    this.#store = store;
    this.#masterKey = masterKey;
    this.#bucket = bucket;
  }

  async get(key: string): Promise<T | undefined> {
    return this.#open(key, await this.#store.getRecord(this.#bucket, key));
  }

  /** `expiresAtMs`: wall clock; the store forgets the record then. */
  async put(key: string, value: T, options: { expiresAtMs?: number } = {}): Promise<void> {
    await this.#store.putRecord(this.#bucket, key, this.#seal(key, value), options);
  }

  /** Writes the record unless there is one already; tells whether it did. */
  async add(key: string, value: T, options: { expiresAtMs?: number } = {}): Promise<boolean> {
    try {
      await this.#store.putRecord(this.#bucket, key, this.#seal(key, value), { ...options, condition: 'absent' });
      return true;
    } catch (error) {
      if (error instanceof NightlatchError && error.code === 'already_exists') return false;
      throw error;
    }
  }

  /** Returns and deletes the record in one step. */
  async take(key: string): Promise<T | undefined> {
    return this.#open(key, await this.#store.takeRecord(this.#bucket, key));
  }

  async delete(key: string): Promise<void> {
    await this.#store.deleteRecord(this.#bucket, key);
  }

  /** The keys alone: nothing is opened. */
  async keys(): Promise<string[]> {
    return (await this.#store.listRecords(this.#bucket)).map(({ key }) => key);
  }

  async list(): Promise<{ key: string; value: T }[]> {
    const records = await this.#store.listRecords(this.#bucket);
    return records.map(({ key, value }) => ({ key, value: this.#open(key, value)! }));
  }

  #seal(key: string, value: T): Uint8Array {
    return this.#masterKey.seal(this.#bucket, key, Buffer.from(JSON.stringify(value), 'utf8'));
  }

  // What is inside was written by `put` and `add`: the seal proves it, so the type is taken as it is.
  #open(key: string, sealed: Uint8Array | undefined): T | undefined {
    if (sealed === undefined) return undefined;
    return JSON.parse(this.#masterKey.open(this.#bucket, key, sealed).toString('utf8')) as T;
  }
}
