import { FULL_STATUS } from "./inbound.ts";

/** What another relay answered. */
export type Reply =
  | { readonly result: "taken" }
  /** It, and any other, will never take this message. */
  | { readonly result: "rejected"; readonly reason: string }
  /** It takes nothing for this destination now; it works. */
  | { readonly result: "full" }
  | { readonly result: "failed"; readonly reason: string };

/** Connections to one relay that are kept for the next message. */
const IDLE_CONNECTIONS = 16;

/** For how long they are, in milliseconds: less than servers do (node:http: 5 s), which close first else. */
const IDLE_TIME = 4000;

/** Bytes of an answer that are read, and characters of it that are told. */
const READ_BYTES = 1024;
const TOLD_CHARACTERS = 200;

/** Posts messages to other relays. */
export class Poster implements Disposable {
  readonly #scheme: string;
  readonly #patience: number;
  // Not HTTP/2: there a request that times out leaves a dead connection to those that follow.
  readonly #client = Deno.createHttpClient({
    http2: false,
    poolMaxIdlePerHost: IDLE_CONNECTIONS,
    poolIdleTimeout: IDLE_TIME,
  });
  readonly #underWay = new Set<AbortController>();

  /**
   * Makes one without connections.
   *
   * @param scheme `https` or `http`.
   * @param patience How long a request may take, connecting and the answer's body included, in
   * milliseconds.
   */
  constructor(scheme: "https" | "http", patience: number) {
    this.#scheme = scheme;
    this.#patience = patience;
  }

  /** Posts a message to a relay. Never rejects. */
  async post(domain: string, envelope: Uint8Array): Promise<Reply> {
    const abort = new AbortController();
    this.#underWay.add(abort);
    const late = new Error(`no answer within ${this.#patience} ms`);
    const timer = setTimeout(() => abort.abort(late), this.#patience);
    try {
      const response = await fetch(`${this.#scheme}://${domain}/`, {
        method: "POST",
        body: envelope as Uint8Array<ArrayBuffer>,
        client: this.#client,
        redirect: "manual",
        signal: abort.signal,
      });
      const { status } = response;
      const reason = `${status} ${printable(await readStart(response))}`.trimEnd();
      if (status === 202) return { result: "taken" };
      if (status === FULL_STATUS) return { result: "full" };
      return { result: status >= 400 && status < 500 ? "rejected" : "failed", reason };
    } catch (error) {
      return { result: "failed", reason: describe(error) };
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(abort);
    }
  }

  /** Ends what is under way, and closes all connections. */
  [Symbol.dispose](): void {
    for (const abort of this.#underWay) abort.abort(new Error("relay is shutting down"));
    this.#client.close();
  }
}

/** Reads the start of an answer's body. To the end, where it is short: its connection is used again. */
async function readStart(response: Response): Promise<Uint8Array> {
  const read = new Uint8Array(READ_BYTES);
  let length = 0;
  // Leaving the loop early cancels the rest.
  for await (const chunk of response.body ?? []) {
    const part = chunk.subarray(0, READ_BYTES - length);
    read.set(part, length);
    length += part.length;
    if (length === READ_BYTES) break;
  }
  return read.subarray(0, length);
}

/** What another relay says, fit for logs and for the sender. */
function printable(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes).replace(/[\p{C}\p{Z}]+/gu, " ").trim();
  return [...text].slice(0, TOLD_CHARACTERS).join("");
}

/** What fetch() says is in the cause. */
function describe(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
