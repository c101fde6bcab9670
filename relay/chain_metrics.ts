import type { TfchainRegistry } from "@rmb/protocol/tfchain";
import { Counter } from "prom-client";
import type { RelayMetrics } from "./metrics.ts";

/** A registry that follows the chain. */
type ChainRegistry = Pick<TfchainRegistry, "statistics">;

/** Whether a registry follows the chain. Only its type is known here: it may not be loaded at all. */
export function followsChain(registry: object): registry is ChainRegistry {
  return "statistics" in registry;
}

/** Adds what is counted of a registry that follows the chain, under the reference's names. */
export function addChainMetrics(metrics: RelayMetrics, registry: ChainRegistry): void {
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
  new Counter({
    name: "events_listener_errors_total",
    help: "Events that could not be decoded, or not brought into the cache",
    labelNames: ["stage"],
    registers: [metrics.registry],
    collect() {
      const { decodeErrors, cacheErrors } = now();
      this.reset();
      this.inc({ stage: "decode" }, decodeErrors);
      this.inc({ stage: "cache_set" }, cacheErrors);
    },
  });
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
