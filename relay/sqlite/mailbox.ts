import { getLogger } from "@logtape/logtape";
import { unixNow } from "@rmb/protocol";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  type Mailbox,
  MailboxFullError,
  MAX_QUEUED,
  MAX_QUEUED_TIME,
  type QueuedAgain,
  type QueuedEnvelope,
} from "../mailbox.ts";
import { GroupCommit } from "./group_commit.ts";
import { transaction } from "./transaction.ts";

const logger = getLogger(["rmb", "relay", "mailbox"]);

/** Most envelopes, and bytes of them, read at once. */
const READ_COUNT = 100;
const READ_BYTES = 1024 * 1024;
/** How often expired envelopes are deleted, in milliseconds. */
const PURGE_INTERVAL = 60_000;

/** An envelope, and whose it is. */
interface Appended extends QueuedAgain {
  readonly session: string;
}

/** The {@linkcode Mailbox} in a `SqliteStore`. */
export class SqliteMailbox implements Mailbox {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #delete: StatementSync;
  readonly #purgeExpired: StatementSync;
  readonly #purgeTimer: ReturnType<typeof setInterval>;
  /** How many envelopes wait for a session, those not yet stored included; none for 0. */
  readonly #counts = new Map<string, number>();
  #depth = 0;
  #nextId: number;
  #firstId: number;
  readonly #appended: GroupCommit<Appended>;

  /** Uses a database, and makes its table there if it is missing. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#appended = new GroupCommit(
      database,
      ({ session, expires, envelope }) => this.#store(this.#nextId++, session, expires, envelope),
      ({ session }) => this.#count(session, -1),
    );
    database.exec(`
      CREATE TABLE IF NOT EXISTS mailbox (
        id INTEGER PRIMARY KEY,
        session TEXT NOT NULL,
        expires INTEGER NOT NULL,
        envelope BLOB NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS mailbox_session ON mailbox (session);
      CREATE INDEX IF NOT EXISTS mailbox_expires ON mailbox (expires);
    `);
    this.#insert = this.#database.prepare("INSERT INTO mailbox VALUES (?, ?, ?, ?)");
    this.#select = this.#database.prepare(
      "SELECT id, expires, envelope FROM mailbox WHERE session = ? AND id > ? AND expires > ? " +
        "ORDER BY id LIMIT ?",
    );
    this.#delete = this.#database.prepare("DELETE FROM mailbox WHERE id = ?");
    this.#purgeExpired = this.#database.prepare(
      "DELETE FROM mailbox WHERE expires <= ? RETURNING CAST(session AS BLOB) name",
    );
    const counts = this.#database.prepare(
      "SELECT CAST(session AS BLOB) name, count(*) n FROM mailbox GROUP BY session",
    );
    for (const { name, n } of counts.iterate()) this.#count(textOf(name), n as number);
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
    return this.#appended.add({ session, envelope, expires });
  }

  /** Puts envelopes back to the front of a session's queue, and removes others. */
  // deno-lint-ignore require-await -- throws become rejections
  async putBack(
    session: string,
    envelopes: readonly QueuedAgain[],
    removed: readonly QueuedEnvelope["id"][] = [],
  ): Promise<void> {
    this.#appended.flush();
    let change = 0;
    transaction(this.#database, () => {
      change = envelopes.length - this.#deleteAll(removed);
      this.#firstId -= envelopes.length;
      envelopes.forEach(({ envelope, expires }, i) =>
        this.#store(this.#firstId + i, session, expires, envelope)
      );
    });
    this.#count(session, change);
  }

  /** Reads the oldest envelopes of a session's queue. */
  // deno-lint-ignore require-await -- throws become rejections
  async read(
    session: string,
    after: QueuedEnvelope["id"] = this.#firstId - 1,
  ): Promise<QueuedEnvelope[]> {
    this.#appended.flush();
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
    transaction(this.#database, () => removed = this.#deleteAll(ids));
    this.#count(session, -removed);
  }

  /** Nobody else appends to this file. */
  watch(): () => void {
    return () => {};
  }

  /** How many envelopes wait, for all sessions together. */
  depth(): Promise<number> {
    return Promise.resolve(this.#depth);
  }

  /** Stores what was appended; nothing can be done with it after that. */
  close(): void {
    clearInterval(this.#purgeTimer);
    this.#appended.flush();
  }

  #store(id: number, session: string, expires: number, envelope: Uint8Array): void {
    const latest = unixNow() + MAX_QUEUED_TIME;
    this.#insert.run(id, session, Math.min(expires, latest), envelope);
  }

  #deleteAll(ids: readonly QueuedEnvelope["id"][]): number {
    return ids.reduce((removed: number, id) => removed + Number(this.#delete.run(id).changes), 0);
  }

  #isFull(session: string): boolean {
    return (this.#counts.get(session) ?? 0) >= MAX_QUEUED;
  }

  /** Deletes what has expired. Failing does no harm: it is not read, and will be tried again. */
  #purge(): void {
    try {
      const purged = this.#purgeExpired.all(unixNow());
      for (const { name } of purged) this.#count(textOf(name), -1);
    } catch (error) {
      logger.error("expired messages can't be deleted: {error}", { error: String(error) });
    }
  }

  #count(session: string, change: number): void {
    this.#depth += change;
    const count = (this.#counts.get(session) ?? 0) + change;
    if (count > 0) this.#counts.set(session, count);
    else this.#counts.delete(session);
  }
}

/** A text that was read as bytes: read as text, it would end at the first NUL. */
function textOf(bytes: unknown): string {
  return new TextDecoder().decode(bytes as Uint8Array);
}
