import { getLogger } from "@logtape/logtape";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  type Mailbox,
  MailboxFullError,
  MAX_QUEUED,
  MAX_QUEUED_TIME,
  type QueuedAgain,
  type QueuedEnvelope,
} from "./mailbox.ts";
import { RmbError, unixNow } from "@rmb/protocol";

const logger = getLogger(["rmb", "relay", "mailbox"]);

/** How long appended envelopes are gathered for one transaction, in milliseconds, and how many. */
const GATHER = 1;
const GATHER_COUNT = 256;
/** Most envelopes, and bytes of them, read at once. */
const READ_COUNT = 100;
const READ_BYTES = 1024 * 1024;
/** How often expired envelopes are deleted, in milliseconds. */
const PURGE_INTERVAL = 60_000;

/** An envelope waiting for its transaction. */
interface Pending extends QueuedAgain {
  readonly session: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A {@linkcode Mailbox} in an SQLite file, for one relay process: it locks the file. In WAL mode with
 * `synchronous=NORMAL` what was stored survives the end of the process however it ends; after a
 * power failure the last transactions may be missing.
 */
export class SqliteMailbox implements Mailbox {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #delete: StatementSync;
  readonly #purgeExpired: StatementSync;
  readonly #purgeTimer: ReturnType<typeof setInterval>;
  /** How many envelopes wait for a session, those not yet stored included; none for 0. */
  readonly #counts = new Map<string, number>();
  #nextId: number;
  #firstId: number;
  #pending: Pending[] = [];
  #flushTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Opens the mailbox, and makes it if the file does not exist. Needs permission to read and write
   * the file.
   *
   * @param path The file, or `:memory:`.
   * @throws {RmbError} if the file can't be opened, is something else, or another process has it.
   */
  constructor(path: string) {
    this.#database = openDatabase(path);
    this.#insert = this.#database.prepare("INSERT INTO mailbox VALUES (?, ?, ?, ?)");
    this.#select = this.#database.prepare(
      "SELECT id, expires, envelope FROM mailbox WHERE session = ? AND id > ? AND expires > ? " +
        "ORDER BY id LIMIT ?",
    );
    this.#delete = this.#database.prepare("DELETE FROM mailbox WHERE id = ?");
    this.#purgeExpired = this.#database.prepare(
      "DELETE FROM mailbox WHERE expires <= ? RETURNING session",
    );
    const counts = this.#database.prepare(
      "SELECT session, count(*) n FROM mailbox GROUP BY session",
    );
    for (const { session, n } of counts.iterate()) {
      this.#counts.set(session as string, n as number);
    }
    const range = this.#database.prepare("SELECT min(id) first, max(id) last FROM mailbox").get()!;
    this.#firstId = (range.first as number | null) ?? 0;
    this.#nextId = ((range.last as number | null) ?? 0) + 1;
    this.#purge();
    this.#purgeTimer = setInterval(() => this.#purge(), PURGE_INTERVAL);
  }

  /** Adds an envelope at the end of a session's queue. */
  append(session: string, envelope: Uint8Array, expires: number): Promise<void> {
    if (this.#isFull(session)) this.#purge();
    if (this.#isFull(session)) {
      const reason = `${MAX_QUEUED} messages wait for session ${session}`;
      return Promise.reject(new MailboxFullError(reason));
    }
    this.#count(session, 1);
    return new Promise((resolve, reject) => {
      this.#pending.push({ session, envelope, expires, resolve, reject });
      // Not by time alone: no timer fires while messages come in faster than they are handled.
      if (this.#pending.length >= GATHER_COUNT) this.#flush();
      else this.#flushTimer ??= setTimeout(() => this.#flush(), GATHER);
    });
  }

  /** Puts envelopes back to the front of a session's queue. */
  // deno-lint-ignore require-await -- throws become rejections
  async putBack(session: string, envelopes: readonly QueuedAgain[]): Promise<void> {
    this.#flush();
    this.#transaction(() => {
      this.#firstId -= envelopes.length;
      envelopes.forEach(({ envelope, expires }, i) =>
        this.#store(this.#firstId + i, session, expires, envelope)
      );
    });
    this.#count(session, envelopes.length);
  }

  /** Reads the oldest envelopes of a session's queue. */
  // deno-lint-ignore require-await -- throws become rejections
  async read(
    session: string,
    after: QueuedEnvelope["id"] = this.#firstId - 1,
  ): Promise<QueuedEnvelope[]> {
    this.#flush();
    const queued: QueuedEnvelope[] = [];
    let bytes = 0;
    for (const row of this.#select.iterate(session, after, unixNow(), READ_COUNT)) {
      const message = row as unknown as QueuedEnvelope;
      queued.push(message);
      bytes += message.envelope.length;
      if (bytes >= READ_BYTES) break;
    }
    return queued;
  }

  /** Removes envelopes that were delivered. */
  // deno-lint-ignore require-await -- throws become rejections
  async remove(session: string, ids: readonly QueuedEnvelope["id"][]): Promise<void> {
    let removed = 0;
    this.#transaction(() => {
      for (const id of ids) removed += Number(this.#delete.run(id).changes);
    });
    this.#count(session, -removed);
  }

  /** Stores what was appended, and closes the file. */
  // deno-lint-ignore require-await -- throws become rejections
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#purgeTimer);
    this.#flush();
    this.#database.close();
  }

  /** Stores what was appended, in one transaction. */
  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    try {
      this.#transaction(() => {
        for (const { session, expires, envelope } of pending) {
          this.#store(this.#nextId++, session, expires, envelope);
        }
      });
    } catch (error) {
      for (const { session, reject } of pending) {
        this.#count(session, -1);
        reject(error);
      }
      return;
    }
    for (const { resolve } of pending) resolve();
  }

  #store(id: number, session: string, expires: number, envelope: Uint8Array): void {
    const latest = unixNow() + MAX_QUEUED_TIME;
    this.#insert.run(id, session, Math.min(expires, latest), envelope);
  }

  #isFull(session: string): boolean {
    return (this.#counts.get(session) ?? 0) >= MAX_QUEUED;
  }

  /** Deletes what has expired. Failing does no harm: it is not read, and will be tried again. */
  #purge(): void {
    try {
      const purged = this.#purgeExpired.all(unixNow());
      for (const { session } of purged) this.#count(session as string, -1);
    } catch (error) {
      logger.error("expired messages can't be deleted: {error}", { error: String(error) });
    }
  }

  #transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      // SQLite has done so itself where it could not go on, as on a full disk.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  #count(session: string, change: number): void {
    const count = (this.#counts.get(session) ?? 0) + change;
    if (count > 0) this.#counts.set(session, count);
    else this.#counts.delete(session);
  }
}

function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // Exclusive: one process, one file; and no shared-memory file beside it.
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA temp_store = MEMORY;
      CREATE TABLE IF NOT EXISTS mailbox (
        id INTEGER PRIMARY KEY,
        session TEXT NOT NULL,
        expires INTEGER NOT NULL,
        envelope BLOB NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS mailbox_session ON mailbox (session);
      CREATE INDEX IF NOT EXISTS mailbox_expires ON mailbox (expires);
    `);
    return database;
  } catch (cause) {
    database?.close();
    throw new RmbError(`Cannot open mailbox "${path}": ${(cause as Error).message}`, { cause });
  }
}
