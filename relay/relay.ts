import { getLogger } from "@logtape/logtape";
import { RmbError, type TwinRegistry } from "@rmb/protocol";
import { admit } from "./admission.ts";
import type { Mailbox } from "./mailbox.ts";
import { RelayMetrics } from "./metrics.ts";
import { Router } from "./router.ts";

const logger = getLogger(["rmb", "relay"]);

/** Longest message that a relay takes by default, in bytes: what the reference takes. */
export const MAX_MESSAGE = 64 * 1024 * 1024;

/** Seconds without a sign of life after which a session is closed; a ping goes out at half of it. */
const IDLE_TIMEOUT = 40;

/** What a {@linkcode Relay} is made from. */
export interface RelayOptions {
  /** Domains of this relay, exactly as twins name it; at least one. */
  readonly domains: readonly string[];
  /** Who twins are. It stays the caller's to dispose of. */
  readonly registry: TwinRegistry;
  /** What waits for sessions. It stays the caller's to dispose of. */
  readonly mailbox: Mailbox;
  /** Address to listen on. Default `::`, all of them. */
  readonly hostname?: string;
  /** Port to listen on, 0 for a free one. Default 8080. */
  readonly port?: number;
  /** Longest message taken, in bytes. Default {@linkcode MAX_MESSAGE}. */
  readonly maxMessage?: number;
}

/**
 * A relay: twins connect to it over WebSocket, and it passes on what they send each other, or keeps
 * it for who is away. It serves `/metrics` and `/health` beside that.
 *
 * @example
 * ```ts
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 * import { Relay, SqliteStore } from "@rmb/relay";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using store = new SqliteStore("rmb-relay.db");
 * await using relay = new Relay({ domains: ["127.0.0.1:8080"], registry, store });
 * console.log(relay.address.port);
 * ```
 */
export class Relay implements AsyncDisposable {
  readonly #options: RelayOptions;
  readonly #metrics = new RelayMetrics();
  readonly #router: Router;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /**
   * Starts to listen at once.
   *
   * @throws {RmbError} if it can't listen there.
   */
  constructor(options: RelayOptions) {
    this.#options = options;
    this.#router = new Router({
      ...options,
      maxMessage: options.maxMessage ?? MAX_MESSAGE,
      metrics: this.#metrics,
    });
    const { hostname = "::", port = 8080 } = options;
    try {
      this.#server = this.#listen(hostname, port);
    } catch (cause) {
      const address = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
      throw new RmbError(`Cannot listen on "${address}": ${(cause as Error).message}`, { cause });
    }
  }

  #listen(hostname: string, port: number): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve({
      hostname,
      port,
      onListen: ({ hostname, port }) =>
        logger.info("listening on {hostname}:{port} for {domains}", {
          hostname,
          port,
          domains: this.#options.domains.join(", "),
        }),
      onError: (error) => {
        logger.error("a request failed: {error}", { error: String(error) });
        return new Response("internal error\n", { status: 500 });
      },
    }, (request) => this.#serve(request));
  }

  /** Where it listens. */
  get address(): Deno.NetAddr {
    return this.#server.addr;
  }

  /**
   * Stops: takes no more connections, closes the sessions with code 1001, and brings what they have
   * not got into the mailbox.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    // First the sessions: the server would close their sockets itself, and what those had not sent
    // could not be told any more.
    const disconnected = this.#router.close();
    await this.#server.shutdown();
    await disconnected;
  }

  #serve(request: Request): Response | Promise<Response> {
    const url = URL.parse(request.url); // Its host is what the client says.
    if (url === null) return new Response("not a host\n", { status: 400 });
    if (request.headers.get("upgrade")?.toLowerCase() === "websocket") {
      return this.#connect(request, url);
    }
    if (request.method === "GET" || request.method === "HEAD") {
      if (url.pathname === "/metrics") return this.#metrics.scrape();
      if (url.pathname === "/health") return new Response("ok\n");
    }
    return new Response("page not found\n", { status: 404 });
  }

  async #connect(request: Request, url: URL): Promise<Response> {
    const session = await admit(url, this.#options.registry);
    if (session instanceof Response) return session;
    let upgrade: Deno.WebSocketUpgrade;
    try {
      upgrade = Deno.upgradeWebSocket(request, { idleTimeout: IDLE_TIMEOUT });
    } catch (error) {
      return new Response(`not a WebSocket upgrade: ${(error as Error).message}\n`, {
        status: 400,
      });
    }
    const { socket, response } = upgrade;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#router.connect(session, socket);
    return response;
  }
}
