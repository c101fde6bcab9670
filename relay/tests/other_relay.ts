import { readRouting } from "@rmb/protocol";

/** Answers a message; with what `fetch` handlers may answer. */
export type AnswerMessage = (uid: string) => Response | Promise<Response>;

/** Another relay, as far as federation sees it: an HTTP server that answers as it is told. */
export class OtherRelay implements AsyncDisposable {
  /** Its domain, once it is started. */
  domain = "";
  /** What it answers. */
  answer: AnswerMessage = () => new Response(null, { status: 202 });
  /** Uids of the messages that came, in order, and when they did. */
  readonly received: string[] = [];
  readonly receivedAt: number[] = [];
  /** Uids of those that it has answered with 202. */
  readonly taken: string[] = [];
  /** The other ends of the connections to it. */
  readonly connections = new Set<string>();
  /** Answers nothing until it is stopped. */
  readonly hang: AnswerMessage = async () => {
    await this.#stopping.promise;
    return new Response(null, { status: 500 });
  };
  /** Most requests that there were at once. */
  mostAtOnce = 0;
  #atOnce = 0;
  #port = 0;
  #stopping = Promise.withResolvers<void>();
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;

  /** Starts one. */
  static start(answer?: AnswerMessage): OtherRelay {
    const relay = new OtherRelay();
    if (answer !== undefined) relay.answer = answer;
    relay.start();
    return relay;
  }

  /** Starts it, again on the same port. */
  start(): void {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: this.#port, onListen: () => {} },
      async (request, { remoteAddr }) => {
        this.connections.add(`${remoteAddr.port}`);
        this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
        try {
          return await this.#receive(request);
        } finally {
          this.#atOnce--;
        }
      },
    );
    this.#port = this.#server.addr.port;
    this.domain = `127.0.0.1:${this.#port}`;
  }

  /** Stops it; what comes then is refused by the kernel. */
  async stop(): Promise<void> {
    this.#stopping.resolve();
    await this.#server?.shutdown();
    this.#stopping = Promise.withResolvers();
    this.#server = undefined;
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #receive(request: Request): Promise<Response> {
    const { uid } = readRouting(await request.bytes());
    this.received.push(uid);
    this.receivedAt.push(performance.now());
    const response = await this.answer(uid);
    if (response.status === 202) this.taken.push(uid);
    return response;
  }
}
