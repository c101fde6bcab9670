/** Bots whose handlers do what handlers should not: their callers are told, and the bot goes on. */
import { type Client, CommandError, Commands, RemoteError } from "@rmb/protocol";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import assert from "node:assert/strict";
import { BotNetwork } from "./fixtures/bot_network.ts";
import { inTime } from "./fixtures/deadline.ts";
import { ALICE, BOB } from "./fixtures/network.ts";

/** Things to throw that can't be shown, or not safely. */
const STRANGE: readonly unknown[] = [
  undefined,
  null,
  Symbol("strange"),
  Object.create(null),
  {
    toString: () => {
      throw new Error("no text");
    },
  },
  Object.defineProperty(new Error("x"), "stack", {
    get: () => {
      throw new Error("no stack");
    },
  }),
];

Deno.test("a handler's misuse is answered with an error", async (t) => {
  await using network = await BotNetwork.start();
  const commands = new Commands();
  const bob: Client = await network.connect(BOB, { commands, session: "bot" });
  const alice = await network.connect(ALICE, { openSocket: openWsSocket });
  const fails = async (command: string, code: number, message: RegExp, data: unknown = null) =>
    await assert.rejects(
      alice.call(BOB.id, command, data, { session: "bot", timeout: 20_000 }),
      (error) => error instanceof RemoteError && error.code === code && message.test(error.message),
    );
  await t.step("whatever it throws", async () => {
    commands.handle("throw", (at: number) => {
      throw STRANGE[at];
    });
    for (const at of STRANGE.keys()) await fails("throw", 500, /^throw failed$/, at);
  });
  await t.step("also a code that can't be sent", async () => {
    commands.handle("code", (code: number) => {
      throw new CommandError(code, "a code");
    });
    for (const code of [-1, 1.5, 2 ** 32]) {
      await fails("code", 500, /^code failed: its answer can't be sent$/, code);
    }
    for (const code of [0, 2 ** 32 - 1]) await fails("code", code, /^a code$/, code);
  });
  await t.step("also what another twin answered it", async () => {
    commands.handle("hidden", () => {
      throw new CommandError(7, "a detail");
    });
    commands.handle("asks", () => bob.call(BOB.id, "hidden", null, { session: "bot" }));
    await fails("asks", 500, /^asks failed$/);
  });
  await t.step("an answer that is too long", async () => {
    commands.handle("long", () => new Uint8Array(64 * 1024 * 1024));
    await fails("long", 500, /^long failed: its answer can't be sent$/);
  });
});

Deno.test("a request outlives the seconds that its caller waits", async () => {
  await using network = await BotNetwork.start();
  const alice = await network.connect(ALICE);
  await using bob = await network.connectBare(BOB, "x");
  const late = assert.rejects(alice.call(BOB.id, "x", null, { session: "x", timeout: 3000 }));
  const { timestamp, expiration } = await bob.nextEnvelope();
  // Timestamps are whole seconds: without one more it would live for 2 s only, now and then.
  assert.ok(Number(timestamp + expiration) * 1000 >= Date.now() + 2900);
  await alice.close();
  await late;
});

Deno.test("a bot that closes begins nothing, and leaves nothing behind", async () => {
  await using network = await BotNetwork.start();
  const begun = Promise.withResolvers<AbortSignal>();
  let late = 0;
  const commands = new Commands()
    .handle("hang", (_, { signal }) => {
      begun.resolve(signal);
      return new Promise(() => {});
    })
    .handle("late", () => ++late);
  const bob = await network.connect(BOB, { commands, session: "bot" });
  const alice = await network.connect(ALICE);
  const at = { session: "bot" };
  const hanging = assert.rejects(alice.call(BOB.id, "hang", null, at));
  const signal = await inTime(begun.promise, "the request");
  const closed = bob.close();
  await assert.rejects(alice.call(BOB.id, "late", null, at), /^RemoteError: receiver is closing$/);
  await closed;
  assert.equal(signal.aborted, true);
  assert.equal(late, 0);
  await alice.close();
  await hanging;
});
