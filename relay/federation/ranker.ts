import { LRUCache } from "lru-cache";

/** Most relays whose failures are remembered. */
const MAX_RELAYS = 1000;

/** Most failures remembered of a relay. */
const MAX_FAILURES = 1000;

/** Remembers which relays failed lately, and so which to try first. */
export class Ranker {
  readonly #period: number;
  /** When relays failed, in milliseconds, oldest first. */
  readonly #failures = new LRUCache<string, number[]>({ max: MAX_RELAYS });

  /**
   * Makes one that has seen no failure.
   *
   * @param period How long a failure counts, in seconds.
   */
  constructor(period: number) {
    this.#period = period * 1000;
  }

  /** A relay failed now. */
  failed(domain: string): void {
    const failures = this.#recent(domain);
    failures.push(Date.now());
    this.#failures.set(domain, failures.slice(-MAX_FAILURES));
  }

  /** Relays by how often they failed lately, the best first; which of equals is first is chance. */
  order(domains: readonly string[]): string[] {
    return domains
      .map((domain) => ({ domain, failures: this.#recent(domain).length, chance: Math.random() }))
      .sort((a, b) => a.failures - b.failures || a.chance - b.chance)
      .map(({ domain }) => domain);
  }

  #recent(domain: string): number[] {
    const failures = this.#failures.get(domain) ?? [];
    const start = Date.now() - this.#period;
    const first = failures.findIndex((time) => time > start);
    return first < 0 ? [] : failures.slice(first);
  }
}
