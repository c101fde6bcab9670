/** More than a gateway can do anything with: it says so, and the others go on. */
import assert from "node:assert/strict";
import { inTime, until } from "./fixtures/deadline.ts";
import { GatewayNetwork, signedByCarol, type TestGateway } from "./fixtures/gateway_network.ts";
import { base64Of, connectRedis, type Json } from "./fixtures/local_program.ts";

const LOCAL = "msgbus.system.local";

/** Pushes requests that are numbered by their references. */
async function push({ local }: TestGateway, count: number, members: object): Promise<void> {
  const entries = Array.from({ length: count }, (_, i) => {
    const request = { ver: 1, ref: `${i}`, cmd: "never", exp: 60, dat: "", dst: [9], now: 0 };
    return JSON.stringify({ ...request, ...members });
  });
  await local.redis.lPush(LOCAL, entries);
}

/** The answers in a list. */
async function repliesOf({ local }: TestGateway, list: string): Promise<Json[]> {
  return (await local.redis.lRange(list, 0, -1)).map((reply) => JSON.parse(reply));
}

Deno.test("a service that never pops costs nobody else anything", async (t) => {
  await using network = await GatewayNetwork.start();
  const { alice, bob } = network;
  const { redis } = bob.local;
  const count = 2700;
  const exp = 15;

  await t.step("one twin gets a quarter of what the list may have", async () => {
    // Of someone else, so that it is half full soon.
    await redis.lPush("msgbus.never", Array.from({ length: 4950 }, () => "{}"));
    await push(alice, count, { exp, ret: "replies.never" });
    const refused = async () => (await repliesOf(alice, "replies.never")).length;
    await until(async () => await refused() === count - 2500, "the rest refused");
    for (const { src, err } of await repliesOf(alice, "replies.never")) {
      const message = "requests for never are not being taken: too many of twin 7 wait";
      assert.deepEqual({ src, err }, { src: "9", err: { code: 0, message } });
    }
    assert.equal(await redis.lLen("msgbus.never"), 4950 + 2500);
  });

  await t.step("another one still gets through, and so do other commands", async () => {
    await using session = await network.connect();
    session.send(
      await signedByCarol({ message: { case: "request", value: { command: "never" } } }),
    );
    await until(async () => await redis.lLen("msgbus.never") === 4950 + 2501, "it in the list");
    const asked = alice.local.request({ dst: [9], cmd: "served", dat: base64Of("1") });
    await bob.local.respond(await bob.local.pop("msgbus.served"), {});
    assert.equal((await alice.local.pop(await asked)).err, null);
  });

  await t.step("each of the requests is answered with an error, once", async () => {
    const isOver = async () => await alice.local.redis.zCard("msgbus.system.pending") === 0;
    await until(isOver, "the end of all requests", (exp + 20) * 1000);
    const replies = await repliesOf(alice, "replies.never");
    assert.equal(replies.length, count);
    assert.equal(new Set(replies.map(({ ref }) => ref)).size, count);
    const late = replies.filter(({ err }) => err.message === "twin 9 did not answer in time");
    assert.equal(late.length, 2500);
    console.log(`${count} sent to a service that never pops: ${replies.length} failed, 0 twice`);
  });

  await t.step("when the service pops again, requests are taken again", async () => {
    await redis.lTrim("msgbus.never", 0, 0); // All but the latest, CAROL's.
    const ret = await alice.local.request({ dst: [9], cmd: "never" });
    assert.equal((await bob.local.pop("msgbus.never")).src, "30");
    await bob.local.respond(await bob.local.pop("msgbus.never"), {});
    assert.equal((await alice.local.pop(ret)).err, null);
  });
});

Deno.test("100,000 entries that can't be read do not keep good ones waiting for long", async () => {
  await using network = await GatewayNetwork.start();
  const { alice } = network;
  const { redis } = alice.local;
  for (const list of [LOCAL, "msgbus.system.reply"]) {
    for (let i = 0; i < 100; i++) {
      await redis.lPush(list, Array.from({ length: 500 }, (_, n) => `garbage ${i} ${n}`));
    }
  }
  const start = performance.now();
  assert.equal((await alice.local.ask({ dst: [9], cmd: "rmb.version" })).err, null);
  console.log(`a good request answered after ${Math.round(performance.now() - start)} ms`);
  const isOver = async () =>
    await redis.lLen("msgbus.system.reply") + await redis.xLen("msgbus.system.reply.working") === 0;
  await until(isOver, "all taken");
  assert.equal(await redis.lLen("msgbus.system.invalid"), 1000);
  // Not a line for each.
  assert.ok(alice.program.lines.length < 10_000, `${alice.program.lines.length} lines`);
});

Deno.test("what arrives while Redis is away waits, and relays are not read beyond that", async () => {
  const lasting = ["--appendonly", "yes"];
  await using network = await GatewayNetwork.start({ redisArgs: lasting });
  const { alice, bob } = network;
  await bob.redis.program.stop("SIGKILL");
  const count = 3000;
  await push(alice, count, { cmd: "waits", ret: "replies.waits" });
  const isSent = async () =>
    await alice.local.redis.lLen(LOCAL) + await alice.local.redis.xLen(`${LOCAL}.working`) === 0;
  await until(isSent, "all sent");
  await network.network.startRedis(bob.redis.port, ...lasting);
  using redis = Object.assign(await connectRedis(bob.redis.url), {
    [Symbol.dispose]: () => redis.destroy(),
  });
  await until(async () => await redis.lLen("msgbus.waits") === count, "all of them");
  const refs = (await redis.lRange("msgbus.waits", 0, -1)).map((entry) => JSON.parse(entry).ref);
  assert.equal(new Set(refs).size, count);
  await inTime(alice.local.ask({ dst: [9], cmd: "rmb.version" }), "an answer");
});
