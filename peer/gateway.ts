import { getLogger } from "@logtape/logtape";
import {
  type EncryptionKeypair,
  type Keypair,
  NoTwinError,
  type TwinRegistry,
} from "@rmb/protocol";
import {
  checkRelays,
  directSignatures,
  Identity,
  publish,
  Relays,
  Sender,
  type Signatures,
} from "@rmb/protocol/endpoint";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import { redactUrl } from "@rmb/protocol/redis-url";
import { Bus } from "./bus.ts";
import { Deliveries } from "./deliveries.ts";
import { Host } from "./host.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import { Pending } from "./pending.ts";
import { PeerMetrics } from "./metrics.ts";
import type { Plugin } from "./plugin.ts";
import { RmbPlugin } from "./rmb_plugin.ts";
import { Status } from "./status.ts";
import { WatchServer } from "./watch_server.ts";

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
  /** How its key pair signs, and what others signed is verified. Default: where it is asked for. */
  readonly signatures?: Signatures;
  /** Whether to publish the twin's relays and encryption key where they differ. Default true. */
  readonly update?: boolean;
  /** Commands that the gateway answers beside `rmb.`: it starts and stops them. Default: none. */
  readonly plugins?: readonly Plugin[];
  /**
   * Where to serve `/metrics` and `/health`, to anyone who can connect there; port 0 for a free one.
   * Default: nowhere.
   */
  readonly metricsListen?: { readonly hostname: string; readonly port: number } | undefined;
}

/** What watches a gateway from its start on, also while it waits for Redis. */
interface Watch {
  readonly metrics: PeerMetrics;
  readonly status: Status;
  readonly server: WatchServer | undefined;
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
  readonly #server: WatchServer | undefined;
  readonly #relays: Relays;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #pending: Pending;
  readonly #plugins: readonly Plugin[];
  readonly #host: Host;
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  #running: Promise<unknown> = Promise.resolve();

  private constructor(twin: number, bus: Bus, watch: Watch, options: GatewayOptions) {
    const {
      keypair,
      signatures = directSignatures(keypair),
      encryption,
      registry,
      relays: urls,
      plugins = [],
      update = true,
    } = options;
    this.twin = twin;
    this.#bus = bus;
    const { metrics, status, server } = watch;
    this.#server = server;
    this.#plugins = [new RmbPlugin(twin, () => status.json()), ...plugins];
    const { signal } = this.#stop;
    const attempted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => attempted.resolve());
    const identity = new Identity({ twin }, signatures, encryption, registry, attempted.promise);
    this.#relays = new Relays({
      urls,
      session: identity.session,
      keypair,
      openSocket: openWsSocket,
      onMessage: (bytes) => this.#inbound.receive(bytes),
    });
    const onSent = (kind: string | undefined) => metrics.count(metrics.sent, kind);
    const sender = new Sender(identity, this.#relays, signal, onSent);
    const deliveries = new Deliveries(bus);
    const host = this.#host = new Host(sender, bus, deliveries);
    this.#outbound = new Outbound(bus, sender, this.#plugins, signal);
    this.#pending = new Pending(bus, metrics, signal);
    this.#inbound = new Inbound({
      bus,
      identity,
      sender,
      metrics,
      link: this.#relays,
      plugins: this.#plugins,
      host,
      deliveries,
      ready: this.#ready.promise,
    });
    status.started({
      relays: this.#relays,
      sender,
      inbound: this.#inbound,
      deliveries,
      stop: signal,
    });
    const domains = urls.flatMap((url) => registry.relayDomain(url) ?? []);
    const publication = { id: twin, keypair, encryption, registry, domains };
    const mode = update ? "replace" : "warn";
    publish({ ...publication, update: mode, onAttempt: attempted.resolve }, signal);
  }

  /**
   * Starts a gateway: finds out which twin it is, and begins to connect and to publish the twin's
   * relays and encryption key. It waits for Redis, but neither for relays nor for the registry.
   *
   * @throws {NoTwinError} if the account has no twin.
   * @throws {RmbError} if the registry can't be asked, it can't listen where it is told to, or something
   * else about the options can't work.
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { keypair, registry } = options;
    const redis = redactUrl(options.redis);
    checkRelays(options.relays);
    for (const relay of options.relays) {
      if (registry.relayDomain(relay) !== undefined) continue;
      logger.warn("relay {relay} has no name that a twin can publish: others may not reach it", {
        relay,
      });
    }
    const twin = await registry.twinIdByAccount(keypair.publicKey);
    if (twin === undefined) {
      throw new NoTwinError(`No twin has the ${keypair.type} account ${keypair.address}`);
    }
    logger.info("serving twin {twin}, account {account}, on {redis}", {
      twin,
      account: keypair.address,
      redis,
    });
    const metrics = new PeerMetrics();
    const bus = new Bus(options.redis, metrics);
    const status = new Status(twin, bus, registry, metrics);
    const server = await serve(options.metricsListen, metrics, status);
    await bus.connect();
    const gateway = new Gateway(twin, bus, { metrics, status, server }, options);
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
    await this.#server?.[Symbol.asyncDispose]();
  }
}

/** Serves those who watch a gateway, if it is to. */
async function serve(
  listen: GatewayOptions["metricsListen"],
  metrics: PeerMetrics,
  status: Status,
): Promise<WatchServer | undefined> {
  if (listen === undefined) return undefined;
  const server = await WatchServer.listen(listen.hostname, listen.port, {
    "/metrics": () => metrics.scrape(),
    "/health": () => status.health(),
  });
  logger.info("metrics are at http://{address}/metrics", { address: server.address });
  return server;
}
