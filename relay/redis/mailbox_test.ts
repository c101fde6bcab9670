import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { createEnvelope, encodeEnvelope, readRouting, unixNow } from "@rmb/protocol";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import type { QueuedEnvelope } from "../mailbox.ts";
import { testMailbox } from "../mailbox_contract.ts";
import { captureLog, connectNeighbour, drain, envelope, makePlace } from "./tests/place.ts";

const LATER = unixNow() + 3000;

testMailbox("RedisMailbox", () => makePlace());

/** The ids and uids of a stream, as others read them. */
async function readStream(
  neighbour: Awaited<ReturnType<typeof connectNeighbour>>,
  session: string,
): Promise<[id: string, uid: string][]> {
  const entries = await neighbour.ask<[Buffer, [Buffer, Buffer]][]>(
    ...["XRANGE", `stream:${session}`, "-", "+"],
  );
  return entries.map(([id, [field, value]]) => {
    assert.equal(field.toString(), "_");
    return [id.toString(), readRouting(value).uid];
  });
}

Deno.test("RedisMailbox hears at once of what another relay appends, and reads it in order", async () => {
  await using place = await makePlace();
  await using one = await place.open();
  await using other = await place.open();
  const uids = Array.from({ length: 200 }, (_, i) => `${i}`);
  const received: string[] = [];
  let last: QueuedEnvelope["id"] | undefined;
  const latencies: number[] = [];
  let appendedAt = 0;
  const receive = async () => {
    latencies.push(performance.now() - appendedAt);
    for (const { id, envelope } of await one.mailbox.read("7", last)) {
      received.push(readRouting(envelope).uid);
      last = id;
    }
    one.mailbox.watch("7", last, receive);
  };
  one.mailbox.watch("7", last, receive);
  for (const [i, uid] of uids.entries()) {
    appendedAt = performance.now();
    await other.mailbox.append("7", envelope(uid), LATER);
    if (i % 10 === 0) await until(() => received.length === i + 1, `envelope ${i}`);
  }
  await until(() => received.length === uids.length, "all envelopes");
  assert.deepEqual(received, uids);
  const median = latencies.sort((a, b) => a - b)[latencies.length >> 1]!;
  assert.ok(median < 100, `${median} ms`);
});

Deno.test("RedisMailbox brings all once and in order from relay to relay, whatever happens to Redis", async () => {
  await using place = await makePlace("--appendonly", "yes");
  await using one = await place.open();
  await using other = await place.open();
  const sessions = ["1", "2", "3", "4", "5"];
  const sent: string[] = [];
  const received = new Map<string, string[]>(sessions.map((session) => [session, []]));
  const receive = async (session: string, last?: QueuedEnvelope["id"]) => {
    for (;;) {
      const queued = await other.mailbox.read(session, last);
      if (queued.length === 0) break;
      received.get(session)!.push(...queued.map(({ envelope }) => readRouting(envelope).uid));
      last = queued.at(-1)!.id;
      await other.mailbox.remove(session, queued.map(({ id }) => id));
    }
    other.mailbox.watch(session, last, () => receive(session, last));
  };
  await Promise.all(sessions.map((session) => receive(session)));
  const stored: Promise<void>[] = [];
  const send = () => {
    for (const session of sessions) {
      stored.push(one.mailbox.append(session, envelope(`${sent.length}`), LATER));
    }
    sent.push(`${sent.length}`);
  };
  const sending = setInterval(send, 1);
  try {
    for (let round = 1; round <= 6; round++) {
      await until(() => sent.length > round * 100, "more to be sent");
      if (round % 3 === 0) {
        await place.kill();
        await place.restart();
      } else {
        await using neighbour = await connectNeighbour(place.url);
        await neighbour.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        if (round % 3 === 2) await neighbour.send("SCRIPT", "FLUSH");
      }
    }
  } finally {
    clearInterval(sending);
  }
  await inTime(Promise.all(stored), "all stored");
  const isComplete = () =>
    sessions.every((session) => received.get(session)!.length >= sent.length);
  await until(isComplete, "all received");
  for (const uids of received.values()) assert.deepEqual(uids, sent);
});

Deno.test("RedisMailbox watches many sessions, each until it was told", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  const told = new Map<string, number>();
  const sessions = Array.from({ length: 600 }, (_, i) => `${i + 1}`);
  const stops = sessions.map((session) =>
    store.mailbox.watch(session, undefined, () => told.set(session, (told.get(session) ?? 0) + 1))
  );
  const add = (session: string) =>
    neighbour.send("XADD", `stream:${session}`, "*", "_", envelope("x"));
  await add("300");
  await until(() => told.size === 1, "one told");
  stops[599]!();
  await Promise.all(sessions.map(add));
  await Promise.all(sessions.map(add));
  await until(() => told.size === 599, "all told but one");
  assert.ok(!told.has("600"));
  assert.deepEqual(new Set(told.values()), new Set([1]));
  // A second watch of the same session, and one that has read all.
  const both = Promise.withResolvers<void>();
  const [, last] = await store.mailbox.read("5");
  const never = store.mailbox.watch("5", last!.id, () => assert.fail("there is nothing more"));
  store.mailbox.watch("5", undefined, both.resolve);
  await inTime(both.promise, "the second watch");
  never();
});

Deno.test("RedisMailbox goes on watching when Redis was restarted", async () => {
  await using place = await makePlace("--appendonly", "yes");
  await using store = await place.open();
  const told = Promise.withResolvers<void>();
  store.mailbox.watch("7", undefined, told.resolve);
  await place.kill();
  await until(() => store.failure !== undefined, "a failure");
  await place.restart();
  await using neighbour = await connectNeighbour(place.url);
  await neighbour.send("XADD", "stream:7", "*", "_", envelope("one"));
  await inTime(told.promise, "being told");
});

Deno.test("RedisMailbox shares streams with relays of the Rust implementation", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using rust = await connectNeighbour(place.url);
  const add = (uid: string) =>
    rust.send("XADD", "stream:7", "MAXLEN", "~", "10000", "*", "_", envelope(uid));
  await add("0");
  await store.mailbox.append("7", envelope("1"), LATER);
  await add("2");
  await store.mailbox.append("7", envelope("3"), LATER);
  const [[, read]] = await rust.send<[[string, [string, unknown][]]]>(
    ...["XREAD", "COUNT", "100", "STREAMS", "stream:7", "0"],
  );
  assert.equal(read.length, 4);
  const queued = await store.mailbox.read("7");
  await rust.send("XDEL", "stream:7", read[0]![0], read[1]![0]);
  assert.deepEqual(queued.map(({ id }) => id), read.map(([id]) => id));
  await store.mailbox.remove("7", [queued[0]!.id]);
  assert.deepEqual(await drain(store.mailbox, "7"), ["2", "3"]);
  assert.equal(await rust.send("XLEN", "stream:7"), 0);
});

Deno.test("RedisMailbox.putBack() leaves the ids of what waits as they are", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  for (const uid of ["a", "b", "c", "d"]) await store.mailbox.append("7", envelope(uid), LATER);
  const before = await readStream(neighbour, "7");
  const again = (...uids: string[]) =>
    uids.map((uid) => ({ envelope: envelope(uid), expires: LATER }));
  await store.mailbox.putBack("7", again("1", "2"), [before[1]![0]]);
  await store.mailbox.putBack("7", again("0"));
  const after = await readStream(neighbour, "7");
  assert.deepEqual(after.map(([, uid]) => uid), ["0", "1", "2", "a", "c", "d"]);
  assert.deepEqual(after.slice(3), [before[0], before[2], before[3]]);
  const read = await store.mailbox.read("7", before[0]![0]);
  assert.deepEqual(read.map(({ id }) => id), [before[2]![0], before[3]![0]]);
  await neighbour.send("XDEL", "stream:7", before[3]![0]);
  await store.mailbox.append("7", envelope("e"), LATER);
  const last = (await readStream(neighbour, "7")).at(-1)!;
  assert.ok(parseInt(last[0]) >= parseInt(before[3]![0]));
  assert.deepEqual(await drain(store.mailbox, "7"), ["0", "1", "2", "a", "c", "e"]);
  assert.equal((await neighbour.send<string[]>("KEYS", "rmb:new*")).length, 0);
});

Deno.test("RedisMailbox.putBack() is heard of by those who watch", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using other = await place.open();
  const told = Promise.withResolvers<void>();
  await store.mailbox.append("7", envelope("b"), LATER);
  const [b] = await store.mailbox.read("7");
  other.mailbox.watch("7", b!.id, told.resolve);
  await store.mailbox.putBack("7", [{ envelope: envelope("a"), expires: LATER }]);
  await store.mailbox.append("7", envelope("c"), LATER);
  await inTime(told.promise, "being told");
  assert.deepEqual(await drain(other.mailbox, "7"), ["a", "b", "c"]);
});

Deno.test("RedisMailbox refuses a session whose key is something else, and serves others", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  await neighbour.send("SET", "stream:7", "text");
  const { mailbox } = store;
  const told = Promise.withResolvers<void>();
  mailbox.watch("7", undefined, () => assert.fail("there is no stream"));
  mailbox.watch("9", undefined, told.resolve);
  const refused = [
    assert.rejects(mailbox.append("7", envelope("x"), LATER), /^RefusedError: WRONGTYPE/),
    assert.rejects(
      mailbox.putBack("7", [{ envelope: envelope("x"), expires: LATER }]),
      /^RefusedError: WRONGTYPE/,
    ),
    assert.rejects(mailbox.remove("7", ["1-1"]), /^RefusedError: WRONGTYPE/),
  ];
  await mailbox.append("9", envelope("one"), LATER);
  await Promise.all(refused);
  await assert.rejects(mailbox.read("7"), /WRONGTYPE/);
  await inTime(told.promise, "being told");
  assert.deepEqual(await drain(mailbox, "9"), ["one"]);
  assert.equal(store.failure, undefined);
  assert.equal(await mailbox.depth(), 0);
});

Deno.test("RedisMailbox drops what others added that is no envelope", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  await using log = await captureLog();
  await neighbour.send("XADD", "stream:7", "*", "_", "\u0007 no envelope");
  await neighbour.send("XADD", "stream:7", "*", "other", "field");
  await neighbour.send("XADD", "stream:7", "*", "_", envelope("expired", unixNow() - 1));
  await neighbour.send("XADD", "stream:7", "*", "other", "1", "_", envelope("good"));
  assert.deepEqual(await drain(store.mailbox, "7"), ["good"]);
  assert.equal(await neighbour.send("XLEN", "stream:7"), 0);
  assert.deepEqual(log.texts(), ["2 entries of stream:7 are no envelopes, and are dropped"]);
});

Deno.test("RedisMailbox keeps pongs, which say nothing of when they expire", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  const pong = encodeEnvelope(
    createEnvelope({ uid: "pong", message: { case: "pong", value: {} } }),
  );
  await store.mailbox.append("7", pong, LATER);
  assert.deepEqual(await drain(store.mailbox, "7"), ["pong"]);
});

Deno.test("RedisMailbox counts streams only, and those of others too", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  for (let i = 0; i < 2500; i++) neighbour.send("XADD", `stream:${i}`, "*", "_", "x");
  await neighbour.send("SET", "stream:text", "x");
  await neighbour.send("XADD", "streams", "*", "_", "x");
  assert.equal(await store.mailbox.depth(), 2500);
});
