/** What becomes of requests when a gateway, the relay or Redis is away for a while. */
import assert from "node:assert/strict";
import { inTime, until } from "./fixtures/deadline.ts";
import { GatewayNetwork, type TestGateway } from "./fixtures/gateway_network.ts";
import { base64Of } from "./fixtures/local_program.ts";

const LOCAL = "msgbus.system.local";

/** What a relay stores, as bytes that text can be looked for in. */
async function mailboxText({ network, relay }: GatewayNetwork): Promise<string> {
  let text = "";
  for await (const { name } of Deno.readDir(network.folder)) {
    if (!name.startsWith(`relay-${relay.port}.db`)) continue;
    text += new TextDecoder("latin1").decode(await Deno.readFile(`${network.folder}/${name}`));
  }
  return text;
}

/** Pushes requests that are numbered by their references, all at once. */
async function pushRequests({ local }: TestGateway, count: number, members: object): Promise<void> {
  const entries = Array.from({ length: count }, (_, i) => {
    const request = { ver: 1, ref: `${i}`, cmd: "test.echo", exp: 60, dat: "", dst: [9], now: 0 };
    return JSON.stringify({ ...request, ...members });
  });
  await local.redis.lPush(LOCAL, entries);
}

/** Stops a gateway, which must end well and soon. */
async function stop({ program }: TestGateway, milliseconds = 5000): Promise<void> {
  const start = performance.now();
  const { code, signal } = await program.stop();
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, program.lines.join("\n"));
  const time = performance.now() - start;
  assert.ok(time < milliseconds, `it took ${time} ms`);
}

Deno.test("requests get through outages", async (t) => {
  await using network = await GatewayNetwork.start({ args: ["-d"] });
  const { alice, bob, relay } = network;
  const { local } = alice;

  await t.step(
    "a twin whose gateway is away gets them when it comes, and the relay can't read them",
    async () => {
      await stop(bob);
      const secret = "the payload that nobody may see";
      const ret = await local.request({ dst: [9], cmd: "away.first", dat: base64Of(secret) });
      await local.request({ dst: [9], cmd: "away.second" });
      const stored = async () => (await mailboxText(network)).includes("away.second");
      await until(stored, "the requests in the mailbox");
      const [key] = await local.redis.keys("msgbus.backlog.*");
      const mailbox = await mailboxText(network);
      assert.ok(mailbox.includes(key!.slice("msgbus.backlog.".length)), "uids travel in clear");
      assert.ok(mailbox.includes("away.first"), "commands travel in clear");
      for (const text of [secret, secret.slice(0, 8), secret.slice(-8), base64Of(secret)]) {
        assert.ok(!mailbox.includes(text), `"${text}" is in the mailbox`);
      }
      await network.restart(bob);
      const first = await bob.local.pop("msgbus.away.first");
      assert.equal(first.dat, base64Of(secret));
      await bob.local.pop("msgbus.away.second");
      await bob.local.respond(first, { dat: first.dat });
      assert.equal((await local.pop(ret)).dat, base64Of(secret));
    },
  );

  await t.step(
    "a relay that is away gets them when it comes, or their senders an error in time",
    async () => {
      await relay.program.stop("SIGKILL");
      await alice.program.line(/relay ws:\S+ is not connected: .*; next attempt in \d+ ms$/);
      for (let i = 0; i < 20; i++) await local.request({ dst: [9], cmd: "patient", ref: `${i}` });
      const { src, ref, err } = await local.ask({ dst: [9], cmd: "hasty", exp: 1, ref: "r" });
      assert.deepEqual({ src, ref, code: err.code }, { src: "", ref: "r", code: 500 });
      const start = `Cannot send: ${relay.domain} was not connected in time (`;
      assert.ok(err.message.startsWith(start), err.message);
      const asked = local.request({ dst: [9], cmd: "patient", ref: "last" });
      await network.network.startRelay({ port: relay.port });
      const ret = await asked;
      for (let i = 0; i < 20; i++) await bob.local.pop("msgbus.patient");
      await bob.local.respond(await bob.local.pop("msgbus.patient"), {});
      assert.equal((await local.pop(ret)).ref, "last");
      assert.equal(await bob.local.redis.exists("msgbus.hasty"), 0);
    },
  );

  await t.step("Redis is started anew, and its gateway goes on", async () => {
    await alice.redis.program.stop("SIGKILL");
    await alice.program.line(/Redis is not reachable: /);
    await network.network.startRedis(alice.redis.port);
    await alice.program.line(/Redis is back/);
    await until(() => local.redis.isReady, "the local program connected");
    assert.equal((await local.ask({ dst: [9], cmd: "rmb.version" })).src, "9");
    assert.equal((await bob.local.ask({ dst: [7], cmd: "rmb.version" })).src, "7");
  });

  await t.step("Redis takes nothing for a while, and its gateway waits and says so", async () => {
    await local.redis.configSet("min-replicas-to-write", "1");
    await alice.program.line(/Redis refuses what it is asked, until it does not: NOREPLICAS/);
    await local.redis.configSet("min-replicas-to-write", "0");
    await alice.program.line(/Redis does what it is asked again/);
    assert.equal((await local.ask({ dst: [9], cmd: "rmb.version" })).src, "9");
  });

  await t.step("a gateway that is stopped sends what it has taken, or leaves it", async () => {
    const count = 500;
    await pushRequests(alice, count, { cmd: "count", ret: "replies.count" });
    await until(async () => await local.redis.lLen(LOCAL) < count, "the first one taken");
    await stop(alice);
    const left = await local.redis.lLen(LOCAL) + await local.redis.xLen(`${LOCAL}.working`);
    const arrived = async () => await bob.local.redis.lLen("msgbus.count");
    await until(async () => await arrived() + left >= count, "all that were sent");
    await network.restart(alice);
    await until(async () => await arrived() >= count, "the rest");
    const refs = new Set<string>();
    for (let i = 0; i < count; i++) refs.add((await bob.local.pop("msgbus.count")).ref);
    assert.equal(refs.size, count);
    assert.equal(await arrived(), 0);
    assert.equal(await local.redis.exists("replies.count"), 0);
  });

  await t.step("a gateway that is stopped finishes what others asked of it", async () => {
    const asked = Array.from({ length: 50 }, () => local.ask({ dst: [9], cmd: "rmb.version" }));
    const first = await inTime(asked[0]!, "an answer");
    await stop(bob);
    await network.restart(bob);
    for (const answer of await Promise.all(asked)) assert.equal(answer.dat, first.dat);
  });

  await t.step("a gateway that is stopped while the relay is away leaves what it has", async () => {
    const count = 11_500; // More than it takes while it can't send any: 10,000, and what it has in hand.
    const away = { url: "ws://127.0.0.1:1" };
    const stopped = await network.network.startGateway(alice.twin, alice.redis, away, {
      ready: /is not connected/,
      args: ["--no-update"],
    });
    await stop(alice); // From here on there is only the one without a relay.
    await pushRequests(alice, count, { cmd: "left", ret: "replies.left" });
    const left = () => local.redis.lLen(LOCAL);
    await until(async () => await left() <= count - 10_000, "as many taken as it takes");
    await stop({ ...alice, program: stopped });
    assert.ok(await left() >= count - 11_000, `${await left()} left`);
    assert.equal(await left() + await local.redis.xLen(`${LOCAL}.working`), count);
    assert.equal(await local.redis.exists("replies.left"), 0);
    await local.redis.del(LOCAL);
    await local.redis.xTrim(`${LOCAL}.working`, "MAXLEN", 3);
    await network.restart(alice);
    for (let i = 0; i < 3; i++) await bob.local.pop("msgbus.left");
  });

  await t.step("a gateway that is stopped does not wait for a Redis that is away", async () => {
    await bob.redis.program.stop("SIGKILL");
    await bob.program.line(/Redis is not reachable: /);
    await stop(bob);
  });
});
