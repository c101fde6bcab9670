import { getLogger } from "@logtape/logtape";
import { RmbError, type Session } from "@rmb/protocol";
import http, { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ListenWatch } from "./listen_watch.ts";
import {
  gatherWrites,
  makeWebSocketServer,
  type WebSocket,
  type WebSocketServer,
} from "./web_socket.ts";

const logger = getLogger(["rmb", "relay", "server"]);

/** How long clients may take, in milliseconds: who is slower is cut off. */
export interface ServerTimes {
  /** Time for a TLS handshake, and for a request's head. */
  readonly head: number;
  /** Time for all of a request. */
  readonly request: number;
  /** How often it is looked who is too slow. */
  readonly look: number;
  /** How long a connection without a request is kept: other relays use one again. */
  readonly keepAlive: number;
  /** How long a client that was refused has to read why. */
  readonly linger: number;
  /** How long requests under way may take when the server closes. */
  readonly close: number;
}

const TIMES: ServerTimes = {
  head: 10_000,
  request: 15_000,
  look: 1000,
  keepAlive: 60_000,
  linger: 1000,
  close: 3000,
};

/** Longest head of a request, in bytes: a token of 4 KiB and more fits. */
const MAX_HEAD = 16 * 1024;
/** Most frames that a message can be in, and most pieces of it that the network delivers. */
const MAX_FRAGMENTS = 1024;
const MAX_CHUNKS = 65_536;
/** How long a WebSocket that is being closed, for whatever reason, can go on sending, in milliseconds. */
const WEB_SOCKET_CLOSE_TIME = 2000;

/** How requests are refused that are none, by what the HTTP parser says of them. */
const MALFORMED: Answer = { status: 400, body: "not HTTP\n" };
const HTTP_ERRORS: Readonly<Record<string, Answer>> = {
  HPE_HEADER_OVERFLOW: { status: 431, body: `more than ${MAX_HEAD} bytes of headers\n` },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, body: "the request took too long\n" },
};

/** An answer to a request. */
export interface Answer {
  readonly status: number;
  /** Text, with a line break at its end if it is plain. */
  readonly body: string;
  /** Media type of the body. Default `text/plain`. */
  readonly type?: string;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Certificate and private key, as PEM. */
export interface TlsKeys {
  /** The certificate, and those above it. */
  readonly cert: string;
  /** Its private key. */
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
  /** Default: 10 s for a head, 15 s for a request, and so on. */
  readonly times?: ServerTimes;
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
  readonly #times: ServerTimes;
  /** Requests that are not answered yet: each settles when its answer is written, or can't be. */
  readonly #underWay = new Set<Promise<void>>();
  /** Connections that are not TLS yet, by their other ends. */
  readonly #handshakes = new Map<string, Socket>();

  #watch: ListenWatch | undefined;

  /** Makes one that does not listen yet. */
  constructor(options: ServerOptions) {
    this.#options = options;
    const times = this.#times = options.times ?? TIMES;
    this.#webSockets = makeWebSocketServer({
      maxPayload: options.maxMessage,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_CHUNKS,
      closeTimeout: WEB_SOCKET_CLOSE_TIME,
    });
    const settings = {
      headersTimeout: times.head,
      requestTimeout: times.request,
      connectionsCheckingInterval: times.look,
      keepAliveTimeout: times.keepAlive,
      maxHeaderSize: MAX_HEAD,
      noDelay: true,
      // HTTP lets a server ignore an offer of anything else, such as curl's of HTTP/2.
      shouldUpgradeCallback: ({ headers }: IncomingMessage) =>
        headers.upgrade?.toLowerCase() === "websocket",
    };
    this.#server = options.tls === undefined
      ? http.createServer(settings)
      // Deno's WebSocket client offers HTTP/2 alone at first, and would be turned away: no ALPN then.
      : https.createServer({
        ...settings,
        ...options.tls,
        handshakeTimeout: times.head,
        ALPNProtocols: [],
      });
    this.#server.on("request", (request, response) => void this.#serve(request, response));
    this.#server.on("upgrade", (request, connection, head) => {
      void this.#upgrade(request, connection, head);
    });
    this.#server.on("clientError", ({ code }: NodeJS.ErrnoException, connection) => {
      this.#refuse(connection, HTTP_ERRORS[code ?? ""] ?? MALFORMED);
    });
    this.#server.on("tlsClientError", (_error, connection) => connection.destroy());
    if (options.tls !== undefined) {
      this.#server.on("connection", (connection: Socket) => {
        const peer = peerOf(connection);
        this.#handshakes.set(peer, connection);
        connection.once("close", () => this.#handshakes.delete(peer));
      });
      this.#server.on("secureConnection", (connection) => {
        this.#handshakes.delete(peerOf(connection));
      });
    }
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
    this.#watch = new ListenWatch(this.#server, hostname);
  }

  /** Where it listens. */
  get address(): { readonly hostname: string; readonly port: number } {
    const { address, port } = this.#server.address() as AddressInfo;
    return { hostname: address, port };
  }

  /** Takes another certificate and its key, for connections from now on; they are not checked. */
  renew(tls: TlsKeys): void {
    (this.#server as https.Server).setSecureContext(tls);
  }

  /** Takes no more connections, and waits until those there are closed; not for long. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    for (const connection of this.#handshakes.values()) connection.destroy();
    // Who has not sent a request by now will not: nobody else would look whether it does.
    const cut = () => this.#server.closeAllConnections();
    const late = setTimeout(cut, this.#times.close);
    Promise.all(this.#underWay).then(cut);
    await closed;
    clearTimeout(late);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on("error", () => {}); // It is gone: so is who would hear of it.
    response.on("error", () => {});
    const written = new Promise<void>((resolve) => response.once("close", resolve));
    this.#underWay.add(written);
    written.then(() => this.#underWay.delete(written));
    const { status, body, type = "text/plain; charset=utf-8", headers } = await this.#options
      .answer(request).catch(failed);
    // Nobody reads the rest of a request that was refused.
    if (!request.complete) response.setHeader("connection", "close");
    response.writeHead(status, {
      ...headers,
      ...(body !== "" && { "content-type": type }),
      "content-length": new TextEncoder().encode(body).length,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #upgrade(request: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
    connection.on("error", () => {}); // It is gone then.
    const { url = "" } = request;
    const query = url.indexOf("?");
    const admitted = await this.#options.admit(query < 0 ? "" : url.slice(query + 1)).catch(failed);
    if ("status" in admitted) return this.#refuse(connection, admitted);
    this.#webSockets.handleUpgrade(request, connection, head, (socket) => {
      gatherWrites(socket, connection);
      this.#options.connect(admitted, socket, connection);
    });
  }

  /** Answers what is no request to serve, and closes the connection. */
  #refuse(connection: Duplex, { status, body }: Answer): void {
    connection.on("error", () => {}); // It is gone then.
    if (connection.destroyed) return;
    const timer = setTimeout(() => connection.destroy(), this.#times.linger);
    connection.once("close", () => clearTimeout(timer));
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
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function failed(error: unknown): Answer {
  logger.error("a request failed: {error}", { error: String(error) });
  return { status: 500, body: "internal error\n" };
}
