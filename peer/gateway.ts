import { getLogger } from "@logtape/logtape";
import {
  type EncryptionKeypair,
  formatHex,
  type Keypair,
  relayDomain,
  RmbError,
  sameRelayDomains,
  type TwinRegistry,
} from "@rmb/protocol";
import { redactUrl } from "@rmb/protocol/redis-url";
import { Bus } from "./bus.ts";
import { Deliveries } from "./deliveries.ts";
import { Host } from "./host.ts";
import { Identity } from "./identity.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import { Pending } from "./pending.ts";
import { type Plugin, rmbPlugin } from "./plugin.ts";
import { checkRelays, Relays } from "./relays.ts";
import { Sender } from "./sender.ts";

const logger = getLogger(["rmb", "peer"]);

/** What a {@linkcode Gateway} is made from. */
export interface GatewayOptions {
  /** The twin's key pair. */
  readonly keypair: Keypair;
  /** Its encryption key pair, if its secret has one. */
  readonly encryption: EncryptionKeypair | undefined;
  /** Who twins are. It stays the caller's to dispose of. */
  readonly registry: TwinRegistry;
  /** URLs of the relays, `ws:` or `wss:`, 1 to 4, the best first: messages go through the first that answers. */
  readonly relays: readonly string[];
  /** URL of the Redis that local programs use. */
  readonly redis: string;
  /** Whether to publish the twin's relays and encryption key where they differ. Default true. */
  readonly update?: boolean;
  /** Commands that the gateway answers beside `rmb.`: it starts and stops them. Default: none. */
  readonly plugins?: readonly Plugin[];
}

/**
 * A gateway: does the cryptography of one twin, and gives local programs plain JSON over Redis.
 *
 * @example
 * ```ts
 * import { EncryptionKeypair, Keypair } from "@rmb/protocol";
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 * import { Gateway } from "@rmb/peer";
 *
 * const secret = "//Alice";
 * await using registry = await FileRegistry.open("twins.json");
 * await using gateway = await Gateway.start({
 *   keypair: Keypair.fromSecret(secret),
 *   encryption: EncryptionKeypair.fromSecret(secret),
 *   registry,
 *   relays: ["ws://127.0.0.1:8080"],
 *   redis: "redis://127.0.0.1:6379",
 * });
 * console.log(gateway.twin);
 * ```
 */
export class Gateway implements AsyncDisposable {
  /** Id of the twin that it serves. */
  readonly twin: number;
  readonly #bus: Bus;
  readonly #relays: Relays;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #pending: Pending;
  readonly #plugins: readonly Plugin[];
  readonly #host: Host;
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  #running: Promise<unknown> = Promise.resolve();

  private constructor(twin: number, bus: Bus, options: GatewayOptions) {
    const { keypair, encryption, registry, relays: urls, plugins = [] } = options;
    this.twin = twin;
    this.#bus = bus;
    this.#plugins = [rmbPlugin, ...plugins];
    const identity = new Identity(twin, keypair, encryption, registry);
    this.#relays = new Relays({
      urls,
      session: identity.session,
      keypair,
      onMessage: (bytes) => this.#inbound.receive(bytes),
    });
    const { signal } = this.#stop;
    const sender = new Sender(identity, this.#relays, signal);
    const deliveries = new Deliveries(bus);
    const host = this.#host = new Host(sender, bus, deliveries);
    this.#outbound = new Outbound(bus, sender, this.#plugins, signal);
    this.#pending = new Pending(bus, signal);
    this.#inbound = new Inbound({
      bus,
      identity,
      sender,
      link: this.#relays,
      plugins: this.#plugins,
      host,
      deliveries,
      ready: this.#ready.promise,
    });
  }

  /**
   * Starts a gateway: finds out which twin it is, publishes its relays and encryption key, and begins
   * to connect. It waits for Redis, but not for the relays.
   *
   * @throws {RmbError} if the key has no twin, or something about the options can't work.
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { keypair, registry } = options;
    const redis = redactUrl(options.redis);
    checkRelays(options.relays);
    const twin = await registry.twinIdByAccount(keypair.publicKey);
    if (twin === undefined) {
      throw new RmbError(
        `No twin has the ${keypair.type} account ${keypair.address}: ` +
          "register it, or check the secret and --key-type",
      );
    }
    await publish(twin, options);
    logger.info("serving twin {twin}, account {account}, on {redis}", {
      twin,
      account: keypair.address,
      redis,
    });
    const gateway = new Gateway(twin, await Bus.connect(options.redis), options);
    try {
      for (const plugin of gateway.#plugins) await plugin.start?.(gateway.#host);
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
    gateway.#ready.resolve();
    gateway.#running = Promise.all([gateway.#outbound.run(), gateway.#pending.run()]);
    return gateway;
  }

  /**
   * Stops: takes nothing more from local programs, and finishes what it has; what can't be sent now is
   * left to the next one.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#ready.resolve();
    await this.#running;
    for (const plugin of this.#plugins) await plugin.stop?.();
    await this.#inbound.finish(); // Its answers need the connection.
    await this.#relays.close();
    await this.#inbound.finish(); // What arrived until now.
    await this.#outbound.finish();
    await this.#bus[Symbol.asyncDispose]();
  }
}

/** Publishes a twin's relays and encryption key if the registry has others. */
async function publish(id: number, options: GatewayOptions): Promise<void> {
  const { encryption, registry, update = true } = options;
  const relays = options.relays.map(relayDomain);
  const pk = encryption?.publicKey;
  const hex = (key: Uint8Array | undefined) => key === undefined ? "none" : formatHex(key);
  const twin = await registry.twin(id);
  if (twin !== undefined && sameRelayDomains(twin.relays, relays) && hex(twin.pk) === hex(pk)) {
    return;
  }
  const names = { id, relays: relays.join(", "), pk: hex(pk) };
  if (update) {
    await registry.updateTwin(id, { relays, pk });
    logger.info("twin {id} now publishes relay {relays} and encryption key {pk}", names);
  } else {
    logger.warn(
      "twin {id} does not publish relay {relays} and encryption key {pk}: others may not reach it",
      names,
    );
  }
}
