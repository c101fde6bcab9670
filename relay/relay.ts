import { getLogger } from "@logtape/logtape";
import type { Session, TwinRegistry } from "@rmb/protocol";
import { addChainMetrics, followsChain } from "@rmb/protocol/metrics";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { admit } from "./admission.ts";
import { Federation } from "./federation/federation.ts";
import { Inbound } from "./federation/inbound.ts";
import { FederationMetrics } from "./federation/metrics.ts";
import { Heartbeat } from "./heartbeat.ts";
import { RelayMetrics } from "./metrics.ts";
import { RateLimit, type RateLimitOptions } from "./rate_limit.ts";
import { Router } from "./router.ts";
import { type Answer, Server, type TlsKeys } from "./server.ts";
import { type Reading, StatusPage } from "./status/mod.ts";
import type { Store } from "./store.ts";
import type { WebSocket } from "./web_socket.ts";

const logger = getLogger(["rmb", "relay"]);

/** Longest message that a relay takes by default, in bytes: what the reference takes. */
export const MAX_MESSAGE = 64 * 1024 * 1024;

/** Most sessions at once by default. */
export const MAX_SESSIONS = 100_000;

/** How long a failure of another relay counts against it by default, in seconds. */
const RANKER_PERIOD = 3600;

/** What a {@linkcode Relay} is made from. */
export interface RelayOptions {
  /** Domains of this relay, exactly as twins name it; at least one. */
  readonly domains: readonly string[];
  /** Who twins are. It stays the caller's to dispose of. */
  readonly registry: Pick<TwinRegistry, "twin">;
  /** What waits for sessions and for other relays. It stays the caller's to dispose of. */
  readonly store: Store;
  /** Address to listen on. Default `::`, all of them. */
  readonly hostname?: string;
  /** Port to listen on, 0 for a free one. Default 8080. */
  readonly port?: number;
  /** Certificate and key, to serve TLS. Default: none, plain. */
  readonly tls?: TlsKeys | undefined;
  /** Longest message taken, in bytes. Default {@linkcode MAX_MESSAGE}. */
  readonly maxMessage?: number;
  /** Most sessions at once. Default {@linkcode MAX_SESSIONS}. */
  readonly maxSessions?: number;
  /** What each twin may send in a minute. Default: anything. */
  readonly rateLimit?: RateLimitOptions | undefined;
  /** How other relays are reached. Default `https`. */
  readonly federationScheme?: "https" | "http";
  /** How long a failure of another relay counts against it, in seconds. Default 3600. */
  readonly rankerPeriod?: number;
  /** Whether to show anyone a page with numbers of the last hour at `/`. Default true. */
  readonly statusPage?: boolean;
}

/**
 * A relay: twins connect to it over WebSocket, and it passes on what they send each other, keeps it for
 * who is away, and exchanges it with other relays. Beside that it serves `/metrics`, `/health` and a
 * status page.
 *
 * @example
 * ```ts
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 * import { Relay, SqliteStore } from "@rmb/relay";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using store = new SqliteStore("rmb-relay.db");
 * await using relay = await Relay.start({ domains: ["127.0.0.1:8080"], registry, store });
 * console.log(relay.address.port);
 * ```
 */
export class Relay implements AsyncDisposable {
  readonly #maxSessions: number;
  readonly #registry: Pick<TwinRegistry, "twin">;
  readonly #store: Store;
  readonly #metrics = new RelayMetrics();
  readonly #heartbeat = new Heartbeat();
  readonly #router: Router;
  readonly #federation: Federation;
  readonly #inbound: Inbound;
  readonly #server: Server;
  readonly #statusPage: StatusPage | undefined;
  #closing = false;

  private constructor(options: RelayOptions) {
    const { domains, registry, store, maxMessage = MAX_MESSAGE, rateLimit } = options;
    this.#maxSessions = options.maxSessions ?? MAX_SESSIONS;
    this.#store = store;
    this.#registry = registry;
    this.#router = new Router({
      domains,
      registry,
      store,
      metrics: this.#metrics,
      rateLimit: rateLimit && new RateLimit(rateLimit),
      federate: (envelope, sender) => this.#federation.send(envelope, sender),
    });
    const federationMetrics = new FederationMetrics(this.#metrics.registry);
    this.#federation = new Federation({
      domains,
      registry,
      queue: store.federation,
      scheme: options.federationScheme ?? "https",
      rankerPeriod: options.rankerPeriod ?? RANKER_PERIOD,
      metrics: federationMetrics,
      answer: (session, bytes) => this.#router.answer(session, bytes),
      deliverHere: (envelope, routing) => this.#router.takeBack(envelope, routing),
    });
    this.#inbound = new Inbound({
      domains,
      registry,
      maxMessage,
      accept: (envelope, routing) => this.#router.accept(envelope, routing),
    });
    this.#server = new Server({
      hostname: options.hostname ?? "::",
      port: options.port ?? 8080,
      tls: options.tls,
      maxMessage,
      admit: (token) => this.#admit(token),
      connect: (session, socket, connection) => this.#connect(session, socket, connection),
      answer: (request) => this.#answer(request),
    });
    this.#metrics.gauge(
      "relay_waiting_bytes",
      "Bytes of messages that wait for a look-up or for the store",
      () => this.#router.waitingBytes,
    );
    this.#metrics.gauge(
      "relay_partial_bytes",
      "Bytes received of messages that are not complete",
      () => this.#heartbeat.partial,
    );
    this.#metrics.gauge(
      "relay_queue_messages",
      "Messages that wait for sessions in the mailbox",
      () => store.mailbox.depth().catch(() => NaN),
    );
    if (followsChain(registry)) addChainMetrics(this.#metrics, registry);
    if (options.statusPage ?? true) {
      this.#statusPage = new StatusPage(() => this.#read(federationMetrics));
    }
  }

  /**
   * Starts a relay.
   *
   * @throws {RmbError} if it can't listen where it is told to.
   */
  static async start(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    try {
      await relay.#server.listen();
    } catch (error) {
      relay.#statusPage?.[Symbol.dispose]();
      relay.#heartbeat[Symbol.dispose]();
      await relay.#federation[Symbol.asyncDispose]();
      throw error;
    }
    const { hostname, port } = relay.address;
    logger.info("listening on {hostname}:{port} for {domains}", {
      hostname,
      port,
      domains: options.domains.join(", "),
    });
    return relay;
  }

  /** Where it listens. */
  get address(): { readonly hostname: string; readonly port: number } {
    return this.#server.address;
  }

  /** Takes another certificate and key, for connections from now on. */
  renewTls(tls: TlsKeys): void {
    this.#server.renew(tls);
  }

  /**
   * Stops: takes no more connections, closes the sessions with code 1001, and brings what they have
   * not got into the mailbox.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#statusPage?.[Symbol.dispose]();
    logger.info("stopping with {sessions} sessions", { sessions: this.#router.sessions });
    await Promise.all([
      this.#router.close(),
      this.#federation[Symbol.asyncDispose](),
      this.#server[Symbol.asyncDispose](),
    ]);
    this.#heartbeat[Symbol.dispose]();
    logger.info("stopped");
  }

  async #admit(token: string): Promise<Session | Answer> {
    const admitted = await admit(token, this.#registry);
    if ("status" in admitted || this.#router.hasRoom(admitted, this.#maxSessions)) return admitted;
    const body = `${this.#maxSessions} sessions are connected: no more are taken now\n`;
    return { status: 503, body };
  }

  #connect(session: Session, socket: WebSocket, connection: Duplex): void {
    const connected = this.#router.connect(session, socket);
    this.#heartbeat.watch(
      socket,
      connection,
      (reason) => connected.terminate("closed", reason),
    );
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const { method, url = "" } = request;
    const [path = ""] = url.split("?", 1);
    if (method === "POST" && path === "/") return await this.#receive(request);
    if (method === "GET" || method === "HEAD") {
      if (path === "/metrics") return await this.#metrics.scrape();
      if (path === "/health") return this.#health();
      if (path === "/health/live") return { status: 200, body: "alive\n" };
      const page = this.#statusPage?.answer(path, url.slice(path.length));
      if (page !== undefined) return page;
    }
    return { status: 404, body: "page not found\n" };
  }

  /** Reads what the status page shows. */
  async #read(federation: FederationMetrics): Promise<Reading> {
    const metrics = this.#metrics;
    const [delivery, queued, byRelay] = await Promise.all([
      metrics.delivery.get(),
      this.#store.mailbox.depth().catch(() => null),
      federation.byRelay(),
    ]);
    return {
      sessions: metrics.sessions.size,
      messagesIn: metrics.received,
      messagesOut: metrics.sent,
      bytesIn: metrics.receivedBytes,
      bytesOut: metrics.sentBytes,
      queued,
      held: federation.held,
      deliveries: delivery.values.flatMap(({ labels: { le }, value }) =>
        le === undefined ? [] : [[le === "+Inf" ? Infinity : Number(le), value] as const]
      ),
      ...byRelay,
    };
  }

  /** Takes a message from another relay. */
  async #receive(request: IncomingMessage): Promise<Answer> {
    const declared = request.headers["content-length"];
    const { status, reason } = await this.#inbound.receiveBody(
      request,
      declared === undefined ? undefined : Number(declared),
    );
    return { status, body: reason && `${reason}\n` };
  }

  /**
   * Whether it can do its work: then clients may be sent to it. It can while the chain is away, for the
   * twins that it knows; no other relay could do more.
   */
  #health(): Answer {
    const failure = this.#closing
      ? "shutting down"
      : this.#store.failure ?? this.#router.storeFailure;
    if (failure !== undefined) return { status: 503, body: `alive, but not ready: ${failure}\n` };
    const alone = followsChain(this.#registry) && this.#registry.statistics().reconnecting;
    const remark = alone
      ? ", but no node of the chain is connected: only known twins are served"
      : "";
    return { status: 200, body: `ready${remark}\n` };
  }
}
