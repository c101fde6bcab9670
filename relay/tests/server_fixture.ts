import type { Session } from "@rmb/protocol";
import { until } from "../../tests/fixtures/deadline.ts";
import { type Answer, Server, type ServerOptions, type ServerTimes } from "../server.ts";
import type { WebSocket } from "../web_socket.ts";

/** Times that nobody reaches who is not made to. */
export const TIMES: ServerTimes = {
  head: 10_000,
  request: 15_000,
  look: 20,
  keepAlive: 60_000,
  linger: 5000,
  close: 3000,
};

/** A client that a server took. */
export interface Taken {
  readonly session: Session;
  readonly socket: WebSocket;
  /** What came from it, as text. */
  readonly received: string[];
  /** The code that it was closed with. */
  readonly closed: Promise<number>;
}

/** A server that admits everybody, and answers all requests with "hello". */
export class ServerFixture implements AsyncDisposable {
  /** The clients taken, in order. */
  readonly taken: Taken[] = [];
  readonly server: Server;

  /** Makes one; it listens on a free port. */
  static async start(options: Partial<ServerOptions> = {}): Promise<ServerFixture> {
    const fixture = new ServerFixture(options);
    await fixture.server.listen();
    return fixture;
  }

  private constructor(options: Partial<ServerOptions>) {
    this.server = new Server({
      hostname: "127.0.0.1",
      port: 0,
      maxMessage: 1000,
      admit: () => Promise.resolve({ twin: 7 }),
      connect: (session, socket) => this.#connect(session, socket),
      answer: (): Promise<Answer> => Promise.resolve({ status: 200, body: "hello\n" }),
      times: TIMES,
      ...options,
    });
  }

  /** Where it listens. */
  get host(): string {
    return `127.0.0.1:${this.server.address.port}`;
  }

  /** Waits for the first client that it takes. */
  async first(): Promise<Taken> {
    await until(() => this.taken.length > 0, "a client taken");
    return this.taken[0]!;
  }

  /** Opens a connection. */
  async open(): Promise<Client> {
    const { port } = this.server.address;
    return new Client(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends text on a connection of its own; all that comes until its end. */
  async exchange(text: string): Promise<string> {
    using client = await this.open();
    await client.write(text);
    return await client.readAll();
  }

  /** Stops it, and cuts its WebSockets. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.taken) socket.terminate();
    await this.server[Symbol.asyncDispose]();
  }

  #connect(session: Session, socket: WebSocket): void {
    const received: string[] = [];
    socket.on("message", (data) => received.push(String(data)));
    socket.on("error", () => {}); // It is closed then.
    const closed = new Promise<number>((resolve) => socket.on("close", resolve));
    this.taken.push({ session, socket, received, closed });
  }
}

/** A connection as a client has it. */
export class Client implements Disposable {
  readonly #connection: Deno.Conn;

  /** Makes one of an open connection. */
  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /** Sends text, or bytes. */
  async write(given: string | Uint8Array): Promise<void> {
    const bytes = typeof given === "string" ? new TextEncoder().encode(given) : given;
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Reads what comes next; empty at the end, also if that is not orderly. */
  async read(): Promise<string> {
    const buffer = new Uint8Array(64 * 1024);
    const size = await this.#connection.read(buffer).catch(() => null);
    return new TextDecoder().decode(buffer.subarray(0, size ?? 0));
  }

  /** Reads until text has come. */
  async readUntil(text: string): Promise<string> {
    let all = "";
    while (!all.includes(text)) {
      const more = await this.read();
      if (more === "") throw new Error(`the connection ended after: ${all}`);
      all += more;
    }
    return all;
  }

  /** Reads until the end. */
  async readAll(): Promise<string> {
    let all = "";
    for (;;) {
      const more = await this.read();
      if (more === "") return all;
      all += more;
    }
  }

  /** Cuts it. */
  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

/** A request's head, as text. */
export function head(line: string, headers: Readonly<Record<string, string>> = {}): string {
  const all = Object.entries({ Host: "relay.test", ...headers });
  return [`${line} HTTP/1.1`, ...all.map(([name, value]) => `${name}: ${value}`), "", ""]
    .join("\r\n");
}

/** The head of a request to upgrade to WebSocket. */
export function upgradeHead(path: string): string {
  return head(`GET ${path}`, {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  });
}
