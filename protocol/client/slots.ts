/** Those that use a key's slots, and those that wait for one, in order. */
interface Line {
  taken: number;
  readonly waiting: Set<() => void>;
}

/** Slots, so many for each key: who finds none free waits for its turn. */
export class Slots {
  readonly #count: number;
  readonly #lines = new Map<string, Line>();

  /** @param count Slots of each key. */
  constructor(count: number) {
    this.#count = count;
  }

  /**
   * Takes a slot.
   *
   * @param begin Called when there is one, which may be at once.
   * @returns What gives it back, or leaves the line; to be called once.
   */
  take(key: string, begin: () => void): () => void {
    const line = this.#lines.get(key) ?? { taken: 0, waiting: new Set() };
    this.#lines.set(key, line);
    if (line.taken < this.#count) {
      line.taken++;
      begin();
    } else line.waiting.add(begin);
    return () => {
      if (line.waiting.delete(begin)) return;
      const [next] = line.waiting;
      if (next === undefined) {
        if (--line.taken === 0) this.#lines.delete(key);
      } else {
        line.waiting.delete(next);
        next();
      }
    };
  }
}
