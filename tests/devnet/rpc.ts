import { methods } from "./methods.ts";
import { Params } from "./params.ts";
import { RpcError } from "./rpc_error.ts";
import { type Source, subscriptions } from "./subscriptions.ts";

/** Most subscriptions of a connection, as by a real node. */
const MAX_SUBSCRIPTIONS = 1024;

/** Which method a subscription ends with, by that method. */
const ends = new Set(Object.values(subscriptions).map(({ end }) => end));

/** Other names of methods, which real nodes know as well; clients use some of them. */
const aliases: Readonly<Record<string, string>> = {
  account_nextIndex: "system_accountNextIndex",
  chain_getFinalisedHead: "chain_getFinalizedHead",
  chain_getHead: "chain_getBlockHash",
  chain_getRuntimeVersion: "state_getRuntimeVersion",
  chain_subscribeFinalisedHeads: "chain_subscribeFinalizedHeads",
  chain_subscribeNewHead: "chain_subscribeNewHeads",
  chain_subscribeRuntimeVersion: "state_subscribeRuntimeVersion",
  chain_unsubscribeFinalisedHeads: "chain_unsubscribeFinalizedHeads",
  chain_unsubscribeNewHead: "chain_unsubscribeNewHeads",
  chain_unsubscribeRuntimeVersion: "state_unsubscribeRuntimeVersion",
  state_callAt: "state_call",
  state_getKeysPagedAt: "state_getKeysPaged",
  state_getStorageAt: "state_getStorage",
  state_getStorageHashAt: "state_getStorageHash",
  state_getStorageSizeAt: "state_getStorageSize",
  subscribe_newHead: "chain_subscribeNewHeads",
  unsubscribe_newHead: "chain_unsubscribeNewHeads",
};

/** All methods, as clients are told. */
const names: ReadonlySet<string> = new Set([
  ...Object.keys(methods),
  ...Object.keys(subscriptions),
  ...ends,
  ...Object.keys(aliases),
  "rpc_methods",
].sort());

/** The name that a method has first of all; undefined if there is no such method. */
export function properName(method: string): string | undefined {
  return names.has(method) ? aliases[method] ?? method : undefined;
}

/** One client of a node: its calls, and what it has subscribed to. */
export class RpcClient {
  readonly #source: Source;
  readonly #send: ((message: object) => void) | undefined;
  readonly #subscribed = new Map<string, () => void>();

  /**
   * @param source What is asked about.
   * @param send Sends a message that answers nothing; without it, nothing can be subscribed to.
   */
  constructor(source: Source, send?: (message: object) => void) {
    this.#source = source;
    this.#send = send;
  }

  /**
   * Carries out a call. It is answered in any case.
   *
   * @param method Its {@linkcode properName}.
   */
  async call(
    method: string | undefined,
    params: unknown,
  ): Promise<{ result: unknown } | { error: object }> {
    try {
      return { result: await this.#call(method, new Params(params)) ?? null };
    } catch (error) {
      const { code, message, data } = error instanceof RpcError ? error : internal(error);
      return { error: { code, message, ...(data !== undefined && { data }) } };
    }
  }

  /** Ends all its subscriptions. */
  end(): void {
    for (const stop of this.#subscribed.values()) stop();
    this.#subscribed.clear();
  }

  #call(method: string | undefined, params: Params): unknown {
    if (method === undefined) throw new RpcError(-32601, "Method not found");
    if (method === "rpc_methods") return { methods: [...names] };
    if (method in methods) return methods[method]!(params, this.#source);
    if (this.#send === undefined) throw new RpcError(-32601, "Method not found");
    return ends.has(method) ? this.#unsubscribe(params) : this.#subscribe(method, params);
  }

  async #subscribe(method: string, params: Params): Promise<string> {
    if (this.#subscribed.size >= MAX_SUBSCRIPTIONS) {
      const limit = `Exceeded max limit of ${MAX_SUBSCRIPTIONS}`;
      throw new RpcError(-32006, "Too many subscriptions on the connection", limit);
    }
    const subscription = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
    const { notification, start } = subscriptions[method]!;
    this.#subscribed.set(subscription, () => {});
    try {
      const stop = await start(params, this.#source, (result) => {
        if (!this.#subscribed.has(subscription)) return;
        const message = { jsonrpc: "2.0", method: notification, params: { subscription, result } };
        // After the answer, by which the client learns of the subscription.
        setTimeout(() => this.#send!(message));
      });
      // The client may be gone by now.
      if (this.#subscribed.has(subscription)) this.#subscribed.set(subscription, stop);
      else stop();
    } catch (error) {
      this.#subscribed.delete(subscription);
      throw error;
    }
    return subscription;
  }

  #unsubscribe(params: Params): boolean {
    const id = params.text(0);
    this.#subscribed.get(id)?.();
    return this.#subscribed.delete(id);
  }
}

/** What a client is told of a fault of the stand-in itself. */
function internal(error: unknown): RpcError {
  console.error("internal error:", error);
  return new RpcError(-32603, "Internal error");
}
