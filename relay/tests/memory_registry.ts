import { RegistryError, type Twin, type TwinRegistry } from "@rmb/protocol";

/** A registry that knows what it is told, and fails when it is told to. */
export class MemoryRegistry implements Pick<TwinRegistry, "twin"> {
  /** Whether it can't be asked. */
  failing = false;
  readonly #twins = new Map<number, Twin>();

  /** Adds a twin, or replaces it. */
  add(id: number, relays: readonly string[], account: Uint8Array = new Uint8Array(32)): void {
    this.#twins.set(id, { id, account, relays, pk: undefined });
  }

  /** Looks up a twin. */
  twin(id: number): Promise<Twin | undefined> {
    if (this.failing) return Promise.reject(new RegistryError("Cannot ask: told so"));
    return Promise.resolve(this.#twins.get(id));
  }
}
