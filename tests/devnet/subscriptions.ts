import type { Block } from "./block.ts";
import type { Chain, ChainListener } from "./chain.ts";
import { headerJson, hexOrNull, type Subject, versionJson } from "./methods.ts";
import type { Params } from "./params.ts";
import { RpcError } from "./rpc_error.ts";

/** What is asked about, and how to hear of what happens to the chain. */
export interface Source extends Subject {
  /** As {@linkcode Chain.listen}, but as far as the node tells it. */
  listen(listener: ChainListener): () => void;
}

/** Something that a client can be told of again and again. */
export interface Subscription {
  /** The method that ends it. */
  readonly end: string;
  /** The method that its notifications name. */
  readonly notification: string;
  /**
   * Starts it.
   *
   * @param notify Told each piece of news; it keeps them back until the client knows that it has subscribed.
   * @returns What stops it.
   */
  start(
    params: Params,
    source: Source,
    notify: (result: unknown) => void,
  ): Promise<() => void> | (() => void);
}

/** A subscription to headers, beginning with a present one. */
function heads(
  name: string,
  now: (chain: Chain) => Block,
  hear: (tell: (block: Block) => void) => ChainListener,
): Subscription {
  return {
    end: `chain_unsubscribe${name}s`,
    notification: `chain_${name[0]!.toLowerCase()}${name.slice(1)}`,
    start(_, { chain, listen }, notify) {
      const tell = (block: Block) => notify(headerJson(block));
      tell(now(chain));
      return listen(hear(tell));
    },
  };
}

/** The subscriptions by the method that begins them. */
export const subscriptions: Readonly<Record<string, Subscription>> = {
  chain_subscribeNewHeads: heads("NewHead", ({ best }) => best, (tell) => ({
    imported: ({ block, isBest }) => isBest && tell(block),
  })),
  chain_subscribeAllHeads: heads("AllHead", ({ best }) => best, (tell) => ({
    imported: ({ block }) => tell(block),
  })),
  chain_subscribeFinalizedHeads: heads("FinalizedHead", ({ finalized }) => finalized, (tell) => ({
    finalized: tell,
  })),
  state_subscribeRuntimeVersion: {
    end: "state_unsubscribeRuntimeVersion",
    notification: "state_runtimeVersion",
    start(_params, _source, notify) {
      notify(versionJson()); // It never changes.
      return () => {};
    },
  },
  state_subscribeStorage: {
    end: "state_unsubscribeStorage",
    notification: "state_storage",
    start(params, { chain, listen }, notify) {
      if (params.get(0) === undefined) {
        throw new RpcError(-32602, "Invalid params", "expected the keys that it is about");
      }
      const told = new Map<string, string | null>(params.keys(0).map((key) => [key, ""]));
      const tell = ({ hash, state }: Block) => {
        const values = [...told.keys()].map((key) => [key, hexOrNull(state!.get(key))] as const);
        const changes = values.filter(([key, value]) => told.get(key) !== value);
        changes.forEach(([key, value]) => told.set(key, value));
        if (changes.length > 0) notify({ block: hash, changes });
      };
      tell(chain.best);
      return listen({ imported: ({ block, isBest }) => isBest && tell(block) });
    },
  },
  author_submitAndWatchExtrinsic: {
    end: "author_unwatchExtrinsic",
    notification: "author_extrinsicUpdate",
    async start(params, { pool }, notify) {
      await pool.submit(params.bytes(0), notify);
      return () => {};
    },
  },
};
