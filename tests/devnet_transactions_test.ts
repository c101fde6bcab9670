import assert from "node:assert/strict";
import { ChainClient, keypairOf } from "./fixtures/chain_client.ts";
import { Devnet } from "./fixtures/devnet.ts";

const alice = keypairOf("//Alice");
const bob = keypairOf("//Bob");
const relay = "relay.example.com";

/** A stand-in and a client of it. */
async function start(): Promise<{ devnet: Devnet; client: ChainClient } & AsyncDisposable> {
  const devnet = await Devnet.start();
  try {
    const client = await ChainClient.connect(devnet.url);
    return {
      devnet,
      client,
      async [Symbol.asyncDispose]() {
        await client[Symbol.asyncDispose]();
        await devnet[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await devnet[Symbol.asyncDispose]();
    throw error;
  }
}

Deno.test("a signed update of a twin is ready, in a block, final, and stored with its events", async () => {
  await using chain = await start();
  const { devnet, client } = chain;
  const update = client.call("tfgridModule", "updateTwin", relay, "0x02ff");
  const sent = await client.send(update, alice);
  await sent.reached("ready");
  assert.equal((await devnet.status()).waiting, 1);
  const { best } = await devnet.produce();
  assert.equal(await sent.reached("inBlock"), best.hash);
  assert.deepEqual(await client.query("tfgridModule", "twins", 1), {
    id: 1,
    accountId: alice.address,
    relay: `0x${[...relay].map((c) => c.charCodeAt(0).toString(16)).join("")}`,
    entities: [],
    pk: "0x02ff",
  });
  const events = await client.events(best.hash);
  assert.deepEqual(events.map(({ name }) => name), [
    "system.ExtrinsicSuccess",
    "balances.Withdraw",
    "tfgridModule.TwinUpdated",
    "transactionPayment.TransactionFeePaid",
    "system.ExtrinsicSuccess",
  ]);
  await devnet.produce(2);
  assert.equal(await sent.reached("finalized"), best.hash);
  assert.deepEqual(sent.statuses, ["ready", "broadcast", "inBlock", "finalized"]);
});
