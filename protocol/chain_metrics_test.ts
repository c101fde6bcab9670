import assert from "node:assert/strict";
import { addChainMetrics, followsChain, Metrics } from "./metrics.ts";

Deno.test("addChainMetrics() tells what the registry counts, under the reference's names", async () => {
  const statistics = {
    cacheMisses: 1,
    cacheFlushes: 2,
    cacheEntries: 3,
    reconnecting: true,
    reconnectCycles: 4,
    decodeErrors: 5,
    cacheErrors: 6,
    lastBlock: 7,
    twinsStored: 8,
    twinsUpdated: 9,
  };
  const metrics = new Metrics();
  addChainMetrics(metrics, { statistics: () => statistics });
  const samples = async () =>
    (await metrics.registry.metrics()).split("\n")
      .filter((line) => /^(?:rmb_cache|events_listener)_/.test(line));
  const expected = [
    "rmb_cache_misses_total 1",
    "rmb_cache_flushes_total 2",
    "rmb_cache_entries 3",
    "events_listener_reconnecting 1",
    "events_listener_reconnect_cycles_total 4",
    'events_listener_errors_total{stage="decode"} 5',
    'events_listener_errors_total{stage="cache_set"} 6',
    "events_listener_last_processed_block_number 7",
    "events_listener_twin_stored_total 8",
    "events_listener_twin_updated_total 9",
  ];
  assert.deepEqual(await samples(), expected);
  assert.deepEqual(await samples(), expected, "looking changes nothing");
});

Deno.test("followsChain() tells registries by what they can tell", () => {
  assert.ok(followsChain({ statistics: () => {} }));
  assert.ok(!followsChain({ twin: () => {} }));
});
