import { ErrorReply } from "@redis/client";
import { getLogger } from "@logtape/logtape";
import { RmbError } from "@rmb/protocol";
import { type Argument, type Client, command, isOutage } from "./client.ts";
import type { Script } from "./scripts.ts";

const logger = getLogger(["rmb", "peer", "redis"]);

/** Most commands under way at once, and bytes of them from which on no more are added. */
const MAX_BATCH = 1000;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** Wait before commands that failed for want of Redis are tried again, in milliseconds. */
const RETRY = 100;

/** Redis was away for longer than a command was of use, or is not used any more. */
export class RedisLostError extends RmbError {}

/** A command that has not come to an end. */
interface Operation {
  readonly args: readonly Argument[];
  /** The script that it runs, if it is one, and whether Redis is known not to know it. */
  readonly script?: Script;
  unknown?: boolean;
  readonly size: number;
  /** Unix time in milliseconds until which it is of use. */
  readonly until: number;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Does commands in the order in which they are given, many at once, and again until they succeed while
 * Redis is away: only what does no harm when it is done twice may be given. It is for the caller to bound
 * how many wait.
 */
export class Pipeline {
  readonly #client: Client;
  #waiting: Operation[] = [];
  #working: Promise<void> | undefined;
  #closed = false;
  /** What Redis last said that it can't do for now; undefined while it does what it is given. */
  #refusal: string | undefined;

  /** Makes one over a connection, which stays the caller's. */
  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Does a command.
   *
   * @throws {ErrorReply} if Redis answers with an error.
   * @throws {RedisLostError} if it was closed before it was done.
   */
  send<Reply>(...args: Argument[]): Promise<Reply> {
    return this.#add<Reply>(args);
  }

  /** Runs a script, as {@linkcode Pipeline.send} does a command; it is given up after `until`. */
  run<Reply>(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    until = Infinity,
  ): Promise<Reply> {
    return this.#add<Reply>([`${keys.length}`, ...keys, ...args], script, until);
  }

  /** Ends: tries what waits once more, and gives the rest up. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#working;
  }

  #add<Reply>(args: readonly Argument[], script?: Script, until = Infinity): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const size = args.reduce((sum, { length }) => sum + length, 0);
    this.#waiting.push({
      args,
      ...script && { script },
      size,
      until,
      resolve: resolve as (reply: unknown) => void,
      reject,
    });
    // Not at once: what else is given in this turn goes along.
    this.#working ??= Promise.resolve().then(() => this.#work());
    return promise;
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const again = await this.#send(this.#takeBatch());
      if (again.length === 0) continue;
      this.#waiting = [...again, ...this.#waiting];
      if (this.#client.isReady && again.every(({ unknown }) => unknown)) continue;
      if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, RETRY));
      const now = Date.now();
      this.#waiting = this.#waiting.filter(({ until, reject }) => {
        const isOver = this.#closed || until < now;
        if (isOver) reject(new RedisLostError("Redis is not reachable"));
        return !isOver;
      });
    }
    this.#working = undefined;
  }

  #takeBatch(): Operation[] {
    let bytes = 0;
    let count = 0;
    while (count < Math.min(this.#waiting.length, MAX_BATCH) && bytes < MAX_BATCH_BYTES) {
      bytes += this.#waiting[count++]!.size;
    }
    return this.#waiting.splice(0, count);
  }

  /** Does commands, and returns those that must be done again, in their order. */
  async #send(batch: readonly Operation[]): Promise<Operation[]> {
    if (!this.#client.isReady) return [...batch];
    const replies = await Promise.allSettled(batch.map(({ args, script, unknown }) => {
      const name = script === undefined
        ? []
        : unknown
        ? ["EVAL", script.text]
        : ["EVALSHA", script.sha1];
      return command(this.#client, [...name, ...args]);
    }));
    let refusal: string | undefined;
    const again = batch.filter((operation, i) => {
      const reply = replies[i]!;
      if (reply.status === "fulfilled") operation.resolve(reply.value);
      else if (/^NOSCRIPT/.test(String(reply.reason?.message))) return operation.unknown = true;
      else if (isOutage(reply.reason)) {
        if (reply.reason instanceof ErrorReply) refusal ??= reply.reason.message;
        operation.unknown = false; // What Redis does not know is tried at once; this has to wait.
        return true;
      } else operation.reject(reply.reason);
      return false;
    });
    this.#noteRefusal(refusal);
    return again;
  }

  #noteRefusal(refusal: string | undefined): void {
    if (refusal !== undefined && this.#refusal === undefined) {
      logger.error("Redis refuses what it is asked, until it does not: {refusal}", { refusal });
    } else if (refusal === undefined && this.#refusal !== undefined) {
      logger.info("Redis does what it is asked again");
    }
    this.#refusal = refusal;
  }
}
