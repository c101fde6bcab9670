import { RmbError } from "@rmb/protocol";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getLogger } from "@logtape/logtape";

const logger = getLogger(["rmb", "peer", "metrics"]);

/** How long a connection may take for a request and to read the answer, in milliseconds. */
const CONNECTION_TIME = 10_000;
/** Most connections at once: who watches needs one, and not for long. */
const MAX_CONNECTIONS = 32;
/** Longest head of a request, in bytes. */
const MAX_HEAD = 8 * 1024;

/** An answer to a request. */
export interface WatchAnswer {
  readonly status: number;
  readonly body: string;
  /** Media type of the body. Default: plain text. */
  readonly type?: string;
}

/** What is answered at each path. */
export type WatchPaths = Readonly<Record<string, () => WatchAnswer | Promise<WatchAnswer>>>;

/** A small HTTP server for those who watch a program: one request for each connection, and not for long. */
export class WatchServer implements AsyncDisposable {
  readonly #server: http.Server;
  readonly #paths: WatchPaths;

  private constructor(paths: WatchPaths) {
    this.#paths = paths;
    this.#server = http.createServer({ maxHeaderSize: MAX_HEAD }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("connection", (connection: Socket) => {
      const late = setTimeout(() => connection.destroy(), CONNECTION_TIME);
      connection.once("close", () => clearTimeout(late));
    });
  }

  /**
   * Starts to listen.
   *
   * @throws {RmbError} if it can't listen there.
   */
  static async listen(hostname: string, port: number, paths: WatchPaths): Promise<WatchServer> {
    const watch = new WatchServer(paths);
    const server = watch.#server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(port, hostname, resolve);
    try {
      await promise;
    } catch (cause) {
      const address = formatAddress(hostname, port);
      throw new RmbError(`Cannot listen on "${address}": ${(cause as Error).message}`, { cause });
    }
    server.off("error", reject);
    server.on("error", (error) => {
      logger.error("metrics can't be served: {error}", { error: String(error) });
    });
    return watch;
  }

  /** Where it listens: `host:port`. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return formatAddress(address, port);
  }

  /** Ends all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on("error", () => {}); // It is gone: so is who would hear of it.
    response.on("error", () => {});
    const { status, body, type = "text/plain; charset=utf-8" } = await this.#answer(request);
    response.writeHead(status, {
      "connection": "close",
      "content-type": type,
      "content-length": new TextEncoder().encode(body).length,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #answer({ method, url = "" }: IncomingMessage): Promise<WatchAnswer> {
    const [path = ""] = url.split("?", 1);
    const isLook = method === "GET" || method === "HEAD";
    const answer = isLook && Object.hasOwn(this.#paths, path) ? this.#paths[path] : undefined;
    if (answer === undefined) return { status: 404, body: "page not found\n" };
    try {
      return await answer();
    } catch (error) {
      logger.error("{path} failed: {error}", { path, error: String(error) });
      return { status: 500, body: "internal error\n" };
    }
  }
}

function formatAddress(hostname: string, port: number): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
