import type { DatabaseSync } from "node:sqlite";
import { transaction } from "./transaction.ts";

/** How many items, added in one turn of the event loop, are gathered for one transaction. */
const GATHER_COUNT = 256;

/** An item that waits for its transaction. */
interface Pending<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Stores items in order, many in one transaction. */
export class GroupCommit<T> {
  readonly #database: DatabaseSync;
  readonly #store: (item: T) => void;
  readonly #onFailed: (item: T) => void;
  #pending: Pending<T>[] = [];
  #flushing: ReturnType<typeof setImmediate> | undefined;

  /**
   * @param store Stores an item.
   * @param onFailed Called with each item of a transaction that failed.
   */
  constructor(
    database: DatabaseSync,
    store: (item: T) => void,
    onFailed: (item: T) => void,
  ) {
    this.#database = database;
    this.#store = store;
    this.#onFailed = onFailed;
  }

  /** Adds an item; settles when it is stored, or can't be. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ item, resolve, reject });
      if (this.#pending.length >= GATHER_COUNT) this.flush();
      else this.#flushing ??= setImmediate(() => this.flush());
    });
  }

  /** Stores what was added. */
  flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    try {
      transaction(this.#database, () => pending.forEach(({ item }) => this.#store(item)));
    } catch (error) {
      for (const { item, reject } of pending) {
        this.#onFailed(item);
        reject(error);
      }
      return;
    }
    for (const { resolve } of pending) resolve();
  }
}
