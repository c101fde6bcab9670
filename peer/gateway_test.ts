import { EncryptionKeypair, FormatError, Keypair, RmbError } from "@rmb/protocol";
import { FileRegistry } from "@rmb/protocol/file-registry";
import assert from "node:assert/strict";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import { LocalProgram } from "../tests/fixtures/local_program.ts";
import { ALICE, Network } from "../tests/fixtures/network.ts";
import { Gateway, type GatewayOptions } from "./mod.ts";

/** The options of ALICE's gateway; it can't reach a relay unless they say which. */
function optionsOf(registry: FileRegistry, options: Partial<GatewayOptions>): GatewayOptions {
  return {
    keypair: Keypair.fromSecret(ALICE.secret, ALICE.type),
    encryption: EncryptionKeypair.fromSecret(ALICE.secret),
    registry,
    relays: ["ws://127.0.0.1:1"],
    redis: "redis://127.0.0.1:1",
    ...options,
  };
}

// Deno's sanitizers prove that nothing is left running at the end of each test.

Deno.test("Gateway serves until it is disposed, and leaves nothing running", async () => {
  await using network = await Network.create([ALICE]);
  const [relay, redis] = await Promise.all([network.startRelay(), network.startRedis()]);
  await using registry = await FileRegistry.open(network.twins);
  await using local = await LocalProgram.connect(redis.url);
  const options = optionsOf(registry, { relays: [relay.url], redis: redis.url });
  for (let i = 0; i < 2; i++) {
    await using gateway = await Gateway.start(options);
    assert.equal(gateway.twin, ALICE.id);
    const answer = await local.ask({ dst: [ALICE.id], cmd: "rmb.version" });
    assert.deepEqual([answer.src, answer.err], [`${ALICE.id}`, null]);
  }
  const [twin] = JSON.parse(await Deno.readTextFile(network.twins)).twins;
  assert.equal(twin.relay, relay.domain);
  const ret = await local.request({ dst: [ALICE.id], cmd: "rmb.version" });
  assert.equal(await local.redis.lLen("msgbus.system.local"), 1); // Nobody takes it any more.
  assert.equal(await local.redis.exists(ret), 0);
});

Deno.test("Gateway leaves what it can't send to the next one when it is disposed", async () => {
  await using network = await Network.create([ALICE]);
  const [relay, redis] = await Promise.all([network.startRelay(), network.startRedis()]);
  await using registry = await FileRegistry.open(network.twins);
  await using local = await LocalProgram.connect(redis.url);
  const gateway = await Gateway.start(optionsOf(registry, { redis: redis.url }));
  const ret = await local.request({ dst: [ALICE.id], cmd: "rmb.version" });
  await until(async () => await local.redis.lLen("msgbus.system.local") === 0, "the request taken");
  await inTime(gateway[Symbol.asyncDispose](), "the end");
  assert.equal(await local.redis.xLen("msgbus.system.local.working"), 1);
  assert.equal(await local.redis.exists(ret), 0);
  await using _next = await Gateway.start(
    optionsOf(registry, { relays: [relay.url], redis: redis.url }),
  );
  const { src, err } = await local.pop(ret);
  assert.deepEqual({ src, err }, { src: `${ALICE.id}`, err: null });
  const isDone = async () => await local.redis.xLen("msgbus.system.local.working") === 0;
  await until(isDone, "the entry forgotten");
});

Deno.test("Gateway can be disposed while Redis is away", async () => {
  await using network = await Network.create([ALICE]);
  const redis = await network.startRedis();
  await using registry = await FileRegistry.open(network.twins);
  await using _gateway = await Gateway.start(optionsOf(registry, { redis: redis.url }));
  await redis.program.stop("SIGKILL");
});

Deno.test("Gateway.start() rejects what can't work", async () => {
  await using network = await Network.create([ALICE]);
  await using registry = await FileRegistry.open(network.twins);
  const start = (options: Partial<GatewayOptions>) => Gateway.start(optionsOf(registry, options));
  await assert.rejects(start({ keypair: Keypair.fromSecret("//Nobody") }), (error) => {
    assert.ok(error instanceof RmbError);
    assert.match(error.message, /^No twin has the sr25519 account 5\w+: /);
    return true;
  });
  const five = [1, 2, 3, 4, 5].map((port) => `ws://127.0.0.1:${port}`);
  await assert.rejects(start({ relays: five }), /A twin has 1 to 4 relays, not 5/);
  await assert.rejects(start({ relays: ["http://127.0.0.1:1"] }), FormatError);
  await assert.rejects(start({ redis: "http://:s3cret@h" }), (error) => {
    assert.ok(error instanceof FormatError);
    assert.ok(!error.message.includes("s3cret"));
    return true;
  });
  const { relay, pk } = JSON.parse(await Deno.readTextFile(network.twins)).twins[0];
  assert.deepEqual([relay, pk], [undefined, undefined]); // Nothing was published for nothing.
});
