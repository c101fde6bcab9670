import assert from "node:assert/strict";
import { CommandError, type CommandRequest, Commands, type Middleware } from "./commands.ts";

function request(command: string, data?: unknown, schema?: string): CommandRequest {
  const payload = new TextEncoder().encode(data === undefined ? "" : JSON.stringify(data));
  return {
    ...{ caller: { twin: 7 }, command, uid: "u", tags: undefined, schema, payload },
    signal: new AbortController().signal,
  };
}

Deno.test("Commands find handlers by prefix, whichever way it is written", async () => {
  const commands = new Commands()
    .handle("plain", () => 1)
    .handle("with.dots", () => 2);
  commands.prefix("a.b").handle("c", () => 3);
  commands.prefix("a").prefix("b").handle("d", () => 4);
  commands.prefix("a").handle("b.e", () => 5);
  const answer = (command: string) => commands.answer(request(command));
  const names = ["plain", "with.dots", "a.b.c", "a.b.d", "a.b.e"];
  assert.deepEqual(await Promise.all(names.map(answer)), [1, 2, 3, 4, 5]);
  for (const name of ["", ".", "a", "a.b", "a.b.c.d", "plain.", "b.c", "toString", "__proto__.x"]) {
    await assert.rejects(
      answer(name),
      (error) => error instanceof CommandError && error.message === `no such command: ${name}`,
    );
  }
  assert.throws(() => commands.prefix("a.b").handle("c", () => 0), /"c": it has a handler/);
  assert.throws(() => commands.handle("a.b.c", () => 0), /"c": it has a handler/);
});

Deno.test("Commands have a prefix's middleware go before all that begins so", async () => {
  const commands = new Commands().handle("admin.before", () => 1);
  commands.prefix("admin").use(() => "refused");
  commands.handle("admin.after", () => 1).handleBytes("admin.deep.after", () => 1);
  for (const name of ["admin.before", "admin.after", "admin.deep.after", "admin.nothing"]) {
    assert.equal(await commands.answer(request(name)), "refused");
  }
});

Deno.test("Commands outlive a middleware that forgets what comes after it", async () => {
  const commands = new Commands().use((_, next) => void next()).handle("x", () => {
    throw new CommandError(1, "forgotten");
  });
  assert.equal(await commands.answer(request("x")), undefined);
});

Deno.test("Commands run middleware from the outside to the inside", async () => {
  const seen: string[] = [];
  const commands = new Commands();
  const note = (name: string): Middleware => async ({ command }, next) => {
    seen.push(`${name} ${command}`);
    const result = await next();
    seen.push(`${name} ${result}`);
    return result;
  };
  commands.use(note("out"));
  commands.prefix("a").use(note("a")).use(note("a2")).handle("x", () => "result");
  commands.prefix("b").use(note("b")).handle("x", () => "other");
  assert.equal(await commands.answer(request("a.x")), "result");
  assert.deepEqual(seen.splice(0), [
    "out a.x",
    "a a.x",
    "a2 a.x",
    "a2 result",
    "a result",
    "out result",
  ]);
  await assert.rejects(commands.answer(request("b.y")), /no such command: b\.y/);
  assert.deepEqual(seen, ["out b.y", "b b.y"]);
});

Deno.test("Commands' middleware can answer, change an answer, or refuse", async () => {
  const commands = new Commands();
  commands.prefix("a").use(async ({ command }, next) => {
    if (command === "a.refused") throw new CommandError(403, "no");
    if (command === "a.own") return "own";
    return [await next()];
  }).handle("x", () => 1).handle("refused", () => 1);
  assert.deepEqual(await commands.answer(request("a.x")), [1]);
  assert.equal(await commands.answer(request("a.own")), "own");
  await assert.rejects(commands.answer(request("a.refused")), { code: 403, message: "no" });
});

Deno.test("Commands give handlers what the caller sends", async () => {
  const commands = new Commands()
    .handle("json", (data, { command }) => [data, command])
    .handleBytes("bytes", (payload) => payload.length);
  const answer = (...args: Parameters<typeof request>) => commands.answer(request(...args));
  assert.deepEqual(await answer("json", { a: [1] }), [{ a: [1] }, "json"]);
  assert.deepEqual(await answer("json", 1, "application/json"), [1, "json"]);
  assert.deepEqual(await answer("json", 1, "application/ld+json; charset=utf-8"), [1, "json"]);
  assert.deepEqual(await answer("json", 1, ""), [1, "json"]);
  assert.deepEqual(await answer("json"), [null, "json"]);
  assert.equal(await answer("bytes", "abc"), 5);
  await assert.rejects(answer("json", 1, "text/plain"), {
    code: 500,
    message: 'data of json: expected JSON, got "text/plain"',
  });
  const broken = { ...request("json"), payload: Uint8Array.of(0x22, 0xff, 0x22) };
  await assert.rejects(commands.answer(broken), {
    message: "data of json: expected JSON, got 3 bytes that are not",
  });
});
