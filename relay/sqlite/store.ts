import { RmbError } from "@rmb/protocol";
import { DatabaseSync } from "node:sqlite";
import type { Store } from "../store.ts";
import { SqliteFederationQueue } from "./federation_queue.ts";
import { SqliteMailbox } from "./mailbox.ts";

/**
 * A {@linkcode Store} in an SQLite file, for one relay process: it locks the file. In WAL mode with
 * `synchronous=NORMAL` what was stored survives the end of the process however it ends; after a
 * power failure the last transactions may be missing.
 *
 * @example
 * ```ts
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 * import { Relay, SqliteStore } from "@rmb/relay";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using store = new SqliteStore("rmb-relay.db");
 * await using relay = await Relay.start({ domains: ["localhost:8080"], registry, store });
 * console.log(relay.address.port);
 * ```
 */
export class SqliteStore implements Store {
  /** What waits for sessions. */
  readonly mailbox: SqliteMailbox;
  /** What waits to go to other relays. */
  readonly federation: SqliteFederationQueue;
  /** No other process has the file. */
  readonly replicas: undefined = undefined;
  /** It can always be used. */
  readonly failure: undefined = undefined;
  readonly #database: DatabaseSync;

  /**
   * Opens the file, and makes it if it does not exist. Needs permission to read and write it.
   *
   * @param path The file, or `:memory:`.
   * @throws {RmbError} if the file can't be opened, is something else, or another process has it.
   */
  constructor(path: string) {
    let database: DatabaseSync | undefined;
    try {
      this.#database = database = new DatabaseSync(path);
      // Exclusive: one process, one file; and no shared-memory file beside it.
      database.exec(`
        PRAGMA locking_mode = EXCLUSIVE;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = NORMAL;
        PRAGMA temp_store = MEMORY;
      `);
      this.mailbox = new SqliteMailbox(database);
      this.federation = new SqliteFederationQueue(database);
    } catch (cause) {
      database?.close();
      throw new RmbError(`Cannot open mailbox "${path}": ${(cause as Error).message}`, { cause });
    }
  }

  /** Stores what was added, and closes the file. */
  // deno-lint-ignore require-await -- throws become rejections
  async [Symbol.asyncDispose](): Promise<void> {
    this.mailbox.close();
    this.federation.close();
    this.#database.close();
  }
}
