/** A relay for tests of what connects to one, and a network between them that can fail. */
import assert from "node:assert/strict";
import { createEnvelope, decodeEnvelope, encodeEnvelope } from "../envelope.ts";
import { readRouting } from "../routing.ts";

/** How long to wait for anything before a test fails, in milliseconds. */
const PATIENCE = 10_000;

/** What happened, to be waited for: in order, each taken once. */
export class Events<T> {
  readonly #what: string;
  readonly #arrived: T[] = [];
  #wake = () => {};

  /** @param what What the events are, for the error message when there is none. */
  constructor(what: string) {
    this.#what = what;
  }

  /** How many are there and not taken yet. */
  get length(): number {
    return this.#arrived.length;
  }

  push(event: T): void {
    this.#arrived.push(event);
    this.#wake();
  }

  /** The next one, waited for. */
  async next(): Promise<T> {
    if (this.#arrived.length === 0) {
      await within(new Promise<void>((resolve) => this.#wake = resolve), `no ${this.#what}`);
    }
    return this.#arrived.shift()!;
  }
}

/** What a promise resolves to, unless that takes too long. */
export async function within<T>(promise: Promise<T>, complaint: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: complaint })), PATIENCE);
  });
  try {
    return await Promise.race([promise, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}

/** A connection that a {@linkcode TestRelay} has taken. */
export class TestSession {
  readonly socket: WebSocket;
  /** The query string that it came with: its token. */
  readonly token: string;
  /** The messages received, text as text. */
  readonly messages = new Events<Uint8Array | string>("message");
  /** When it is closed. */
  readonly closed: Promise<CloseEvent>;

  /** @param answers Whether a ping is answered. */
  constructor(socket: WebSocket, token: string, answers: () => boolean) {
    this.socket = socket;
    this.token = token;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.messages.push(typeof data === "string" ? data : new Uint8Array(data));
      if (data instanceof ArrayBuffer && answers()) this.answer(new Uint8Array(data));
    };
    this.closed = new Promise((resolve) => socket.onclose = resolve);
  }

  /** Answers a message if it is a ping. */
  answer(bytes: Uint8Array): void {
    if (readRouting(bytes).kind !== "ping" || this.socket.readyState !== WebSocket.OPEN) return;
    const { uid } = decodeEnvelope(bytes);
    const pong = encodeEnvelope(createEnvelope({ uid, message: { case: "pong", value: {} } }));
    this.socket.send(pong as Uint8Array<ArrayBuffer>);
  }
}

/** A relay that takes every connection, or refuses all of them. */
export class TestRelay implements AsyncDisposable {
  /** The connections taken. */
  readonly sessions = new Events<TestSession>("connection");
  /** Answers requests instead of taking connections, when set. */
  refuse: ((request: Request) => Response | Promise<Response>) | undefined;
  /** Whether it answers pings. */
  answers = true;
  readonly #open = new Set<TestSession>();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => this.#answer(request),
  );

  get port(): number {
    return this.#server.addr.port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  #answer(request: Request): Response | Promise<Response> {
    if (this.refuse) return this.refuse(request);
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    const session = new TestSession(
      socket,
      new URL(request.url).search.slice(1),
      () => this.answers,
    );
    this.#open.add(session);
    session.closed.then(() => this.#open.delete(session));
    socket.onopen = () => this.sessions.push(session);
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#open];
    for (const { socket } of open) socket.close();
    await within(Promise.all(open.map(({ closed }) => closed)), "connections stayed open");
    await this.#server.shutdown();
  }
}

/** Passes TCP connections on to a port, until it is told to hold them up or cut them. */
export class Network implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #port: number;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #passing: Promise<unknown>[] = [];
  #flowing: PromiseWithResolvers<void> = Promise.withResolvers();
  #closed = false;
  /** How long each piece of up to 64 KiB is held up, in milliseconds. */
  delay = 0;

  /**
   * @param port Where to pass connections on to.
   * @param flowing Whether to do that from the start.
   * @param listener Where they come from. Default: a free port.
   */
  constructor(
    port: number,
    flowing = true,
    listener: Deno.TcpListener = Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  ) {
    this.#listener = listener;
    this.#port = port;
    if (flowing) this.#flowing.resolve();
    this.#passing.push(this.#accept());
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Holds up all that is sent, either way, while connections stay open. */
  stall(): void {
    this.#flowing = Promise.withResolvers();
  }

  /** Goes on with what was held up. */
  flow(): void {
    this.#flowing.resolve();
  }

  /** Ends the connections that there are; new ones are passed on. */
  cut(): void {
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
    this.#flowing.resolve();
  }

  async #accept(): Promise<void> {
    for await (const near of this.#listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
      if (this.#closed) {
        near.close();
        far.close();
        break;
      }
      this.#connections.add(near).add(far);
      this.#passing.push(this.#pass(near, far), this.#pass(far, near));
    }
  }

  async #pass(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    try {
      for (;;) {
        await this.#flowing.promise;
        const size = await from.read(buffer);
        if (size === null) break;
        if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay));
        await this.#flowing.promise;
        for (let sent = 0; sent < size;) sent += await to.write(buffer.subarray(sent, size));
      }
      await to.closeWrite();
    } catch {
      // Cut, or ended by the other side.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    this.cut();
    await within(Promise.all(this.#passing), "the network did not come to rest");
  }
}
