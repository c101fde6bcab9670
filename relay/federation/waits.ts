/** Waits that all end at once when it is time to stop. */
export class Waits {
  readonly #abort = new AbortController();
  // Not listeners of the signal: adding one takes as long as there are others.
  readonly #waiting = new Set<() => void>();

  /** Aborted when it is time to stop. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether it is. */
  get stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * Waits.
   *
   * @param time How long at most, in milliseconds.
   * @param register Registers what may end the wait sooner, and returns how to take it back.
   */
  wait(time: number, register: (wake: () => void) => () => void = () => () => {}): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        unregister();
        resolve();
      };
      const timer = setTimeout(wake, time);
      this.#waiting.add(wake);
      const unregister = register(wake);
    });
  }

  /** Ends all waits, those to come too. */
  stop(): void {
    this.#abort.abort();
    for (const wake of [...this.#waiting]) wake();
  }
}

/** A time, give or take a share of it: not all are to do the same at the same moment. */
export function jittered(time: number, share: number): number {
  return time * (1 - share + 2 * share * Math.random());
}
