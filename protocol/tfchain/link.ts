import { getLogger } from "@logtape/logtape";
import { RegistryError } from "../errors.ts";
import { Codec, type Head } from "./codec.ts";
import { describe, Node } from "./node.ts";
import { readRuntime, type RuntimeVersion, sameRuntime } from "./runtime.ts";
import { withResolvers } from "../with_resolvers.ts";

const logger = getLogger(["rmb", "registry"]);

/** Without a new block for so long, in milliseconds, a node is asked for its best one. */
const SILENCE = 7000;
/** How long it has to answer that, in milliseconds. */
const ANSWER_TIME = 2000;
/** How long it then has to announce a block that it has told of, in milliseconds. */
const ANNOUNCE_TIME = 1000;
/** Without a new block for so long, in milliseconds, another node may have one. */
const STANDSTILL = 30_000;

/** How far the chain's clock may be ahead and behind, in milliseconds: a block's time is its begin. */
const MAX_AHEAD = 30_000;
const MAX_BEHIND = 60_000;

/** A node in use: its chain is known, and it announces its blocks. */
export class Link {
  /** The connection. */
  readonly node: Node;
  /** What the chain's metadata says. */
  readonly codec: Codec;
  /** Called when there is a new best block. It must not throw. */
  onHead: () => void = () => {};
  #head!: Head;
  #heard = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  private constructor(node: Node, codec: Codec) {
    this.node = node;
    this.codec = codec;
    node.lost.then(() => clearTimeout(this.#timer));
  }

  /**
   * Connects to a node, and learns what it needs to know.
   *
   * @param url `ws:` or `wss:`.
   * @param known What was known before: metadata is only asked for if the runtime is another one, and
   * the chain must be the same.
   * @param signal Gives it up.
   * @throws If that can't be done; the message says why.
   */
  static async open(url: string, known: Codec | undefined, signal: AbortSignal): Promise<Link> {
    const node = await Node.open(url, signal);
    try {
      const [chain, genesisHash, version] = await Promise.all([
        node.call("system_chain", []),
        node.call("chain_getBlockHash", [0]),
        node.call("state_getRuntimeVersion", []),
      ]);
      const runtime = readRuntime(chain, genesisHash, version);
      if (known !== undefined && known.runtime.genesisHash !== runtime.genesisHash) {
        throw new RegistryError(
          `it is of another chain than before: ${runtime.chain}, genesis ${runtime.genesisHash}`,
        );
      }
      const codec = known !== undefined && sameRuntime(known.runtime, runtime)
        ? known
        : await Codec.open(runtime, await node.call<string>("state_getMetadata", []));
      const link = new Link(node, codec);
      await link.#subscribe();
      await link.#checkClock();
      return link;
    } catch (error) {
      node.leave("it can't be used");
      throw error;
    }
  }

  /** The best block that the node has announced. */
  get head(): Head {
    return this.#head;
  }

  /**
   * Reads from the storage as it is in a block.
   *
   * @returns What is there, as `0x` and hexadecimal digits, or null if nothing is.
   * @throws As {@linkcode Node.call} does.
   */
  read(key: string, hash: string): Promise<string | null> {
    return this.node.call("state_getStorage", [key, hash]);
  }

  async #subscribe(): Promise<void> {
    const { codec, node } = this;
    const first = withResolvers<void>();
    await node.subscribe("chain_subscribeNewHeads", [], (header) => {
      this.#announce(codec.readHead(header));
      first.resolve();
    });
    await node.subscribe("state_subscribeRuntimeVersion", [], (version) => {
      const runtime = { ...codec.runtime, version: version as RuntimeVersion };
      if (!sameRuntime(runtime, codec.runtime)) node.leave("its chain has a new runtime");
    });
    await Promise.race([first.promise, node.lost.then((error) => Promise.reject(error))]);
  }

  #announce(head: Head): void {
    this.#head = head;
    this.#heard = performance.now();
    clearTimeout(this.#timer);
    this.#watch();
    this.onHead();
  }

  #watch(): void {
    this.#timer = setTimeout(() => {
      this.#ask().catch((error) => this.node.leave(describe(error)));
    }, SILENCE);
  }

  /** Finds out whether the node is silent because nothing happens, and leaves it if not. */
  async #ask(): Promise<void> {
    const heard = this.#heard;
    const header = await this.node.call("chain_getHeader", [], ANSWER_TIME);
    if (this.#heard !== heard) return;
    if (this.codec.readHead(header).hash !== this.#head.hash) {
      this.#timer = setTimeout(
        () => this.node.leave("it does not announce its blocks any more"),
        ANNOUNCE_TIME,
      );
    } else if (performance.now() - heard > STANDSTILL) {
      this.node.leave(`its chain stands still: no block for ${STANDSTILL / 1000} s`);
    } else {
      this.#watch();
    }
  }

  async #checkClock(): Promise<void> {
    const { node, codec: { timeKey, runtime } } = this;
    const stored = timeKey && await this.read(timeKey, this.#head.hash);
    if (!stored) return;
    const [time, now] = [this.codec.readNumber(stored), Date.now()];
    if (time - now <= MAX_AHEAD && now - time <= MAX_BEHIND) return;
    const names = {
      chain: runtime.chain,
      url: node.url,
      time: new Date(time).toISOString(),
      now: new Date(now).toISOString(),
    };
    if (time > now) {
      logger.warn("this machine's clock is behind: it has {now}, {chain} by {url} {time}", names);
    } else {
      logger.warn(
        "this machine's clock is ahead, or {chain} by {url} stands still: " +
          "it has {time} in its best block, this machine {now}",
        names,
      );
    }
  }
}
