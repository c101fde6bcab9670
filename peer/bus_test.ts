import { configure, type LogRecord, reset } from "@logtape/logtape";
import assert from "node:assert/strict";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import { connectRedis, type RedisClient } from "../tests/fixtures/local_program.ts";
import { Network, type TestRedis } from "../tests/fixtures/network.ts";
import { Bus } from "./bus.ts";

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
    return new TestBus(network, redis, client, await Bus.connect(redis.url));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    this.client.destroy();
    await this.network[Symbol.asyncDispose]();
  }
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

const textOf = (entries: readonly Uint8Array[]) =>
  entries.map((entry) => new TextDecoder().decode(entry));

/** Pops until so many entries came. */
async function popped(bus: Bus, list: string, count: number): Promise<string[]> {
  const entries: Uint8Array[] = [];
  await until(
    async () => entries.push(...await bus.pop(list)) >= count,
    `${count} entries of ${list}`,
  );
  return textOf(entries);
}

Deno.test("Bus pops first what was pushed first, a hundred at most at once", async () => {
  await using redis = await TestBus.start();
  const { bus } = redis;
  const numbers = Array.from({ length: 250 }, (_, i) => `${i}`);
  await Promise.all(numbers.map((number) => bus.push("list", number)));
  const batches: string[][] = [];
  for (let i = 0; i < 3; i++) batches.push(textOf(await bus.pop("list")));
  assert.deepEqual(batches.map(({ length }) => length), [100, 100, 50]);
  assert.deepEqual(batches.flat(), numbers);
});

Deno.test("Bus pops nothing from an empty list, and waits a second for it", async () => {
  await using redis = await TestBus.start();
  const start = performance.now();
  assert.deepEqual(await redis.bus.pop("list"), []);
  const time = performance.now() - start;
  assert.ok(time > 900 && time < 5000, `${time} ms`);
});

Deno.test("Bus pops at once what comes while it waits, whatever else it waits for", async () => {
  await using redis = await TestBus.start();
  const { bus } = redis;
  const [first, second] = [bus.pop("first"), bus.pop("second")];
  await bus.push("second", "2");
  assert.deepEqual(textOf(await second), ["2"]);
  await bus.push("first", "1");
  assert.deepEqual(textOf(await first), ["1"]);
});

Deno.test("Bus keeps bytes as they are, and text as UTF-8", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await bus.push("list", bytes);
  await bus.push("list", bytes.toReversed());
  await bus.push("list", "grün ✓");
  assert.equal(await client.lIndex("list", 0), "grün ✓");
  const entries = await bus.pop("list");
  assert.deepEqual(entries.map((entry) => Uint8Array.from(entry)), [
    bytes,
    bytes.toReversed(),
    new TextEncoder().encode("grün ✓"),
  ]);
  await bus.set("key", bytes, 60);
  assert.deepEqual(Uint8Array.from((await bus.get("key"))!), bytes);
});

Deno.test("Bus keeps the newest 10,000 entries of a list", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  const pushes = Array.from({ length: 10_050 }, (_, i) => bus.push("list", `${i}`));
  await Promise.all(pushes);
  assert.equal(await client.lLen("list"), 10_000);
  assert.equal(await client.lIndex("list", 0), "10049");
  assert.deepEqual(textOf((await bus.pop("list")).slice(0, 1)), ["50"]);
});

Deno.test("Bus lets lists and values expire when told to", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await bus.push("kept", "1");
  assert.equal(await client.ttl("kept"), -1);
  await bus.push("list", "1", 3600);
  await client.expire("list", 5);
  await bus.push("list", "2", 3600); // Each push begins the time anew.
  assert.ok(await client.ttl("list") > 3590);
  await bus.set("key", new Uint8Array(), 30);
  assert.equal((await bus.get("key"))?.length, 0);
  const left = await client.ttl("key");
  assert.ok(left > 25 && left <= 30, `${left}`);
  assert.equal(await bus.get("other"), undefined);
});

Deno.test("Bus waits while Redis is away, and goes on when it is back", async () => {
  await using log = await captureLog();
  await using redis = await TestBus.start();
  const { bus, network } = redis;
  assert.deepEqual(await bus.pop("list"), []);
  await redis.redis.program.stop("SIGKILL");
  const said = (text: string) => log.messages.filter((line) => line.startsWith(text));
  const purposes = ["commands", "list"];
  const isNoticed = (purpose: string) => said(`Redis is not reachable (${purpose}`).length > 0;
  await until(() => purposes.every(isNoticed), "log lines");
  // A pop does not wait: who asks may want to stop.
  await inTime(assert.rejects(bus.pop("list"), /offline/), "the pop rejected");
  const waiting = Promise.all([bus.push("list", "1"), bus.set("key", new Uint8Array(3), 60)]);
  await network.startRedis(redis.redis.port);
  await inTime(waiting, "the entry pushed");
  const entries: Uint8Array[] = [];
  const pop = async () => entries.push(...await bus.pop("list").catch(() => [])) > 0;
  await until(pop, "the entry popped");
  assert.deepEqual(textOf(entries), ["1"]);
  assert.equal((await bus.get("key"))?.length, 3);
  for (const purpose of purposes) {
    // Once each, however often it tried.
    assert.equal(said(`Redis is not reachable (${purpose}`).length, 1, log.messages.join("\n"));
    assert.equal(said(`Redis is back (${purpose}`).length, 1);
  }
});

Deno.test("Bus goes on after its connections were cut, with what is in Redis", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await bus.push("list", "1");
  await client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  await inTime(bus.push("list", "2").catch(() => bus.push("list", "2")), "a push");
  assert.deepEqual(await popped(bus, "list", 2), ["1", "2"]);
});

Deno.test("Bus.connect() waits for a Redis that is not there yet", async () => {
  await using network = await Network.create([]);
  const redis = await network.startRedis();
  await redis.program.stop();
  const connecting = Bus.connect(redis.url);
  await network.startRedis(redis.port);
  await using bus = await inTime(connecting, "a connection");
  await bus.push("list", "1");
  assert.deepEqual(await popped(bus, "list", 1), ["1"]);
});

Deno.test("Bus does not lose the entry it has when no more can be popped", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await client.sendCommand(["ACL", "SETUSER", "default", "-rpop"]);
  await bus.push("list", "1");
  await bus.push("list", "2");
  assert.deepEqual(textOf(await bus.pop("list")), ["1"]);
  assert.deepEqual(textOf(await bus.pop("list")), ["2"]);
});

Deno.test("Bus rejects what Redis refuses", async () => {
  await using redis = await TestBus.start();
  const { bus, client } = redis;
  await client.set("text", "1");
  await assert.rejects(bus.push("text", "1"), /WRONGTYPE/);
  await client.lPush("list", "1");
  await assert.rejects(bus.get("list"), /WRONGTYPE/);
});

Deno.test("Bus ends what is under way before it disconnects", async () => {
  await using redis = await TestBus.start();
  const bus = await Bus.connect(redis.redis.url);
  const pushes = Promise.all(Array.from({ length: 100 }, (_, i) => bus.push("list", `${i}`)));
  await bus[Symbol.asyncDispose]();
  await pushes;
  assert.equal(await redis.client.lLen("list"), 100);
});

Deno.test("Bus disconnects also while Redis is away", async () => {
  await using network = await Network.create([]);
  const { url, program } = await network.startRedis();
  const bus = await Bus.connect(url);
  await bus.pop("list");
  await program.stop("SIGKILL");
  await inTime(bus[Symbol.asyncDispose](), "the end");
});

Deno.test("Bus logs in with the URL's password and never logs it, right or wrong", async () => {
  await using log = await captureLog();
  await using redis = await TestBus.start();
  const { client, redis: { port } } = redis;
  await client.configSet("requirepass", "s3cret");
  await using right = await Bus.connect(`redis://:s3cret@127.0.0.1:${port}`);
  await right.push("list", "1");
  const connecting = Bus.connect(`redis://:wr0ng@127.0.0.1:${port}`);
  const refused = () => log.messages.some((message) => message.includes("WRONGPASS"));
  await until(refused, "a log line");
  await client.configSet("requirepass", "wr0ng");
  await using _changed = await inTime(connecting, "a connection");
  assert.ok(!/s3cret|wr0ng/.test(log.messages.join("\n")), log.messages.join("\n"));
});
