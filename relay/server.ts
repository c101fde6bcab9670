import { getLogger } from "@logtape/logtape";
import { RmbError, type Session } from "@rmb/protocol";
import http, { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "./web_socket.ts";

const logger = getLogger(["rmb", "relay", "server"]);

/** Time for a request's head, in milliseconds, and for all of a request: who is slower is cut off. */
const HEAD_TIME = 10_000;
const REQUEST_TIME = 15_000;
/** How often it is looked who is too slow, in milliseconds. */
const LOOK_INTERVAL = 1000;
/** How long a connection without a request is kept, in milliseconds: other relays use one again. */
const KEEP_ALIVE = 60_000;
/** How long requests under way may take when the server closes, in milliseconds. */
const CLOSE_TIME = 3000;
/** How long a client that was refused has to read why, in milliseconds. */
const LINGER = 1000;
/** Longest head of a request, in bytes: a token of 4 KiB and more fits. */
const MAX_HEAD = 16 * 1024;
/** Most frames that a message can be in, and most pieces of it that the network delivers. */
const MAX_FRAGMENTS = 1024;
const MAX_CHUNKS = 65_536;

/** How requests are refused that are none, by what the HTTP parser says of them. */
const MALFORMED: Answer = { status: 400, body: "not HTTP\n" };
const HTTP_ERRORS: Readonly<Record<string, Answer>> = {
  HPE_HEADER_OVERFLOW: { status: 431, body: `more than ${MAX_HEAD} bytes of headers\n` },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, body: "the request took too long\n" },
};

/** An answer to a request. */
export interface Answer {
  readonly status: number;
  /** Plain text, with a line break at its end. */
  readonly body: string;
  /** Media type of the body. Default `text/plain`. */
  readonly type?: string;
}

/** Certificate and private key, as PEM. */
export interface TlsKeys {
  readonly cert: string;
  readonly key: string;
}

/** What a server is made from. */
export interface ServerOptions {
  readonly hostname: string;
  /** 0 for a free one. */
  readonly port: number;
  /** To serve TLS; plain otherwise. */
  readonly tls?: TlsKeys | undefined;
  /** Longest message taken, in bytes. */
  readonly maxMessage: number;
  /** Decides about a client by its token: the session that it connects, or the answer that refuses it. */
  readonly admit: (token: string) => Promise<Session | Answer>;
  /** Takes a client that was admitted. */
  readonly connect: (session: Session, socket: WebSocket, connection: Duplex) => void;
  /** Answers any other request. */
  readonly answer: (request: IncomingMessage) => Promise<Answer>;
}

/**
 * The relay's HTTP server, with everything bounded that a client could make grow. Not `Deno.serve`: that
 * neither bounds the time of a request and the fragments of a message, nor can stop reading from a
 * client for a while.
 */
export class Server implements AsyncDisposable {
  readonly #options: ServerOptions;
  readonly #server: http.Server | https.Server;
  readonly #webSockets: WebSocketServer;

  /** Makes one that does not listen yet. */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      skipUTF8Validation: true, // Envelopes are checked as such, and text is refused.
      maxPayload: options.maxMessage,
      ...{ maxFragments: MAX_FRAGMENTS, maxBufferedChunks: MAX_CHUNKS },
    });
    const settings = {
      headersTimeout: HEAD_TIME,
      requestTimeout: REQUEST_TIME,
      connectionsCheckingInterval: LOOK_INTERVAL,
      keepAliveTimeout: KEEP_ALIVE,
      maxHeaderSize: MAX_HEAD,
      noDelay: true,
    };
    this.#server = options.tls === undefined
      ? http.createServer(settings)
      // Deno's WebSocket client offers HTTP/2 alone at first, and would be turned away: no ALPN then.
      : https.createServer({ ...settings, ...options.tls, ALPNProtocols: [] });
    this.#server.on("request", (request, response) => void this.#serve(request, response));
    this.#server.on("upgrade", (request, connection, head) => {
      void this.#upgrade(request, connection, head);
    });
    this.#server.on("clientError", ({ code }: NodeJS.ErrnoException, connection) => {
      refuse(connection, HTTP_ERRORS[code ?? ""] ?? MALFORMED);
    });
    this.#server.on("tlsClientError", (_error, connection) => connection.destroy());
  }

  /**
   * Starts to listen.
   *
   * @throws {RmbError} if it can't listen there.
   */
  async listen(): Promise<void> {
    const { hostname, port } = this.#options;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once("error", reject);
        this.#server.listen(port, hostname, () => {
          this.#server.off("error", reject);
          resolve();
        });
      });
    } catch (cause) {
      const address = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
      throw new RmbError(`Cannot listen on "${address}": ${(cause as Error).message}`, { cause });
    }
    this.#server.on("error", (error) => {
      logger.error("connections can't be accepted: {error}", { error: String(error) });
    });
  }

  /** Where it listens. */
  get address(): { readonly hostname: string; readonly port: number } {
    const { address, port } = this.#server.address() as AddressInfo;
    return { hostname: address, port };
  }

  /** Takes another certificate and key, for connections from now on. */
  renew(tls: TlsKeys): void {
    (this.#server as https.Server).setSecureContext(tls);
  }

  /** Takes no more connections, and waits until those there are closed; not for long. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), CLOSE_TIME);
    await closed;
    clearTimeout(timer);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on("error", () => {}); // It is gone: so is who would hear of it.
    response.on("error", () => {});
    const { status, body, type = "text/plain; charset=utf-8" } = await this.#options.answer(request)
      .catch(failed);
    // Nobody reads the rest of a request that was refused.
    if (!request.complete) response.setHeader("connection", "close");
    response.writeHead(status, {
      ...(body !== "" && { "content-type": type }),
      "content-length": new TextEncoder().encode(body).length,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #upgrade(request: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
    connection.on("error", () => {}); // It is gone then.
    if (request.headers.upgrade?.toLowerCase() !== "websocket") {
      return refuse(connection, { status: 400, body: "only WebSocket is offered\n" });
    }
    const { url = "" } = request;
    const query = url.indexOf("?");
    const admitted = await this.#options.admit(query < 0 ? "" : url.slice(query + 1)).catch(failed);
    if ("status" in admitted) return refuse(connection, admitted);
    this.#webSockets.handleUpgrade(request, connection, head, (socket) => {
      this.#options.connect(admitted, socket, connection);
    });
  }
}

function failed(error: unknown): Answer {
  logger.error("a request failed: {error}", { error: String(error) });
  return { status: 500, body: "internal error\n" };
}

/** Answers what is no request to serve, and closes the connection. */
function refuse(connection: Duplex, { status, body }: Answer): void {
  connection.on("error", () => {}); // It is gone then.
  setTimeout(() => connection.destroy(), LINGER);
  connection.resume();
  connection.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      `Date: ${new Date().toUTCString()}`,
      "Connection: close",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${new TextEncoder().encode(body).length}`,
      "",
      body,
    ].join("\r\n"),
  );
}
