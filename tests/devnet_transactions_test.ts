import assert from "node:assert/strict";
import { keypairOf, testOnChain } from "./fixtures/chain_client.ts";

const alice = keypairOf("//Alice");
const bob = keypairOf("//Bob");
const stranger = keypairOf("//Stranger");

/** Text as the chain has it. */
function hex(text: string): string {
  return `0x${new TextEncoder().encode(text).toHex()}`;
}

testOnChain(
  "a signed update of a twin gets into a block and is final",
  async ({ devnet, client }) => {
    const update = client.call("tfgridModule", "updateTwin", "relay.example.com", "0x02ff");
    const sent = await client.send(update, alice);
    await sent.reached("ready");
    assert.equal((await devnet.status()).waiting, 1);
    const { best } = await devnet.produce();
    assert.equal(await sent.reached("inBlock"), best.hash);
    assert.deepEqual(await client.query("tfgridModule", "twins", 1), {
      id: 1,
      accountId: alice.address,
      relay: hex("relay.example.com"),
      entities: [],
      pk: "0x02ff",
    });
    assert.deepEqual((await client.events(best.hash)).map(({ name }) => name), [
      "system.ExtrinsicSuccess",
      "balances.Withdraw",
      "tfgridModule.TwinUpdated",
      "transactionPayment.TransactionFeePaid",
      "system.ExtrinsicSuccess",
    ]);
    await devnet.produce(2);
    assert.equal(await sent.reached("finalized"), best.hash);
    assert.deepEqual(sent.statuses, ["ready", "broadcast", "inBlock", "finalized"]);
  },
);

testOnChain(
  "an ed25519 account becomes a twin and publishes nothing",
  async ({ devnet, client }) => {
    const pair = keypairOf("//Ed", "ed25519");
    const endow = client.call("balances", "transferKeepAlive", pair.address, 5_000_000n);
    const endowed = await client.send(endow, alice);
    const { best: first } = await devnet.produce();
    await endowed.reached("inBlock");
    assert.deepEqual((await client.events(first.hash)).slice(2, -2).map(({ name }) => name), [
      "system.NewAccount",
      "balances.Endowed",
      "balances.Transfer",
    ]);
    const sent = await client.send(client.call("tfgridModule", "createTwin", null, null), pair);
    const { best } = await devnet.produce();
    await sent.reached("inBlock");
    assert.equal(await client.query("tfgridModule", "twinIdByAccountID", pair.address), 7);
    assert.equal((await client.query("tfgridModule", "twins", 7)).relay, null);
    const stored = (await client.events(best.hash)).find(({ name }) => name.endsWith("TwinStored"));
    assert.equal((stored?.data as [{ id: number }])[0].id, 7);
  },
);

testOnChain(
  "a call that fails costs its fee and changes nothing else",
  async ({ devnet, client }) => {
    await client.send(
      client.call("balances", "transferKeepAlive", stranger.address, 10n ** 7n),
      alice,
    );
    await devnet.produce();
    const free = async () =>
      BigInt((await client.query("system", "account", stranger.address)).data.free);
    for (
      const [call, error] of [
        [client.call("tfgridModule", "updateTwin", "a.example", null), "TwinNotExists"],
        [client.call("tfgridModule", "createTwin", "no spaces", null), "InvalidRelay"],
        [client.call("tfgridModule", "createTwin", "x".repeat(1025), null), "RelayTooLong"],
      ] as const
    ) {
      const before = await free();
      const sent = await client.send(call, stranger);
      const { best } = await devnet.produce();
      await sent.reached("inBlock");
      assert.equal(await client.failure(best.hash), `tfgridModule.${error}`);
      assert.ok(await free() < before);
    }
    assert.equal(await client.query("tfgridModule", "twinIdByAccountID", stranger.address), null);
  },
);

testOnChain(
  "transactions that can't be valid are refused as by a real node",
  async ({ devnet, client }) => {
    const remark = () => client.call("system", "remark", "0x00");
    const raw = (hex: string) => client.raw("author_submitExtrinsic", hex);
    const signed = async (pair = alice, options = {}) =>
      (await remark().signAsync(pair, { era: 0, nonce: 0, ...options })).toHex();

    const badProof = { code: 1010, data: "Transaction has a bad signature" };
    const byBob = await signed(bob);
    const forged = byBob.replace(bob.publicKey.toHex(), alice.publicKey.toHex());
    assert.notEqual(forged, byBob);
    await assert.rejects(raw(forged), badProof);
    const elsewhere = await signed(alice, { genesisHash: `0x${"11".repeat(32)}` });
    await assert.rejects(raw(elsewhere), badProof);
    await assert.rejects(raw(await signed(stranger)), {
      code: 1010,
      data: "Inability to pay some fees (e.g. account balance too low)",
    });
    await assert.rejects(raw("0x1234"), { code: 1002 });
    await assert.rejects(raw(remark().toHex()), { code: 1011 });

    const first = await signed();
    await raw(first);
    await assert.rejects(raw(first), { code: 1013 });
    await assert.rejects(raw(await signed()), { code: 1014 }); // Another signature, so another hash.
    await devnet.produce();
    await assert.rejects(raw(first), { code: 1012 });
    await assert.rejects(raw(await signed()), { code: 1010, data: "Transaction is outdated" });

    await devnet.transactions({ refuse: "Custom error: 7" });
    await assert.rejects(raw(await signed(bob)), { code: 1010, data: "Custom error: 7" });
    await devnet.transactions({ refuse: null });
    await raw(await signed(bob));
  },
);

testOnChain(
  "a transaction with a long call is signed over its hash",
  async ({ devnet, client }) => {
    const remark = client.call("system", "remarkWithEvent", `0x${"ab".repeat(300)}`);
    const sent = await client.send(remark, alice);
    const { best } = await devnet.produce();
    await sent.reached("inBlock");
    assert.ok((await client.events(best.hash)).some(({ name }) => name === "system.Remarked"));
  },
);

testOnChain("nonces: those of the future wait, a better tip usurps", async ({ devnet, client }) => {
  const remark = () => client.call("system", "remark", "0x00");
  const second = await client.send(remark(), alice, { nonce: 1 });
  await second.reached("future");
  await devnet.produce();
  const first = await client.send(remark(), alice, { nonce: 0 });
  await second.reached("ready");
  const usurper = await client.send(remark(), alice, { nonce: 0, tip: 10 });
  await first.reached("usurped");
  await assert.rejects(client.send(remark(), alice, { nonce: 0, tip: 9 }), { code: 1014 });
  assert.equal((await client.api.rpc.system.accountNextIndex(alice.address)).toNumber(), 2);
  assert.equal((await client.api.rpc.author.pendingExtrinsics()).length, 2);
  await devnet.produce();
  await usurper.reached("inBlock");
  await second.reached("inBlock");
  assert.equal((await client.query("system", "account", alice.address)).nonce, 2);
});

testOnChain("a mortal transaction ends with its time", async ({ devnet, client }) => {
  await devnet.transactions({ withhold: true });
  const sent = await client.send(client.call("system", "remark", "0x00"), alice, { era: 4 });
  await sent.reached("ready");
  await devnet.produce(6);
  await sent.reached("invalid");
  assert.equal((await devnet.status()).waiting, 0);
});

testOnChain("transactions held back, dropped, and not finalised", async ({ devnet, client }) => {
  const remark = () => client.call("system", "remark", "0x00");
  await devnet.transactions({ withhold: true });
  const dropped = await client.send(remark(), alice);
  await dropped.reached("broadcast");
  await devnet.produce();
  assert.deepEqual(dropped.statuses, ["ready", "broadcast"]);
  await devnet.transactions({ withhold: false, clear: "dropped" });
  await dropped.reached("dropped");
  await devnet.finality(false);
  const stuck = await client.send(remark(), bob);
  await devnet.produce(5);
  await stuck.reached("inBlock");
  assert.equal((await devnet.status()).finalized.number, 0);
  await devnet.finality(true);
  await stuck.reached("finalized");
});

testOnChain(
  "a transaction of a lost branch goes into another block",
  async ({ devnet, client }) => {
    const sent = await client.send(
      client.call("tfgridModule", "updateTwin", "a.example", null),
      alice,
    );
    const { best: lost } = await devnet.produce();
    assert.equal(await sent.reached("inBlock"), lost.hash);
    await devnet.fork(1);
    assert.equal(await sent.reached("retracted"), lost.hash);
    assert.equal((await client.query("tfgridModule", "twins", 1)).relay, null);
    const { best } = await devnet.produce();
    assert.equal((await client.query("tfgridModule", "twins", 1)).relay, hex("a.example"));
    await devnet.produce(2);
    assert.equal(await sent.reached("finalized"), best.hash);
  },
);

testOnChain(
  "what a transaction costs is told beforehand, and taken",
  async ({ devnet, client }) => {
    const remark = client.call("system", "remark", "0x00");
    const { partialFee } = await remark.paymentInfo(alice);
    const sent = await client.send(remark, alice, { tip: 5 });
    const { best } = await devnet.produce();
    await sent.reached("inBlock");
    const paid = (await client.events(best.hash)).find(({ name }) => name.endsWith("FeePaid"))!;
    assert.deepEqual(paid.data, [alice.address, partialFee.toNumber() + 5, 5]);
  },
);
