import type { Twin, TwinRegistry } from "@rmb/protocol";

/** Looks twins up, each at most once at a time: who asks meanwhile gets the same answer. */
export class SharedLookUps {
  readonly #registry: TwinRegistry;
  readonly #underWay = new Map<number, Promise<Twin | undefined>>();

  /** @param registry Who is asked. */
  constructor(registry: TwinRegistry) {
    this.#registry = registry;
  }

  /** Looks up a twin, see {@linkcode TwinRegistry.twin}. */
  twin(id: number): Promise<Twin | undefined> {
    const underWay = this.#underWay.get(id);
    if (underWay !== undefined) return underWay;
    const lookUp = this.#registry.twin(id).finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, lookUp);
    return lookUp;
  }
}
