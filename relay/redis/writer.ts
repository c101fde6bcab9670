import { RmbError, unixNow } from "@rmb/protocol";
import { Buffer } from "node:buffer";
import { MAX_QUEUED_TIME, type QueuedAgain } from "../mailbox.ts";
import { type Connection, isOutage, RedisLostError } from "./connection.ts";
import type { Outage } from "./outage.ts";
import { BATCH, FULL } from "./scripts.ts";

/** Most operations, and bytes of them, in one batch: a larger one alone. */
const BATCH_COUNT = 256;
const BATCH_BYTES = 1024 * 1024;
/** Most operations, and bytes of them, that wait: above, nothing new is taken. */
const MAX_WAITING = 100_000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** What an operation takes in memory beside its bytes, about, in bytes. */
const OVERHEAD = 400;
/** Wait before a batch that Redis could not do is sent again, in milliseconds: the first, the longest. */
const RETRY_WAITS = [20, 1000] as const;
/** How often it is looked for what has expired while Redis is lost, in milliseconds. */
const EXPIRY_INTERVAL = 1000;
/** How long what waits may take when the writer is closed, in milliseconds. */
const CLOSE_TIME = 2000;

/** What a writer does. */
export type Operation =
  | { readonly kind: "append"; readonly key: string; readonly envelope: Uint8Array }
  | {
    readonly kind: "putBack";
    readonly key: string;
    readonly envelopes: readonly QueuedAgain[];
    readonly removed: readonly string[];
  }
  | { readonly kind: "remove"; readonly key: string; readonly ids: readonly string[] }
  | { readonly kind: "push"; readonly consumer: string; readonly envelope: Uint8Array }
  | { readonly kind: "finish"; readonly ids: readonly string[] };

/** Redis refused an operation, and will again. */
export class RefusedError extends RmbError {}

/** An operation that waits to be done. */
interface Waiting {
  readonly operation: Operation;
  /** How many were taken before. */
  readonly order: number;
  readonly size: number;
  /** Unix time in seconds from which on it need not be done. */
  readonly expires: number;
  readonly resolve: (id: string | undefined) => void;
  readonly reject: (error: Error) => void;
  settled: boolean;
}

/** A batch as it is sent, however often. */
interface Batch {
  readonly waiting: readonly Waiting[];
  readonly number: number;
  readonly json: string;
  readonly bytes: Buffer;
}

/**
 * All that this process writes to Redis's streams, in the order of calls: in batches, one under way at
 * a time, each done once even if the connection is lost meanwhile and it has to be sent again. While
 * Redis can't be used, operations wait in memory; a bounded number of them, until they expire.
 */
export class Writer implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #outage: Outage;
  readonly #key: string;
  readonly #makeRoom: (key: string) => Promise<boolean>;
  readonly #running: Promise<void>;
  #number = 0;
  #waiting: Waiting[] = [];
  #bytes = 0;
  /** Operations that are not settled, the oldest first. */
  readonly #unsettled = new Set<Waiting>();
  #taken = 0;
  /** Those who wait until all operations before one are settled. */
  #settling: { readonly before: number; readonly resolve: () => void }[] = [];
  /** Whether Redis has no memory: what gives it some goes first. */
  #full = false;
  #retryWait: number = RETRY_WAITS[0];
  #wake: () => void = () => {};
  /** Whether nothing new is taken, and whether nothing is tried any more. */
  #closed = false;
  #stopped = false;

  /**
   * @param connection A connection of its own.
   * @param id What no other process uses.
   * @param makeRoom Called with a stream that is full; returns whether it may not be any more.
   */
  constructor(
    connection: Connection,
    outage: Outage,
    id: string,
    makeRoom: (key: string) => Promise<boolean>,
  ) {
    this.#connection = connection;
    this.#outage = outage;
    this.#key = `rmb:writer:${id}`;
    this.#makeRoom = makeRoom;
    this.#running = this.#run();
  }

  /**
   * Does an operation after those before.
   *
   * @param expires Unix time in seconds from which on it need not be done; an hour from now at most.
   * @returns When Redis has done it; of what was pushed, the id, unless any relay may take it.
   * @throws {RefusedError} if Redis refuses it; its message is what Redis says.
   * @throws {RmbError} if too many operations wait, or it expires while it waits.
   */
  write(operation: Operation, expires: number = Infinity): Promise<string | undefined> {
    const size = OVERHEAD + sizeOf(operation);
    const isNew = operation.kind === "append" || operation.kind === "push";
    if (this.#closed) return Promise.reject(new RmbError("The store is closed"));
    const count = this.#unsettled.size;
    if (isNew && (count >= MAX_WAITING || this.#bytes + size > MAX_WAITING_BYTES)) {
      const why = this.#outage.reason ?? "it is too slow";
      const what = `${count} messages of ${this.#bytes} bytes wait for Redis already`;
      return Promise.reject(new RmbError(`Cannot take a message: ${what} (${why})`));
    }
    this.#bytes += size;
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        operation,
        order: this.#taken++,
        size,
        expires: Math.min(expires, unixNow() + MAX_QUEUED_TIME),
        resolve,
        reject,
        settled: false,
      };
      this.#unsettled.add(waiting);
      this.#waiting.push(waiting);
      this.#wake();
    });
  }

  /** Settles when all that was to be written by now is, or never will be. */
  settled(): Promise<void> {
    if (this.#unsettled.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#settling.push({ before: this.#taken, resolve }));
  }

  /** Writes what waits, if Redis takes it; nothing can be written after that. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    let timer;
    await Promise.race([
      this.settled(),
      new Promise((resolve) => timer = setTimeout(resolve, CLOSE_TIME)),
    ]);
    clearTimeout(timer);
    if (this.#connection.isConnected && this.#unsettled.size === 0) {
      await this.#connection.send("DEL", this.#key).catch(() => {}); // It expires.
    }
    this.#stopped = true;
    await this.#connection[Symbol.asyncDispose]();
    this.#wake();
    await this.#running;
    this.#failAll(this.#waiting);
  }

  async #run(): Promise<void> {
    for (;;) {
      while (this.#waiting.length === 0) {
        if (this.#stopped) return;
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
      if (this.#stopped) return;
      if (!await this.#reachable([])) continue;
      const batch = this.#gather();
      if (batch !== undefined) await this.#write(batch);
    }
  }

  /** Waits until Redis is connected; what expires meanwhile is rejected. False if there is no hope. */
  async #reachable(unsure: readonly Waiting[]): Promise<boolean> {
    while (!this.#connection.isConnected) {
      if (this.#stopped) return false;
      let timer;
      await Promise.race([
        this.#connection.connected,
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, EXPIRY_INTERVAL);
          if (this.#closed) this.#wake = resolve;
        }),
      ]);
      clearTimeout(timer);
      this.#rejectExpired(unsure);
      if (unsure.length > 0 ? unsure.every(({ settled }) => settled) : this.#waiting.length === 0) {
        return false;
      }
    }
    return true;
  }

  /** Takes the next operations. */
  #gather(): Batch | undefined {
    const isHarmless = ({ operation: { kind } }: Waiting) => kind === "remove" || kind === "finish";
    let waiting = this.#full ? this.#waiting.filter(isHarmless) : [];
    const harmless = waiting.length > 0;
    if (!harmless) waiting = this.#waiting;
    let bytes = 0;
    let count = 0;
    while (count < waiting.length && count < BATCH_COUNT) {
      bytes += waiting[count]!.size;
      if (count > 0 && bytes > BATCH_BYTES) break;
      count++;
    }
    const taken = waiting.slice(0, count);
    if (harmless) {
      const gone = new Set(taken);
      this.#waiting = this.#waiting.filter((waiting) => !gone.has(waiting));
    } else {
      this.#waiting = waiting.slice(count);
    }
    const now = unixNow();
    const alive = taken.filter((waiting) => {
      if (waiting.expires > now) return true;
      this.#settle(waiting, expired());
      return false;
    });
    if (alive.length < taken.length) this.#tellSettled();
    if (alive.length === 0) return undefined;
    const parts: Uint8Array[] = [];
    const json = JSON.stringify(alive.map(({ operation }) => encode(operation, parts, now)));
    const number = alive.every(isHarmless) ? 0 : ++this.#number;
    return { waiting: alive, number, json, bytes: Buffer.concat(parts) };
  }

  /** Sends a batch until it is known to be done or refused. */
  async #write({ waiting, number, json, bytes }: Batch): Promise<void> {
    const args = [`${number}`, json, bytes];
    for (;;) {
      try {
        const lines = await this.#connection.run<Buffer>(BATCH, [this.#key], ...args);
        this.#full &&= number === 0;
        if (!this.#full) {
          this.#outage.end(this);
          this.#retryWait = RETRY_WAITS[0];
        }
        return await this.#take(waiting, lines.toString());
      } catch (error) {
        if (!isOutage(error)) return this.#refuse(waiting, error as Error);
        if (!(error instanceof RedisLostError)) {
          const { message } = error as Error;
          this.#outage.begin(this, message);
          this.#full = /\bOOM\b/.test(message);
          if (this.#closed) return this.#failAll(waiting);
          await new Promise((resolve) => setTimeout(resolve, this.#retryWait));
          this.#retryWait = Math.min(this.#retryWait * 2, RETRY_WAITS[1]);
          this.#rejectExpired(waiting);
          // Nothing of it is done, for want of memory: it may go in another order.
          if (this.#full) {
            this.#waiting = [...waiting.filter(({ settled }) => !settled), ...this.#waiting];
            return;
          }
        }
        if (waiting.every(({ settled }) => settled)) return;
        if (!await this.#reachable(waiting)) return this.#failAll(waiting);
      }
    }
  }

  /** Settles what was done or refused, one by one. */
  async #take(waiting: readonly Waiting[], lines: string): Promise<void> {
    const reasons = new Map<Waiting, string>();
    const ids = new Map<Waiting, string>();
    for (const line of lines === "" ? [] : lines.split("\n")) {
      const space = line.indexOf(" ");
      const one = waiting[Number(line.slice(0, space))]!;
      if (line[space + 1] === "+") ids.set(one, line.slice(space + 2));
      else reasons.set(one, line.slice(space + 1));
    }
    const again: Waiting[] = [];
    const roomy = new Map<string, boolean>();
    for (const one of waiting) {
      if (one.settled) continue;
      const reason = reasons.get(one);
      const { operation } = one;
      if (reason === FULL && operation.kind === "append") {
        const { key } = operation;
        if (!roomy.has(key)) roomy.set(key, await this.#makeRoom(key).catch(() => false));
        if (roomy.get(key)) {
          again.push(one);
          continue;
        }
      }
      this.#settle(one, reason === undefined ? ids.get(one) : new RefusedError(reason));
    }
    if (again.length > 0) this.#waiting = [...again, ...this.#waiting];
    this.#tellSettled();
  }

  #refuse(waiting: readonly Waiting[], cause: Error): void {
    for (const one of waiting) this.#settle(one, new RefusedError(cause.message, { cause }));
    this.#tellSettled();
  }

  #failAll(waiting: readonly Waiting[]): void {
    const why = this.#outage.reason ?? "the store is closed";
    for (const one of waiting) this.#settle(one, new RmbError(`Redis can't be used: ${why}`));
    this.#tellSettled();
  }

  #rejectExpired(unsure: readonly Waiting[]): void {
    const now = unixNow();
    for (const waiting of [...unsure, ...this.#waiting]) {
      if (waiting.expires <= now) this.#settle(waiting, expired());
    }
    this.#waiting = this.#waiting.filter(({ settled }) => !settled);
    this.#tellSettled();
  }

  #settle(waiting: Waiting, result: string | undefined | Error): void {
    if (waiting.settled) return;
    waiting.settled = true;
    this.#bytes -= waiting.size;
    this.#unsettled.delete(waiting);
    if (result instanceof Error) waiting.reject(result);
    else waiting.resolve(result);
  }

  #tellSettled(): void {
    if (this.#settling.length === 0) return;
    const [oldest] = this.#unsettled;
    const settled = oldest?.order ?? Infinity;
    while (this.#settling.length > 0 && this.#settling[0]!.before <= settled) {
      this.#settling.shift()!.resolve();
    }
  }
}

function expired(): RmbError {
  return new RmbError("message has expired");
}

function sizeOf(operation: Operation): number {
  switch (operation.kind) {
    case "append":
    case "push":
      return operation.envelope.length;
    case "putBack":
      return operation.envelopes.reduce((size, { envelope }) => size + envelope.length, 0) +
        operation.removed.length * 40;
    default:
      return operation.ids.length * 40;
  }
}

/** What the script makes of an operation; its envelopes' bytes are added to `parts`. */
function encode(operation: Operation, parts: Uint8Array[], now: number): unknown[] {
  const { kind } = operation;
  switch (kind) {
    case "append":
      parts.push(operation.envelope);
      return [kind, operation.key, operation.envelope.length];
    case "putBack": {
      const envelopes = operation.envelopes.filter(({ expires }) => expires > now)
        .map(({ envelope }) => envelope);
      parts.push(...envelopes);
      return [kind, operation.key, envelopes.map(({ length }) => length), operation.removed];
    }
    case "remove":
      return [kind, operation.key, operation.ids];
    case "push":
      parts.push(operation.envelope);
      return [kind, operation.envelope.length, operation.consumer];
    case "finish":
      return [kind, operation.ids];
  }
}
