import assert from "node:assert/strict";
import { until } from "../tests/fixtures/deadline.ts";
import { RateLimit } from "./rate_limit.ts";
import { Clock } from "./tests/clock.ts";
import { encodeMessage, RouterFixture, type Sent } from "./tests/router_fixture.ts";

/** Longest session id that a message can be for, in characters. */
const MAX_SESSION_ID = 4096;

/** Sends as twin 7. */
function sender(fixture: RouterFixture) {
  const socket = fixture.connect(7);
  return (uid: string, twin: number, sent?: Sent) => socket.receive(encodeMessage(uid, twin, sent));
}

Deno.test("Router gives a newer connection first what the older one has not got", async () => {
  await using fixture = new RouterFixture();
  const send = sender(fixture);
  const older = fixture.connect(8);
  for (const uid of ["1", "2", "3"]) send(uid, 8);
  await until(() => older.sent.length === 3, "all sent");

  const newer = fixture.connect(8);
  assert.equal(older.closedWith, 4000);
  send("4", 8);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(newer.sent, [], "the older connection may yet get them");
  older.end(1006);
  await until(() => newer.sent.length === 4, "all sent again");
  assert.deepEqual(newer.sent, ["1", "2", "3", "4"]);
});

Deno.test("Router gives the newest of many connections what none has got", async () => {
  await using fixture = new RouterFixture();
  const send = sender(fixture);
  const first = fixture.connect(8);
  for (const uid of ["1", "2"]) send(uid, 8);
  await until(() => first.sent.length === 2, "all sent");
  const others = [2, 3, 4].map(() => fixture.connect(8));
  send("3", 8);
  const newest = others.pop()!;
  for (const socket of [...others, first]) socket.end(1006);
  await until(() => newest.sent.length === 3, "all sent again");
  assert.deepEqual(newest.sent, ["1", "2", "3"]);
  assert.deepEqual(others.flatMap(({ sent }) => sent), []);
});

Deno.test("Router closes who connects while it closes, and keeps what they have not got", async () => {
  await using fixture = new RouterFixture();
  const send = sender(fixture);
  const receiver = fixture.connect(8);
  send("1", 8);
  await until(() => receiver.sent.length === 1, "it sent");
  const closed = fixture.router.close();
  send("2", 8);
  const late = fixture.connect(8);
  assert.deepEqual([receiver.closedWith, late.closedWith], [1001, 1001]);
  fixture.endAll();
  await closed;
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1", "2"]);
});

Deno.test("Router refuses what a twin sends above its rate limit, of all its sessions", async () => {
  using clock = new Clock();
  clock.advance(60 - Date.now() / 1000 % 60 + 1);
  await using fixture = new RouterFixture({ rateLimit: new RateLimit({ count: 3, size: 10_000 }) });
  const [one, two, other] = [fixture.connect(7), fixture.connect(7, "two"), fixture.connect(9)];
  const receiver = fixture.connect(8);
  one.receive(encodeMessage("1", 8));
  two.receive(encodeMessage("2", 8, { source: { twin: 7, connection: "two" } }));
  one.receive(encodeMessage("3", 8));
  one.receive(encodeMessage("4", 8));
  two.receive(encodeMessage("5", 8, { source: { twin: 7, connection: "two" }, kind: "response" }));
  two.receive(encodeMessage("6", 8, { source: { twin: 7, connection: "two" } }));
  other.receive(encodeMessage("7", 8, { source: { twin: 9 } }));
  await until(() => receiver.sent.length + one.sent.length + two.sent.length === 6, "all answered");
  assert.deepEqual(receiver.sent, ["1", "2", "3", "7"]);
  assert.deepEqual(one.sent, ["4: exceeded rate limits, dropping message"]);
  assert.deepEqual(two.sent, ["6: exceeded rate limits, dropping message"]);
  assert.deepEqual(other.sent, []);
  assert.equal(fixture.metrics.refused, 3);

  clock.advance(60);
  one.receive(encodeMessage("8", 8));
  await until(() => receiver.sent.length === 5, "it sent");
});

Deno.test("Router refuses a fail-fast request to a session that is just closing, and queues others", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const receiver = fixture.connect(8);
  receiver.close(1000);
  socket.receive(encodeMessage("1", 8, { tags: "a,fail-fast" }));
  socket.receive(encodeMessage("2", 8, { tags: "not-fail-fast" }));
  socket.receive(encodeMessage("3", 8, { tags: "fail-fast", kind: "response" }));
  await until(() => socket.sent.length === 1, "an answer");
  await fixture.settled();
  assert.deepEqual(socket.sent, ["1: destination offline"]);
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["2"]);
});

Deno.test("Router finds fail-fast among tags divided by commas and white space", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const fast = [
    "fail-fast",
    " fail-fast",
    "a,fail-fast\nb",
    "x-fail-fast,fail-fast",
    ",fail-fast,,",
  ];
  const slow = ["", "fail-fastest", "a.fail-fast", "Fail-Fast", "fail -fast", "fail-fast;"];
  [...fast, ...slow].forEach((tags, i) => socket.receive(encodeMessage(`${i}`, 8, { tags })));
  await until(() => socket.sent.length === fast.length, "answers");
  await fixture.settled();
  assert.deepEqual(socket.sent, fast.map((_, i) => `${i}: destination offline`));
  assert.equal((await fixture.waiting({ twin: 8 })).length, slow.length);
});

Deno.test("Router is not held up by millions of tags", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const tags = `fail-fast,${"x,".repeat(8_000_000)}`;
  const start = performance.now();
  socket.receive(encodeMessage("1", 8, { tags }));
  await until(() => socket.sent.length === 1, "an answer");
  assert.ok(performance.now() - start < 1000, "they were taken apart");
});

Deno.test("Router delivers a fail-fast request to a session that is connected", async () => {
  await using fixture = new RouterFixture();
  const send = sender(fixture);
  const receiver = fixture.connect(8);
  send("1", 8, { tags: "fail-fast" });
  await until(() => receiver.sent.length === 1, "it sent");
});

Deno.test("Router refuses a session id that is longer than any token has room for", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const longest = "x".repeat(MAX_SESSION_ID);
  socket.receive(encodeMessage("1", 8, { connection: longest }));
  socket.receive(encodeMessage("2", 8, { connection: `${longest}x` }));
  await until(() => socket.sent.length === 1, "an answer");
  await fixture.settled();
  assert.deepEqual(socket.sent, ["2: session id is too long"]);
  assert.deepEqual(await fixture.waiting({ twin: 8, connection: longest }), ["1"]);
  assert.deepEqual(await fixture.waiting({ twin: 8, connection: `${longest}x` }), []);
});
