/** A clock that can be put forward, for all that asks for the time; disposing of it puts it back. */
export class Clock implements Disposable {
  readonly #now = Date.now;
  readonly #elapsed = performance.now;
  #ahead = 0;

  /** Puts it forward. */
  advance(seconds: number): void {
    this.#ahead += seconds * 1000;
    Date.now = () => this.#now.call(Date) + this.#ahead;
    performance.now = () => this.#elapsed.call(performance) + this.#ahead;
  }

  /** Puts it back. */
  [Symbol.dispose](): void {
    Date.now = this.#now;
    performance.now = this.#elapsed;
  }
}
