import { LRUCache } from "lru-cache";
import type { Twin } from "../twin.ts";

/** How many twins are kept. */
const MAX_TWINS = 100_000;

/** How many ids that no twin has are kept, apart from the others, and how long, in milliseconds. */
const MAX_UNKNOWN = 10_000;
const UNKNOWN_TIME = 10_000;

/** What a look-up has found. */
export interface Found {
  /** The twin, or undefined if there is none. */
  readonly twin: Twin | undefined;
  /** Whether that may be kept until an event says otherwise. */
  readonly lasting: boolean;
}

/** Twins that were looked up, kept until they are said to have changed. */
export class TwinCache {
  /** Look-ups of what was not there. */
  misses = 0;
  /** How often everything was forgotten. */
  flushes = 0;
  readonly #lookUp: (id: number) => Promise<Found>;
  readonly #twins = new LRUCache<number, Twin>({ max: MAX_TWINS });
  /** Without a resolution of its clock it would set a timer. */
  readonly #unknown = new LRUCache<number, true>({
    max: MAX_UNKNOWN,
    ttl: UNKNOWN_TIME,
    ttlResolution: 0,
  });
  readonly #underWay = new Map<number, Promise<Twin | undefined>>();

  /** @param lookUp Looks up a twin that is not there. */
  constructor(lookUp: (id: number) => Promise<Found>) {
    this.#lookUp = lookUp;
  }

  /** How many ids are kept. */
  get size(): number {
    return this.#twins.size + this.#unknown.size;
  }

  /** A twin, looked up if it is not there; who asks while it is gets the same answer. */
  twin(id: number): Promise<Twin | undefined> {
    const twin = this.#twins.get(id);
    if (twin !== undefined || this.#unknown.has(id)) return Promise.resolve(twin);
    const underWay = this.#underWay.get(id);
    if (underWay !== undefined) return underWay;
    this.misses++;
    const lookUp = this.#find(id, () => this.#underWay.get(id) === lookUp);
    this.#underWay.set(id, lookUp);
    return lookUp;
  }

  /** Forgets a twin: it has changed. What is being looked up may be what it was before. */
  forget(id: number): void {
    this.#twins.delete(id);
    this.#unknown.delete(id);
    this.#underWay.delete(id);
  }

  /** Forgets everything. */
  flush(): void {
    this.flushes++;
    this.#twins.clear();
    this.#unknown.clear();
    this.#underWay.clear();
  }

  async #find(id: number, isCurrent: () => boolean): Promise<Twin | undefined> {
    try {
      const { twin, lasting } = await this.#lookUp(id);
      if (lasting && isCurrent()) {
        if (twin === undefined) this.#unknown.set(id, true);
        else this.#twins.set(id, twin);
      }
      return twin;
    } finally {
      if (isCurrent()) this.#underWay.delete(id);
    }
  }
}
