/**
 * An immutable map of which a changed copy is cheap: copies share what they have in common and keep the few differences apart. A plain
 * `Map` of 10,000 entries takes milliseconds to copy, in which no session is looked after.
 */
export class LayeredMap<V> implements ReadonlyMap<string, V> {
  readonly #base: ReadonlyMap<string, V>;
  /** What differs from the base; undefined is a removal. */
  readonly #changes: ReadonlyMap<string, V | undefined>;
  readonly size: number;

  /** INVARIANT: `base` is not changed any more by whoever made it. */
  constructor(base: ReadonlyMap<string, V>, changes: ReadonlyMap<string, V | undefined> = new Map(), size = base.size) {
    this.#base = base;
    this.#changes = changes;
    this.size = size;
  }

  /** A copy in which `key` has this value, or is not there. */
  with(key: string, value: V | undefined): LayeredMap<V> {
    const size = this.size + Number(value !== undefined) - Number(this.has(key));
    const changes = new Map(this.#changes).set(key, value);
    // Folding copies everything, so it comes the more seldom the more there is.
    if (changes.size <= Math.max(64, Math.sqrt(this.#base.size))) return new LayeredMap(this.#base, changes, size);
    return new LayeredMap(new Map(new LayeredMap(this.#base, changes, size)));
  }

  get(key: string): V | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key);
  }

  has(key: string): boolean {
    return this.#changes.has(key) ? this.#changes.get(key) !== undefined : this.#base.has(key);
  }

  *entries(): Generator<[string, V], undefined> {
    for (const entry of this.#base) if (!this.#changes.has(entry[0])) yield entry;
    for (const [key, value] of this.#changes) if (value !== undefined) yield [key, value];
    return undefined;
  }

  *keys(): Generator<string, undefined> {
    for (const [key] of this.entries()) yield key;
    return undefined;
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
    return undefined;
  }

  [Symbol.iterator](): Generator<[string, V], undefined> {
    return this.entries();
  }

  forEach(fn: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.entries()) fn(value, key, this);
  }
}
