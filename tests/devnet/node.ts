import { RmbError } from "@rmb/protocol";
import type { Chain, ChainListener, Import } from "./chain.ts";
import type { Pool } from "./pool.ts";
import { properName, RpcClient } from "./rpc.ts";
import type { Source } from "./subscriptions.ts";

/** Most bytes that a client leaves unread before it is dropped. */
const MAX_UNREAD = 64 * 1024 * 1024;

/** Largest request, as by a real node. */
const MAX_REQUEST = 15 * 1024 * 1024;

/** What is wrong with a node. */
export interface Faults {
  /**
   * Takes requests and never answers them: those for these methods; or all, as if it was stopped: then it
   * announces nothing either, and new connections stay half open.
   */
  hang: boolean | readonly string[];
  /** Answers so much later, in milliseconds. */
  slow: number;
  /** Announces no blocks. */
  silent: boolean;
  /** Announces none of so many next blocks. */
  skip: number;
  /** Does not listen, as if it was not there: connections are refused, those that there are end. */
  refuse: boolean;
}

/** A request of JSON-RPC. */
interface Call {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
}

/** A node of a chain: JSON-RPC over WebSocket, and over HTTP on the same port. */
export class Node {
  /** How often each method was called. */
  readonly calls = new Map<string, number>();
  readonly #address: Deno.NetAddr;
  readonly #source: Source;
  readonly #clients = new Set<WebSocket>();
  readonly #listeners = new Set<ChainListener>();
  #faults: Faults = { hang: false, slow: 0, silent: false, skip: 0, refuse: false };
  /** Settled when connections are closed. */
  #closing = Promise.withResolvers<void>();
  #stop = new AbortController();
  #server: Deno.HttpServer<Deno.NetAddr>;

  /**
   * Starts a node.
   *
   * @throws {RmbError} if it can't listen on that address.
   */
  constructor(chain: Chain, pool: Pool, address: { hostname: string; port: number }) {
    this.#source = {
      chain,
      pool,
      listen: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    };
    chain.listen({
      imported: (event) => this.#announce(event),
      finalized: (block) => {
        if (this.#isSilent || this.#faults.skip > 0) return;
        for (const { finalized } of this.#listeners) finalized?.(block);
      },
    });
    this.#server = this.#serve(address);
    this.#address = this.#server.addr;
  }

  /** Where it listens. */
  get url(): string {
    return `ws://${this.#address.hostname}:${this.#address.port}`;
  }

  /** What is wrong with it. */
  get faults(): Readonly<Faults> {
    return this.#faults;
  }

  /** Changes what is wrong with it. */
  async setFaults(faults: Partial<Faults>): Promise<void> {
    this.#faults = { ...this.#faults, ...faults };
    if (this.#faults.refuse) {
      this.closeConnections();
      this.#stop.abort();
      await this.#server.finished;
    } else if (this.#stop.signal.aborted) {
      this.#stop = new AbortController();
      this.#server = this.#serve(this.#address);
    }
  }

  /** Closes its connections, those that hang included. */
  closeConnections(): void {
    for (const client of this.#clients) client.close();
    this.#closing.resolve();
    this.#closing = Promise.withResolvers();
  }

  /** How many connections it has. */
  get connections(): number {
    return this.#clients.size;
  }

  get #isSilent(): boolean {
    return this.#faults.silent || this.#faults.hang === true;
  }

  #serve({ hostname, port }: { hostname: string; port: number }): Deno.HttpServer<Deno.NetAddr> {
    const { signal } = this.#stop;
    try {
      return Deno.serve({ hostname, port, signal, onListen: () => {} }, (request) => {
        return this.#respond(request);
      });
    } catch (cause) {
      throw new RmbError(`Cannot listen on ${hostname}:${port}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  #announce(event: Import): void {
    if (this.#isSilent) return;
    if (this.#faults.skip > 0) {
      this.#faults.skip--;
      return;
    }
    for (const { imported } of this.#listeners) imported?.(event);
  }

  #respond(request: Request): Response | Promise<Response> {
    if (this.#faults.hang === true) {
      return this.#closing.promise.then(() => new Response(null, { status: 503 }));
    }
    if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return this.#accept(request);
    if (request.method !== "POST") {
      return new Response("Used HTTP Method is not allowed. POST is required\n", { status: 405 });
    }
    return this.#post(request);
  }

  async #post(request: Request): Promise<Response> {
    const client = new RpcClient(this.#source);
    const answer = await this.#answer(client, await request.text());
    return answer === undefined ? new Response() : Response.json(answer);
  }

  #accept(request: Request): Response {
    let upgraded: Deno.WebSocketUpgrade;
    try {
      upgraded = Deno.upgradeWebSocket(request);
    } catch (error) {
      return new Response(`${(error as Error).message}\n`, { status: 400 });
    }
    const { socket, response } = upgraded;
    const send = (message: object) => {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (socket.bufferedAmount > MAX_UNREAD) socket.close();
      else socket.send(JSON.stringify(message));
    };
    const client = new RpcClient(this.#source, send);
    this.#clients.add(socket);
    socket.onmessage = async ({ data }) => {
      const answer = await this.#answer(client, String(data));
      if (answer !== undefined) send(answer);
    };
    socket.onclose = () => {
      this.#clients.delete(socket);
      client.end();
    };
    socket.onerror = () => {}; // The close follows.
    return response;
  }

  /** Answers a message: a request, or several. Undefined if there is nothing to answer. */
  async #answer(client: RpcClient, text: string): Promise<object | undefined> {
    let message: unknown;
    try {
      if (text.length > MAX_REQUEST) return failure(-32008, "Request is too big");
      message = JSON.parse(text);
    } catch {
      return failure(-32700, "Parse error");
    }
    if (!Array.isArray(message)) return await this.#answerOne(client, message);
    if (message.length === 0) return failure(-32600, "Invalid request");
    const answers = await Promise.all(message.map((one) => this.#answerOne(client, one)));
    const given = answers.filter((answer) => answer !== undefined);
    return given.length > 0 ? given : undefined;
  }

  async #answerOne(client: RpcClient, message: unknown): Promise<object | undefined> {
    const { id, method: name, params } = (message ?? {}) as Call;
    if (typeof name !== "string") return failure(-32600, "Invalid request", id);
    const method = properName(name);
    if (method !== undefined) this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    const { hang, slow } = this.#faults;
    if (hang === true || Array.isArray(hang) && hang.includes(method)) {
      await this.#closing.promise;
      return undefined;
    }
    if (slow > 0) await new Promise((resolve) => setTimeout(resolve, slow));
    const outcome = await client.call(method, params);
    return id === undefined ? undefined : { jsonrpc: "2.0", id, ...outcome };
  }
}

function failure(code: number, message: string, id: unknown = null): object {
  return { jsonrpc: "2.0", id, error: { code, message } };
}
