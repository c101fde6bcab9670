import { RegistryError } from "../errors.ts";

/** How many have a turn at once, how many may wait for one, and how long, in milliseconds. */
const MAX_RUNNING = 64;
const MAX_WAITING = 10_000;
const WAIT_TIME = 5000;

/** Bounds how many things are done at once; who comes then waits, first come, first served. */
export class Turns {
  #running = 0;
  readonly #waiting = new Set<() => void>();

  /**
   * Does something when it is its turn.
   *
   * @throws {RegistryError} if that does not come in time.
   */
  async take<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= MAX_RUNNING) await this.#wait();
    else this.#running++;
    try {
      return await run();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#running--;
      else next(); // It takes this turn over.
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const next = () => {
        clearTimeout(timer);
        this.#waiting.delete(next);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(next);
        reject(busy());
      }, WAIT_TIME);
      this.#waiting.add(next);
    });
  }
}

function busy(): RegistryError {
  return new RegistryError("Too much is being looked up on the chain");
}
