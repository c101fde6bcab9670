import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import fc from "fast-check";
import { until } from "../../tests/fixtures/deadline.ts";
import { FederationFixture, TIMES } from "../tests/federation_fixture.ts";
import { OtherRelay } from "../tests/other_relay.ts";

const status = (status: number, text: string | null = null) => () => new Response(text, { status });
const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Waits until there are so many of something. */
const count = (list: readonly unknown[], length: number, what: string) =>
  until(() => list.length >= length, `${length} ${what}`);

Deno.test("Federation sends all once, in order, and uses its connections again", async () => {
  await using relay = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  const uids = numbered("", 500);
  for (const uid of uids) void federation.send(uid, 9);
  await count(relay.taken, 500, "messages");
  assert.deepEqual(relay.received, uids);
  assert.equal(relay.connections.size, 1);
  await until(async () => await federation.metric("federation_messages_held") === 0, "none held");
  assert.equal(await federation.metric("federation_message_success", relay.domain), 500);
  assert.deepEqual(federation.answers, []);
});

Deno.test("Federation sends for many sessions at once, and not too much of it", async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  await using relay = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  await federation.send("first", 9);
  await count(relay.taken, 1, "messages");
  relay.answer = async () => {
    await released;
    return new Response(null, { status: 202 });
  };
  const uids = numbered("", 100);
  for (const [i, uid] of uids.entries()) void federation.send(uid, 9, { source: { twin: i + 1 } });
  await count(relay.received, 17, "requests");
  release();
  await count(relay.taken, 101, "messages");
  assert.equal(relay.mostAtOnce, 16);
  assert.ok(relay.connections.size <= 16, `${relay.connections.size} connections`);
});

Deno.test("Federation gives up at 4xx, and tells the one who asks", async () => {
  await using refusing = OtherRelay.start(status(403, "twin 9 does not\nuse this relay\0"));
  await using federation = new FederationFixture();
  federation.registry.add(9, [refusing.domain, refusing.domain.replace("127.0.0.1", "localhost")]);
  await federation.send("one", 9, { source: { twin: 7, connection: "bot" } });
  await federation.send("two", 9, { source: { twin: 7, connection: "bot" }, kind: "response" });
  refusing.answer = (uid) => new Response(uid, { status: 404 });
  await federation.send("destination offline", 9);
  await count(federation.answers, 2, "answers");
  await count(refusing.received, 3, "messages");
  const text = (reason: string) => `remote relay rejected permanently: ${reason}`;
  const byUid = new Map(federation.answers.map(({ uid, ...answer }) => [uid, answer]));
  assert.equal(byUid.get("one")!.named, false);
  assert.deepEqual(byUid.get("one")!.session, { twin: 7, connection: "bot" });
  assert.ok(
    [text("403 twin 9 does not use this relay"), text("404 one")].includes(byUid.get("one")!.text),
  );
  assert.equal(byUid.get("destination offline")!.text, text("404 destination offline"));
  assert.equal(await federation.metric("federation_message_error"), 0);
});

Deno.test("Federation tries the next relay when one fails, and goes on with that", async () => {
  for (
    const answer of [
      status(500),
      status(200),
      () => new Response(null, { status: 302, headers: { location: "/elsewhere" } }),
      undefined,
    ]
  ) {
    await using good = OtherRelay.start();
    await using bad = OtherRelay.start();
    bad.answer = answer ?? bad.hang;
    await using federation = new FederationFixture();
    federation.registry.add(9, [bad.domain, good.domain]);
    const uids = numbered("", 20);
    for (const uid of uids) await federation.send(uid, 9);
    await count(good.taken, 20, "messages");
    assert.deepEqual(good.taken, uids);
    assert.ok(bad.received.length <= 1, `${bad.received.length} messages to the bad one`);
  }
});

Deno.test("Federation brings all, in order and once, when a relay is back", async () => {
  await using relay = OtherRelay.start();
  await using federation = new FederationFixture();
  await relay.stop();
  federation.registry.add(9, [relay.domain]);
  const lanes = numbered("", 40).map((_, i) => numbered(`${i}-`, 10));
  for (const [i, uids] of lanes.entries()) {
    for (const uid of uids) void federation.send(uid, 9, { source: { twin: i + 1 } });
  }
  const failures = () => federation.metric("federation_message_error", relay.domain);
  await until(async () => await failures() >= 50, "50 failures");
  relay.start();
  const start = performance.now();
  await count(relay.taken, 400, "messages");
  const time = performance.now() - start;
  assert.ok(time < 10 * TIMES.retry + 2000, `it took ${time} ms`);
  for (const uids of lanes) {
    const own = new Set(uids);
    assert.deepEqual(relay.taken.filter((uid) => own.has(uid)), uids);
  }
  assert.equal(relay.received.length, 400);
});

Deno.test("Federation says once that a relay fails, and once that it works again", async () => {
  const records: LogRecord[] = [];
  await configure({
    sinks: { records: (record) => records.push(record) },
    loggers: [
      { category: ["rmb"], sinks: ["records"], lowestLevel: "info" },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
  try {
    await using relay = OtherRelay.start(status(500, "broken"));
    await using federation = new FederationFixture();
    federation.registry.add(9, [relay.domain]);
    for (const uid of numbered("", 30)) {
      await federation.send(uid, 9, { source: { twin: 1 + Number(uid) } });
    }
    await count(relay.received, 25, "requests");
    relay.answer = status(202);
    await count(relay.taken, 30, "messages");
    const lines = records.map(({ message }) => message.join(""));
    assert.deepEqual(lines, [
      `relay ${relay.domain} fails: 500 broken`,
      `relay ${relay.domain} works again`,
    ]);
  } finally {
    await reset();
  }
});

Deno.test("Federation asks a relay that fails only now and then, however much is for it", async () => {
  await using relay = OtherRelay.start(status(502));
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  for (const uid of numbered("", 500)) {
    void federation.send(uid, 9, { source: { twin: 1 + Number(uid) } });
  }
  const atFirst = 3; // Until it is known to fail.
  await count(relay.received, atFirst + 10, "requests");
  const probes = relay.receivedAt.slice(atFirst);
  for (const [i, time] of probes.entries()) {
    if (i === 0) continue;
    const gap = time - probes[i - 1]!;
    assert.ok(gap >= 0.8 * TIMES.retry, `${gap} ms between probes`);
  }
  // It is not always the same one's turn: that one may be what the relay dislikes.
  const probers = new Set(relay.received.slice(atFirst));
  assert.ok(probers.size > probes.length / 2, `${probers.size} of ${probes.length} in turn`);
});

Deno.test("Federation keeps going for others while one destination's messages fail", async () => {
  await using relay = OtherRelay.start((uid) => status(uid === "poison" ? 503 : 202)());
  await using federation = new FederationFixture();
  federation.registry.add(8, [relay.domain]);
  federation.registry.add(9, [relay.domain]);
  await federation.send("poison", 8);
  for (const uid of numbered("", 20)) {
    await federation.send(uid, 9);
    await until(() => relay.taken.includes(uid), uid);
  }
  assert.equal(relay.taken.length, 20);
});

Deno.test("Federation does not pause a relay for queues that are full there", async () => {
  await using relay = OtherRelay.start((uid) => status(uid === "full" ? 507 : 202)());
  await using federation = new FederationFixture();
  federation.registry.add(8, [relay.domain]);
  federation.registry.add(9, [relay.domain]);
  for (let i = 0; i < 20; i++) await federation.send("full", 8, { source: { twin: 100 + i } });
  await until(() => relay.received.length > 200, "tries");
  const start = performance.now();
  for (const uid of numbered("", 20)) {
    await federation.send(uid, 9);
    await until(() => relay.taken.includes(uid), uid);
  }
  const each = (performance.now() - start) / 20;
  assert.ok(each < TIMES.retry / 2, `${each} ms for each`);
});

Deno.test("Federation reads only the beginning of an answer", async () => {
  const endless = () => {
    const chunk = new TextEncoder().encode("no ".repeat(1000));
    return new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });
  };
  await using relay = OtherRelay.start((uid) =>
    new Response(endless(), { status: uid === "taken" ? 202 : 400 })
  );
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  await federation.send("taken", 9);
  await federation.send("rejected", 9);
  await count(federation.answers, 1, "answers");
  const { text, uid } = federation.answers[0]!;
  assert.equal(uid, "rejected");
  assert.ok(text.length < 300 && text.endsWith("no no"), text);
  assert.equal(await federation.metric("federation_message_success", relay.domain), 1);
});

Deno.test("Federation goes on after a restart with what it had not sent", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  try {
    await using relay = OtherRelay.start(status(500));
    await using federation = new FederationFixture(`${folder}/relay.db`);
    federation.registry.add(9, [relay.domain]);
    const uids = numbered("", 300);
    await Promise.all(uids.map((uid) => federation.send(uid, 9)));
    await count(relay.received, 3, "requests");
    await federation.restart();
    relay.answer = (uid) => status(uid === "100" ? 500 : 202)();
    await count(relay.taken, 100, "messages");
    await federation.restart();
    relay.answer = status(202);
    await count(relay.taken, 300, "messages");
    assert.deepEqual(relay.taken, uids);
    await federation.restart();
    await federation.send("last", 9);
    await count(relay.taken, 301, "messages");
    assert.equal(relay.taken.at(-1), "last");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Federation waits for requests under way when it is stopped", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  try {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    await using relay = OtherRelay.start(async () => {
      await released;
      return new Response(null, { status: 202 });
    });
    await using federation = new FederationFixture(`${folder}/relay.db`);
    federation.registry.add(9, [relay.domain]);
    await federation.send("one", 9);
    await federation.send("two", 9);
    await count(relay.received, 1, "requests");
    const restarted = federation.restart();
    release();
    await restarted;
    await count(relay.taken, 2, "messages");
    assert.deepEqual(relay.received, ["one", "two"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Federation drops what has expired, behind others too, and tells who asks", async () => {
  await using relay = OtherRelay.start(status(500));
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  await federation.send("lasting", 9);
  await federation.send("short", 9, { expiration: 2 });
  await federation.send("response", 9, { expiration: 2, kind: "response" });
  await federation.send("expired", 9, { expiration: 0, source: { twin: 8 } });
  await count(federation.answers, 2, "answers");
  assert.deepEqual(
    federation.answers,
    [
      { session: { twin: 8 }, uid: "expired", text: "message has expired", named: true },
      { session: { twin: 7 }, uid: "short", text: "message has expired", named: true },
    ].map((answer) => ({ ...answer, session: { ...answer.session, connection: undefined } })),
  );
  relay.answer = status(202);
  await count(relay.taken, 1, "messages");
  assert.deepEqual(relay.taken, ["lasting"]);
  await until(async () => await federation.metric("federation_messages_held") === 0, "none held");
});

Deno.test("Federation tells who asks that there is no relay to send to", async () => {
  await using federation = new FederationFixture();
  federation.registry.add(8, []);
  federation.registry.add(9, ["a/b", "user@host", "host?query", "[::1", "1.2.3.4:99999", "x:y"]);
  for (const twin of [6, 8, 9]) await federation.send(String(twin), twin);
  await federation.send("response", 6, { kind: "response" });
  await count(federation.answers, 3, "answers");
  assert.deepEqual(
    new Map(federation.answers.map(({ uid, text }) => [uid, text])),
    new Map([
      ["6", "unknown twin destination"],
      ["8", "relay info is not set for this twin"],
      ["9", "relays of the destination are no hosts"],
    ]),
  );
  assert.ok(federation.answers.every(({ named }) => named));
});

Deno.test("Federation delivers here what is for a twin that has come to this relay", async () => {
  await using relay = OtherRelay.start(status(500));
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  for (const uid of ["one", "two"]) await federation.send(uid, 9);
  await count(relay.received, 3, "requests");
  federation.registry.add(9, [relay.domain, "here.test"]);
  let failures = 0;
  federation.deliverHere = () =>
    failures++ < 2 ? Promise.reject(new Error("told so")) : Promise.resolve();
  await count(federation.here, 2, "messages here");
  assert.deepEqual(federation.here, ["one", "two"]);
});

Deno.test("Federation tries again when the registry can't be asked", async () => {
  await using relay = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  federation.registry.failing = true;
  let asked = 0;
  const twin = federation.registry.twin.bind(federation.registry);
  federation.registry.twin = (id) => {
    asked++;
    return twin(id);
  };
  await federation.send("one", 9);
  await until(() => asked > 2, "look-ups");
  federation.registry.failing = false;
  await count(relay.taken, 1, "messages");
});

Deno.test("Federation sends more than it has in memory, and large messages", async () => {
  await using relay = OtherRelay.start(status(500));
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  const uids = numbered("", 50);
  for (const uid of uids) await federation.send(uid, 9, { size: 1024 * 1024 });
  await until(async () => await federation.metric("federation_messages_held") === 50, "all held");
  relay.answer = status(202);
  await count(relay.taken, 50, "messages");
  assert.deepEqual(relay.taken, uids);
});

Deno.test("Federation passes over what is in the queue and no envelope", async () => {
  await using relay = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(9, [relay.domain]);
  await federation.queue.push(new TextEncoder().encode("garbage"));
  await federation.send("one", 9);
  await count(relay.taken, 1, "messages");
});

Deno.test("Federation keeps the order of each lane, whatever fails and whenever", async () => {
  const anyAnswers = fc.infiniteStream(fc.constantFrom(202, 202, 202, 500, 503));
  const anyLanes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(anyAnswers, anyAnswers, anyLanes, async (first, second, lanes) => {
      await using one = OtherRelay.start(() => status(first.next().value!)());
      await using two = OtherRelay.start(() => status(second.next().value!)());
      await using federation = new FederationFixture();
      federation.registry.add(9, [one.domain, two.domain]);
      const uids = lanes.map((lane, i) => `${lane}-${i}`);
      const taken: string[] = [];
      for (const relay of [one, two]) {
        relay.taken.push = (uid) => taken.push(uid);
      }
      for (const [i, uid] of uids.entries()) {
        void federation.send(uid, 9, { source: { twin: lanes[i]! } });
      }
      await count(taken, uids.length, "messages");
      for (const lane of new Set(lanes)) {
        const own = (uid: string) => uid.startsWith(`${lane}-`);
        assert.deepEqual(taken.filter(own), uids.filter(own));
      }
      assert.equal(taken.length, uids.length);
    }),
    { numRuns: 25 },
  );
});
