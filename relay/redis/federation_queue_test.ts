import assert from "node:assert/strict";
import { readRouting } from "@rmb/protocol";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import {
  type FederatedEnvelope,
  type FederationQueue,
  MAX_FEDERATED,
} from "../federation/queue.ts";
import { testFederationQueue } from "../federation/queue_contract.ts";
import { Clock } from "../tests/clock.ts";
import { RedisStore } from "./store.ts";
import { Proxy } from "./tests/proxy.ts";
import { connectNeighbour, envelope, makePlace } from "./tests/place.ts";

const STREAM = "relay.federation.stream";
const never = new AbortController().signal;

testFederationQueue("RedisFederationQueue", () => makePlace());

const uidOf = ({ envelope }: FederatedEnvelope) => readRouting(envelope).uid;

async function takeUids(queue: FederationQueue, count: number): Promise<string[]> {
  const uids: string[] = [];
  while (uids.length < count) {
    const taken = await inTime(queue.take(count - uids.length, never), "envelopes");
    uids.push(...taken.map(({ envelope }) => readRouting(envelope).uid));
  }
  return uids;
}

Deno.test("RedisFederationQueue shares its stream with relays of the Rust implementation", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using rust = await connectNeighbour(place.url);
  const { federation } = store;
  await rust.send("XGROUP", "CREATE", STREAM, "federation", "0", "MKSTREAM");
  await rust.send("XADD", STREAM, "*", "msg", envelope("theirs"));
  const read = () =>
    rust.send<[[string, [string, [string, string]][]]] | null>(
      ...["XREADGROUP", "GROUP", "federation", "relay-0", "COUNT", "1", "STREAMS", STREAM, ">"],
    );
  const [[, [[id, [field]]]]] = (await read())! as [[string, [[string, [string, string]]]]];
  assert.equal(field, "msg");
  await rust.send("XADD", STREAM, "*", "msg", envelope("ours"));
  await rust.send("XADD", STREAM, "*", "other", "field");
  assert.deepEqual(await takeUids(federation, 1), ["ours"]);

  // Theirs, as long as they may still be at it.
  const abort = new AbortController();
  const none = federation.take(1, abort.signal);
  await until(async () => {
    const consumers = await rust.send<unknown[][]>("XINFO", "CONSUMERS", STREAM, "federation");
    return consumers.length === 2;
  }, "both consumers");
  abort.abort();
  assert.deepEqual(await inTime(none, "nothing"), []);
  await rust.send("XCLAIM", STREAM, "federation", "relay-0", "0", id, "IDLE", "61000");
  assert.deepEqual(await takeUids(federation, 1), ["theirs"]);
  assert.equal(await read(), null);
});

Deno.test("RedisFederationQueue takes what its relay pushes, in order, and no other does", async () => {
  await using place = await makePlace();
  await using one = await place.open();
  await using other = await place.open();
  await using rust = await connectNeighbour(place.url);
  await rust.send("XADD", STREAM, "*", "msg", envelope("left"));
  const abort = new AbortController();
  const none = other.federation.take(100, abort.signal);
  assert.deepEqual((await inTime(none, "theirs")).map(uidOf), ["left"]);
  const stolen = other.federation.take(100, abort.signal);
  const uids = Array.from({ length: 2000 }, (_, i) => `${i}`);
  const pushing = (async () => {
    for (const uid of uids) {
      const pushed = one.federation.push(envelope(uid));
      if (Math.random() < 0.1) await pushed;
    }
  })();
  assert.deepEqual(await takeUids(one.federation, uids.length), uids);
  await pushing;
  abort.abort();
  assert.deepEqual(await inTime(stolen, "nothing"), []);
});

Deno.test("RedisFederationQueue takes all in order that is pushed while its answers are lost", async () => {
  await using place = await makePlace();
  await using proxy = new Proxy(Number(new URL(place.url).port));
  await using store = await RedisStore.open(proxy.url);
  const uids: string[] = [];
  const taken: string[] = [];
  for (let round = 0; round < 5; round++) {
    proxy.keepAnswers();
    for (let i = 0; i < 500; i++) {
      const uid = `${uids.push(`${uids.length}`) - 1}`;
      void store.federation.push(envelope(uid));
    }
    taken.push(...await takeUids(store.federation, 500));
  }
  assert.deepEqual(taken, uids);
});

Deno.test("RedisFederationQueue leaves to other relays what a relay pushed that has ended", async () => {
  await using place = await makePlace();
  await using other = await place.open();
  const uids = Array.from({ length: 300 }, (_, i) => `${i}`);
  {
    await using one = await place.open();
    await Promise.all(uids.map((uid) => one.federation.push(envelope(uid))));
  }
  assert.deepEqual(await takeUids(other.federation, 300), uids);
});

Deno.test("RedisFederationQueue divides among relays what no relay of ours adds", async () => {
  await using place = await makePlace();
  await using one = await place.open();
  await using other = await place.open();
  const uids = Array.from({ length: 100 }, (_, i) => `${i}`);
  const taken: string[] = [];
  const abort = new AbortController();
  const takers = [one, other].map(async ({ federation }) => {
    for (;;) {
      const envelopes = await federation.take(5, abort.signal);
      if (envelopes.length === 0) return;
      taken.push(...envelopes.map(({ envelope }) => readRouting(envelope).uid));
      await federation.remove(envelopes.map(({ id }) => id));
    }
  });
  await using neighbour = await connectNeighbour(place.url);
  for (const uid of uids) await neighbour.send("XADD", STREAM, "*", "msg", envelope(uid));
  await until(() => taken.length >= uids.length, "all envelopes");
  abort.abort();
  await inTime(Promise.all(takers), "their end");
  assert.deepEqual(taken.sort(), uids.sort());
  assert.equal(await neighbour.send("XLEN", STREAM), 0);
});

Deno.test("RedisFederationQueue takes no envelope twice while it is held, nor loses one, when Redis crashes", async () => {
  await using place = await makePlace("--appendonly", "yes");
  await using store = await place.open();
  const { federation } = store;
  await federation.push(envelope("held"));
  assert.deepEqual(await takeUids(federation, 1), ["held"]);
  const taking = federation.take(10, never);
  await place.kill();
  await until(() => store.failure !== undefined, "a failure");
  const pushed = federation.push(envelope("pushed"));
  await place.restart();
  await pushed;
  const taken = await inTime(taking, "an envelope");
  assert.deepEqual(taken.map(({ envelope }) => readRouting(envelope).uid), ["pushed"]);
});

Deno.test("RedisFederationQueue takes what Redis gave to a connection that was lost", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  const { federation } = store;
  await federation.push(envelope("one"));
  const [one] = await federation.take(1, never);
  const consumers = await neighbour.send<unknown[][]>("XINFO", "CONSUMERS", STREAM, "federation");
  const name = consumers[0]![1] as string;
  await federation.push(envelope("two"));
  await neighbour.send("XREADGROUP", "GROUP", "federation", name, "STREAMS", STREAM, ">");
  assert.deepEqual(await takeUids(federation, 1), ["two"]);
  assert.ok(await federation.read(one!.id));
});

Deno.test("RedisFederationQueue makes its group again when Redis has forgotten it", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  const taking = takeUids(store.federation, 1);
  await until(async () => await neighbour.send("EXISTS", STREAM) === 1, "its stream");
  await neighbour.send("FLUSHALL");
  await store.federation.push(envelope("one"));
  assert.deepEqual(await inTime(taking, "an envelope"), ["one"]);
});

Deno.test("RedisFederationQueue makes room by what others are done with, and never delete", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using rust = await connectNeighbour(place.url);
  const add = `for i = 1, ${MAX_FEDERATED} do redis.call('XADD', KEYS[1], '*', 'msg', 'x') end`;
  await rust.send("EVAL", add, "1", STREAM);
  await rust.send("XGROUP", "CREATE", STREAM, "federation", "0");
  await assert.rejects(store.federation.push(envelope("x")), /^FederationQueueFullError: 100000 /);
  const [[, read]] = await rust.send<[[string, [string][]]]>(
    ...["XREADGROUP", "GROUP", "federation", "relay-0", "COUNT", "500", "STREAMS", STREAM, ">"],
  );
  await assert.rejects(store.federation.push(envelope("x")), /^FederationQueueFullError/);
  await rust.send("XACK", STREAM, "federation", ...read.slice(0, 300).map(([id]) => id));
  await store.federation.push(envelope("x"));
  const left = await rust.send("XLEN", STREAM);
  assert.equal(left, MAX_FEDERATED - 300 + 1);
});

Deno.test("RedisFederationQueue takes more while it holds as many as there may be", async () => {
  await using place = await makePlace();
  await using neighbour = await connectNeighbour(place.url);
  const fill =
    `for i = 1, ${MAX_FEDERATED} do redis.call('XADD', KEYS[1], '*', 'msg', ARGV[1]) end`;
  await neighbour.send("EVAL", fill, "1", STREAM, envelope("old"));
  await using store = await place.open();
  const { federation } = store;
  const held = await inTime(federation.take(MAX_FEDERATED, never), "envelopes");
  assert.equal(held.length, MAX_FEDERATED);
  using clock = new Clock();
  clock.advance(4); // Time to look for what relays have left that ended.
  await neighbour.send("XADD", STREAM, "*", "msg", envelope("new"));
  assert.deepEqual(await takeUids(federation, 1), ["new"]);
});
