/**
 * A priority queue of slots (small integers) by due time, in typed arrays: a 4-ary min-heap with the position of
 * every slot, so that a due time can be changed or taken out. 16 bytes a slot.
 */
export class DeadlineHeap {
  #due: Float64Array;
  #heap: Int32Array;
  /** Position of a slot in the heap, -1 when it is not queued. */
  #position: Int32Array;
  #size = 0;

  constructor(capacity = 1024) {
    this.#due = new Float64Array(capacity);
    this.#heap = new Int32Array(capacity);
    this.#position = new Int32Array(capacity).fill(-1);
  }

  /** Number of queued slots. */
  get size(): number {
    return this.#size;
  }

  /** The slot that is due first, or -1. */
  get first(): number {
    return this.#size === 0 ? -1 : this.#heap[0]!;
  }

  /** Due time of the first slot, Infinity when nothing is queued. */
  get firstDue(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#due[this.#heap[0]!]!;
  }

  /** Due time of a queued slot, Infinity for one that is not queued. */
  dueOf(slot: number): number {
    return slot < this.#position.length && this.#position[slot]! >= 0 ? this.#due[slot]! : Number.POSITIVE_INFINITY;
  }

  /** Queues the slot, or moves it where it is queued already. An infinite due time takes it out. */
  set(slot: number, due: number): void {
    if (due === Number.POSITIVE_INFINITY) {
      this.remove(slot);
      return;
    }
    if (slot >= this.#position.length) this.#grow(slot + 1);
    const position = this.#position[slot]!;
    if (position < 0) {
      this.#due[slot] = due;
      this.#up(this.#size++, slot);
      return;
    }
    const before = this.#due[slot]!;
    this.#due[slot] = due;
    if (due < before) this.#up(position, slot);
    else if (due > before) this.#down(position, slot);
  }

  remove(slot: number): void {
    const position = slot < this.#position.length ? this.#position[slot]! : -1;
    if (position < 0) return;
    this.#position[slot] = -1;
    const last = this.#heap[--this.#size]!;
    if (last === slot) return;
    if (this.#due[last]! < this.#due[slot]!) this.#up(position, last);
    else this.#down(position, last);
  }

  #up(position: number, slot: number): void {
    const due = this.#due[slot]!;
    while (position > 0) {
      const parent = (position - 1) >> 2;
      const other = this.#heap[parent]!;
      if (this.#due[other]! <= due) break;
      this.#heap[position] = other;
      this.#position[other] = position;
      position = parent;
    }
    this.#heap[position] = slot;
    this.#position[slot] = position;
  }

  #down(position: number, slot: number): void {
    const due = this.#due[slot]!;
    for (;;) {
      const firstChild = position * 4 + 1;
      if (firstChild >= this.#size) break;
      const end = Math.min(firstChild + 4, this.#size);
      let child = firstChild;
      for (let other = firstChild + 1; other < end; other++) {
        if (this.#due[this.#heap[other]!]! < this.#due[this.#heap[child]!]!) child = other;
      }
      const smallest = this.#heap[child]!;
      if (this.#due[smallest]! >= due) break;
      this.#heap[position] = smallest;
      this.#position[smallest] = position;
      position = child;
    }
    this.#heap[position] = slot;
    this.#position[slot] = position;
  }

  #grow(atLeast: number): void {
    const capacity = Math.max(atLeast, this.#position.length * 2);
    const due = new Float64Array(capacity);
    due.set(this.#due);
    const heap = new Int32Array(capacity);
    heap.set(this.#heap);
    const position = new Int32Array(capacity).fill(-1);
    position.set(this.#position);
    this.#due = due;
    this.#heap = heap;
    this.#position = position;
  }
}
