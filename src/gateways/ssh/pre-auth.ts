/** Connections that have not authenticated, all together. */
const MAX_PENDING = 512;

interface Pending {
  readonly address: string;
  readonly cut: () => void;
}

/**
 * Bounds the connections that have not authenticated yet, like OpenSSH's MaxStartups. When the bound is reached, the oldest
 * connection of the address that has the most gives way, so that a flood from one place locks out nobody else.
 */
export class PreAuthLimit {
  readonly #limit: number;
  readonly #pending = new Set<Pending>();

  constructor(limit = MAX_PENDING) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Enters a connection; `cut` is called when it has to give way. Returns what takes it out again. */
  enter(address: string, cut: () => void): () => void {
    if (this.#pending.size >= this.#limit) this.#giveWay();
    const entry = { address, cut };
    this.#pending.add(entry);
    return () => this.#pending.delete(entry);
  }

  #giveWay(): void {
    const counts = new Map<string, number>();
    for (const { address } of this.#pending) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    for (const entry of this.#pending) {
      if (counts.get(entry.address) !== most) continue;
      this.#pending.delete(entry);
      entry.cut();
      return;
    }
  }
}
