import { configure, type LogRecord, reset } from "@logtape/logtape";
import assert from "node:assert/strict";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import { connectRedis, type RedisClient } from "../tests/fixtures/local_program.ts";
import { Network, type TestRedis } from "../tests/fixtures/network.ts";
import { create } from "@bufbuild/protobuf";
import { unixNow } from "@rmb/protocol";
import { Bus, type Entry, ReplyListError, type SentRequest } from "./bus.ts";
import { BacklogSchema } from "./gen/peer_pb.ts";
import { PeerMetrics } from "./metrics.ts";

/** A Redis with a bus on it and, beside it, a client that sees what is really there. */
class TestBus implements AsyncDisposable {
  readonly bus: Bus;
  readonly redis: TestRedis;
  readonly network: Network;
  readonly client: RedisClient;

  private constructor(
    network: Network,
    redis: TestRedis,
    client: RedisClient,
    bus: Bus,
  ) {
    this.network = network;
    this.redis = redis;
    this.client = client;
    this.bus = bus;
  }

  static async start(): Promise<TestBus> {
    const network = await Network.create([]);
    const redis = await network.startRedis();
    const client = await connectRedis(redis.url);
    return new TestBus(network, redis, client, await connectBus(redis.url));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    this.client.destroy();
    await this.network[Symbol.asyncDispose]();
  }
}

async function connectBus(url: string): Promise<Bus> {
  const bus = new Bus(url, new PeerMetrics());
  await bus.connect();
  return bus;
}

/** What is logged meanwhile. */
async function captureLog(): Promise<{ readonly messages: string[] } & AsyncDisposable> {
  const messages: string[] = [];
  await configure({
    sinks: { capture: ({ message }: LogRecord) => void messages.push(message.join("")) },
    loggers: [
      { category: ["rmb"], sinks: ["capture"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
  return { messages, [Symbol.asyncDispose]: () => reset() };
}

const LOCAL = "msgbus.system.local";
const REPLY = "msgbus.system.reply";

const textsOf = (entries: readonly Entry[]) =>
  entries.map(({ value }) => new TextDecoder().decode(value));

/** Notes a request to some twins, and gives what to answer it by. */
async function sent({ bus, client }: TestBus, twins: number[], life = 60): Promise<SentRequest> {
  await client.lPush(LOCAL, "a request");
  const [{ uid, id }] = await bus.take(LOCAL) as [Entry];
  const fields = { uid, replyTo: "replies", reference: "r", ttl: BigInt(life), entry: id };
  const backlog = create(BacklogSchema, fields);
  assert.deepEqual(await bus.register(backlog, twins, unixNow() + life), twins);
  return (await bus.sentRequest(uid))!;
}

Deno.test("Bus takes first what was pushed first, more at once while there are many", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const numbers = Array.from({ length: 450 }, (_, i) => `${i}`);
  await client.lPush(LOCAL, numbers);
  const batches: string[][] = [];
  for (let i = 0; i < 5; i++) batches.push(textsOf(await bus.take(LOCAL)));
  assert.deepEqual(batches.map(({ length }) => length), [16, 64, 256, 114, 0]);
  assert.deepEqual(batches.flat(), numbers);
});

Deno.test("Bus gives what was taken and not forgotten to the next one, under the same uid", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await client.lPush(LOCAL, ["first", "second", Buffer.from(bytes) as unknown as string]);
  const taken = await bus.take(LOCAL);
  await bus.forget(taken[1]!);
  await client.lPush(LOCAL, "third");
  await using next = await connectBus(redis.redis.url);
  const again = await next.take(LOCAL);
  assert.deepEqual(again, [taken[0], taken[2]]);
  assert.deepEqual(Uint8Array.from(again[1]!.value), bytes);
  assert.deepEqual(textsOf(await next.take(LOCAL)), ["third"]);
  assert.deepEqual(new Set([...taken, ...again].map(({ uid }) => uid)).size, 3);
});

Deno.test("Bus takes no more than some megabytes at once, but one entry of any size", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const entry = "x".repeat(3_000_000);
  await client.lPush(LOCAL, [entry, entry, entry, entry.repeat(4), entry]);
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) counts.push((await bus.take(LOCAL)).length);
  assert.deepEqual(counts, [3, 1, 1]);
  await using next = await connectBus(redis.redis.url);
  assert.equal((await next.take(LOCAL)).length, 3);
});

Deno.test("Bus waits for an entry for a second, without taking it", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await bus.wait(LOCAL);
  const waiting = Promise.all([bus.wait(LOCAL), bus.wait(REPLY)]);
  const isWaiting = async () => (await client.info("clients")).includes("blocked_clients:2");
  await until(isWaiting, "both waiting");
  await client.lPush(LOCAL, ["1", "2"]);
  await waiting;
  assert.deepEqual(await client.lRange(LOCAL, 0, -1), ["2", "1"]);
  const stopped = bus.wait(REPLY);
  await until(async () => !(await client.info("clients")).includes("blocked_clients:0"), "waiting");
  bus.stopWaiting();
  await inTime(stopped.catch(() => {}), "the end of the wait");
});

Deno.test("Bus pushes an answer only of who was asked, and once", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const request = await sent(redis, [7, 9]);
  const { uid, reference, replyTo } = request;
  assert.deepEqual({ reference, replyTo }, { reference: "r", replyTo: "replies" });
  const answer = (twin: number | undefined, answer: string) =>
    bus.answer(request, [{ twin, answer }], false);
  assert.equal(await answer(8, "forged"), 0);
  assert.equal(await answer(7, "seven"), 1);
  assert.equal(await answer(7, "again"), 0);
  assert.equal(await answer(9, "nine"), 1);
  assert.equal(await answer(9, "again"), 0);
  assert.equal(await answer(undefined, "late"), 0);
  assert.deepEqual(await client.lRange("replies", 0, -1), ["nine", "seven"]);
  assert.equal(await bus.sentRequest(uid), undefined);
  assert.deepEqual((await client.keys("*")).toSorted(), [`${LOCAL}.working`, "replies"]);
  assert.equal(await client.xLen(`${LOCAL}.working`), 0);
  assert.equal(await client.ttl("replies"), -1);
});

Deno.test("Bus counts a relay's error for one of those who have not answered", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const one = await sent(redis, [7]);
  const error = [{ twin: undefined, answer: "error" }];
  assert.deepEqual([await bus.answer(one, error, true), await bus.answer(one, error, true)], [
    1,
    0,
  ]);
  const three = await sent(redis, [7, 8, 9]);
  assert.equal(await bus.answer(three, error, true), 1);
  assert.equal(await bus.answer(three, [{ twin: 8, answer: "eight" }], true), 1);
  // Of 7 and 9 one was meant by the relay, whichever.
  const late = [7, 9].map((twin) => ({ twin, answer: `${twin} is late` }));
  assert.equal(await bus.answer(three, late, true), 1);
  const replies = await client.lRange("replies", 0, -1);
  assert.deepEqual(replies, ["7 is late", "eight", "error", "error"]);
  assert.deepEqual(await client.keys("msgbus.*"), [`${LOCAL}.working`]);
  assert.ok(await client.ttl("replies") > 3590); // Its caller may be gone.
});

Deno.test("Bus knows who has not answered a request that was sent before", async () => {
  await using redis = await TestBus.start();
  const { bus } = redis;
  const { uid, ...rest } = await sent(redis, [7, 8, 9]);
  await bus.answer({ uid, ...rest }, [{ twin: 8, answer: "eight" }], true);
  await bus.answer({ uid, ...rest }, [{ twin: undefined, answer: "error" }], true);
  const backlog = create(BacklogSchema, { uid, replyTo: "replies", entry: rest.entry });
  const register = async () => (await bus.register(backlog, [7, 8, 9], unixNow() + 1)).toSorted();
  assert.deepEqual(await register(), [7, 9]);
  await bus.answer({ uid, ...rest }, [{ twin: 9, answer: "nine" }], true);
  assert.deepEqual(await register(), []); // Of the last one the relay has spoken.
});

Deno.test("Bus finds requests whose time is up, the earliest first", async () => {
  await using redis = await TestBus.start();
  const { bus } = redis;
  const later = await sent(redis, [7], 50);
  const first = await sent(redis, [7, 9], 10);
  await sent(redis, [7], 1000);
  const overdue = await bus.overdue(unixNow() + 60);
  assert.deepEqual(overdue, [{ ...first, twins: [7, 9] }, { ...later, twins: [7] }]);
  await bus.answer(first, [{ twin: 7, answer: "" }, { twin: 9, answer: "" }], true);
  assert.deepEqual((await bus.overdue(unixNow() + 60)).map(({ uid }) => uid), [later.uid]);
});

Deno.test("Bus forgets an entry in the same step in which it is answered", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await client.lPush(LOCAL, ["refused", "bad", "twice"]);
  const [refused, bad, twice] = await bus.take(LOCAL);
  for (let i = 0; i < 2; i++) await bus.refuse(refused!, "replies", "no");
  const answer = { replyTo: "replies", text: "bad" };
  for (let i = 0; i < 2; i++) await bus.invalid(LOCAL, [{ id: bad!.id, answer }]);
  await using next = await connectBus(redis.redis.url);
  assert.deepEqual(textsOf(await next.take(LOCAL)), ["twice"]);
  assert.deepEqual(await client.lRange("replies", 0, -1), ["bad", "no"]);
  assert.deepEqual(await client.lRange("msgbus.system.invalid", 0, -1), ["bad"]);
  // What is pending is not refused: its time runs.
  const backlog = create(BacklogSchema, { uid: twice!.uid, replyTo: "replies", entry: twice!.id });
  await bus.register(backlog, [7], unixNow());
  await bus.refuse(twice!, "replies", "no");
  assert.equal(await client.lLen("replies"), 2);
  await bus.answer((await bus.sentRequest(twice!.uid))!, [{ twin: 7, answer: "late" }], true);
  assert.equal(await client.xLen(`${LOCAL}.working`), 0);
});

Deno.test("Bus goes on with what makes room in a Redis that has no memory left", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await client.lPush(LOCAL, ["sent", "refused", "bad"]);
  await client.configSet("maxmemory", "1");
  const [bad, refused, sent] = await bus.take(LOCAL);
  await bus.invalid(LOCAL, [{ id: bad!.id, answer: { replyTo: "replies", text: "bad" } }]);
  await bus.refuse(refused!, "replies", "no");
  const backlog = create(BacklogSchema, { uid: sent!.uid, replyTo: "replies", entry: sent!.id });
  assert.deepEqual(await bus.register(backlog, [7, 9], unixNow()), [7, 9]);
  const request = (await bus.sentRequest(sent!.uid))!;
  await bus.answer(request, [{ twin: undefined, answer: "relay" }], false);
  await bus.answer(request, [{ twin: 9, answer: "last" }], false);
  assert.equal(await bus.claim(), false);
  const entry = { known: "a", deadline: unixNow() + 60, request: "a", hasRoom: true };
  assert.deepEqual(await bus.deliver("x", entry), { outcome: "refused", length: 0 });
  await client.configSet("maxmemory", "0");
  assert.deepEqual(await client.lRange("replies", 0, -1), ["last", "relay", "no", "bad"]);
  assert.equal(await client.xLen(`${LOCAL}.working`), 0);
  assert.deepEqual(await bus.deliver("x", entry), { outcome: "pushed", length: 1 });
});

Deno.test("Bus tells of overdue requests although the backlog of another can't be read", async () => {
  await using redis = await TestBus.start();
  await using log = await captureLog();
  const { bus, client } = redis;
  const garbled = await sent(redis, [7]);
  const gone = await sent(redis, [7]);
  const whole = await sent(redis, [7]);
  await client.set(`msgbus.backlog.${garbled.uid}`, "no backlog");
  await client.del(`msgbus.backlog.${gone.uid}`);
  const uids = async () => (await bus.overdue(unixNow() + 100)).map(({ uid }) => uid);
  assert.deepEqual(await uids(), [whole.uid]);
  assert.deepEqual(await uids(), [whole.uid]);
  assert.equal(log.messages.filter((text) => text.includes("can't be read")).length, 2);
});

Deno.test("Bus delivers a request once, however often it comes", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const deadline = unixNow() + 60;
  const deliver = (known: string, hasRoom = true, command = "x") =>
    bus.deliver(command, { known, deadline, request: known, hasRoom });
  assert.deepEqual(await deliver("a"), { outcome: "pushed", length: 1 });
  assert.deepEqual(await deliver("a"), { outcome: "seen", length: 1 });
  assert.deepEqual(await deliver("a", true, "y"), { outcome: "seen", length: 0 });
  assert.deepEqual(await deliver("a", false), { outcome: "seen", length: 1 });
  assert.deepEqual(await deliver("b", false), { outcome: "refused", length: 1 });
  assert.deepEqual(await deliver("b"), { outcome: "pushed", length: 2 });
  assert.ok(await client.ttl("msgbus.x") > 3590);
  // What has expired is not remembered, and what is remembered is bounded.
  await client.zAdd("msgbus.system.seen", { score: unixNow() - 10, value: "old" });
  await deliver("c");
  assert.deepEqual(await client.zRange("msgbus.system.seen", 0, -1), ["a", "b", "c"]);
});

Deno.test("Bus drops expired requests of a full list for new ones, and nothing else", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const now = unixNow();
  const entry = (exp: number, from = now) =>
    `{"ver":1,"ref":"\\",\\"exp\\":1,\\"dat\\":","exp":${exp},"dat":"","now":${from}}`;
  const deliver = (known: string, hasRoom = true) =>
    bus.deliver("x", { known, deadline: now + 60, request: entry(60), hasRoom });
  const full = Array.from({ length: 9_998 }, () => entry(60));
  await client.lPush("msgbus.x", [entry(5, now - 10), entry(0), ...full]);
  assert.deepEqual(await deliver("a"), { outcome: "pushed", length: 9_999 });
  assert.deepEqual(await deliver("b"), { outcome: "pushed", length: 10_000 });
  assert.deepEqual(await deliver("c"), { outcome: "refused", length: 10_000 });
  await client.rPush("msgbus.x", "not of a gateway");
  assert.deepEqual(await deliver("c"), { outcome: "refused", length: 10_001 });
  assert.equal((await bus.commandList("x")).length, 10_001);
  assert.ok((await bus.commandList("x")).bytes > 10_000 * 40);
  assert.deepEqual(await bus.commandList("none"), { length: 0, bytes: 0 });
});

Deno.test("Bus keeps the newest 10,000 answers of a list", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await Promise.all(Array.from({ length: 10_050 }, (_, i) => bus.push("list", `${i}`)));
  assert.equal(await client.lLen("list"), 10_000);
  assert.equal(await client.lIndex("list", 0), "10049");
  assert.ok(await client.ttl("list") > 3590);
});

Deno.test("Bus waits while Redis is away, and goes on when it is back", async () => {
  await using log = await captureLog();
  await using redis = await TestBus.start();
  const { bus, network } = redis;
  await bus.wait(LOCAL);
  await redis.redis.program.stop("SIGKILL");
  const said = (text: string) => log.messages.filter((line) => line.startsWith(text));
  await until(() => said("Redis is not reachable: ").length > 0, "a log line");
  assert.equal(await bus.ask([["PING"]]), undefined);
  // Waiting for an entry does not wait: who asks may want to stop.
  await inTime(assert.rejects(bus.wait(LOCAL)), "the wait rejected");
  const pushes = Array.from({ length: 10 }, (_, i) => bus.push(LOCAL, `${i}`));
  const deadline = unixNow() - 1;
  const late = bus.deliver("x", { known: "x", deadline, request: "", hasRoom: true });
  await inTime(assert.rejects(late, /not reachable/), "what is too late given up");
  await network.startRedis(redis.redis.port);
  await inTime(Promise.all(pushes), "the entries pushed");
  const expected = Array.from({ length: 10 }, (_, i) => `${i}`);
  assert.deepEqual(textsOf(await bus.take(LOCAL)), expected);
  await until(() => bus.wait(LOCAL).then(() => true, () => false), "a wait");
  await until(() => said("Redis is back").length > 0, "a log line");
  // Once each, however many connections tried however often.
  assert.deepEqual(log.messages.filter((line) => line.startsWith("Redis is")).length, 2);
});

Deno.test("Bus does in order, and once, what was under way when its connection was cut", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const pushes: Promise<void>[] = [];
  for (let i = 0; i < 2000; i++) {
    pushes.push(bus.push("list", `${i}`));
    if (i % 400 === 399) {
      await pushes[i - 200];
      await client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
  }
  await inTime(Promise.all(pushes), "all pushes");
  const pushed = (await client.lRange("list", 0, -1)).reverse();
  assert.deepEqual(pushed, Array.from({ length: 2000 }, (_, i) => `${i}`));
});

Deno.test("Bus.connect() waits for a Redis that is not there yet", async () => {
  await using network = await Network.create([]);
  const redis = await network.startRedis();
  await redis.program.stop();
  const connecting = connectBus(redis.url);
  await network.startRedis(redis.port);
  await using bus = await inTime(connecting, "a connection");
  await bus.push("list", "1");
});

Deno.test("Bus rejects what Redis refuses", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  for (const key of ["text", LOCAL, "msgbus.x"]) await client.set(key, "1");
  await assert.rejects(bus.push("text", "1"), ReplyListError);
  await assert.rejects(bus.take(LOCAL), /WRONGTYPE/);
  const request = { known: "a", deadline: unixNow() + 9, request: "", hasRoom: true };
  await assert.rejects(bus.deliver("x", request), /WRONGTYPE/);
  await client.del("msgbus.x");
  assert.equal((await bus.deliver("x", request)).outcome, "pushed"); // It was not taken for seen.
});

Deno.test("Bus ends what is under way before it disconnects", async () => {
  await using redis = await TestBus.start();
  const bus = await connectBus(redis.redis.url);
  const pushes = Promise.all(Array.from({ length: 100 }, (_, i) => bus.push("list", `${i}`)));
  await bus[Symbol.asyncDispose]();
  await pushes;
  assert.equal(await redis.client.lLen("list"), 100);
});

Deno.test("Bus disconnects also while Redis is away", async () => {
  await using network = await Network.create([]);
  const { url, program } = await network.startRedis();
  const bus = await connectBus(url);
  await bus.wait(LOCAL);
  await program.stop("SIGKILL");
  const lost = assert.rejects(bus.push("list", "1"), /not reachable/);
  await inTime(bus[Symbol.asyncDispose](), "the end");
  await lost;
});

Deno.test("Bus logs in with the URL's password and never logs it, right or wrong", async () => {
  await using log = await captureLog();
  await using redis = await TestBus.start();
  const { client, redis: { port } } = redis;
  await client.configSet("requirepass", "s3cret");
  await using right = await connectBus(`redis://:s3cret@127.0.0.1:${port}`);
  await right.push("list", "1");
  const connecting = connectBus(`redis://:wr0ng@127.0.0.1:${port}`);
  const refused = () => log.messages.some((message) => message.includes("WRONGPASS"));
  await until(refused, "a log line");
  await client.configSet("requirepass", "wr0ng");
  await using _changed = await inTime(connecting, "a connection");
  assert.ok(!/s3cret|wr0ng/.test(log.messages.join("\n")), log.messages.join("\n"));
});
