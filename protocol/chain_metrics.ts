import type { Metrics } from "./metrics.ts";
import type { TfchainRegistry } from "./tfchain/mod.ts";

/** A registry that follows the chain. */
export type ChainRegistry = Pick<TfchainRegistry, "statistics">;

/** Whether a registry follows the chain. Only its type is known here: it may not be loaded at all. */
export function followsChain(registry: object): registry is ChainRegistry {
  return "statistics" in registry;
}

/** Adds what is counted of a registry that follows the chain, under the reference's names. */
export function addChainMetrics(metrics: Metrics, registry: ChainRegistry): void {
  const now = () => registry.statistics();
  metrics.counter(
    "rmb_cache_misses_total",
    "Look-ups of twins that were not in the cache",
    () => now().cacheMisses,
  );
  metrics.counter(
    "rmb_cache_flushes_total",
    "How often all twins were dropped from the cache",
    () => now().cacheFlushes,
  );
  metrics.gauge("rmb_cache_entries", "Twins in the cache", () => now().cacheEntries);
  metrics.gauge(
    "events_listener_reconnecting",
    "Whether no node of the chain is connected",
    () => now().reconnecting ? 1 : 0,
  );
  metrics.counter(
    "events_listener_reconnect_cycles_total",
    "Rounds of attempts to connect to a node again",
    () => now().reconnectCycles,
  );
  metrics.counters(
    "events_listener_errors_total",
    "Events that could not be decoded, or not brought into the cache",
    "stage",
    () => {
      const { decodeErrors, cacheErrors } = now();
      return { decode: decodeErrors, cache_set: cacheErrors };
    },
  );
  metrics.gauge(
    "events_listener_last_processed_block_number",
    "The last block whose events were read",
    () => now().lastBlock,
  );
  metrics.counter(
    "events_listener_twin_stored_total",
    "Events of new twins",
    () => now().twinsStored,
  );
  metrics.counter(
    "events_listener_twin_updated_total",
    "Events of changed twins",
    () => now().twinsUpdated,
  );
}
