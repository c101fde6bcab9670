import { getLogger } from "@logtape/logtape";
import { FormatError, RegistryError } from "../errors.ts";
import type { Follower } from "./follower.ts";
import { Link } from "./link.ts";
import { describe, redactNodeUrl } from "./node.ts";
import { withResolvers } from "../with_resolvers.ts";

const logger = getLogger(["rmb", "registry"]);

/** How long an attempt to connect to a node may take, in milliseconds. */
const ATTEMPT_TIME = 12_000;

/** Rounds over all nodes before connecting fails for the first time, and the wait between them. */
const ROUNDS = 2;
const ROUND_WAIT = 1000;

/** Shortest and longest wait before another round, in milliseconds; waits double between them. */
const WAITS = [500, 60_000] as const;

/** How long what needs a node waits for an attempt under way, in milliseconds. */
const LINK_TIME = 5000;

/** No node is connected now. */
export class NotConnectedError extends RegistryError {}

/** Several nodes of which one is in use: when it is lost, the next one, for as long as it takes. */
export class Nodes implements AsyncDisposable {
  /** Rounds over the nodes since the first connection was lost. */
  reconnectCycles = 0;
  readonly #urls: readonly string[];
  readonly #follower: Follower;
  #next = 0;
  #link: Link | undefined;
  /** Why there is no connection, while none is being made. */
  #failure: string | undefined;
  /** Settles when a connection is made, or none of the nodes could be reached. */
  #tried = withResolvers<void>();
  #closed = false;
  /** Ends the wait or the attempt under way. */
  #interrupt: () => void = () => {};
  #running: Promise<void> = Promise.resolve();

  private constructor(urls: readonly string[], follower: Follower) {
    this.#urls = urls;
    this.#follower = follower;
  }

  /**
   * Connects to the first node that can be reached.
   *
   * @param urls The nodes.
   * @param follower Follows the blocks of the one in use.
   * @param signal Gives it up.
   * @throws {RegistryError} if none can be reached, with the reason for each.
   * @throws {FormatError} if there is no URL, or one is none of a WebSocket.
   */
  static async connect(
    urls: readonly string[],
    follower: Follower,
    signal?: AbortSignal,
  ): Promise<Nodes> {
    signal?.throwIfAborted();
    if (urls.length === 0) throw new FormatError("Cannot connect to a chain: no URL is given");
    urls.forEach(checkUrl);
    const nodes = new Nodes(urls, follower);
    const abort = () => nodes.#close();
    signal?.addEventListener("abort", abort);
    try {
      for (let round = 1; round <= ROUNDS && nodes.#link === undefined; round++) {
        if (round > 1) await nodes.#pause(ROUND_WAIT);
        await nodes.#round();
      }
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    signal?.throwIfAborted();
    if (nodes.#link === undefined) {
      throw new RegistryError(`Cannot connect to the chain: ${nodes.#failure}`);
    }
    nodes.#running = nodes.#run(nodes.#link);
    return nodes;
  }

  /** Whether there is no connection. */
  get reconnecting(): boolean {
    return this.#link === undefined;
  }

  /**
   * The node in use. While one is being connected to, this waits for it, up to 5 s.
   *
   * @throws {NotConnectedError} if there is none, with the reasons.
   */
  async link(): Promise<Link> {
    if (!isInUse(this.#link) && this.#failure === undefined) {
      const late = withResolvers<void>();
      const timer = setTimeout(late.resolve, LINK_TIME);
      await Promise.race([this.#tried.promise, late.promise]);
      clearTimeout(timer);
    }
    if (isInUse(this.#link)) return this.#link;
    const reason = this.#failure ?? `none has answered within ${LINK_TIME / 1000} s`;
    throw new NotConnectedError(`the chain is not connected: ${reason}`);
  }

  /** Disconnects. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.#running;
  }

  #close(): void {
    this.#closed = true;
    this.#failure = "the registry is closed";
    this.#link?.node.leave(this.#failure);
    this.#interrupt();
    this.#settle();
  }

  /** Stays connected. */
  async #run(link: Link): Promise<void> {
    const [shortest, longest] = WAITS;
    let wait = 0;
    while (true) {
      const since = performance.now();
      const { message } = await link.node.lost;
      this.#link = undefined;
      // One that held for a while was a good one. A shorter one may be lost again at once.
      if (performance.now() - since > longest) wait = 0;
      let failure = `${link.node.url}: ${message}`;
      let told = "";
      do {
        if (this.#closed) return;
        const retryIn = Math.round(wait * (0.5 + Math.random() / 2));
        if (failure !== told) {
          logger.warn("the chain is not connected: {failure}; next attempt in {retryIn} ms", {
            failure,
            retryIn,
          });
        }
        told = failure;
        if (retryIn > 0) {
          this.#failure = failure;
          this.#settle();
          await this.#pause(retryIn);
        }
        wait = Math.min(Math.max(wait * 2, shortest), longest);
        this.reconnectCycles++;
        failure = await this.#round();
      } while (this.#link === undefined);
      link = this.#link;
    }
  }

  /** Tries each node once until one is connected to; returns why the others are not. */
  async #round(): Promise<string> {
    const failures: string[] = [];
    for (let i = 0; i < this.#urls.length && !this.#closed; i++) {
      const url = this.#urls[this.#next++ % this.#urls.length]!;
      const attempt = new AbortController();
      const timer = setTimeout(
        () => attempt.abort(new Error(`not connected within ${ATTEMPT_TIME / 1000} s`)),
        ATTEMPT_TIME,
      );
      this.#interrupt = () => attempt.abort(new Error("the registry is closed"));
      this.#failure = undefined;
      try {
        const link = await Link.open(url, this.#follower.codec, attempt.signal);
        this.#follower.follow(link);
        this.#link = link;
        this.#settle();
        logger.info("connected to {chain} by {url}", {
          chain: link.codec.runtime.chain,
          url: link.node.url,
        });
        return "";
      } catch (error) {
        failures.push(`${redactNodeUrl(url)}: ${describe(error)}`);
      } finally {
        clearTimeout(timer);
      }
    }
    this.#failure = failures.join("; ");
    this.#settle();
    return this.#failure;
  }

  /** Tells who waits that there is a connection now, or a reason why there is none. */
  #settle(): void {
    this.#tried.resolve();
    this.#tried = withResolvers();
  }

  #pause(milliseconds: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Does not quote what it refuses, which may have a password. */
function checkUrl(url: string): void {
  const { protocol, host } = URL.parse(url) ?? {};
  if (!/^wss?:$/.test(protocol ?? "") || !host) {
    throw new FormatError("Cannot use the URL of a chain's node: expected ws://host or wss://host");
  }
}

function isInUse(link: Link | undefined): link is Link {
  return link !== undefined && !link.node.isLost;
}
