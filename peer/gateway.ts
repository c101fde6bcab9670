import { getLogger } from "@logtape/logtape";
import {
  type EncryptionKeypair,
  formatHex,
  type Keypair,
  RelayConnection,
  relayDomain,
  RmbError,
  sameRelayDomains,
  type TwinRegistry,
} from "@rmb/protocol";
import { redactUrl } from "@rmb/protocol/redis-url";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import { Bus } from "./bus.ts";
import { Identity } from "./identity.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import { rmbPlugin } from "./plugin.ts";

const logger = getLogger(["rmb", "peer"]);

/** What a {@linkcode Gateway} is made from. */
export interface GatewayOptions {
  /** The twin's key pair. */
  readonly keypair: Keypair;
  /** Its encryption key pair, if its secret has one. */
  readonly encryption: EncryptionKeypair | undefined;
  /** Who twins are. It stays the caller's to dispose of. */
  readonly registry: TwinRegistry;
  /** URL of the relay, `ws:` or `wss:`. */
  readonly relay: string;
  /** URL of the Redis that local programs use. */
  readonly redis: string;
  /** Whether to publish the twin's relay and encryption key where they differ. Default true. */
  readonly update?: boolean;
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
 *   relay: "ws://127.0.0.1:8080",
 *   redis: "redis://127.0.0.1:6379",
 * });
 * console.log(gateway.twin);
 * ```
 */
export class Gateway implements AsyncDisposable {
  /** Id of the twin that it serves. */
  readonly twin: number;
  readonly #bus: Bus;
  readonly #connection: RelayConnection;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(twin: number, bus: Bus, options: GatewayOptions) {
    const { keypair, encryption, registry, relay: url } = options;
    this.twin = twin;
    this.#bus = bus;
    const identity = new Identity(twin, keypair, encryption, registry);
    this.#connection = new RelayConnection({
      url,
      session: identity.session,
      keypair,
      openSocket: openWsSocket,
      onMessage: (bytes) => this.#inbound.receive(bytes),
      onState: (state) => {
        if (state.connected) return logger.info("relay {url} is connected", { url });
        const { reason, retryIn } = state;
        logger.warn("relay {url} is not connected: {reason}; next attempt in {retryIn} ms", {
          url,
          reason,
          retryIn,
        });
      },
    });
    this.#outbound = new Outbound(bus, identity, this.#connection, this.#stop.signal);
    this.#inbound = new Inbound(bus, identity, this.#outbound, [rmbPlugin]);
    this.#running = this.#outbound.run();
  }

  /**
   * Starts a gateway: finds out which twin it is, publishes its relay and encryption key, and begins
   * to connect. It waits for Redis, but not for the relay.
   *
   * @throws {RmbError} if the key has no twin, or something about the options can't work.
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { keypair, registry } = options;
    const redis = redactUrl(options.redis);
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
    return new Gateway(twin, await Bus.connect(options.redis), options);
  }

  /** Stops: takes nothing more from local programs, and finishes what it has. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#inbound.finish(); // Its answers need the connection.
    await this.#connection.close();
    await this.#inbound.finish(); // What arrived until now.
    await this.#outbound.finish();
    await this.#bus[Symbol.asyncDispose]();
  }
}

/** Publishes a twin's relay and encryption key if the registry has others. */
async function publish(id: number, options: GatewayOptions): Promise<void> {
  const { encryption, registry, relay, update = true } = options;
  const relays = [relayDomain(relay)];
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
