import { RmbError } from "@rmb/protocol";
import { checkRedisUrl, redactUrl } from "@rmb/protocol/redis-url";
import type { FederationQueue } from "../federation/queue.ts";
import type { Mailbox } from "../mailbox.ts";
import type { Replicas } from "../replicas.ts";
import type { Store } from "../store.ts";
import { Connection, reasonOf, tryConnection } from "./connection.ts";
import { RedisFederationQueue } from "./federation_queue.ts";
import { RedisMailbox } from "./mailbox.ts";
import { Outage } from "./outage.ts";
import { RedisReplicas, relayKey } from "./replicas.ts";
import { Watcher } from "./watcher.ts";
import { Writer } from "./writer.ts";

/**
 * A {@linkcode Store} in Redis 7 or later, for relays that share it; those of the Rust implementation
 * may be among them. What was stored survives what Redis survives: see its persistence settings.
 *
 * @example
 * ```ts
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 * import { RedisStore, Relay } from "@rmb/relay";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using store = await RedisStore.open("redis://localhost:6379");
 * await using relay = await Relay.start({ domains: ["relay.example.org"], registry, store });
 * console.log(relay.address.port);
 * ```
 */
export class RedisStore implements Store {
  /** What waits for sessions. */
  readonly mailbox: Mailbox;
  /** What waits to go to other relays. */
  readonly federation: FederationQueue;
  /** The relays that share this Redis. */
  readonly replicas: Replicas;
  readonly #outage: Outage;
  readonly #writer: Writer;
  readonly #federation: RedisFederationQueue;
  readonly #replicas: RedisReplicas;
  readonly #watcher: Watcher;
  /** For all that neither writes nor waits; and for what other relays say. */
  readonly #connection: Connection;
  readonly #channel: Connection;

  private constructor(url: string) {
    const id = crypto.randomUUID();
    const outage = this.#outage = new Outage(redactUrl(url));
    const connect = () => new Connection(url, outage);
    this.#connection = connect();
    this.#watcher = new Watcher(connect, this.#connection);
    this.#writer = new Writer(connect(), outage, id, (key) => mailbox.makeRoom(key));
    const mailbox = new RedisMailbox(this.#connection, this.#writer, this.#watcher, outage);
    this.mailbox = mailbox;
    this.federation = this.#federation = new RedisFederationQueue(
      ...[id, connect(), this.#connection, this.#writer] as const,
    );
    const replicas = this.replicas = this.#replicas = new RedisReplicas(id, this.#connection);
    this.#channel = new Connection(url, outage, async (client) => {
      await client.subscribe(relayKey(id), (message) => replicas.receive(message));
      // What was said meanwhile is not heard: all is compared again.
      this.#connection.connected.then(() => replicas.beat()).then(() => replicas.announce())
        .catch(() => {}); // The next beat does it.
    });
  }

  /**
   * Connects to Redis.
   *
   * @param url `redis:` or `rediss:` URL: with user, password, port and database number as needed.
   * @throws {RmbError} if it is none, or Redis can't be used there now.
   */
  static async open(url: string): Promise<RedisStore> {
    checkRedisUrl(url);
    try {
      await tryConnection(url);
    } catch (cause) {
      const reason = reasonOf(cause as Error);
      throw new RmbError(`Cannot use Redis at ${redactUrl(url)}: ${reason}`, { cause });
    }
    const store = new RedisStore(url);
    await store.#connection.connected;
    await store.#channel.connected;
    await store.#replicas.beat();
    return store;
  }

  /** Why Redis can't be used now; undefined while it can. */
  get failure(): string | undefined {
    return this.#outage.reason;
  }

  /** Stores what was added, leaves all sessions to other relays, and disconnects. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([
      this.#watcher[Symbol.asyncDispose](),
      this.#writer[Symbol.asyncDispose](),
      this.#federation[Symbol.asyncDispose](),
      this.#channel[Symbol.asyncDispose](),
      this.#replicas[Symbol.asyncDispose](),
    ]);
    await this.#connection[Symbol.asyncDispose]();
  }
}
