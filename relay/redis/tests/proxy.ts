/** Stands before a server, and can keep its answers. Disposing of it closes all connections. */
export class Proxy implements AsyncDisposable {
  /** How many connections were cut instead of passing on an answer. */
  cut = 0;
  /** The server's port, for connections from now on. */
  port: number;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #serving: Promise<unknown>[] = [];
  /** Connections whose next answer is not passed on. */
  #mute = new Set<Deno.TcpConn>();

  /** @param port The server's, on this machine. */
  constructor(port: number) {
    this.port = port;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#serving.push(this.#accept());
  }

  /** URL of the Redis behind it. */
  get url(): string {
    return `redis://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Cuts each connection that is open now when the server answers next, without its answer. */
  keepAnswers(): void {
    this.#mute = new Set(this.#open);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await Promise.all(this.#serving);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) this.#serving.push(this.#serve(client));
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    this.#open.add(client).add(server);
    const pipe = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
      const buffer = new Uint8Array(65536);
      try {
        for (let count; (count = await from.read(buffer)) !== null;) {
          if (this.#mute.has(from) && from === server) {
            this.cut++;
            break;
          }
          for (let sent = 0; sent < count;) sent += await to.write(buffer.subarray(sent, count));
        }
      } catch {
        // The other one was closed.
      }
      close(client);
      close(server);
      this.#open.delete(client);
      this.#open.delete(server);
    };
    await Promise.all([pipe(client, server), pipe(server, client)]);
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It is.
  }
}
