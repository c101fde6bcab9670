import assert from "node:assert/strict";
import { RmbError, unixNow } from "@rmb/protocol";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import { Network } from "../../tests/fixtures/network.ts";
import { Clock } from "../tests/clock.ts";
import { RedisStore } from "./store.ts";
import { Proxy } from "./tests/proxy.ts";
import { captureLog, connectNeighbour, drain, envelope, makePlace } from "./tests/place.ts";

const LATER = unixNow() + 3000;
const PERSISTENT = ["--appendonly", "yes"];

Deno.test("RedisStore.open() refuses what is no URL of a Redis, and quotes no password", async () => {
  for (const url of ["redis", "http://a:secret@b", "redis://:secret@", "redis://:se%cret@host/x"]) {
    await assert.rejects(RedisStore.open(url), (error: Error) => {
      assert.ok(error instanceof RmbError);
      assert.match(error.message, /^Cannot use the Redis URL: expected redis:/);
      assert.doesNotMatch(Deno.inspect(error), /secret/);
      return true;
    });
  }
});

Deno.test("RedisStore.open() says why Redis can't be used", async () => {
  await using network = await Network.create([]);
  const redis = await network.startRedis(undefined, "--requirepass", "right");
  const wrong = redis.url.replace("//", "//:wrong@");
  await assert.rejects(RedisStore.open(wrong), (error: Error) => {
    assert.ok(error instanceof RmbError);
    assert.match(error.message, /^Cannot use Redis at redis:\/\/127.0.0.1:\d+: WRONGPASS/);
    return true;
  });
  await assert.rejects(RedisStore.open(redis.url), /^RmbError: Cannot use Redis at .*: NOAUTH/);
  await using store = await RedisStore.open(redis.url.replace("//", "//:right@"));
  assert.equal(store.failure, undefined);
  await redis.program.stop("SIGKILL");
  await assert.rejects(RedisStore.open(redis.url), /^RmbError: Cannot use Redis .*ECONNREFUSED/);
});

Deno.test("RedisStore stores all once and in order while Redis crashes", async () => {
  await using place = await makePlace(...PERSISTENT);
  await using store = await place.open();
  const uids = Array.from({ length: 5000 }, (_, i) => `${i}`);
  let settled = 0;
  const stored = uids.map((uid) =>
    store.mailbox.append("7", envelope(uid), LATER).then(() => settled++)
  );
  await until(() => settled > 500, "some are stored");
  await place.kill();
  assert.ok(settled < uids.length, "all are stored already");
  await until(() => store.failure !== undefined, "a failure");
  await place.restart();
  await inTime(Promise.all(stored), "all stored");
  await until(() => store.failure === undefined, "no failure");
  assert.deepEqual(await drain(store.mailbox, "7"), uids);
});

Deno.test("RedisStore stores all once and in order while Redis hangs", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using log = await captureLog();
  const uids = Array.from({ length: 5000 }, (_, i) => `${i}`);
  let settled = 0;
  const stored = uids.map((uid) =>
    store.mailbox.append("7", envelope(uid), LATER).then(() => settled++)
  );
  await until(() => settled > 500, "some are stored");
  place.pause();
  try {
    await until(() => store.failure !== undefined, "a failure");
    assert.match(store.failure!, /^no answer for 5 seconds/);
    assert.ok(settled < uids.length, "all are stored already");
  } finally {
    place.resume();
  }
  await inTime(Promise.all(stored), "all stored");
  await until(() => store.failure === undefined, "no failure");
  assert.equal(log.texts().length, 2, log.texts().join("\n"));
  assert.deepEqual(await drain(store.mailbox, "7"), uids);
});

Deno.test("RedisStore stores once what Redis has stored without being heard", async () => {
  await using place = await makePlace();
  await using proxy = new Proxy(Number(new URL(place.url).port));
  await using store = await RedisStore.open(proxy.url);
  const uids: string[] = [];
  const stored: Promise<void>[] = [];
  for (let round = 0; round < 5; round++) {
    proxy.keepAnswers();
    for (let i = 0; i < 1000; i++) {
      const uid = `${uids.push(`${uids.length}`) - 1}`;
      stored.push(store.mailbox.append("7", envelope(uid), LATER));
    }
    await inTime(Promise.all(stored), "all stored");
    // What is put back, and removed, is so once too.
    const [first, second] = await store.mailbox.read("7");
    proxy.keepAnswers();
    const again = { envelope: first!.envelope, expires: LATER };
    await store.mailbox.putBack("7", [again, { ...again }], [first!.id]);
    const [one, two, three] = await store.mailbox.read("7");
    assert.deepEqual(
      [one, two].map((read) => read!.envelope),
      [first, first].map((read) => read!.envelope),
    );
    assert.equal(three!.id, second!.id);
    proxy.keepAnswers();
    await store.mailbox.remove("7", [one!.id]);
  }
  assert.ok(proxy.cut >= 15, `${proxy.cut} connections cut`);
  assert.deepEqual(await drain(store.mailbox, "7"), uids);
});

Deno.test("RedisStore keeps so much in memory while Redis is lost, and no more", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using log = await captureLog();
  await place.kill();
  await until(() => store.failure !== undefined, "a failure");
  const large = new Uint8Array(1024 * 1024);
  const waiting = Array.from({ length: 63 }, () => store.mailbox.append("7", large, LATER));
  await assert.rejects(
    store.mailbox.append("7", large, LATER),
    /^RmbError: Cannot take a message: 63 messages of \d+ bytes wait for Redis already/,
  );
  await assert.rejects(store.federation.push(large), /^RmbError: Cannot take a message/);
  await store.mailbox.append("7", envelope("expired"), 0);
  const small = store.mailbox.append("9", envelope("small"), LATER);
  await assert.rejects(store.mailbox.read("9"), /^RmbError: Redis can't be used: .+/);
  await place.restart();
  await inTime(Promise.all([...waiting, small]), "all stored");
  assert.deepEqual(await drain(store.mailbox, "9"), ["small"]);
  await until(() => store.failure === undefined, "no failure");
  const lines = log.texts().filter((text) => text.startsWith("Redis at"));
  assert.equal(lines.length, 2, lines.join("\n"));
  assert.match(lines[0]!, /can't be used: /);
  assert.match(lines[1]!, /can be used again$/);
});

Deno.test("RedisStore rejects what expires while Redis is lost", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await place.kill();
  await until(() => store.failure !== undefined, "a failure");
  const now = unixNow();
  const soon = store.mailbox.append("7", envelope("soon", now + 60), now + 60);
  const later = store.mailbox.append("7", envelope("later"), LATER);
  const put = store.mailbox.putBack("7", [{ envelope: envelope("back"), expires: LATER }]);
  {
    using clock = new Clock();
    clock.advance(90);
    await assert.rejects(inTime(soon, "a rejection"), /^RmbError: message has expired$/);
  }
  await place.restart();
  await inTime(Promise.all([later, put]), "the others stored");
  assert.deepEqual(await drain(store.mailbox, "7"), ["back", "later"]);
});

Deno.test("RedisStore gives up what waits when it is closed while Redis is lost", async () => {
  await using place = await makePlace();
  const store = await place.open();
  await place.kill();
  await until(() => store.failure !== undefined, "a failure");
  const refused = assert.rejects(
    store.mailbox.append("7", envelope("lost"), LATER),
    /^RmbError: Redis can't be used: /,
  );
  await inTime(store[Symbol.asyncDispose](), "its end");
  await refused;
  await assert.rejects(store.mailbox.append("7", envelope("x"), LATER), /The store is closed/);
});

Deno.test("RedisStore waits while Redis has no memory, and still removes what gives it some", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  await store.mailbox.append("7", envelope("one"), LATER);
  const [one] = await store.mailbox.read("7");
  await neighbour.send("CONFIG", "SET", "maxmemory", "1");
  const two = store.mailbox.append("7", envelope("two"), LATER);
  const three = store.mailbox.append("7", envelope("three"), LATER);
  await until(() => store.failure !== undefined, "a failure");
  assert.match(store.failure!, /OOM/);
  await inTime(store.mailbox.remove("7", [one!.id]), "its removal");
  assert.match(store.failure!, /OOM/);
  await neighbour.send("CONFIG", "SET", "maxmemory", "0");
  await inTime(Promise.all([two, three]), "all stored");
  await until(() => store.failure === undefined, "no failure");
  assert.deepEqual(await drain(store.mailbox, "7"), ["two", "three"]);
});

Deno.test("RedisStore waits while Redis may not be written to", async () => {
  await using place = await makePlace();
  await using store = await place.open();
  await using neighbour = await connectNeighbour(place.url);
  await neighbour.send("REPLICAOF", "127.0.0.1", "1");
  const stored = store.mailbox.append("7", envelope("one"), LATER);
  await until(() => store.failure !== undefined, "a failure");
  assert.match(store.failure!, /READONLY/);
  await neighbour.send("REPLICAOF", "NO", "ONE");
  await inTime(stored, "stored");
  assert.deepEqual(await drain(store.mailbox, "7"), ["one"]);
});

Deno.test("RedisStore connects again when Redis may not be written to: another may be there now", async () => {
  await using place = await makePlace();
  await using promoted = await makePlace();
  await using proxy = new Proxy(Number(new URL(place.url).port));
  await using store = await RedisStore.open(proxy.url);
  await using neighbour = await connectNeighbour(place.url);
  proxy.port = Number(new URL(promoted.url).port);
  await neighbour.send("REPLICAOF", "127.0.0.1", new URL(promoted.url).port);
  await inTime(store.mailbox.append("7", envelope("one"), LATER), "stored");
  assert.deepEqual(await drain(store.mailbox, "7"), ["one"]);
});

Deno.test("RedisStore leaves no key of its own behind", async () => {
  await using place = await makePlace();
  await using neighbour = await connectNeighbour(place.url);
  {
    await using store = await place.open();
    await store.replicas.claim("7");
    await store.mailbox.append("7", envelope("one"), LATER);
    await store.mailbox.putBack("7", [{ envelope: envelope("zero"), expires: LATER }]);
  }
  const keys = await neighbour.send<string[]>("KEYS", "*");
  assert.deepEqual(keys.sort(), ["rmb:claims", "stream:7"]);
  assert.equal(await neighbour.send("TTL", "stream:7"), 3600);
});

Deno.test("RedisStore does not say that Redis is back when it stops while Redis is lost", async () => {
  await using place = await makePlace();
  await using log = await captureLog();
  {
    await using store = await place.open();
    await place.kill();
    await until(() => store.failure !== undefined, "a failure");
  }
  assert.equal(log.texts().length, 1, log.texts().join("\n"));
  assert.match(log.texts()[0]!, /can't be used/);
});
