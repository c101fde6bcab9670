/**
 * The twins of TFChain, or another Substrate chain with a `TfgridModule`. In an entry point of its
 * own, because loading `@polkadot/api` takes time and memory.
 *
 * @module
 */
import { isTfchainDomain, parseRelayUrl } from "../domain.ts";
import type { Keypair } from "../keys.ts";
import { checkPlatform } from "../socket.ts";
import type { Twin, TwinRegistry, TwinUpdate } from "../twin.ts";
import { TwinCache } from "./cache.ts";
import { Follower } from "./follower.ts";
import { LookUps } from "./look_ups.ts";
import { Nodes } from "./nodes.ts";
import { Updater } from "./update.ts";

/** Missed blocks above which all twins are looked up anew, instead of those changed in them. */
const CATCH_UP_THRESHOLD = 600;

/** What a {@linkcode TfchainRegistry} is made from. */
export interface TfchainOptions {
  /** URLs of nodes, `ws:` or `wss:`, at least one. One at a time is connected to. */
  readonly urls: readonly string[];
  /** Missed blocks above which all twins are looked up anew, instead of those changed in them. Default 600. */
  readonly catchUpThreshold?: number;
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
}

/** What has happened in a {@linkcode TfchainRegistry} since its start, counted. */
export interface TfchainStatistics {
  /** Look-ups of twins that the chain was asked for. */
  readonly cacheMisses: number;
  /** How often all twins were forgotten. */
  readonly cacheFlushes: number;
  /** Twins remembered now, ids without a twin included. */
  readonly cacheEntries: number;
  /** Whether no node is connected. */
  readonly reconnecting: boolean;
  /** Rounds over the URLs after a connection was lost. */
  readonly reconnectCycles: number;
  /** Blocks whose events could not be read. */
  readonly decodeErrors: number;
  /** Blocks whose events could not be had, so that all twins were forgotten. */
  readonly cacheErrors: number;
  /** Number of the last block whose events were seen. */
  readonly lastBlock: number;
  /** Events seen that say that a twin is new. */
  readonly twinsStored: number;
  /** Events seen that say that a twin has changed. */
  readonly twinsUpdated: number;
}

/**
 * A {@linkcode TwinRegistry} on a chain. It stays connected to one of several nodes, and remembers
 * twins until an event of a best block says that they have changed: what it remembers needs no node.
 * What goes wrong with nodes is told to the logger `rmb.registry`.
 *
 * @example
 * ```ts
 * import { TfchainRegistry } from "@rmb/protocol/tfchain";
 *
 * await using registry = await TfchainRegistry.connect({
 *   urls: ["wss://tfchain.grid.tf", "wss://02.tfchain.grid.tf"],
 * });
 * console.log((await registry.twin(7))?.relays);
 * ```
 */
export class TfchainRegistry implements TwinRegistry {
  readonly #cache: TwinCache;
  readonly #follower: Follower;
  readonly #lookUps: LookUps;
  readonly #nodes: Nodes;
  readonly #updater: Updater;

  private constructor(nodes: Nodes, cache: TwinCache, lookUps: LookUps, follower: Follower) {
    this.#cache = cache;
    this.#follower = follower;
    this.#lookUps = lookUps;
    this.#nodes = nodes;
    this.#updater = new Updater(nodes, follower);
  }

  /**
   * Connects to the first of the nodes that can be reached. An attempt takes at most 12 s, and there
   * are two rounds over all of them.
   *
   * @throws {RegistryError} if none can be reached, or none is of a chain that has twins, with the
   * reason for each URL.
   * @throws {FormatError} if there is no URL, or one is none of a WebSocket.
   * @throws {RmbError} if the platform has no WebSocket.
   * @throws The signal's reason, if it aborts before.
   */
  static async connect(options: TfchainOptions): Promise<TfchainRegistry> {
    const { urls, catchUpThreshold = CATCH_UP_THRESHOLD, signal } = options;
    checkPlatform();
    const cache: TwinCache = new TwinCache((id) => lookUps.twin(id));
    const follower = new Follower(cache, catchUpThreshold);
    const nodes = await Nodes.connect(urls, follower, signal);
    const lookUps = new LookUps(nodes, follower);
    return new TfchainRegistry(nodes, cache, lookUps, follower);
  }

  /** What has happened since the start. */
  statistics(): TfchainStatistics {
    const { lastBlock, decodeErrors, cacheErrors, twinsStored, twinsUpdated } = this.#follower;
    return {
      cacheMisses: this.#cache.misses,
      cacheFlushes: this.#cache.flushes,
      cacheEntries: this.#cache.size,
      reconnecting: this.#nodes.reconnecting,
      reconnectCycles: this.#nodes.reconnectCycles,
      decodeErrors,
      cacheErrors,
      lastBlock,
      twinsStored,
      twinsUpdated,
    };
  }

  /**
   * Looks up a twin: without asking the chain, if it is remembered. Who asks for one that is being
   * looked up gets the same answer.
   * Otherwise a node has 5 s to answer, and if it does not, the next one.
   *
   * @throws {RegistryError} if the chain can't be asked now.
   */
  twin(id: number): Promise<Twin | undefined> {
    return this.#cache.twin(id);
  }

  /**
   * Looks up the twin of an account. The answer is not remembered.
   *
   * @throws {RegistryError} if the chain can't be asked now.
   */
  twinIdByAccount(account: Uint8Array): Promise<number | undefined> {
    return this.#lookUps.twinIdByAccount(account);
  }

  /**
   * Publishes relays and encryption key of the key pair's own twin, by a transaction that its account
   * pays for; none is sent if they are so already. Done when a block has it.
   *
   * @throws {RegistryError} if the account has no twin or too little to pay, the chain refuses it, or
   * it is not done within 60 s.
   */
  updateTwin(keypair: Keypair, update: TwinUpdate): Promise<void> {
    return this.#updater.update(keypair, update);
  }

  /** The relay domain of a relay's URL: its host; undefined for IPv6, which has no name on the chain. */
  relayDomain(url: string): string | undefined {
    const { hostname } = parseRelayUrl(url);
    return isTfchainDomain(hostname) ? hostname : undefined;
  }

  /** Disconnects, and gives up what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#updater[Symbol.dispose]();
    await this.#nodes[Symbol.asyncDispose]();
  }
}
