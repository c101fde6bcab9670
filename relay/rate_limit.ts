import { unixNow } from "@rmb/protocol";

/** Length of a window, in seconds. */
const WINDOW = 60;

/** What each twin may send in a minute. */
export interface RateLimitOptions {
  /** Most messages. */
  readonly count: number;
  /** Most bytes of them. */
  readonly size: number;
}

/**
 * Limits what each twin sends, all its sessions together, in fixed windows of a minute. What is above
 * the limit counts too, but for a single message that is larger than all of a window's.
 */
export class RateLimit {
  readonly #options: RateLimitOptions;
  /** What twins have sent in this window: nobody else is in there. */
  readonly #used = new Map<number, { count: number; size: number }>();
  #window = 0;

  /** Makes one that has counted nothing. */
  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Counts a message of a size in bytes, and says whether its twin may send it. */
  allows(twin: number, size: number): boolean {
    if (size > this.#options.size) return false;
    const window = Math.floor(unixNow() / WINDOW);
    if (window !== this.#window) {
      this.#window = window;
      this.#used.clear();
    }
    let used = this.#used.get(twin);
    if (used === undefined) this.#used.set(twin, used = { count: 0, size: 0 });
    used.count++;
    used.size += size;
    return used.count <= this.#options.count && used.size <= this.#options.size;
  }
}
