import assert from "node:assert/strict";
import { formatHex, Keypair } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";
import { relayOf, seen, setRelay } from "./fixtures/tfchain.ts";

/** Calls that a look-up makes. */
const LOOK_UP = "state_getStorage";

/** Starts a chain with these twins. */
async function startWith(twins: { id: number; account: string }[]): Promise<Devnet> {
  const path = await Deno.makeTempFile({ prefix: "rmb-" });
  await Deno.writeTextFile(path, JSON.stringify({ twins }));
  try {
    return await Devnet.start({ twins: path });
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("1,000 look-ups of 100 twins at once cost at most 100 calls, and none later", async () => {
  const twins = Array.from({ length: 100 }, (_, i) => ({
    id: i + 1,
    account: formatHex(new Uint8Array(32).fill(i + 1)),
  }));
  await using devnet = await startWith(twins);
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const before = await devnet.calls(LOOK_UP);
  const lookUp = () => Array.from({ length: 1000 }, (_, i) => registry.twin(i % 100 + 1));
  for (const [i, twin] of (await Promise.all(lookUp())).entries()) {
    assert.equal(twin?.id, i % 100 + 1);
  }
  const cost = await devnet.calls(LOOK_UP) - before;
  assert.ok(cost > 0 && cost <= 100, `${cost} calls`);
  await Promise.all(lookUp());
  assert.equal(await devnet.calls(LOOK_UP) - before, cost);
  const { cacheMisses, cacheEntries } = registry.statistics();
  assert.deepEqual([cacheMisses, cacheEntries], [100, 100]);
});

Deno.test("an id without a twin is remembered, until it has one", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  assert.equal(await registry.twin(99), undefined);
  const before = await devnet.calls(LOOK_UP);
  assert.equal(await registry.twin(99), undefined);
  assert.equal(await devnet.calls(LOOK_UP), before);
  await devnet.setTwin({ id: 99, account: Keypair.fromSecret("//New").address, relay: "new.test" });
  await seen(registry, (await devnet.produce()).best.number);
  assert.equal(await relayOf(registry, 99), "new.test");
  const { twinsStored, twinsUpdated } = registry.statistics();
  assert.deepEqual([twinsStored, twinsUpdated], [1, 0]);
});

Deno.test("30 missed blocks with updates in them are caught up with, block by block", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  for (const id of [1, 2, 3, 4]) assert.equal(await relayOf(registry, id), "");
  await devnet.faults({ skip: 30 });
  for (let block = 1; block <= 30; block++) {
    if (block % 10 === 5) await devnet.setTwin({ id: block % 4 + 1, relay: `r${block}.test` });
    await devnet.produce();
  }
  assert.equal(registry.statistics().lastBlock, 0);
  await devnet.produce();
  await seen(registry, 31);
  // Block 5: twin 2; 15: twin 4; 25: twin 2 again.
  assert.equal(await relayOf(registry, 2), "r25.test");
  assert.equal(await relayOf(registry, 4), "r15.test");
  const before = await devnet.calls(LOOK_UP);
  for (const id of [1, 3]) assert.equal(await relayOf(registry, id), "");
  assert.equal(await devnet.calls(LOOK_UP), before, "the others are still remembered");
  const { cacheFlushes, twinsUpdated } = registry.statistics();
  assert.deepEqual([cacheFlushes, twinsUpdated], [0, 3]);
});

Deno.test("more missed blocks than the threshold: all twins are looked up anew", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({
    urls: devnet.urls,
    catchUpThreshold: 10,
  });
  for (const id of [1, 2]) assert.equal(await relayOf(registry, id), "");
  await devnet.faults({ skip: 10 });
  await setRelay(devnet, 2, "new.test");
  await seen(registry, (await devnet.produce(10)).best.number);
  const { cacheFlushes, twinsUpdated, cacheEntries } = registry.statistics();
  assert.deepEqual([cacheFlushes, twinsUpdated, cacheEntries], [1, 0, 0]);
  assert.equal(await relayOf(registry, 1), "");
  assert.equal(await relayOf(registry, 2), "new.test");
  await seen(registry, await setRelay(devnet, 2, "newer.test")); // It goes on from there.
  assert.equal(await relayOf(registry, 2), "newer.test");
});

Deno.test("as many missed blocks as the threshold are caught up with", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({
    urls: devnet.urls,
    catchUpThreshold: 10,
  });
  assert.equal(await relayOf(registry, 2), "");
  await devnet.faults({ skip: 9 });
  await setRelay(devnet, 2, "new.test");
  await seen(registry, (await devnet.produce(9)).best.number);
  const { cacheFlushes, twinsUpdated } = registry.statistics();
  assert.deepEqual([cacheFlushes, twinsUpdated], [0, 1]);
});

Deno.test("what an abandoned branch has changed is forgotten", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await devnet.finality(false);
  await seen(registry, (await devnet.produce(5)).best.number);
  await setRelay(devnet, 1, "abandoned.test");
  await seen(registry, await setRelay(devnet, 2, "abandoned.test"));
  for (const id of [1, 2]) assert.equal(await relayOf(registry, id), "abandoned.test");
  assert.equal(await relayOf(registry, 3), "");
  const before = await devnet.calls(LOOK_UP);
  await devnet.setTwin({ id: 2, relay: "other.test" });
  const { best } = await devnet.fork(2);
  await seen(registry, best.number);
  assert.equal(await relayOf(registry, 3), "");
  assert.equal(await relayOf(registry, 1), "");
  assert.equal(await relayOf(registry, 2), "other.test");
  // One call for each of the two, and one for the events of each of three blocks.
  assert.equal(await devnet.calls(LOOK_UP) - before, 5);
  assert.equal(registry.statistics().cacheFlushes, 0);
});

Deno.test("a branch that began before what was seen: all twins are looked up anew", async () => {
  await using devnet = await Devnet.start();
  await devnet.finality(false);
  await setRelay(devnet, 1, "abandoned.test");
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  assert.equal(await relayOf(registry, 1), "abandoned.test");
  await seen(registry, (await devnet.produce(3)).best.number);
  const { best } = await devnet.fork(4);
  await seen(registry, best.number);
  assert.equal(await relayOf(registry, 1), "");
  assert.equal(registry.statistics().cacheFlushes, 1);
});

Deno.test("a chain that has begun anew: nothing of the one before stays", async () => {
  await using devnet = await Devnet.start();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await seen(registry, await setRelay(devnet, 1, "first.test"));
  assert.equal(await relayOf(registry, 1), "first.test");
  await devnet.restart(); // Nothing is kept: it begins anew.
  await until(async () => {
    return await relayOf(registry, 1).catch(() => "first.test") !== "first.test";
  }, "twin 1 of the new chain");
  assert.equal(await relayOf(registry, 1), "");
  await seen(registry, await setRelay(devnet, 1, "second.test"));
  assert.equal(await relayOf(registry, 1), "second.test");
});

Deno.test("a node of another chain is not asked who twins are", async () => {
  await using devnet = await Devnet.start();
  await using other = await startWith([{ id: 1, account: formatHex(new Uint8Array(32).fill(9)) }]);
  await using registry = await TfchainRegistry.connect({ urls: [devnet.url, other.url] });
  const first = await registry.twin(1);
  assert.notDeepEqual(first?.account, new Uint8Array(32).fill(9));
  await devnet.kill();
  await until(async () => {
    const failure = await registry.twin(2).then(() => "", (error) => error.message);
    return failure.includes(`${other.url}: it is of another chain than before: `);
  }, "the other chain refused");
  assert.deepEqual(await registry.twin(1), first);
  await devnet.restart();
  await until(
    async () => (await registry.twin(2).catch(() => undefined))?.id === 2,
    "the chain back",
  );
});

Deno.test("what changes while the next node is being connected to does not stay old", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await seen(registry, await setRelay(devnet, 1, "old.test"));
  assert.equal(await relayOf(registry, 1), "old.test");
  await devnet.closeConnections(0);
  await setRelay(devnet, 1, "new.test");
  await until(async () => await relayOf(registry, 1) === "new.test", "the new relay");
});
