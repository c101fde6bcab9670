/** Two relays that bring each other messages, and what they have to bear. */
import assert from "node:assert/strict";
import {
  createEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  type Session,
  signEnvelope,
  unixNow,
} from "@rmb/protocol";
import { runs } from "../protocol/tests/fuzz.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import type { TestRelay } from "./fixtures/network.ts";
import { assertAllOnce, range, ReadingClient } from "./fixtures/numbered.ts";
import { pause } from "./fixtures/reconnects.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import { describeExchange, GoodPair } from "./fixtures/siege.ts";
import type { TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;
const RESPONSE = { case: "response", value: {} } as const;

/** Twins of the one relay, and of the other. */
const HERE = [7, 9, 11];
const THERE = [8, 10];

/** Two relays, each with twins of its own. */
class Federated implements AsyncDisposable {
  readonly network: RelayNetwork;
  readonly here: TestRelay;
  there: TestRelay;

  private constructor(network: RelayNetwork, there: TestRelay) {
    this.network = network;
    this.here = network.relay;
    this.there = there;
  }

  /** Starts them; `elsewhere` says which domains other twins name. */
  static async start(elsewhere: Readonly<Record<number, string>> = {}): Promise<Federated> {
    const others = Object.keys(elsewhere).map(Number);
    const network = await RelayNetwork.start([...HERE, ...THERE, ...others], {
      args: ["--federation-scheme", "http"],
    });
    try {
      const federated = new Federated(network, await network.startAnother());
      const { here, there } = federated;
      await network.changeTwins(({ id }) => ({
        relay: elsewhere[id] ?? (HERE.includes(id) ? here : there).domain,
      }));
      for (const [relay, from, to] of [[here, 7, 8], [there, 8, 7]] as const) {
        await using session = await network.connect(from, "probe", relay);
        await until(
          async () => /permanently/.test(await federated.refusal(session, to, "fail-fast")),
          "both relays knowing whose twins are whose",
        );
      }
      return federated;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sends a signed message. */
  async send(session: TestSession, fields: EnvelopeInit, signer?: number): Promise<Uint8Array> {
    const { twin, connection } = session.session;
    const envelope = createEnvelope({
      uid: crypto.randomUUID(),
      timestamp: BigInt(unixNow()),
      expiration: 120n,
      source: connection === undefined ? { twin } : { twin, connection },
      message: REQUEST,
      ...fields,
    });
    await signEnvelope(envelope, this.network.keypair(signer ?? twin));
    return session.send(encodeEnvelope(envelope));
  }

  /** Sends numbered messages. */
  async sendNumbered(session: TestSession, destination: Session, from: number, to: number) {
    for (const i of range(from, to)) {
      const { twin, connection } = destination;
      await this.send(session, {
        uid: `${i}`,
        destination: connection === undefined ? { twin } : { twin, connection },
        message: RESPONSE,
      });
    }
    assert.deepEqual(await session.settled(), []);
  }

  /** Sends a request that is refused; says with which words. */
  async refusal(
    session: TestSession,
    twin: number,
    tags: string,
    { expiration = 120n, signer }: { expiration?: bigint; signer?: number } = {},
  ): Promise<string> {
    const uid = crypto.randomUUID();
    await this.send(session, { uid, destination: { twin }, tags, expiration }, signer);
    const answer = await session.nextEnvelope();
    assert.equal(answer.uid, uid);
    assert.equal(answer.message.case, "error");
    return answer.message.value.message;
  }

  /** Starts the relay again, or the other one, after it ended. */
  async restart(which: "here" | "there"): Promise<void> {
    if (which === "here") await this.network.restart();
    else this.there = await this.network.startAnother(this.there.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]();
  }
}

Deno.test("relays bring each other requests and responses, and say why not", async () => {
  await using federated = await Federated.start();
  const { network, here, there } = federated;
  await using alice = await network.connect(7, "a", here);
  await using bob = await network.connect(8, undefined, there);
  const count = 50;
  const times: number[] = [];
  for (const i of range(0, count)) {
    const start = performance.now();
    const asked = await federated.send(alice, { uid: `${i}`, destination: { twin: 8 } });
    assert.deepEqual(await bob.next(), asked);
    const destination = { twin: 7, connection: "a" };
    const answered = await federated.send(bob, { uid: `${i}`, destination, message: RESPONSE });
    assert.deepEqual(await alice.next(), answered);
    times.push(performance.now() - start);
  }
  // To who is away, too.
  await federated.sendNumbered(alice, { twin: 10 }, 0, count);
  {
    using carol = await ReadingClient.connect(await network.url(10, undefined, there));
    await until(() => carol.received.length >= count, "what waited");
    assertAllOnce(await carol.close(), { "7:a": count });
  }
  const offline = await federated.refusal(alice, 10, "fail-fast");
  const unsigned = await federated.refusal(alice, 8, "", { signer: 9 });
  times.sort((a, b) => a - b);
  console.log(
    `${count} requests and responses over two relays, half within ` +
      `${times[count / 2]!.toFixed(1)} ms; refused: "${offline}", "${unsigned}"`,
  );
  assert.equal(offline, "remote relay rejected permanently: 404 destination offline");
  assert.equal(unsigned, "remote relay rejected permanently: 403 not signed by twin 7");
  assert.deepEqual(bob.received, []);
});

Deno.test("a relay that is down for a while gets all once, in order, when it runs again", async () => {
  await using federated = await Federated.start();
  const { network, here } = federated;
  const senders: TestSession[] = [];
  for (const [twin, connection] of [[7, undefined], [7, "a"], [9, undefined]] as const) {
    senders.push(await network.connect(twin, connection, here));
  }
  const [before, during, after] = [40, 60, 40];
  const send = (from: number, count: number) =>
    Promise.all(
      senders.map((sender) => federated.sendNumbered(sender, { twin: 8 }, from, from + count)),
    );
  using first = await ReadingClient.connect(await network.url(8, undefined, federated.there));
  await send(0, before);
  await until(() => first.received.length === before * senders.length, "what came before");
  await first.close();
  const connections = () => network.metric('relay_worker_connections{worker="0"}', federated.there);
  await until(async () => await connections() === 0, "the receiver gone");
  await federated.there.program.stop("SIGKILL");
  const down = runs(12_000) > 12_000 ? 30_000 : 12_000;
  await Promise.all([send(before, during), pause(down)]);
  await federated.restart("there");
  const start = performance.now();
  using second = await ReadingClient.connect(await network.url(8, undefined, federated.there));
  await send(before + during, after);
  const all = before + during + after;
  await until(
    () => second.received.length >= (during + after) * senders.length,
    "what waited",
    60_000,
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const received = [...first.received, ...await second.close()];
  console.log(
    `${all * senders.length} messages, the other relay down for ${down / 1000} s: ` +
      `${received.length} came, the last ${seconds} s after it was back`,
  );
  assertAllOnce(received, { 7: all, "7:a": all, 9: all });
  await Promise.all(senders.map((sender) => sender.close()));
});

Deno.test("a relay that is killed with messages for another sends them when it runs again", async () => {
  await using federated = await Federated.start();
  const { network } = federated;
  const senders = [await network.connect(7), await network.connect(9, "x")];
  await federated.there.program.stop("SIGKILL");
  const count = 100;
  await Promise.all(
    senders.map((sender) => federated.sendNumbered(sender, { twin: 8 }, 0, count)),
  );
  // What is answered after them is stored after them: this one is, since nobody is there.
  await using witness = await network.connect(11);
  const destination = { twin: 11, connection: "w" };
  const sent = witness.send({ destination, message: REQUEST });
  await witness.settled();
  await using reader = await network.connect(11, "w");
  assert.deepEqual(await reader.next(), sent);

  await federated.here.program.stop("SIGKILL");
  await federated.restart("there");
  using receiver = await ReadingClient.connect(await network.url(8, undefined, federated.there));
  await federated.restart("here");
  await until(
    () => receiver.received.length >= count * senders.length,
    "what waited",
    60_000,
  );
  const received = await receiver.close();
  console.log(
    `${count * senders.length} messages queued in a relay that was killed, ` +
      `${received.length} came to the other`,
  );
  assertAllOnce(received, { 7: count, "9:x": count });
});

/** Relays that do harm, by what they answer. */
const HOSTILE: Readonly<Record<string, () => Response | Promise<Response>>> = {
  "says 500": () => new Response("no", { status: 500 }),
  "redirects": () => Response.redirect("http://127.0.0.1:1/", 307),
  "says 200": () => new Response("welcome"),
  "answers without end": () =>
    new Response(
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(65536).fill(97)),
      }),
      { status: 500 },
    ),
  "refuses at length": () => new Response("x".repeat(1_000_000), { status: 403 }),
  "hangs": () => new Promise(() => {}),
};

Deno.test("relays that hang, fail, redirect or never end harm neither a relay nor other messages", async () => {
  const aborts = new AbortController();
  const asked = new Map<string, number>();
  const names = Object.keys(HOSTILE);
  const servers = names.map((name) =>
    Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      signal: aborts.signal,
      onListen() {},
      async handler(request) {
        asked.set(name, (asked.get(name) ?? 0) + 1);
        await request.body?.cancel();
        return await Promise.race([
          HOSTILE[name]!(),
          new Promise<Response>((resolve) =>
            aborts.signal.addEventListener("abort", () => resolve(new Response()))
          ),
        ]);
      },
    })
  );
  const twins = names.map((_, i) => 21 + i);
  try {
    await using federated = await Federated.start(
      Object.fromEntries(twins.map((twin, i) => [twin, `127.0.0.1:${servers[i]!.addr.port}`])),
    );
    const { network, there } = federated;
    const before = await network.metric("process_resident_memory_bytes");
    const pair = await GoodPair.start(network, [7, 9]);
    await using alice = await network.connect(7, "a");
    await using bob = await network.connect(8, undefined, there);
    // Many for each of them, more than one for the same session; then good ones for another relay.
    const answers = new Map<number, Set<string>>(twins.map((twin) => [twin, new Set()]));
    const uids = new Map<string, number>();
    const count = 10;
    for (const i of range(0, count)) {
      for (const twin of twins) {
        const uid = `${twin}/${i}`;
        uids.set(uid, twin);
        const destination = { twin, connection: `${i % 3}` };
        await federated.send(alice, { uid, destination, expiration: 5n });
      }
    }
    const start = performance.now();
    const good = range(0, 50);
    for (const i of good) {
      await federated.send(alice, { uid: `${i}`, destination: { twin: 8 } });
    }
    assert.deepEqual((await bob.take(good.length)).length, good.length);
    const goodTime = performance.now() - start;
    while (uids.size > 0) {
      const { uid, message } = await inTime(alice.nextEnvelope(), `answers to ${[...uids.keys()]}`);
      assert.equal(message.case, "error");
      answers.get(uids.get(uid)!)!.add(message.value.message.slice(0, 60));
      assert.ok(message.value.message.length < 1000);
      uids.delete(uid);
    }
    const grown = (await network.metric("process_resident_memory_bytes") - before) / 1e6;
    const exchanged = await pair.stop();
    console.log(
      `hostile relays: ${
        names.map((name, i) => {
          const told = [...answers.get(twins[i]!)!].join(", ");
          return `${name} (asked ${asked.get(name)} times): "${told}"`;
        }).join("; ")
      }; ${good.length} messages for a good one within ${goodTime.toFixed(0)} ms; ` +
        `${describeExchange(exchanged)}; the relay grew by ${grown.toFixed(0)} MB`,
    );
    assert.ok(goodTime < 10_000, `${goodTime} ms`);
    assert.ok(grown < 100, `${grown} MB`);
    for (const [i, name] of names.entries()) {
      const expected = name === "refuses at length"
        ? /^remote relay rejected permanently: 403 x+/
        : /^message has expired$/;
      for (const told of answers.get(twins[i]!)!) assert.match(told, expected, name);
    }
  } finally {
    aborts.abort();
    await Promise.all(servers.map((server) => server.finished));
  }
});
