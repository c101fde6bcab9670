/** So many places: who finds none free waits in line. */
export class Places {
  readonly #count: number;
  #free: number;
  readonly #line: { readonly need: number; readonly enter: () => void }[] = [];

  /** Makes them, all free. */
  constructor(count: number) {
    this.#count = count;
    this.#free = count;
  }

  /**
   * Does something in places of its own, when they are free and those before have had theirs.
   *
   * @param work What to do.
   * @param size How many places it takes; all, if there are not so many.
   */
  async within<T>(work: () => Promise<T>, size: number = 1): Promise<T> {
    const need = Math.min(size, this.#count);
    if (this.#line.length > 0 || need > this.#free) {
      await new Promise<void>((enter) => this.#line.push({ need, enter }));
    } else {
      this.#free -= need;
    }
    try {
      return await work();
    } finally {
      this.#free += need;
      this.#admit();
    }
  }

  #admit(): void {
    for (let next; (next = this.#line[0]) !== undefined && next.need <= this.#free;) {
      this.#line.shift();
      this.#free -= next.need;
      next.enter();
    }
  }
}
