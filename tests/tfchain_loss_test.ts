import assert from "node:assert/strict";
import { RegistryError } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { captureLog } from "../protocol/tests/twins_file.ts";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";
import { lastingDevnet, longLived, relayOf, seen, setRelay } from "./fixtures/tfchain.ts";

/** Waits until a registry is connected to a node. */
function connectedTo(devnet: Devnet, node: number): Promise<void> {
  return until(
    async () => (await devnet.node(node)).connections === 1,
    `a connection to node ${node}`,
  );
}

Deno.test("a node that is killed and started again: what is remembered stays, the rest comes back", async () => {
  await using lasting = await lastingDevnet();
  const { devnet } = lasting;
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await seen(registry, await setRelay(devnet, 1, "one.test"));
  assert.equal(await relayOf(registry, 1), "one.test");
  await devnet.kill();
  await until(() => registry.statistics().reconnecting, "the loss being noticed");
  assert.equal(await relayOf(registry, 1), "one.test");
  await assert.rejects(registry.twin(2), (error) => {
    assert.ok(error instanceof RegistryError);
    assert.match(error.message, /^Cannot look up twin 2: the chain is not connected: ws:\/\/127/);
    return true;
  });
  await devnet.restart();
  await until(() => !registry.statistics().reconnecting, "a new connection");
  assert.equal(await relayOf(registry, 2), "");
  await seen(registry, await setRelay(devnet, 1, "two.test"));
  assert.equal(await relayOf(registry, 1), "two.test");
  const { cacheFlushes, reconnectCycles } = registry.statistics();
  assert.equal(cacheFlushes, 0);
  assert.ok(reconnectCycles > 0);
});

Deno.test("what changed while no node was connected is not old afterwards", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await seen(registry, await setRelay(devnet, 1, "one.test"));
  for (const [id, relay] of [[1, "one.test"], [2, ""]] as const) {
    assert.equal(await relayOf(registry, id), relay);
  }
  await devnet.faults({ refuse: true });
  await devnet.closeConnections();
  await until(() => registry.statistics().reconnecting, "the loss being noticed");
  const number = await setRelay(devnet, 1, "two.test");
  assert.equal(await relayOf(registry, 1), "one.test"); // It can't know.
  await devnet.faults({ refuse: false });
  await seen(registry, number);
  assert.equal(await relayOf(registry, 1), "two.test");
  const { cacheMisses, cacheFlushes } = registry.statistics();
  await registry.twin(2);
  assert.equal(registry.statistics().cacheMisses, cacheMisses);
  assert.equal(cacheFlushes, 0);
});

Deno.test("a node that hangs in the middle of a call is left, and the next one answers it", async () => {
  await using log = await captureLog();
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await connectedTo(devnet, 0);
  await devnet.faults({ hang: ["state_getStorage"] });
  assert.equal((await registry.twin(1))?.id, 1);
  await connectedTo(devnet, 1);
  await until(async () => (await devnet.node(0)).connections === 0, "the end of the connection");
  const lost = log.records.find(({ level }) => level === "warning");
  assert.match(lost!.message.join(""), /no answer to "?state_getStorage"? within 5 s/);
});

Deno.test("a node that announces no blocks any more is left for the next one", async () => {
  await using log = await captureLog();
  await using devnet = await Devnet.start({ nodes: 2, blockTime: 500 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await connectedTo(devnet, 0);
  assert.equal(await relayOf(registry, 1), "");
  await devnet.faults({ silent: true });
  await devnet.setTwin({ id: 1, relay: "new.test" });
  await connectedTo(devnet, 1);
  await until(async () => await relayOf(registry, 1) === "new.test", "the new relay");
  const lost = log.records.find(({ level }) => level === "warning");
  assert.match(lost!.message.join(""), /does not announce its blocks any more/);
});

Deno.test("a node that is silent, and gives no answer when asked, is left for the next one", async () => {
  await using log = await captureLog();
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await connectedTo(devnet, 0);
  await devnet.faults({ hang: true });
  await connectedTo(devnet, 1);
  assert.equal((await registry.twin(1))?.id, 1);
  const lost = log.records.find(({ level }) => level === "warning");
  assert.match(lost!.message.join(""), /no answer to chain_getHeader within 2 s/);
});

Deno.test("a node whose chain has stood still for 30 s is left for the next one", async () => {
  await using log = await captureLog();
  await using devnet = await Devnet.start({ nodes: 2 });
  await using _ = await TfchainRegistry.connect({ urls: devnet.urls });
  await connectedTo(devnet, 0);
  const { now } = performance;
  performance.now = () => now.call(performance) + 30_000;
  try {
    await connectedTo(devnet, 1);
  } finally {
    Reflect.deleteProperty(performance, "now");
  }
  const lost = log.records.find(({ level }) => level === "warning");
  assert.match(lost!.message.join(""), /its chain stands still: no block for 30 s/);
});

Deno.test("a node that stands still because its chain does is not left at once", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await until(
    async () => await devnet.calls("chain_getHeader") > 0,
    "the node being asked for its best block",
  );
  await seen(registry, (await devnet.produce()).best.number);
  assert.equal(registry.statistics().reconnectCycles, 0);
});

Deno.test("look-ups wait for the node that is being connected to", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await devnet.faults({ slow: 50 });
  await devnet.closeConnections();
  await until(() => registry.statistics().reconnecting, "the loss being noticed");
  assert.equal((await registry.twin(1))?.id, 1);
});

Deno.test("a thousand look-ups during a loss all end", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await devnet.faults({ slow: 50 }, 0);
  const lookUps = Array.from({ length: 1000 }, (_, i) => registry.twin(i + 1));
  await until(async () => await devnet.calls("state_getStorage") >= 10, "look-ups under way");
  await devnet.closeConnections(0);
  const twins = await Promise.all(lookUps);
  assert.deepEqual(twins.flatMap((twin) => twin?.id ?? []), [1, 2, 3, 4, 5, 6]);
});

Deno.test("a hundred losses leave nothing behind", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const codecs = await devnet.calls("state_getMetadata", 0);
  using _ = longLived(); // Or the waits would grow.
  for (let loss = 1; loss <= 100; loss++) {
    await registry.twin(1_000_000 + loss);
    await devnet.closeConnections((loss + 1) % 2);
    await until(() => registry.statistics().reconnectCycles === loss, `loss ${loss}`);
    await until(() => !registry.statistics().reconnecting, "a new connection");
  }
  const { nodes } = await devnet.status();
  assert.equal(nodes.reduce((sum, { connections }) => sum + connections, 0), 1);
  assert.equal(
    await devnet.calls("state_getMetadata", 0),
    codecs,
    "metadata is not asked for again",
  );
  // The sanitizers see that no timer or socket is left.
});
