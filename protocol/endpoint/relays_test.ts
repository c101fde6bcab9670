import assert from "node:assert/strict";
import { NotSentError, readRouting, RmbError } from "@rmb/protocol";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import { checkNotSent, envelope, keypair, nextUid } from "../tests/client.ts";
import { Events, Network, TestRelay, type TestSession } from "../tests/relay.ts";
import { until } from "../../tests/fixtures/deadline.ts";
import { Relays } from "./relays.ts";

Deno.test.sanitizer({ ops: true, resources: true });

/** Longer than any test. */
const MINUTE = 60_000;

/** Relays, and their connections to two test relays. */
class Fixture implements AsyncDisposable {
  readonly first = new TestRelay();
  readonly second = new TestRelay();
  readonly received = new Events<Uint8Array>("message");
  readonly relays: Relays;

  constructor(urls: readonly string[] = [this.first.url, this.second.url]) {
    this.relays = new Relays({
      urls,
      session: { twin: 7 },
      keypair,
      onMessage: (bytes) => this.received.push(bytes),
      openSocket: openWsSocket,
      times: { retry: [1, 4] },
    });
  }

  /** Waits until both relays answer and messages go through the first. */
  async ready(): Promise<[TestSession, TestSession]> {
    const sessions = [await this.first.sessions.next(), await this.second.sessions.next()] as const;
    const isReady = () => this.relays.statuses().every(({ healthy }) => healthy);
    await until(() => isReady() && this.preferred === this.first.url, "both answer");
    return [...sessions];
  }

  get preferred(): string {
    return this.relays.statuses().find(({ preferred }) => preferred)!.url;
  }

  send(uid: string, timeout = MINUTE): Promise<void> {
    return this.relays.send(envelope(uid), timeout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relays.close();
    await this.first[Symbol.asyncDispose]();
    await this.second[Symbol.asyncDispose]();
  }
}

/** The uids of what a session has received until now, pings left out. */
async function uids({ messages }: TestSession): Promise<string[]> {
  const uids: string[] = [];
  while (messages.length > 0) {
    const { uid, kind } = readRouting(await messages.next() as Uint8Array);
    if (kind !== "ping") uids.push(uid);
  }
  return uids;
}

Deno.test("Relays are 1 to 4, each once", () => {
  const options = { session: { twin: 7 }, keypair, onMessage: () => {} };
  const url = (i: number) => `ws://127.0.0.1:${i + 1}`;
  for (const count of [0, 5]) {
    const urls = Array.from({ length: count }, (_, i) => url(i));
    assert.throws(() => new Relays({ ...options, urls }), RmbError);
  }
  assert.throws(() => new Relays({ ...options, urls: [url(1), url(1)] }), /named twice/);
});

Deno.test("Relays send through the first, and deliver what comes from all", async () => {
  await using fixture = new Fixture();
  const [first, second] = await fixture.ready();
  await Promise.all(["a", "b"].map((uid) => fixture.send(uid)));
  assert.deepEqual([await uids(first), await uids(second)], [["a", "b"], []]);
  first.socket.send(envelope("x") as Uint8Array<ArrayBuffer>);
  assert.deepEqual(await fixture.received.next(), envelope("x"));
  second.socket.send(envelope("y") as Uint8Array<ArrayBuffer>);
  assert.deepEqual(await fixture.received.next(), envelope("y"));
  const [status] = fixture.relays.statuses();
  const { roundTrip, clockOffset, ...rest } = status!;
  assert.ok(roundTrip! > 0);
  assert.ok(Math.abs(clockOffset!) < 2000, `clock off by ${clockOffset}`);
  const { url } = fixture.first;
  const answers = { connected: true, healthy: true, preferred: true };
  assert.deepEqual(rest, { url, ...answers, waiting: 0 });
});

Deno.test("Relays send what a lost one has not confirmed through the next, at once and only there", async () => {
  await using fixture = new Fixture();
  const [first, second] = await fixture.ready();
  fixture.first.answers = false;
  const sending = ["a", "b", "c"].map((uid) => fixture.send(uid));
  for (const uid of ["a", "b", "c"]) assert.equal(await nextUid(first), uid);
  const start = performance.now();
  first.socket.close();
  for (const uid of ["a", "b", "c"]) assert.equal(await nextUid(second), uid);
  console.log(`over after ${Math.round(performance.now() - start)} ms`);
  await Promise.all(sending);
  const again = await fixture.first.sessions.next();
  await fixture.send("d");
  assert.deepEqual([await uids(again), await uids(second)], [[], ["d"]]);
});

Deno.test("Relays leave one that does not answer, and return to it when it has for a while", async () => {
  await using fixture = new Fixture();
  const [first, second] = await fixture.ready();
  await fixture.send("a");
  fixture.first.answers = false;
  const start = performance.now();
  const b = fixture.send("b");
  assert.equal(await nextUid(second), "b");
  const took = performance.now() - start;
  assert.ok(took > 500, `it had only ${took} ms to answer`);
  await b;
  await fixture.send("c");
  assert.deepEqual(await uids(second), ["c"]);
  const healed = performance.now();
  fixture.first.answers = true;
  for (const { messages } = first; messages.length > 0;) {
    first.answer(await messages.next() as Uint8Array);
  }
  await until(() => fixture.preferred === fixture.first.url, "back at the first");
  const back = performance.now() - healed;
  console.log(`over after ${Math.round(took)} ms, back after ${Math.round(back)} ms`);
  assert.ok(back > 1500, `back after ${back} ms`);
  await fixture.send("d");
  assert.deepEqual([await uids(first), await uids(second)], [["d"], []]);
});

Deno.test("Relays wait with their messages, in order, while none is there, and say how each is", async () => {
  await using fixture = new Fixture();
  const sessions = await fixture.ready();
  fixture.first.refuse = fixture.second.refuse = () => new Response("gone", { status: 503 });
  for (const { socket } of sessions) socket.close();
  await until(() => fixture.relays.statuses().every(({ connected }) => !connected), "none");
  const waiting = ["a", "b"].map((uid) => fixture.send(uid));
  const host =
    "127\\S+ was not connected in time \\(\\S+ refused the connection \\(503, .gone.\\)\\)";
  await checkNotSent(fixture.send("late", 50), new RegExp(`^Cannot send: ${host}; ${host}$`));
  fixture.second.refuse = undefined;
  const second = await fixture.second.sessions.next();
  await Promise.all(waiting);
  assert.deepEqual(await uids(second), ["a", "b"]);
});

Deno.test("Relays do not hold it against one that this process was busy", async () => {
  await using fixture = new Fixture();
  const [first, second] = await fixture.ready();
  const sent = fixture.send("a");
  await Promise.resolve();
  for (const end = performance.now() + 2500; performance.now() < end;);
  await sent;
  assert.deepEqual([await uids(first), await uids(second)], [["a"], []]);
});

Deno.test("Relays do not hold it against one that the line to it is slow", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port);
  network.delay = 20;
  await using fixture = new Fixture([network.url, relay.url]);
  await relay.sessions.next();
  await until(() => fixture.relays.statuses().every(({ healthy }) => healthy), "both answer");
  await until(() => fixture.preferred === network.url, "messages go through the slow line");
  const start = performance.now();
  await fixture.relays.send(envelope("large", 12 * 1024 * 1024), MINUTE);
  const took = performance.now() - start;
  assert.ok(took > 2000, `only ${took} ms: it does not show anything`);
  assert.equal(fixture.preferred, network.url);
});

Deno.test("Relays that are closed send nothing more", async () => {
  await using fixture = new Fixture();
  const [first] = await fixture.ready();
  fixture.first.answers = false;
  const sent = fixture.send("a");
  assert.equal(await nextUid(first), "a");
  await Promise.all([assert.rejects(sent, NotSentError), fixture.relays.close()]);
  await checkNotSent(fixture.send("b"), /is closed$/);
});
