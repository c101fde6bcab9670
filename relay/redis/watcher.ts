import { getLogger } from "@logtape/logtape";
import type { Buffer } from "node:buffer";
import { type Connection, RedisLostError } from "./connection.ts";

const logger = getLogger(["rmb", "relay", "redis"]);

/**
 * Most streams that one connection waits for. Redis needs about a microsecond for each whenever it
 * begins to wait, which is after each change and each entry that comes.
 */
const MAX_STREAMS = 100;
/** How long changes are gathered before a connection waits anew, in milliseconds. */
const GATHER = 3;
/** How long Redis waits for an entry, in milliseconds: shorter than what it is taken for hung after. */
const BLOCK_TIME = 2000;
/** How long a connection that waits for nothing is kept, in milliseconds. */
const IDLE_TIME = 60_000;
/** Wait after Redis refused to wait, in milliseconds. */
const REFUSED_TIME = 1000;

/** A stream that is watched. */
interface Watch {
  readonly key: string;
  readonly after: string;
  readonly onAppended: () => void;
}

/** Waits for entries of many streams, whoever adds them. */
export class Watcher implements AsyncDisposable {
  readonly #connect: () => Connection;
  readonly #control: Connection;
  readonly #idleTime: number;
  readonly #groups = new Set<Group>();
  /** Those of groups that are being closed. */
  readonly #closing = new Set<Promise<void>>();
  #disposed = false;

  /**
   * @param connect Makes a connection, which belongs to this from then on.
   * @param control Another connection, for what can't be said over one that waits.
   * @param idleTime How long a connection that waits for nothing is kept, in milliseconds.
   */
  constructor(connect: () => Connection, control: Connection, idleTime: number = IDLE_TIME) {
    this.#connect = connect;
    this.#control = control;
    this.#idleTime = idleTime;
  }

  /**
   * Watches a stream; nothing any more once it is disposed of.
   *
   * @param onAppended Called once, when there is an entry behind `after`.
   * @returns Stops watching.
   */
  watch(key: string, after: string, onAppended: () => void): () => void {
    if (this.#disposed) return () => {};
    let group: Group | undefined;
    for (const candidate of this.#groups) {
      if (candidate.size >= MAX_STREAMS || candidate.has(key)) continue;
      if (group === undefined || candidate.size < group.size) group = candidate;
    }
    group ??= this.#addGroup();
    return group.add({ key, after, onAppended });
  }

  /** Watches nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const group of this.#groups) this.#close(group);
    await Promise.all(this.#closing);
  }

  #addGroup(): Group {
    const group: Group = new Group(
      ...[this.#connect(), this.#control, this.#idleTime, () => this.#close(group)] as const,
    );
    this.#groups.add(group);
    return group;
  }

  #close(group: Group): void {
    this.#groups.delete(group);
    const closing = group[Symbol.asyncDispose]().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

/** The streams that one connection waits for. */
class Group implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #control: Connection;
  readonly #idleTime: number;
  readonly #onIdle: () => void;
  readonly #watches = new Map<string, Watch>();
  readonly #running: Promise<void>;
  #disposed = false;
  /** Whether streams were added since Redis was told what to wait for. */
  #changed = false;
  #waiting = false;
  #wake: () => void = () => {};
  #wakeTimer: ReturnType<typeof setTimeout> | undefined;

  /** @param onIdle Called when there has been nothing to wait for, for so long. */
  constructor(connection: Connection, control: Connection, idleTime: number, onIdle: () => void) {
    this.#connection = connection;
    this.#control = control;
    this.#idleTime = idleTime;
    this.#onIdle = onIdle;
    this.#running = this.#run();
  }

  get size(): number {
    return this.#watches.size;
  }

  has(key: string): boolean {
    return this.#watches.has(key);
  }

  /** Adds a stream, and returns how to remove it. Redis need not know that it is removed. */
  add(watch: Watch): () => void {
    this.#watches.set(watch.key, watch);
    this.#changed = true;
    this.#wake();
    if (this.#waiting) this.#stopWaiting();
    return () => {
      if (this.#watches.get(watch.key) === watch) this.#watches.delete(watch.key);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    clearTimeout(this.#wakeTimer);
    this.#wake();
    await this.#connection[Symbol.asyncDispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let gathered = false; !this.#disposed;) {
      if (this.#watches.size === 0) await this.#idle();
      if (!gathered) await pause(GATHER);
      gathered = await this.#connection.connected && this.#watches.size > 0 && await this.#wait();
    }
  }

  /** Waits until there is something to wait for. */
  async #idle(): Promise<void> {
    // While Redis is lost, it is one of those who say so.
    const close = () => {
      if (this.#watches.size === 0 && this.#connection.isConnected) this.#onIdle();
    };
    const timer = setInterval(close, this.#idleTime);
    await new Promise<void>((resolve) => this.#wake = resolve);
    clearInterval(timer);
  }

  /** Waits until there is an entry of any of the streams, or some were added: then it returns true. */
  async #wait(): Promise<boolean> {
    const watches = [...this.#watches.values()];
    this.#changed = false;
    this.#waiting = true;
    try {
      const found = await this.#connection.send<[Buffer, unknown][] | null>(
        ...["XREAD", "COUNT", "1", "BLOCK", `${BLOCK_TIME}`, "STREAMS"],
        ...watches.map(({ key }) => key),
        ...watches.map(({ after }) => after),
      );
      for (const [key] of found ?? []) this.#fire(key.toString());
      return found === null;
    } catch (error) {
      if (!(error instanceof RedisLostError)) await this.#dropStrange(watches, error);
      return false;
    } finally {
      this.#waiting = false;
    }
  }

  #fire(key: string): void {
    const watch = this.#watches.get(key);
    if (watch === undefined) return;
    this.#watches.delete(key);
    watch.onAppended();
  }

  /** Has Redis answer what waits, so that it can be told of the streams added meanwhile. */
  #stopWaiting(): void {
    this.#wakeTimer ??= setTimeout(async () => {
      try {
        await this.#control.send("CLIENT", "UNBLOCK", this.#connection.id);
      } catch {
        // It stops by itself soon.
      }
      this.#wakeTimer = undefined;
      // Perhaps Redis did not wait yet.
      if (this.#changed && this.#waiting && !this.#disposed) this.#stopWaiting();
    }, GATHER);
  }

  /** One key that is no stream, and Redis waits for none: stops watching it. */
  async #dropStrange(watches: readonly Watch[], reason: unknown): Promise<void> {
    await pause(REFUSED_TIME);
    for (const watch of watches) {
      const type = await this.#control.send("TYPE", watch.key).catch(() => "none");
      if (type === "stream" || type === "none") continue;
      logger.error("{key} can't be watched: {reason}", { key: watch.key, reason: String(reason) });
      if (this.#watches.get(watch.key) === watch) this.#watches.delete(watch.key);
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
