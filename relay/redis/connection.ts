import { createClient, ErrorReply, RESP_TYPES } from "@redis/client";
import { RmbError } from "@rmb/protocol";
import { Buffer } from "node:buffer";
import type { Outage } from "./outage.ts";
import type { Script } from "./scripts.ts";

/** How often a connection is looked after, in milliseconds. */
const TICK = 1000;
/** Ticks without a word after which Redis is asked for one, and after which it is taken for hung. */
const IDLE_TICKS = 2;
const SILENT_TICKS = 5;
/** How long connecting may take, in milliseconds. */
const CONNECT_TIME = 5000;
/** Wait before another attempt to connect, in milliseconds: none, then these and all between. */
const RETRY_WAITS = [20, 1000] as const;

/** What a command is made of. */
export type Argument = string | Buffer;

type Client = ReturnType<typeof makeClient>;

/** What was to be done with Redis can't be done while it can't be reached. */
export class RedisLostError extends RmbError {}

/**
 * One connection to Redis, which connects again by itself for as long as it exists. Commands are
 * refused while there is none, and those under way fail when it is lost: they may have been done.
 */
export class Connection implements AsyncDisposable {
  readonly #url: string;
  readonly #outage: Outage;
  readonly #onConnected: ((connection: Client) => Promise<unknown>) | undefined;
  readonly #running: Promise<void>;
  #client: Client | undefined;
  #id = "";
  #disposed = false;
  /** Ends the present connection, or the attempt at one. */
  #end: (reason: Error) => void = () => {};
  #retryNow: () => void = () => {};
  #connected = Promise.withResolvers<boolean>();
  /** Commands under way, and for how many ticks Redis has said nothing. */
  #commands = 0;
  #silentTicks = 0;

  /**
   * Begins to connect.
   *
   * @param url The server, as checked by `checkRedisUrl`.
   * @param outage Is told when it can't be reached.
   * @param onConnected Called with each new connection, before it can be used.
   */
  constructor(url: string, outage: Outage, onConnected?: (client: Client) => Promise<unknown>) {
    this.#url = url;
    this.#outage = outage;
    this.#onConnected = onConnected;
    this.#running = this.#run();
  }

  /** What Redis knows the present connection by. */
  get id(): string {
    return this.#id;
  }

  /** Whether it is connected. */
  get isConnected(): boolean {
    return this.#client !== undefined;
  }

  /** Settles when it is connected, with true; with false if it is disposed of before. */
  get connected(): Promise<boolean> {
    return this.#connected.promise;
  }

  /**
   * Does a command.
   *
   * @returns What Redis answers; its texts as bytes.
   * @throws {RedisLostError} if there is no connection, or it is lost before the answer.
   * @throws {ErrorReply} if Redis answers with an error.
   */
  async send<Reply>(...command: Argument[]): Promise<Reply> {
    const client = this.#client;
    if (client === undefined) throw new RedisLostError("Redis is not reachable");
    if (this.#commands++ === 0) this.#silentTicks = 0;
    try {
      return await client.sendCommand(command, BYTES) as Reply;
    } catch (cause) {
      if (!(cause instanceof ErrorReply)) {
        throw new RedisLostError("Connection to Redis is lost", { cause });
      }
      // It has become a replica: what takes its place may be found by connecting again.
      if (client === this.#client && /\bREADONLY\b/.test(cause.message)) this.#end(cause);
      throw cause;
    } finally {
      this.#commands--;
      this.#silentTicks = 0;
    }
  }

  /** Runs a script, as {@linkcode send} does a command. */
  async run<Reply>(script: Script, keys: string[], ...args: Argument[]): Promise<Reply> {
    const rest = [`${keys.length}`, ...keys, ...args];
    try {
      return await this.send("EVALSHA", script.sha1, ...rest);
    } catch (error) {
      if (!(error instanceof ErrorReply && error.message.startsWith("NOSCRIPT"))) throw error;
      return await this.send("EVAL", script.text, ...rest);
    }
  }

  /** Disconnects at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#end(new RedisLostError("Redis is not used any more"));
    this.#retryNow();
    await this.#running;
    this.#connected.resolve(false);
    this.#outage.forget(this);
  }

  async #run(): Promise<void> {
    let wait = 0;
    while (!this.#disposed) {
      const since = performance.now();
      const reason = await this.#connectOnce();
      if (this.#disposed) return;
      this.#outage.begin(this, reasonOf(reason));
      const [shortest, longest] = RETRY_WAITS;
      if (performance.now() - since > longest) wait = 0;
      if (wait > 0) await this.#pause(wait);
      wait = Math.min(Math.max(wait * 2, shortest), longest);
    }
  }

  /** Connects, stays connected for as long as possible, and returns why it is not any more. */
  async #connectOnce(): Promise<Error> {
    const client = makeClient(this.#url);
    const { promise: ended, resolve } = Promise.withResolvers<Error>();
    this.#end = resolve;
    client.on("error", resolve);
    const ticks = setInterval(() => this.#tick(client), TICK);
    try {
      await Promise.race([this.#greet(client), ended.then((error) => Promise.reject(error))]);
      this.#client = client;
      this.#silentTicks = 0;
      this.#outage.end(this);
      this.#connected.resolve(true);
      return await ended;
    } catch (error) {
      return error as Error;
    } finally {
      clearInterval(ticks);
      if (this.#client !== undefined) {
        this.#client = undefined;
        this.#connected = Promise.withResolvers();
      }
      // The library says so when it has closed it itself.
      if (client.isOpen) client.destroy();
    }
  }

  async #greet(client: Client): Promise<void> {
    await client.connect();
    await client.sendCommand(["PING"]); // An error while it still loads its data.
    this.#id = String(await client.sendCommand(["CLIENT", "ID"]));
    await this.#onConnected?.(client);
  }

  /** Notices a server that hangs: the library does not while commands are written. */
  #tick(client: Client): void {
    if (this.#client !== client) return;
    this.#silentTicks++;
    if (this.#commands > 0 && this.#silentTicks > SILENT_TICKS) {
      this.#end(new Error(`no answer for ${SILENT_TICKS * TICK / 1000} seconds`));
    } else if (this.#commands === 0 && this.#silentTicks > IDLE_TICKS) {
      this.send("PING").catch(() => {}); // What fails ends the connection.
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Replies whose texts are bytes. */
const BYTES = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };

/** Makes a client for one connection: what comes after is not left to the library, see above. */
function makeClient(url: string) {
  return createClient({
    url,
    RESP: 2,
    maintNotifications: "disabled",
    disableClientInfo: true,
    socket: {
      connectTimeout: CONNECT_TIME,
      socketTimeout: (SILENT_TICKS + 1) * TICK,
      reconnectStrategy: false,
    },
  });
}

/** Connects once, to see whether that works; rejects if not. */
export async function tryConnection(url: string): Promise<void> {
  const client = makeClient(url);
  client.on("error", () => {}); // Connecting fails for it.
  await client.connect();
  try {
    await client.sendCommand(["PING"]);
  } finally {
    if (client.isOpen) client.destroy();
  }
}

/** What an error says: some say it in their code only. */
export function reasonOf(error: Error): string {
  return error.message || (error as { code?: string }).code || error.name;
}

/** Whether an error means that the same may work later: Redis is lost, or says so. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof ErrorReply)) return error instanceof RedisLostError;
  return /\b(OOM|READONLY|MISCONF|LOADING|MASTERDOWN|NOREPLICAS|BUSY|NOAUTH|CLUSTERDOWN)\b/
    .test(error.message);
}
