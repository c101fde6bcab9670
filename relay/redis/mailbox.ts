import { getLogger } from "@logtape/logtape";
import { readRouting, RmbError, timeLeft, unixNow } from "@rmb/protocol";
import { LRUCache } from "lru-cache";
import type { Buffer } from "node:buffer";
import {
  type Mailbox,
  MailboxFullError,
  MAX_QUEUED,
  MAX_QUEUED_TIME,
  type QueuedAgain,
  type QueuedEnvelope,
} from "../mailbox.ts";
import { type Connection, RedisLostError } from "./connection.ts";
import type { Outage } from "./outage.ts";
import { FULL, READ } from "./scripts.ts";
import type { Watcher } from "./watcher.ts";
import { RefusedError, type Writer } from "./writer.ts";

const logger = getLogger(["rmb", "relay", "redis"]);

/** What the keys of sessions' streams begin with. */
const STREAM_PREFIX = "stream:";
/** Most envelopes, and bytes of them, read at once. */
const READ_COUNT = 100;
const READ_BYTES = 1024 * 1024;
/** How long a read waits for Redis to be back, in milliseconds. */
const READ_TIME = 5000;
/** A full queue is looked through for what has expired so seldom, in milliseconds; and so far at once. */
const PURGE_INTERVAL = 1000;
const PURGE_BYTES = 16 * 1024 * 1024;
/** Looking through queues leaves so many times its own time to everything else. */
const PURGE_REST = 10;
/** Most full queues of which it is known how far they were looked through. */
const PURGES_KNOWN = 10_000;
/** For how long the number of queued envelopes is believed, in milliseconds. */
const DEPTH_TIME = 15_000;
/** Keys, and queues, asked for at once to count envelopes, and most keys looked at. */
const SCAN_COUNT = 1000;
const MAX_SCANNED = 200_000;

/** An entry of a stream, as Redis answers: its id, and its fields and values by turns. */
type Entry = [id: Buffer, fields: Buffer[]];

/**
 * The {@linkcode Mailbox} in a `RedisStore`: a stream per session, as docs/protocol.md has them, so that
 * other relays, of the Rust implementation too, can read and write the same ones.
 */
export class RedisMailbox implements Mailbox {
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #watcher: Watcher;
  readonly #outage: Outage;
  /** When full queues were looked through, in milliseconds since 1970, and from where to go on. */
  readonly #purged = new LRUCache<string, { at: number; from: string }>({ max: PURGES_KNOWN });
  #noPurgeBefore = 0;
  #depth: { at: number; value: Promise<number> } | undefined;

  constructor(connection: Connection, writer: Writer, watcher: Watcher, outage: Outage) {
    this.#connection = connection;
    this.#writer = writer;
    this.#watcher = watcher;
    this.#outage = outage;
  }

  /** Adds an envelope at the end of a session's queue. While Redis is lost, it waits in memory. */
  async append(session: string, envelope: Uint8Array, expires: number): Promise<void> {
    if (expires <= unixNow()) return; // It will never be read.
    try {
      await this.#writer.write({ kind: "append", key: STREAM_PREFIX + session, envelope }, expires);
    } catch (error) {
      if (!(error instanceof RefusedError && error.message === FULL)) throw error;
      throw new MailboxFullError(`${MAX_QUEUED} messages wait for session ${session}`);
    }
  }

  /** Puts envelopes back to the front of a session's queue, and removes others. */
  async putBack(
    session: string,
    envelopes: readonly QueuedAgain[],
    removed: readonly QueuedEnvelope["id"][] = [],
  ): Promise<void> {
    if (envelopes.length + removed.length === 0) return;
    const key = STREAM_PREFIX + session;
    await this.#writer.write({ kind: "putBack", key, envelopes, removed: removed.map(String) });
  }

  /** Reads the oldest envelopes of a session's queue; waits a few seconds if Redis is lost. */
  async read(session: string, after?: QueuedEnvelope["id"]): Promise<QueuedEnvelope[]> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new RmbError(`Redis can't be used: ${this.#outage.reason ?? "it is too slow"}`)),
      READ_TIME,
    );
    try {
      return await Promise.race([this.#read(STREAM_PREFIX + session, after, late), late]);
    } finally {
      clearTimeout(timer);
      reject(new RmbError("Not waited for any more"));
      late.catch(() => {});
    }
  }

  /** Removes envelopes that were delivered. */
  async remove(session: string, ids: readonly QueuedEnvelope["id"][]): Promise<void> {
    await this.#remove(STREAM_PREFIX + session, ids.map(String));
  }

  /** Waits for what others append to a session's queue, and what this process does. */
  watch(
    session: string,
    after: QueuedEnvelope["id"] | undefined,
    onAppended: () => void,
  ): () => void {
    return this.#watcher.watch(STREAM_PREFIX + session, String(after ?? "0-0"), onAppended);
  }

  /**
   * How many envelopes wait, for all sessions together: it was so at some time in the last 15 seconds.
   * Of more than 200,000 keys in Redis only about so many are looked at.
   */
  depth(): Promise<number> {
    const now = Date.now();
    if (this.#depth === undefined || now - this.#depth.at >= DEPTH_TIME) {
      this.#depth = { at: now, value: this.#countAll() };
      this.#depth.value.catch(() => this.#depth = undefined);
    }
    return this.#depth.value;
  }

  /**
   * Looks for what has expired in a stream that is full, but not too often, nor too long.
   *
   * @returns Whether it found any.
   */
  async makeRoom(key: string): Promise<boolean> {
    const start = Date.now();
    const last = this.#purged.get(key);
    if (start < this.#noPurgeBefore || start - (last?.at ?? 0) < PURGE_INTERVAL) return false;
    let from = last?.from ?? "-";
    let removed = 0;
    for (let bytes = 0; bytes < PURGE_BYTES;) {
      const entries = await this.#readEntries(key, from);
      if (entries.length === 0) {
        from = "-"; // The next time from the beginning.
        break;
      }
      const { expired } = sort(key, entries);
      if (expired.length > 0) await this.#connection.send("XDEL", key, ...expired);
      removed += expired.length;
      for (const [, fields] of entries) for (const { length } of fields) bytes += length;
      from = `(${entries.at(-1)![0]}`;
    }
    const end = Date.now();
    this.#purged.set(key, { at: end, from });
    this.#noPurgeBefore = end + (end - start) * PURGE_REST;
    return removed > 0;
  }

  async #read(
    key: string,
    after: QueuedEnvelope["id"] | undefined,
    late: Promise<never>,
  ): Promise<QueuedEnvelope[]> {
    await this.#writer.settled();
    const removals: Promise<void>[] = [];
    for (let from = after === undefined ? "-" : `(${after}`;;) {
      const entries = await this.#readEntriesPatiently(key, from, late);
      const { queued, expired } = sort(key, entries);
      if (expired.length > 0) {
        removals.push(this.#remove(key, expired).catch(() => {})); // The next reader removes them.
      }
      if (queued.length > 0) return queued;
      if (entries.length === 0) {
        await Promise.all(removals);
        return [];
      }
      from = `(${entries.at(-1)![0]}`;
    }
  }

  /** Reads on when Redis is back, if it is lost. */
  async #readEntriesPatiently(key: string, from: string, late: Promise<never>): Promise<Entry[]> {
    while (await Promise.race([this.#connection.connected, late])) {
      try {
        return await this.#readEntries(key, from);
      } catch (error) {
        if (!(error instanceof RedisLostError)) throw error;
      }
    }
    throw new RmbError("The store is closed");
  }

  #readEntries(key: string, from: string): Promise<Entry[]> {
    return this.#connection.run(READ, [key], from, `${READ_COUNT}`, `${READ_BYTES}`);
  }

  async #remove(key: string, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#writer.write({ kind: "remove", key, ids });
  }

  async #countAll(): Promise<number> {
    let depth = 0;
    let scanned = 0;
    let cursor = "0";
    do {
      const [next, keys] = await this.#connection.send<[Buffer, Buffer[]]>(
        ...["SCAN", cursor, "MATCH", `${STREAM_PREFIX}*`, "COUNT", `${SCAN_COUNT}`],
        ...["TYPE", "stream"],
      );
      const lengths = await Promise.all(
        keys.map((key) => this.#connection.send<number>("XLEN", key)),
      );
      for (const length of lengths) depth += length;
      scanned += SCAN_COUNT;
      cursor = next.toString();
    } while (cursor !== "0" && scanned < MAX_SCANNED);
    return depth;
  }
}

/** Tells what is to be delivered from what has expired, or is no envelope. */
function sort(key: string, entries: readonly Entry[]) {
  const queued: QueuedEnvelope[] = [];
  const expired: string[] = [];
  const now = unixNow();
  let strange = 0;
  for (const [idBytes, fields] of entries) {
    const id = idBytes.toString();
    const envelope = envelopeOf(fields);
    const expires = envelope && expiryOf(envelope, id);
    if (expires === undefined) strange++;
    else if (now < expires) {
      queued.push({ id, envelope: envelope!, expires });
      continue;
    }
    expired.push(id);
  }
  if (strange > 0) {
    logger.warn("{count} entries of {key} are no envelopes, and are dropped", {
      count: strange,
      key,
    });
  }
  return { queued, expired };
}

function envelopeOf(fields: readonly Buffer[]): Uint8Array | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]!.toString() === "_") return fields[i + 1];
  }
  return undefined;
}

/** Unix time in seconds from which on an entry need not be delivered; undefined if it is no envelope. */
function expiryOf(envelope: Uint8Array, id: string): number | undefined {
  const latest = Math.floor(parseInt(id) / 1000) + MAX_QUEUED_TIME;
  try {
    const routing = readRouting(envelope);
    // A pong has the expiration of its ping, which clients leave out: nothing says when it expires.
    return routing.kind === "pong" ? latest : Math.min(timeLeft(routing, 0), latest);
  } catch {
    return undefined;
  }
}
