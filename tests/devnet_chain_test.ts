import assert from "node:assert/strict";
import { ChainClient, testOnChain } from "./fixtures/chain_client.ts";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";

testOnChain("another branch wins: its blocks have other parents", async ({ devnet, client }) => {
  const { api } = client;
  const told: [string, number][] = [];
  await api.rpc.chain.subscribeNewHeads((head) =>
    void told.push([head.parentHash.toHex(), head.number.toNumber()])
  );
  await devnet.finality(false);
  await devnet.setTwin({ id: 1, relay: "lost.example" });
  const { best: lost } = await devnet.produce(5);
  await devnet.setTwin({ id: 2, relay: "won.example" });
  const { best } = await devnet.fork(5);
  assert.equal(best.number, 6);
  await until(() => told.length === 7, "the heads");
  assert.deepEqual(told.map(([, number]) => number), [0, 1, 2, 3, 4, 5, 6]);
  const ancestors = [best.hash];
  while (ancestors.length < 7) {
    ancestors.push((await api.rpc.chain.getHeader(ancestors.at(-1)!)).parentHash.toHex());
  }
  assert.equal(ancestors.at(-1), api.genesisHash.toHex());
  assert.ok(!ancestors.includes(lost.hash));
  assert.equal((await api.rpc.chain.getHeader(lost.hash)).number.toNumber(), 5);
  assert.equal((await client.query("tfgridModule", "twins", 1)).relay, null);
  assert.notEqual((await client.query("tfgridModule", "twins", 2)).relay, null);
  const at = await api.at(lost.hash);
  assert.match(String(await at.query.tfgridModule!.twins!(1)), /6c6f7374/);
});

testOnChain(
  "states of old blocks are discarded, their headers are not",
  async ({ devnet, client }) => {
    await devnet.setTwin({ id: 1, relay: "old.example" });
    const { best: old } = await devnet.produce();
    await devnet.setTwin({ id: 1, relay: "new.example" });
    await devnet.finality(false);
    await devnet.produce(10);
    await devnet.fork(4);
    await devnet.produce(300);
    const key = client.api.query.tfgridModule!.twins!.key(1);
    await assert.rejects(client.raw("state_getStorage", key, old.hash), {
      message: `4003: Client error: UnknownBlock: State already discarded for ${old.hash}`,
    });
    assert.equal((await client.raw("chain_getHeader", old.hash)).number, "0x1");
    const kept = await client.raw("chain_getBlockHash", 60);
    assert.match(await client.raw("state_getStorage", key, kept), /6e6577/);
    assert.match(String(await client.raw("state_getStorage", key)), /6e6577/);
  },
);

Deno.test({
  name: "a chain in a file goes on after kill -9",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "rmb-" });
    try {
      await using devnet = await Devnet.start({ data: `${folder}/chain.db` });
      const genesis = (await devnet.status()).best.hash;
      await devnet.setTwin({ id: 1, relay: "a.example" });
      await devnet.produce(3);
      await devnet.fork(2);
      const { best, finalized } = await devnet.produce(300);
      await devnet.restart();
      const after = await devnet.status();
      assert.deepEqual([after.best, after.finalized], [best, finalized]);
      await using client = await ChainClient.connect(devnet.url);
      assert.equal(client.api.genesisHash.toHex(), genesis);
      assert.notEqual((await client.query("tfgridModule", "twins", 1)).relay, null);
      const { best: next } = await devnet.produce();
      assert.equal((await client.api.rpc.chain.getHeader(next.hash)).parentHash.toHex(), best.hash);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

testOnChain(
  "blocks come by themselves, if wanted, and without a file anew",
  async ({ devnet, client }) => {
    const first = client.api.genesisHash.toHex();
    await until(async () => (await devnet.status()).best.number >= 3, "three blocks");
    await devnet.setTwin({ id: 1, relay: "a.example" });
    await devnet.restart();
    await using again = await ChainClient.connect(devnet.url);
    assert.equal(again.api.genesisHash.toHex(), first);
    assert.equal((await again.query("tfgridModule", "twins", 1)).relay, null);
  },
  { blockTime: 50 },
);

testOnChain("blocks are dated by another clock, if wanted", async ({ devnet, client }) => {
  await devnet.clock(3_600_000);
  await devnet.produce();
  assert.ok(await client.query("timestamp", "now") > Date.now() + 3_000_000);
});
