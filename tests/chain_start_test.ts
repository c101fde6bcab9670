/** How the programs start and end with twins on a chain: what they publish, and what can go wrong. */
import assert from "node:assert/strict";
import { inTime, until } from "./fixtures/deadline.ts";
import { CAROL, keypairOf } from "./fixtures/gateway_network.ts";
import { LocalProgram } from "./fixtures/local_program.ts";
import { ALICE, BOB, Network, type StartOptions, type TestTwin } from "./fixtures/network.ts";
import { runPeer } from "./fixtures/run_peer.ts";

const root = new URL("../", import.meta.url).pathname;

const CHAIN = { blockTime: 200 };

/** Starts a gateway that ends by itself, and gives its last line. */
async function failure(network: Network, twin: TestTwin): Promise<string> {
  const redis = { program: undefined as never, port: 1, url: "redis://127.0.0.1:1" };
  const relay = { url: "wss://relay.test" };
  const program = await network.startGateway(twin, redis, relay, { ready: /^rmb-peer: / });
  assert.equal((await inTime(program.ended, "the end")).code, 1);
  return program.lines.at(-1)!;
}

/** Starts ALICE's gateway with a relay, and gives a local program too. */
async function startAlice(network: Network, options: StartOptions & { ready?: RegExp } = {}) {
  const [relay, redis] = await Promise.all([network.startRelay(), network.startRedis()]);
  const gateway = await network.startGateway(ALICE, redis, relay, options);
  return { relay, redis, gateway, local: await LocalProgram.connect(redis.url) };
}

/** Checks that ALICE's gateway serves: here, it asks itself. */
async function checkServing(local: LocalProgram): Promise<void> {
  const { err, src } = await local.ask({ dst: [ALICE.id], cmd: "rmb.version" });
  assert.deepEqual([err, src], [null, `${ALICE.id}`]);
}

Deno.test("what belongs to the chain is loaded only for twins on a chain", async () => {
  await using network = await Network.create([ALICE], CHAIN);
  // What the chain's library reads when it is loaded, and may not here.
  const denied = "POLKADOTJS_DISABLE_ESM_CJS_WARNING";
  const start = (place: readonly string[], ready: RegExp) =>
    network.start({
      command: Deno.execPath(),
      args: [
        ...["run", "--no-prompt", "--quiet", "--config", `${root}deno.json`, "-P=relay"],
        ...[`--deny-env=${denied}`, `${root}relay/mod.ts`, "-m", "relay.test", ...place],
        ...["--data", ":memory:", "--listen", "127.0.0.1:0"],
      ],
      ready,
    });
  await start(["--twins", network.twins], /listening on/);
  await start(["--substrate", network.chain.url], new RegExp(`Requires env access to "${denied}"`));
});

Deno.test("rmb-peer sends a transaction only if the chain has something else", async () => {
  await using network = await Network.create([ALICE], CHAIN);
  const { gateway, relay, redis, local } = await startAlice(network);
  await using _local = local;
  await gateway.line(/twin 7 now publishes relay 127.0.0.1 and encryption key 0x/);
  const sent = await network.chain.calls("author_submitAndWatchExtrinsic");
  assert.equal(sent, 1);
  assert.equal((await gateway.stop()).code, 0);
  const again = await network.startGateway(ALICE, redis, relay);
  await checkServing(local);
  assert.equal((await again.stop()).code, 0);
  assert.ok(!again.lines.some((line) => line.includes("publish")), again.lines.join("\n"));
  assert.equal(await network.chain.calls("author_submitAndWatchExtrinsic"), sent);
});

Deno.test("rmb-peer says that an account can't pay for the update, and serves", async () => {
  const balances = { [keypairOf(ALICE).address]: "0" };
  await using network = await Network.create([ALICE, BOB], { ...CHAIN, balances });
  const { gateway, local, relay } = await startAlice(network);
  await using _local = local;
  await gateway.line(
    new RegExp(
      "\\[ERR\\] rmb·publish: twin 7 can't publish relay 127.0.0.1 and encryption key 0x\\w+: " +
        `.*${keypairOf(ALICE).address}.* pay.*; others may not reach it, ` +
        "and it can't encrypt for them; next attempt in 60 s$",
    ),
  );
  await checkServing(local);

  // Others, who have keys, get answers that they can read.
  const redis = await network.startRedis();
  await using bob = await LocalProgram.connect(redis.url);
  const other = await network.startGateway(BOB, redis, relay);
  await other.line(/twin 9 now publishes/);
  const { err, src } = await bob.ask({ dst: [ALICE.id], cmd: "rmb.version" });
  assert.deepEqual([err, src], [null, `${ALICE.id}`]);
});

Deno.test("rmb-peer serves, and ends, while its update is in no block", async () => {
  await using network = await Network.create([ALICE], CHAIN);
  await network.chain.transactions({ withhold: true });
  const { gateway, local } = await startAlice(network);
  await using _local = local;
  await checkServing(local);
  await until(async () => (await network.chain.status()).waiting === 1, "the transaction sent");
  assert.equal((await gateway.stop()).code, 0);
  assert.ok(!gateway.lines.some((line) => line.includes("[ERR]")), gateway.lines.join("\n"));
});

Deno.test("rmb-peer fails for an account without a twin, and says what to do", async () => {
  await using network = await Network.create([ALICE, BOB], CHAIN);
  assert.equal(
    await failure(network, CAROL),
    `rmb-peer: No twin has the sr25519 account ${keypairOf(CAROL).address}: ` +
      "register a twin for it on TFChain, as the ThreeFold Dashboard does, " +
      "or check the secret, --key-type and --substrate",
  );
  const wrong: TestTwin = { ...BOB, type: "sr25519" };
  assert.equal(
    await failure(network, wrong),
    `rmb-peer: No twin has the sr25519 account ${keypairOf(wrong).address}, ` +
      `but twin 9 has the ed25519 account of this secret, ${keypairOf(BOB).address}: ` +
      "use --key-type ed25519",
  );
});

Deno.test("rmb-peer fails when no node can be reached, and tells each without its password", async () => {
  const urls = ["ws://user:pass-w0rd@127.0.0.1:1/?key=s3cret", "ws://127.0.0.1:2"];
  const { code, stderr } = await runPeer(["-s", ...urls], { RMB_PEER_MNEMONIC: ALICE.secret });
  assert.equal(code, 1);
  assert.match(stderr, /^rmb-peer: .*ws:\/\/127\.0\.0\.1:1.*ws:\/\/127\.0\.0\.1:2/ms);
  assert.doesNotMatch(stderr, /pass-w0rd|s3cret|user/);
});

Deno.test("rmb-peer ends when told to while it waits for a node", async () => {
  await using network = await Network.create([ALICE], CHAIN);
  await network.chain.faults({ hang: ["state_getMetadata"] });
  const redis = await network.startRedis();
  const gateway = await network.startGateway(ALICE, redis, { url: "ws://127.0.0.1:1" }, {
    ready: /other relays look for/,
  });
  await until(async () => await network.chain.calls("state_getMetadata") > 0, "the hung call");
  assert.equal((await gateway.stop()).code, 0);
});

Deno.test("programs warn of relays that the chain can't name, or others not reach", async () => {
  await using network = await Network.create([ALICE], CHAIN);
  const redis = await network.startRedis();
  const relay = await network.startRelay({ args: ["-m", "relay.test:8080", "[::1]"] });
  for (const domain of ["relay\\.test:8080", "\\[::1\\]"]) {
    await relay.program.line(
      new RegExp(`\\[WRN\\].* no twin can name ${domain} as its relay on TFChain`),
    );
  }
  assert.ok(!relay.program.lines.some((line) => line.includes("no twin can name 127.0.0.1")));
  const warnings = async (url: string) => {
    const gateway = await network.startGateway(ALICE, redis, { url }, { ready: /serving twin/ });
    await gateway.stop();
    return gateway.lines.filter((line) => line.includes("[WRN] rmb·peer: "))
      .map((line) => line.split("rmb·peer: ")[1]!)
      .filter((line) => !line.includes("is not connected"));
  };
  const elsewhere = (url: string) =>
    `other relays look for this twin's relay at https://127.0.0.1, not at ${url}, ` +
    "for TFChain has no ports: what their twins send may not arrive";
  assert.deepEqual(await warnings("ws://127.0.0.1"), [elsewhere("ws://127.0.0.1")]);
  assert.deepEqual(await warnings("wss://127.0.0.1:8080"), [elsewhere("wss://127.0.0.1:8080")]);
  assert.deepEqual(await warnings("wss://127.0.0.1"), []);
  assert.deepEqual(await warnings("wss://[::1]"), [
    "relay wss://[::1] has no name that a twin can publish: others may not reach it",
  ]);
});
