import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  type FederatedEnvelope,
  type FederationQueue,
  FederationQueueFullError,
  MAX_FEDERATED,
} from "../federation/queue.ts";
import { GroupCommit } from "./group_commit.ts";
import { transaction } from "./transaction.ts";

/** Most bytes taken at once, but for a single envelope. */
const TAKE_BYTES = 1024 * 1024;

/** The {@linkcode FederationQueue} in a `SqliteStore`. What is in the file when it is opened is not taken. */
export class SqliteFederationQueue implements FederationQueue {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #read: StatementSync;
  readonly #delete: StatementSync;
  /** How many envelopes there are, those not yet stored included. */
  #count: number;
  #nextId: number;
  #lastTaken = 0;
  readonly #pushed: GroupCommit<Uint8Array>;
  /** Settled when something was stored. */
  #arrival = Promise.withResolvers<void>();

  /** Uses a database, and makes its table there if it is missing. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#pushed = new GroupCommit(
      database,
      (envelope) => this.#insert.run(this.#nextId++, envelope),
      () => this.#count--,
    );
    database.exec(`
      CREATE TABLE IF NOT EXISTS federation (
        id INTEGER PRIMARY KEY,
        envelope BLOB NOT NULL
      ) STRICT;
    `);
    this.#insert = database.prepare("INSERT INTO federation VALUES (?, ?)");
    this.#select = database.prepare(
      "SELECT id, envelope FROM federation WHERE id > ? ORDER BY id LIMIT ?",
    );
    this.#read = database.prepare("SELECT envelope FROM federation WHERE id = ?");
    this.#delete = database.prepare("DELETE FROM federation WHERE id = ?");
    const { n, last } = database.prepare("SELECT count(*) n, max(id) last FROM federation").get()!;
    this.#count = n as number;
    this.#nextId = ((last as number | null) ?? 0) + 1;
  }

  /** Adds an envelope at the end. */
  push(envelope: Uint8Array): Promise<void> {
    if (this.#count >= MAX_FEDERATED) {
      const reason = `${MAX_FEDERATED} messages wait to go to other relays`;
      return Promise.reject(new FederationQueueFullError(reason));
    }
    this.#count++;
    const stored = this.#pushed.add(envelope);
    stored.then(() => this.#arrived(), () => {}); // The caller hears of a failure.
    return stored;
  }

  /** Takes the oldest envelopes that are not taken, and waits until there are any. */
  async take(count: number, signal: AbortSignal): Promise<FederatedEnvelope[]> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const taken = this.#takeStored(count);
        if (taken.length > 0) return taken;
        await Promise.race([this.#arrival.promise, aborted.promise]);
      }
      return [];
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Reads an envelope again that was taken. */
  // deno-lint-ignore require-await -- throws become rejections
  async read(id: FederatedEnvelope["id"]): Promise<Uint8Array | undefined> {
    return this.#read.get(id)?.envelope as Uint8Array | undefined;
  }

  /** Removes envelopes that were taken and are done with. */
  // deno-lint-ignore require-await -- throws become rejections
  async remove(ids: readonly FederatedEnvelope["id"][]): Promise<void> {
    let removed = 0;
    transaction(this.#database, () => {
      for (const id of ids) removed += Number(this.#delete.run(id).changes);
    });
    this.#count -= removed;
  }

  /** Stores what was pushed; nothing can be done with it after that. */
  close(): void {
    this.#pushed.flush();
  }

  #takeStored(count: number): FederatedEnvelope[] {
    const taken: FederatedEnvelope[] = [];
    let bytes = 0;
    for (const row of this.#select.iterate(this.#lastTaken, count)) {
      const { id, envelope } = row as { id: number; envelope: Uint8Array };
      taken.push({ id, envelope });
      this.#lastTaken = id;
      bytes += envelope.length;
      if (bytes >= TAKE_BYTES) break;
    }
    return taken;
  }

  #arrived(): void {
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers();
  }
}
