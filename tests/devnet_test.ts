import assert from "node:assert/strict";
import { Keypair } from "@rmb/protocol";
import { ChainClient, keypairOf, testOnChain } from "./fixtures/chain_client.ts";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";

const alice = keypairOf("//Alice");
const missing = `0x${"11".repeat(32)}`;

Deno.test({
  name: "a client finds nothing to warn of when it connects",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using devnet = await Devnet.start();
    const { warn, error } = console;
    const complaints: unknown[][] = [];
    console.warn = console.error = (...args: unknown[]) => complaints.push(args);
    try {
      await using client = await ChainClient.connect(devnet.url);
      const { api } = client;
      assert.equal(api.runtimeChain.toString(), "TFChain Development");
      assert.equal(api.runtimeVersion.specName.toString(), "substrate-threefold");
      assert.equal(api.registry.chainSS58, 42);
      assert.deepEqual(api.registry.chainTokens, ["TFT"]);
      assert.deepEqual(api.registry.chainDecimals, [7]);
      assert.equal(api.extrinsicVersion, 4);
      assert.equal(api.genesisHash.toHex(), (await devnet.status()).best.hash);
      assert.equal(api.consts.balances!.existentialDeposit!.toString(), "500");
      const { freeBalance } = await api.derive.balances!.all(alice.address);
      assert.equal(freeBalance.toString(), "10000000000");
    } finally {
      Object.assign(console, { warn, error });
    }
    assert.deepEqual(complaints, []);
  },
});

testOnChain(
  "storage is read, several items at once, and at a block",
  async ({ devnet, client }) => {
    const { api } = client;
    const { best: before } = await devnet.produce();
    await devnet.setTwin({ id: 1, relay: "a.example" });
    await devnet.setTwin({ id: 9, account: "0x" + "99".repeat(32), pk: "0x02" });
    const { best } = await devnet.produce();
    assert.equal((await client.query("tfgridModule", "twins", 9)).pk, "0x02");
    assert.equal(await client.query("tfgridModule", "twins", 8), null);
    assert.equal(await client.query("tfgridModule", "twinID"), 9);
    const twins = api.query.tfgridModule!.twins!;
    const several = await api.queryMulti([[twins, 1], [twins, 9], [twins, 8]]);
    assert.deepEqual(several.map((twin) => twin.isEmpty), [false, false, true]);
    const then = await (await api.at(before.hash)).query.tfgridModule!.twins!(9);
    assert.equal(then.isEmpty, true);
    const entries = await twins.entriesPaged({ args: [], pageSize: 4 });
    assert.equal(entries.length, 4);
    assert.equal((await twins.keys()).length, 7);
    const key = twins.key(9);
    const value = await client.raw("state_getStorage", key, best.hash);
    const size = await client.raw("state_getStorageSize", key);
    assert.equal(size, (value.length - 2) / 2);
    assert.deepEqual(await client.raw("state_queryStorageAt", [key], before.hash), [
      { block: before.hash, changes: [[key, null]] },
    ]);
    assert.equal((await client.raw("state_getStorageHash", key)).length, 66);
  },
);

testOnChain(
  "headers are hashed as clients hash them, and follow on each other",
  async ({ devnet, client }) => {
    const { api } = client;
    const { best } = await devnet.produce(3);
    const header = await api.rpc.chain.getHeader();
    assert.equal(header.hash.toHex(), best.hash);
    const parent = await api.rpc.chain.getHeader(header.parentHash);
    assert.equal(parent.number.toNumber(), 2);
    const hashes = await client.raw("chain_getBlockHash", [0, 2, 9]);
    assert.deepEqual(hashes, [api.genesisHash.toHex(), header.parentHash.toHex(), null]);
    assert.equal(
      (await api.rpc.chain.getFinalizedHead()).toHex(),
      await client.raw("chain_getBlockHash", 1),
    );
    const { block } = await api.rpc.chain.getBlock();
    assert.equal(block.extrinsics[0]!.method.section, "timestamp");
    const now = Number(block.extrinsics[0]!.args[0]!.toString());
    assert.ok(Math.abs(Date.now() - now) < 60_000);
    assert.equal(await client.query("timestamp", "now"), now);
    assert.equal(await client.raw("chain_getHeader", missing), null);
    assert.equal(await client.raw("chain_getBlock", missing), null);
  },
);

testOnChain(
  "heads, finality and storage are told to subscribers, until they stop",
  async ({ devnet, client }) => {
    const { api } = client;
    const told: Record<string, number[]> = { new: [], all: [], finalized: [] };
    const relays: string[] = [];
    const stops = [
      await api.rpc.chain.subscribeNewHeads(({ number }) => void told.new!.push(number.toNumber())),
      await api.rpc.chain.subscribeAllHeads(({ number }) => void told.all!.push(number.toNumber())),
      await api.rpc.chain.subscribeFinalizedHeads(({ number }) =>
        void told.finalized!.push(number.toNumber())
      ),
      await api.query.tfgridModule!.twins!(1, (twin: { toHuman(): { relay: string } | null }) => {
        relays.push(twin.toHuman()!.relay);
      }) as unknown as () => void,
    ];
    await devnet.produce();
    await devnet.setTwin({ id: 1, relay: "a.example" });
    await devnet.produce();
    await devnet.produce(2);
    await until(() => told.finalized!.length === 3, "three final blocks");
    assert.deepEqual(told, { new: [0, 1, 2, 3, 4], all: [0, 1, 2, 3, 4], finalized: [0, 1, 2] });
    assert.deepEqual(relays, [null, "a.example"]);
    stops.forEach((stop) => stop());
    await devnet.produce();
    await client.raw("system_health");
    assert.equal(told.new!.length, 5);
  },
);

testOnChain("wrong calls are answered with a real node's errors", async ({ devnet, client }) => {
  await devnet.produce();
  const known = [
    [["nothing_here"], { code: -32601, message: "-32601: Method not found" }],
    [["state_getStorage"], { code: -32602 }],
    [["state_getStorage", "0x0"], { code: -32602 }],
    [["chain_getHeader", "0x1234"], { code: -32602 }],
    [["chain_getBlockHash", "x"], { code: -32602 }],
    [["system_accountNextIndex", "5Grw"], { code: -32602 }],
    [["chain_unsubscribeNewHeads", 7], { code: -32602 }],
    [["state_getKeysPaged", "0x", 1001], { code: 4002 }],
    [["state_call", "No_such", "0x"], { code: 4003 }],
    [["state_call", "AccountNonceApi_account_nonce", "0x12"], { code: 4003 }],
    [["state_getStorage", "0x12", missing], {
      code: 4003,
      message: `4003: Client error: UnknownBlock: Header was not found in the database: ${missing}`,
    }],
  ] as const;
  for (const [[method, ...params], error] of known) {
    await assert.rejects(client.raw(method, ...params), error, method);
  }
  assert.equal(await client.raw("chain_unsubscribeNewHeads", "unknown"), false);
});

testOnChain("the runtime can be called", async ({ client }) => {
  const { api } = client;
  const nonce = await api.call.accountNonceApi!.accountNonce!(alice.address);
  assert.equal(nonce.toString(), "0");
  const version = await api.call.core!.version!();
  assert.equal(version.toString(), api.runtimeVersion.toString());
  const wrapped = await client.raw("state_call", "Metadata_metadata", "0x");
  assert.ok(wrapped.endsWith(api.runtimeMetadata.toHex().slice(2)));
  const remark = client.call("system", "remark", "0x00");
  const info = await api.call.transactionPaymentApi!.queryInfo!(
    remark.toU8a(),
    remark.encodedLength,
  );
  const fee = (await client.raw("payment_queryInfo", remark.toHex())).partialFee;
  assert.equal((info.toJSON() as { partialFee: number }).partialFee, Number(fee));
});

testOnChain("calls can be POSTed, and several be sent at once", async ({ devnet }) => {
  const post = async (body: string) => {
    const url = devnet.url.replace("ws:", "http:");
    return await (await fetch(url, { method: "POST", body })).json();
  };
  const call = (id: number, method: string) => ({ jsonrpc: "2.0", id, method, params: [] });
  assert.deepEqual(await post(JSON.stringify(call(1, "system_chainType"))), {
    jsonrpc: "2.0",
    id: 1,
    result: "Development",
  });
  const answers = await post(
    JSON.stringify([call(1, "system_name"), call(2, "chain_subscribeNewHeads")]),
  );
  assert.equal(answers[0].id, 1);
  assert.equal(answers[1].error.code, -32601);
  for (
    const [text, code] of [["{", -32700], ["[]", -32600], ["7", -32600], ["null", -32600]] as const
  ) {
    assert.equal((await post(text)).error.code, code, text);
  }
});

Deno.test({
  name: "twins, and accounts with other balances, come from a file",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "rmb-" });
    try {
      const poor = Keypair.fromSecret("//Poor", "ed25519").address;
      const twins = [{ id: 7, account: alice.address, relay: "a.example", pk: "0x02ff" }, {
        id: 8,
        account: poor,
      }];
      await Deno.writeTextFile(
        `${folder}/twins.json`,
        JSON.stringify({ twins, balances: { [poor]: "600" } }),
      );
      await using devnet = await Devnet.start({ twins: `${folder}/twins.json` });
      await using client = await ChainClient.connect(devnet.url);
      assert.equal((await client.query("tfgridModule", "twins", 7)).pk, "0x02ff");
      assert.equal(await client.query("tfgridModule", "twinIdByAccountID", poor), 8);
      assert.equal((await client.query("system", "account", poor)).data.free, 600);
      await Deno.writeTextFile(`${folder}/twins.json`, `{"twins":[{"id":7,"account":"5x"}]}`);
      await assert.rejects(
        Devnet.start({ twins: `${folder}/twins.json` }),
        /Cannot read twins file .*5x/s,
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
