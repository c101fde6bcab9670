/** Two relays on one Redis: sessions find each other through it, and move from one to the other. */
import { createClient, RESP_TYPES } from "@redis/client";
import { readRouting } from "@rmb/protocol";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { runs } from "../protocol/tests/fuzz.ts";
import { connectNeighbour } from "../relay/redis/tests/place.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { connectRedis } from "./fixtures/local_program.ts";
import type { TestRelay } from "./fixtures/network.ts";
import { assertAllOnce, numbered, numberOf, range, ReadingClient } from "./fixtures/numbered.ts";
import { OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { type Leave, pause, sendSteadily, testReconnects } from "./fixtures/reconnects.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import { summary } from "./fixtures/siege.ts";
import type { TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;
const RECEIVER = 8;

/** Two relays, and the Redis that they share. */
async function startReplicas(
  use: (network: RelayNetwork, a: TestRelay, b: TestRelay) => Promise<void>,
): Promise<void> {
  await using network = await RelayNetwork.start([7, RECEIVER, 9, 11], { onRedis: true });
  await use(network, network.relay, await network.startAnother());
}

/** Whether Redis says that a twin's session without an id is connected to a relay. */
async function isClaimed(network: RelayNetwork, twin: number): Promise<boolean> {
  await using redis = await connectNeighbour(network.redis!.url);
  for (const key of await redis.send<string[]>("KEYS", "rmb:relay:*:sessions")) {
    if (await redis.send("HEXISTS", key, `${twin}`) === 1) return true;
  }
  return false;
}

Deno.test("messages come in order from one replica to another, soon", () =>
  startReplicas(async (network, a, b) => {
    using sender = await RawWebSocket.connect(await network.url(7, undefined, a));
    using receiver = await RawWebSocket.connect(await network.url(RECEIVER, undefined, b));
    const count = runs(1000);
    const sent: number[] = [];
    const times: number[] = [];
    const received: number[] = [];
    const reading = (async () => {
      while (received.length < count) {
        const frame = await inTime(receiver.read(), "a message");
        if (frame?.opcode !== OPCODE.binary) break;
        const number = numberOf(frame.payload);
        received.push(number);
        times.push(performance.now() - sent[number]!);
      }
    })();
    for (const i of range(0, count)) {
      sent.push(performance.now());
      await sender.send(OPCODE.binary, numbered(i, { twin: 7 }, { twin: RECEIVER }));
      if (i % 2 === 1) await pause(2);
    }
    await reading;
    const { p50, p99, longest } = summary(times);
    console.log(
      `${count} messages from one replica to another: p50 ${p50.toFixed(1)} ms, ` +
        `p99 ${p99.toFixed(1)} ms, longest ${longest.toFixed(1)} ms`,
    );
    assert.deepEqual(received, range(0, count));
    assert.ok(p50 < 100, `p50 ${p50} ms`);
  }));

/** Has a receiver move between two replicas while senders of both send to it. */
function testMoving(what: string, leave: Leave): Promise<void> {
  return startReplicas(async (network, a, b) => {
    const senders = [
      await network.connect(7, undefined, a),
      await network.connect(9, undefined, b),
      await network.connect(11, "x", a),
    ];
    const times = { stay: 250, time: runs(4000) };
    const relays = [a, b];
    await testReconnects(network, { what, senders, receiver: RECEIVER, relays, ...times, leave });
    await Promise.all(senders.map((sender) => sender.close()));
  });
}

Deno.test("a receiver that moves from replica to replica gets all once, in order", () =>
  testMoving("moved between replicas", async (client, next) => {
    await client.close();
    return await next();
  }));

Deno.test("a newer connection at one replica evicts the older one at another, and gets all once, in order", () =>
  testMoving("evicted by another replica", async (client, next) => {
    const newer = await next();
    const closed = await inTime(client.ended, "the older connection closed");
    assert.equal(closed?.code, 4000);
    return newer;
  }));

Deno.test("a message that must not wait is delivered at another replica, and refused if nobody is there", () =>
  startReplicas(async (network, a, b) => {
    await using sender = await network.connect(7, undefined, a);
    const send = (uid: string) =>
      sender.send({ uid, destination: { twin: RECEIVER }, message: REQUEST, tags: "fail-fast" });
    const refused = async (uid: string) => {
      send(uid);
      const answer = await sender.nextEnvelope();
      assert.equal(answer.uid, uid);
      assert.partialDeepStrictEqual(answer.message, { value: { message: "destination offline" } });
    };
    await refused("before");
    {
      await using receiver = await network.connect(RECEIVER, undefined, b);
      await receiver.settled();
      const sent = send("there");
      assert.deepEqual(await receiver.next(), sent);
      assert.equal(await receiver.settled().then(({ length }) => length), 0);
    }
    await until(
      async () => !await isClaimed(network, RECEIVER),
      "the receiver's end known to both",
    );
    await refused("after");
    console.log("fail-fast: refused before, delivered while at another replica, refused after");
  }));

Deno.test("a replica that is killed under load loses nothing that another stored", () =>
  startReplicas(async (network, a, b) => {
    const senders = [
      await network.connect(7, undefined, a),
      await network.connect(9, undefined, a),
    ];
    using receiver = await ReadingClient.connect(await network.url(RECEIVER, undefined, b));
    let over = false;
    const sending = Promise.all(
      senders.map((sender) => sendSteadily(sender, RECEIVER, () => over)),
    );
    await until(() => receiver.received.length > 300, "some messages");
    await b.program.stop("SIGKILL");
    await inTime(receiver.ended, "the end of the connection");
    const before = receiver.received;
    using next = await ReadingClient.connect(await network.url(RECEIVER, undefined, a));
    await until(() => next.received.length > 500, "more messages");
    over = true;
    const sent = await sending;
    for (const sender of senders) await sender.settled();
    const isLast = (bytes: Uint8Array, i: number) => numberOf(bytes) === sent[i]! - 1;
    const from = (messages: readonly Uint8Array[], { session }: TestSession) =>
      messages.filter((bytes) => readRouting(bytes).source.twin === session.twin);
    await until(
      () =>
        senders.every((sender, i) =>
          from(next.received, sender).slice(-1).some((m) => isLast(m, i))
        ),
      "the last messages",
    );
    const after = await next.close();
    let repeated = 0;
    for (const [i, sender] of senders.entries()) {
      const [first, second] = [before, after].map((all) => from(all, sender).map(numberOf));
      // What it had not said to be delivered comes again; all from there on comes once.
      assert.deepEqual(first, range(0, first!.length));
      assert.ok(second![0]! <= first!.length, `${second![0]! - first!.length} are lost`);
      assert.deepEqual(second, range(second![0]!, sent[i]!));
      repeated += first!.length - second![0]!;
    }
    console.log(
      `${sent[0]! + sent[1]!} messages: ${before.length} came before kill -9 of a replica, ` +
        `${after.length} after it at the other, ${repeated} of them again`,
    );
    await Promise.all(senders.map((sender) => sender.close()));
  }));

Deno.test("Redis killed and started again under load loses nothing and has nothing come twice", () =>
  startReplicas(async (network, a, b) => {
    const senders = [
      await network.connect(7, undefined, a),
      await network.connect(9, undefined, b),
    ];
    using receiver = await ReadingClient.connect(await network.url(RECEIVER, undefined, b));
    let over = false;
    const sending = Promise.all(
      senders.map((sender) => sendSteadily(sender, RECEIVER, () => over)),
    );
    for (const round of range(1, 4)) {
      await until(() => receiver.received.length > round * 150, "some messages");
      await network.redis!.program.stop("SIGKILL");
      await pause(300);
      await network.restartRedis();
    }
    const before = receiver.received.length;
    await until(() => receiver.received.length > before + 200, "messages after that");
    over = true;
    const sent = await sending;
    await until(() => receiver.received.length >= sent[0]! + sent[1]!, "all messages")
      .catch(() => {}); // Told below.
    const received = await receiver.close();
    console.log(
      `${sent[0]! + sent[1]!} messages while Redis was killed three times: ${received.length} came`,
    );
    assertAllOnce(received, { 7: sent[0]!, 9: sent[1]! });
    await Promise.all(senders.map((sender) => sender.close()));
  }));

Deno.test("while Redis is away connected sessions go on, and what waits comes afterwards", () =>
  startReplicas(async (network, a, b) => {
    await using alice = await network.connect(7, undefined, a);
    await using bob = await network.connect(RECEIVER, undefined, a);
    await alice.settled();
    await bob.settled();
    // Until one goes past Redis: then the connection is known to be direct.
    const client = await connectRedis(network.redis!.url);
    const added = () =>
      client.sendCommand(["XINFO", "STREAM", `stream:${RECEIVER}`]).then(
        (info) => JSON.stringify(info),
        () => "no stream",
      );
    await until(async () => {
      const before = await added();
      alice.send({ uid: "first", destination: bob.session, message: REQUEST });
      assert.equal((await bob.nextEnvelope()).uid, "first");
      return await added() === before;
    }, "a message that goes past Redis");
    client.destroy();
    await network.redis!.program.stop("SIGKILL");
    const start = performance.now();
    const health = async ({ http }: TestRelay) => {
      const answer = await fetch(`${http}/health`);
      return `${answer.status} ${(await answer.text()).trim()}`;
    };
    await until(async () => (await health(a)).startsWith("503 "), "word that Redis is away");
    const told = await health(a);
    const alive = await fetch(`${a.http}/health/live`);
    assert.equal(await alive.text(), "alive\n");
    // To who is away, and to who is at the other replica.
    await using there = await network.connect(9, undefined, b);
    const away = { twin: RECEIVER, connection: "away" };
    const times: number[] = [];
    let exchanged = 0;
    while (performance.now() - start < 5000) {
      const uid = `${exchanged}`;
      const sent = performance.now();
      alice.send({ uid, destination: bob.session, message: REQUEST });
      assert.equal((await bob.nextEnvelope()).uid, uid);
      times.push(performance.now() - sent);
      alice.send(numbered(exchanged, alice.session, away));
      alice.send(numbered(exchanged, alice.session, there.session));
      exchanged++;
      await pause(10);
    }
    await network.restartRedis();
    await until(async () => (await health(a)).startsWith("200 "), "word that Redis is back");
    assert.deepEqual((await there.take(exchanged)).map(numberOf), range(0, exchanged));
    await using waiting = await network.connect(RECEIVER, "away", b);
    assert.deepEqual((await waiting.take(exchanged)).map(numberOf), range(0, exchanged));
    assert.deepEqual(await waiting.settled(), []);
    console.log(
      `Redis away for 5 s ("${told}"): ${exchanged} messages exchanged directly, ` +
        `longest ${summary(times).longest.toFixed(0)} ms; as many came for each who waited`,
    );
  }));

Deno.test("a Rust relay on the same Redis reads what is queued, and what it adds is delivered", () =>
  startReplicas(async (network, a) => {
    const { url } = network.redis!;
    const redis = createClient({ url, RESP: 2, maintNotifications: "disabled" });
    await redis.connect();
    try {
      const bytes = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
      await using sender = await network.connect(7, undefined, a);
      await using receiver = await network.connect(RECEIVER, "r", a);
      await receiver.settled();
      // As it adds: to a stream that is made by it, and to one of a session that is connected.
      const count = 100;
      const add = async (i: number, key: string) => {
        const envelope = Buffer.from(numbered(i, { twin: 9 }, { twin: RECEIVER }));
        await redis.sendCommand(["XADD", key, "MAXLEN", "~", "10000", "*", "_", envelope]);
        await redis.expire(key, 3600);
      };
      for (const i of range(0, count)) await add(i, `stream:${RECEIVER}:r`);
      assert.deepEqual((await receiver.take(count)).map(numberOf), range(0, count));
      const length = () => redis.xLen(`stream:${RECEIVER}:r`);
      await until(async () => await length() === 0, "what was delivered removed");

      // As it reads: all its sessions' streams from their beginning, and removes what it delivered.
      const sent = range(0, count).map((i) =>
        sender.send(numbered(i, sender.session, { twin: 9, connection: "rust" }))
      );
      const key = "stream:9:rust";
      const read: Uint8Array[] = [];
      await until(async () => {
        const reply = await bytes.sendCommand([
          ...["XREAD", "COUNT", "100", "BLOCK", "2000", "STREAMS", key, "0"],
        ]) as [Buffer, [Buffer, Buffer[]][]][] | null;
        for (const [id, fields] of reply?.[0]?.[1] ?? []) {
          assert.equal(fields[0]!.toString(), "_");
          read.push(new Uint8Array(fields[1]!));
          await redis.xDel(key, id.toString());
        }
        return read.length >= count;
      }, "all read");
      assert.deepEqual(read, sent);
      const life = await redis.ttl(key);
      console.log(
        `a Rust neighbour: ${count} of its messages delivered, ${read.length} read by it; ` +
          `its stream has ${life} s to live`,
      );
      assert.ok(life > 3500 && life <= 3600, `${life} s to live`);
    } finally {
      redis.destroy();
    }
  }));
