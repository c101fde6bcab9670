/** Bots that call each other through a real relay: what their authors rely on. */
import {
  AbortError,
  CallTimeoutError,
  type Client,
  ClosedError,
  CommandError,
  Commands,
  createEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  FormatError,
  OfflineError,
  RelayError,
  RemoteError,
  type Session,
  signEnvelope,
  unixNow,
  UnknownTwinError,
} from "@rmb/protocol";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import assert from "node:assert/strict";
import { BotNetwork } from "./fixtures/bot_network.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { CAROL, keypairOf } from "./fixtures/gateway_network.ts";
import { ALICE, BOB, type TestTwin } from "./fixtures/network.ts";
import type { TestSession } from "./fixtures/test_session.ts";

/** Commands that the tests ask for. */
function calculator(): Commands {
  const commands = new Commands();
  commands.prefix("calculator")
    .handle("add", (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0))
    .handle("nothing", () => undefined)
    .handle("refuse", () => {
      throw new CommandError(42, "not today");
    })
    .handle("crash", () => {
      throw new Error("the password is 1234");
    })
    .handle("pass on", () => {
      throw new RemoteError(7, "what another twin told it");
    })
    .handle("wrong code", () => {
      throw new CommandError(-1, "refused");
    })
    .handle("who", (data: unknown, { caller, command, schema }) => ({
      ...{ data, caller, command, schema },
    }))
    .handleBytes("reverse", (payload) => payload.toReversed());
  return commands;
}

const at = { session: "calculator" };

const request = (command: string): EnvelopeInit => ({
  message: { case: "request", value: { command } },
});

const response = (uid: string, json: string): EnvelopeInit => ({
  uid,
  message: { case: "response", value: {} },
  payload: { case: "plain", value: new TextEncoder().encode(json) },
  schema: "application/json",
});

/** An encoded envelope of a bare session, signed by whoever is said to. */
async function signed(
  { session: source }: TestSession,
  destination: Session,
  signer: TestTwin,
  fields: EnvelopeInit,
): Promise<Uint8Array> {
  const envelope = createEnvelope({
    ...{ uid: crypto.randomUUID(), timestamp: BigInt(unixNow()), expiration: 60n },
    ...{ source, destination },
    ...fields,
  });
  await signEnvelope(envelope, keypairOf(signer));
  return encodeEnvelope(envelope);
}

async function connectBoth(network: BotNetwork): Promise<[alice: Client, bob: Client]> {
  return await Promise.all([
    network.connect(ALICE, { commands: calculator(), session: "caller" }),
    network.connect(BOB, { commands: calculator(), session: "calculator" }),
  ]);
}

Deno.test("bots call each other, and themselves", async (t) => {
  await using network = await BotNetwork.start();
  const [alice, bob] = await connectBoth(network);
  const call = (command: string, data?: unknown) => alice.call(BOB.id, command, data, at);

  await t.step("with JSON", async () => {
    assert.equal(await call("calculator.add", [19, 23]), 42);
    assert.equal(await call("calculator.nothing"), null);
    assert.equal(await alice.call(ALICE.id, "calculator.add", [1, 2], { session: "caller" }), 3);
    assert.equal(await bob.call(ALICE.id, "calculator.add", [4, 5], { session: "caller" }), 9);
  });
  await t.step("and know who asks", async () => {
    assert.deepEqual(await call("calculator.who", { text: "Δ" }), {
      data: { text: "Δ" },
      caller: { twin: ALICE.id, connection: "caller" },
      command: "calculator.who",
      schema: "application/json",
    });
    assert.equal((await call("calculator.who") as { data: unknown }).data, null);
  });
  await t.step("with bytes", async () => {
    const bytes = Uint8Array.of(0, 1, 254, 255);
    assert.deepEqual(
      await alice.callBytes(BOB.id, "calculator.reverse", bytes, at),
      bytes.toReversed(),
    );
    const long = crypto.getRandomValues(new Uint8Array(65_536));
    assert.deepEqual(
      await alice.callBytes(BOB.id, "calculator.reverse", long, at),
      long.toReversed(),
    );
    await assert.rejects(call("calculator.reverse", [1]), FormatError);
    await assert.rejects(call("calculator.add", Uint8Array.of(1)), TypeError);
  });
  await t.step("five thousand times at once", async () => {
    const sums = await Promise.all(
      Array.from({ length: 5000 }, (_, i) => call("calculator.add", [i, 1])),
    );
    assert.deepEqual(sums, Array.from({ length: 5000 }, (_, i) => i + 1));
  });
});

Deno.test("a bot is told what went wrong", async (t) => {
  await using network = await BotNetwork.start();
  const [alice, bob] = await connectBoth(network);
  const fails = (
    command: string,
    options: Parameters<Client["call"]>[3],
    // deno-lint-ignore no-explicit-any -- as assert.rejects() has it
    kind: new (...args: any[]) => Error,
    message: RegExp,
    twin = BOB.id,
  ) =>
    assert.rejects(alice.call(twin, command, [1], options), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.match(error.message, message);
      return true;
    });

  await t.step("by the other bot", async () => {
    await assert.rejects(
      alice.call(BOB.id, "calculator.refuse", null, at),
      (error) => error instanceof RemoteError && error.code === 42 && error.message === "not today",
    );
    await fails("calculator.crash", at, RemoteError, /^calculator\.crash failed$/);
    await fails("calculator.pass on", at, RemoteError, /^calculator\.pass on failed$/);
    await fails("calculator.wrong code", at, RemoteError, /failed: its answer can't be sent$/);
    await fails("calculator.divide", at, RemoteError, /^no such command: calculator\.divide$/);
  });
  await t.step("by the relay", async () => {
    await fails(
      "x",
      { failFast: true, session: "nobody" },
      OfflineError,
      /x of twin 9:nobody.*offline/,
    );
    await fails("x", {}, UnknownTwinError, /There is no twin 77/, 77);
    await fails("x", {}, RelayError, /relay info is not set for this twin/, CAROL.id);
  });
  await t.step("by the clock", async () => {
    const nobody = { session: "nobody", timeout: 300 };
    await fails(
      "x",
      nobody,
      CallTimeoutError,
      /No answer to x of twin 9:nobody within 0.3 s: a relay/,
    );
  });
  await t.step("by who calls", async () => {
    await fails("x", { signal: AbortSignal.abort() }, AbortError, /x of twin 9 was given up/);
    const late = new AbortController();
    const waiting = alice.call(BOB.id, "x", null, { session: "nobody", signal: late.signal });
    late.abort(new Error("enough"));
    await assert.rejects(waiting, (error: Error) => (error.cause as Error).message === "enough");
    for (const twin of [0, -1, 1.5, 2 ** 32, NaN]) {
      await fails("x", {}, TypeError, /id of a twin/, twin);
    }
    for (const timeout of [0, -1, NaN, 1e9]) {
      await fails("x", { timeout }, TypeError, /Cannot wait/);
    }
  });
  await t.step("by its own end", async () => {
    const waiting = alice.call(BOB.id, "x", null, { session: "nobody" });
    const closed = assert.rejects(waiting, ClosedError);
    await alice.close();
    await closed;
    await fails("x", at, ClosedError, /the client is closed/);
    assert.equal(await bob.call(BOB.id, "calculator.add", [1], at), 1);
  });
});

Deno.test("an answer counts only if it is of who was asked, and signed by them", async () => {
  await using network = await BotNetwork.start();
  const alice = await network.connect(ALICE);
  await using bob = await network.connectBare(BOB, "x");
  await using bobToo = await network.connectBare(BOB, "y");
  await using carol = await network.connectBare(CAROL);
  const answer = alice.call(BOB.id, "x", null, { session: "x" });
  const { uid, payload } = await bob.nextEnvelope();
  assert.equal(payload.case, "cipher");
  const respond = async (from: TestSession, signer: TestTwin, json: string) =>
    from.send(await signed(from, alice.session, signer, response(uid, json)));
  await respond(carol, CAROL, '"carol"');
  await respond(bobToo, BOB, '"other session"');
  await respond(bob, CAROL, '"signed by another"');
  await Promise.all([bob, bobToo, carol].map((session) => session.settled()));
  await respond(bob, BOB, '"bob"');
  assert.equal(await inTime(answer, "the answer"), "bob");
});

Deno.test("a call that times out says why an answer was refused", async () => {
  await using network = await BotNetwork.start();
  const alice = await network.connect(ALICE);
  await using bob = await network.connectBare(BOB, "x");
  const answer = alice.call(BOB.id, "x", null, { session: "x", timeout: 1000 });
  const refused = assert.rejects(answer, /an answer came and was refused: signature does not hold/);
  const { uid } = await bob.nextEnvelope();
  bob.send(await signed(bob, alice.session, CAROL, response(uid, '"x"')));
  await refused;
});

Deno.test("a call that is given up is not sent any more", async () => {
  await using network = await BotNetwork.start();
  const alice = await network.connect(ALICE);
  await using bob = await network.connectBare(BOB, "x");
  const stop = new AbortController();
  const { signal } = stop;
  const given = alice.call(BOB.id, "given.up", null, { session: "x", signal });
  stop.abort();
  await assert.rejects(given, AbortError);
  const answer = alice.call(BOB.id, "wanted", null, { session: "x" });
  const { message, uid } = await bob.nextEnvelope();
  assert.equal(message.case === "request" && message.value.command, "wanted");
  bob.send(await signed(bob, alice.session, BOB, response(uid, '"here"')));
  assert.equal(await inTime(answer, "the answer"), "here");
});

Deno.test("copies of a request reach a handler once", async () => {
  await using network = await BotNetwork.start();
  let handled = 0;
  const commands = new Commands().handle("count", () => ++handled);
  const bob = await network.connect(BOB, { commands, session: "bot" });
  await using alice = await network.connectBare(ALICE, "x");
  const bytes = await signed(alice, bob.session, ALICE, request("count"));
  for (let i = 0; i < 3; i++) alice.send(bytes);
  assert.equal((await alice.nextEnvelope()).message.case, "response");
  assert.deepEqual(await alice.settled(), []);
  alice.send(await signed(alice, bob.session, ALICE, request("count")));
  assert.equal((await alice.nextEnvelope()).message.case, "response");
  assert.equal(handled, 2);
});

for (const [name, options] of [["platform", {}], ["ws", { openSocket: openWsSocket }]] as const) {
  Deno.test(`calls go on while the relay is killed and comes back (${name} sockets)`, async () => {
    await using network = await BotNetwork.start();
    const handled = new Map<number, number>();
    const go = Promise.withResolvers<void>();
    const commands = new Commands().handle("slow", async (number: number) => {
      handled.set(number, (handled.get(number) ?? 0) + 1);
      await go.promise;
      return number + 1000;
    });
    const bob = await network.connect(BOB, { commands, session: "bot", ...options });
    const alice = await network.connect(ALICE, options);
    const call = (number: number) => alice.call(BOB.id, "slow", number, { session: "bot" });
    const before = Array.from({ length: 50 }, (_, i) => call(i));
    await until(() => handled.size === 50, "the requests");
    await network.relay.program[Symbol.asyncDispose]();
    const meanwhile = Array.from({ length: 50 }, (_, i) => call(50 + i));
    await until(() => !alice.relays[0]!.connected && !bob.relays[0]!.connected, "the loss");
    go.resolve();
    network.relay = await network.network.startRelay({ port: network.relay.port });
    const answers = await inTime(Promise.all([...before, ...meanwhile]), "the answers");
    assert.deepEqual(answers, Array.from({ length: 100 }, (_, i) => i + 1000));
    assert.deepEqual([...handled.values()], Array(100).fill(1));
  });
}

Deno.test("a bot that closes finishes what it has begun", async () => {
  await using network = await BotNetwork.start();
  const begun = Promise.withResolvers<AbortSignal>();
  const go = Promise.withResolvers<void>();
  const commands = new Commands().handle("slow", async (_, { signal }) => {
    begun.resolve(signal);
    await go.promise;
    return "done";
  });
  const bob = await network.connect(BOB, { commands, session: "bot" });
  const alice = await network.connect(ALICE);
  const answer = alice.call(BOB.id, "slow", null, { session: "bot" });
  const signal = await inTime(begun.promise, "the request");
  const closed = bob.close();
  assert.equal(signal.aborted, false);
  go.resolve();
  assert.equal(await inTime(answer, "the answer"), "done");
  await inTime(closed, "the end");
  await assert.rejects(bob.call(ALICE.id, "x"), ClosedError);
});

Deno.test("one twin can't fill a bot for the others", async () => {
  await using network = await BotNetwork.start();
  const go = Promise.withResolvers<void>();
  const commands = new Commands()
    .handle("stuck", () => go.promise)
    .handle("quick", () => "here");
  const bob = await network.connect(BOB, { commands, session: "bot", openSocket: openWsSocket });
  // Each keeps to what a bot takes; together they do not.
  const callers = await Promise.all(
    [1, 2].map(() => network.connect(ALICE, { openSocket: openWsSocket })),
  );
  const stuck = Array.from(
    { length: 2600 },
    (_, i) =>
      callers[i % 2]!.call(BOB.id, "stuck", null, { session: "bot" }).then(() => "", String),
  );
  await Promise.race(stuck);
  assert.equal(await bob.call(BOB.id, "quick", null, { session: "bot" }), "here");
  go.resolve();
  const refused = (await Promise.all(stuck)).filter((error) => error !== "");
  assert.ok(refused.length >= 100, `${refused.length} were refused`);
  assert.deepEqual([...new Set(refused)], ["RemoteError: too many requests wait"]);
  assert.equal(await callers[0]!.call(BOB.id, "quick", null, { session: "bot" }), "here");
});
