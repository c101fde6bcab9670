import { createClient, RESP_TYPES } from "@redis/client";
import { getLogger } from "@logtape/logtape";
import { Buffer } from "node:buffer";

const logger = getLogger(["rmb", "peer", "redis"]);

/** Most entries of a list that local programs read; older ones are dropped, as in the reference. */
const MAX_LIST = 10_000;
/** Most entries popped at once. */
const MAX_POP = 100;
/** How long a pop waits for an entry, in seconds. */
const POP_TIME = 1;
/** Silence after which Redis is taken for dead, in milliseconds; it is pinged twice in that time. */
const SILENCE = 10_000;
/** Longest wait between attempts to connect, in milliseconds. */
const MAX_RETRY = 2000;

type Client = ReturnType<typeof connectClient>;

/** The Redis that local programs and the gateway meet on. It connects again by itself. */
export class Bus implements AsyncDisposable {
  readonly #client: Client;
  readonly #poppers = new Map<string, Client>();
  readonly #url: string;
  /** When the last wait for an attempt to connect is over, in milliseconds since 1970. */
  #retryAt = 0;

  private constructor(url: string) {
    this.#url = url;
    this.#client = this.#connectClient("commands");
  }

  /** Connects, and waits for as long as Redis can't be reached. */
  static async connect(url: string): Promise<Bus> {
    const bus = new Bus(url);
    await bus.#client.connect();
    return bus;
  }

  /**
   * Pops the entries on the right of a list, oldest first for those who push left. Waits up to a
   * second for one.
   *
   * @returns Up to 100 entries, none if none came.
   */
  async pop(list: string): Promise<Uint8Array[]> {
    // A connection of its own: a pop that waits blocks all that comes after it. And one that refuses
    // while Redis is down: nothing is lost by it, and who wants to stop need not wait.
    let client = this.#poppers.get(list);
    if (client === undefined) {
      client = this.#connectClient(list, { disableOfflineQueue: true });
      this.#poppers.set(list, client);
      await attemptConnection(client);
    }
    const first = await client.brPop(list, POP_TIME);
    if (first === null) return [];
    // Whatever becomes of the others, the first is in our hands.
    const more = await client.rPopCount(list, MAX_POP - 1).catch((error) => {
      logger.error("more of {list} can't be popped: {error}", { list, error: String(error) });
      return null;
    });
    return [first.element, ...more ?? []] as unknown as Uint8Array[];
  }

  /** Pushes an entry to the left of a list, and drops the oldest above 10,000. */
  async push(list: string, entry: string | Uint8Array, seconds?: number): Promise<void> {
    const value = typeof entry === "string" ? entry : Buffer.from(entry);
    const length = await this.#client.lPush(list, value); // Fails if the key is no list: touch it not.
    await Promise.all([
      length > MAX_LIST && this.#client.lTrim(list, 0, MAX_LIST - 1),
      seconds !== undefined && this.#client.expire(list, seconds),
    ]);
  }

  /** Sets a value that expires. */
  async set(key: string, value: Uint8Array, seconds: number): Promise<void> {
    await this.#client.setEx(key, seconds, Buffer.from(value));
  }

  /** Gets a value. */
  async get(key: string): Promise<Uint8Array | undefined> {
    return await this.#client.get(key) as unknown as Uint8Array | null ?? undefined;
  }

  /** Disconnects, after the commands under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of [this.#client, ...this.#poppers.values()]) {
      if (client.isReady) await client.close().catch(() => {});
      else client.destroy();
    }
    // The library does not end its waits for the next attempt to connect.
    const left = this.#retryAt - Date.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  }

  #connectClient(purpose: string, options?: ClientOptions): Client {
    return connectClient(this.#url, purpose, {
      ...options,
      onRetry: (wait) => this.#retryAt = Math.max(this.#retryAt, Date.now() + wait),
    });
  }
}

/** How a client differs from others. */
interface ClientOptions {
  /** Whether it refuses commands while it is not connected. */
  readonly disableOfflineQueue?: true;
}

function connectClient(
  url: string,
  purpose: string,
  { onRetry, ...options }: ClientOptions & { onRetry: (wait: number) => void },
) {
  let down = false;
  const client = createClient({
    ...options,
    url,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    maintNotifications: "disabled",
    pingInterval: SILENCE / 2,
    socket: {
      socketTimeout: SILENCE,
      reconnectStrategy: (retries) => {
        const longest = Math.min(50 * 2 ** Math.min(retries, 10), MAX_RETRY);
        const wait = Math.ceil(longest * (0.5 + Math.random() / 2));
        onRetry(wait);
        return wait;
      },
    },
  });
  client.on("error", (error: Error) => {
    if (!down) {
      logger.error("Redis is not reachable ({purpose}): {error}", {
        purpose,
        error: error.message || error.constructor.name,
      });
    }
    down = true;
  });
  client.on("ready", () => {
    if (down) logger.info("Redis is back ({purpose})", { purpose });
    down = false;
  });
  return client;
}

/** Begins to connect, and waits until that has worked or failed once. */
async function attemptConnection(client: Client): Promise<void> {
  const attempted = new Promise((resolve) => client.once("ready", resolve).once("error", resolve));
  client.connect().catch(() => {}); // It tries until it is disposed of, which is no error.
  await attempted;
}
