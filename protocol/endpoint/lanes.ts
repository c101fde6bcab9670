/** Work in lanes: in each, one thing after the other, in the order given; the lanes side by side. */
export class Lanes {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Does something when all that was given to the same lane before has come to an end. */
  run<T>(lane: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(lane);
    const result = before === undefined ? work() : before.then(work);
    const end: Promise<unknown> = result.catch(() => {}).then(() => {
      if (this.#last.get(lane) === end) this.#last.delete(lane);
    });
    this.#last.set(lane, end);
    return result;
  }
}
