/**
 * What a chain has stored at a block: the block's own changes, and what was before. Keys are in
 * hexadecimal. Without a parent, it is all there is.
 */
export class State {
  /** What was changed; undefined is what was removed. */
  readonly changes: Map<string, Uint8Array | undefined>;
  #parent: State | undefined;

  constructor(parent?: State, changes: Iterable<readonly [string, Uint8Array | undefined]> = []) {
    this.#parent = parent;
    this.changes = new Map(changes);
  }

  get(key: string): Uint8Array | undefined {
    // deno-lint-ignore no-this-alias -- it walks up
    for (let state: State | undefined = this; state !== undefined; state = state.#parent) {
      const value = state.changes.get(key);
      if (value !== undefined || state.changes.has(key)) return value;
    }
    return undefined;
  }

  set(key: string, value: Uint8Array | undefined): void {
    this.changes.set(key, value);
  }

  /** The keys that have a value and begin so, in order. */
  keys(prefix: string): string[] {
    const keys = new Set<string>();
    // deno-lint-ignore no-this-alias -- it walks up
    for (let state: State | undefined = this; state !== undefined; state = state.#parent) {
      for (const key of state.changes.keys()) if (key.startsWith(prefix)) keys.add(key);
    }
    return [...keys].filter((key) => this.get(key) !== undefined).sort();
  }

  /** Gives its changes to its parent: they happened. */
  commit(): void {
    for (const [key, value] of this.changes) this.#parent!.changes.set(key, value);
  }

  /** Puts its changes into all there is, which its parent is, and is the first itself from now on. */
  fold(children: readonly State[]): void {
    const base = this.#parent!;
    for (const [key, value] of this.changes) {
      if (value === undefined) base.changes.delete(key);
      else base.changes.set(key, value);
    }
    this.changes.clear();
    for (const child of children) child.#parent = base;
  }
}
