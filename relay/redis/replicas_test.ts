import assert from "node:assert/strict";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import { RedisStore } from "./store.ts";
import { connectNeighbour, envelope, makePlace } from "./tests/place.ts";

const config = new URL("../../deno.json", import.meta.url).pathname;
const replica = new URL("tests/replica.ts", import.meta.url).pathname;

/** A store at a Redis, and the sessions that were taken over from it. */
async function openReplica(url: string, end: () => Promise<void> = () => Promise.resolve()) {
  const store = await RedisStore.open(url);
  const takenOver: string[] = [];
  store.replicas.onTakenOver = async (session) => {
    takenOver.push(session);
    await end();
  };
  return {
    ...{ store, replicas: store.replicas, takenOver },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

Deno.test("RedisReplicas takes a session over when it has ended elsewhere", async () => {
  await using place = await makePlace();
  const ended = Promise.withResolvers<void>();
  await using one = await openReplica(place.url, () => ended.promise);
  await using other = await openReplica(place.url);
  await one.replicas.claim("7");
  assert.equal(await one.replicas.has("7"), false);
  assert.equal(await other.replicas.has("7"), true);
  assert.equal(await other.replicas.has("7:bot"), false);

  let claimed = false;
  const claim = other.replicas.claim("7").then(() => claimed = true);
  await until(() => one.takenOver.length > 0, "taking over");
  assert.equal(await one.replicas.has("7"), true);
  assert.ok(!claimed, "claimed before it has ended");
  const endedAt = performance.now();
  ended.resolve();
  await inTime(claim, "the claim");
  assert.ok(performance.now() - endedAt < 250, "the claim waited for its next question");
  assert.deepEqual(one.takenOver, ["7"]);
  assert.equal(await other.replicas.has("7"), false);
  assert.equal(await one.replicas.has("7"), true);

  one.replicas.release("7"); // Not its own any more.
  assert.equal(await one.replicas.has("7"), true);
  other.replicas.release("7");
  await until(async () => !await one.replicas.has("7"), "its release");
});

Deno.test("RedisReplicas waits for a relay that does not end a session, but not for ever", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url, () => new Promise(() => {}));
  await using other = await openReplica(place.url);
  await one.replicas.claim("7");
  const since = performance.now();
  await inTime(other.replicas.claim("7"), "the claim");
  const waited = performance.now() - since;
  assert.ok(waited > 5500 && waited < 9000, `${waited} ms`);
  assert.deepEqual(one.takenOver, ["7"]);
});

Deno.test("RedisReplicas has one of concurrent claims win, and the newest", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url);
  await using two = await openReplica(place.url);
  await using three = await openReplica(place.url);
  const replicas = [one, two, three];
  for (let round = 0; round < 20; round++) {
    const session = `${round + 1}`;
    await inTime(
      Promise.all(replicas.map(({ replicas }) => replicas.claim(session))),
      "all claims",
    );
    const losers = () => replicas.filter(({ takenOver }) => takenOver.includes(session)).length;
    await until(() => losers() === 2, "two to lose");
    const has = await Promise.all(replicas.map(({ replicas }) => replicas.has(session)));
    // Who has won is the one that sees it nowhere else.
    assert.deepEqual(has.sort(), [false, true, true]);
  }
  for (const { takenOver } of replicas) assert.equal(new Set(takenOver).size, takenOver.length);
});

Deno.test("RedisReplicas connects a session again without taking it over from itself", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url);
  await one.replicas.claim("7");
  await one.replicas.claim("7");
  assert.deepEqual(one.takenOver, []);
  await using other = await openReplica(place.url);
  await other.replicas.claim("7");
  await one.replicas.claim("7");
  assert.deepEqual([one.takenOver, other.takenOver], [["7"], ["7"]]);
});

Deno.test("RedisReplicas does not wait for a relay that is dead", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url);
  await using neighbour = await connectNeighbour(place.url);
  await neighbour.send("XADD", "relay.federation.stream", "*", "msg", envelope("x"));
  const dead = await place.network.start({
    command: Deno.execPath(),
    args: ["run", "--quiet", "-P=test", "--config", config, replica, place.url, "7"],
    ready: /took 1/,
  });
  assert.equal(await one.replicas.has("7"), true);
  await dead.stop("SIGKILL");
  assert.equal(await one.replicas.has("7"), true);
  const claim = one.replicas.claim("7");
  // As if its time was over.
  for (const key of await neighbour.send<string[]>("KEYS", "rmb:relay:*")) {
    if ((await neighbour.send<string>("TYPE", key)) !== "string") continue;
    if (await neighbour.send<number>("TTL", key) > 10) assert.fail(`${key} lives too long`);
    await neighbour.send("DEL", key);
  }
  await inTime(claim, "the claim", 2000);
  const { signal } = new AbortController();
  const [taken] = await inTime(one.store.federation.take(10, signal), "its entries");
  assert.ok(taken);
});

Deno.test("RedisReplicas leaves its sessions at once when it is closed", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url);
  {
    await using other = await openReplica(place.url);
    await other.replicas.claim("7");
    assert.equal(await one.replicas.has("7"), true);
  }
  assert.equal(await one.replicas.has("7"), false);
  await inTime(one.replicas.claim("7"), "the claim", 500);
});

Deno.test("RedisReplicas announces its sessions again to a Redis that has forgotten them", async () => {
  await using place = await makePlace();
  await using one = await openReplica(place.url);
  await using other = await openReplica(place.url);
  await one.replicas.claim("7");
  await other.replicas.claim("9");
  await place.kill();
  await until(() => one.store.failure !== undefined, "a failure");
  await until(() => other.store.failure !== undefined, "a failure");
  await assert.rejects(one.replicas.has("9"), /^RmbError: Cannot ask for session 9: Redis is not/);
  // Moved from one to the other meanwhile.
  await inTime(other.replicas.claim("7"), "the claim", 500);
  await inTime(one.replicas.claim("8"), "the claim", 500);
  one.replicas.release("8");
  await place.restart();
  await until(() => one.takenOver.length > 0, "taking over");
  assert.deepEqual([one.takenOver, other.takenOver], [["7"], []]);
  await until(async () => await one.replicas.has("9").catch(() => false), "session 9");
  assert.equal(await one.replicas.has("7"), true);
  assert.equal(await other.replicas.has("7"), false);
  assert.equal(await other.replicas.has("8"), false);

  await using neighbour = await connectNeighbour(place.url);
  await neighbour.send("FLUSHALL");
  await until(() => one.replicas.has("7"), "session 7 after the flush");
  await one.replicas.claim("7");
  assert.deepEqual(other.takenOver, ["7"]);
});
