import { EncryptionKeypair, Keypair, unixNow } from "@rmb/protocol";
import { FileRegistry } from "@rmb/protocol/file-registry";
import assert from "node:assert/strict";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import { base64Of, LocalProgram } from "../tests/fixtures/local_program.ts";
import { ALICE, BOB, Network, type TestTwin } from "../tests/fixtures/network.ts";
import { CodedError, RemoteError } from "@rmb/protocol/endpoint";
import { Gateway, type Plugin, type PluginAnswer, type PluginHost } from "./mod.ts";

const DAVE: TestTwin = { id: 41, secret: "//Dave", type: "sr25519" };

const schema = "application/json";
const payload = new TextEncoder().encode('"x"');
const result: PluginAnswer = { payload, schema };

/** A plugin `test`, and what became of it. */
class TestPlugin implements Plugin {
  readonly name = "test";
  readonly answered: string[] = [];
  readonly taken: string[] = [];
  host!: PluginHost;
  isStopped = false;
  /** Settles what it was asked to take. */
  taking = () => Promise.resolve(true);

  start(host: PluginHost): void {
    this.host = host;
  }

  answer(command: string, request: { uid: string }) {
    this.answered.push(`${command} ${request.uid}`);
    if (command === "refused") throw new CodedError(42, "no");
    if (command === "failed") throw new Error("secret");
    if (command === "silent") return null;
    return command === "echo" ? Promise.resolve(result) : undefined;
  }

  async take(command: string, request: { reference: string | undefined }, uid: string) {
    if (command === "echo") return false;
    this.taken.push(`${request.reference} ${uid}`);
    return await this.taking();
  }

  // deno-lint-ignore require-await -- as the interface has it
  async stop(): Promise<void> {
    this.isStopped = true;
  }
}

/** Gateways of ALICE and BOB in this process, on a relay and a Redis each of their own. */
class TestPlugins implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly alice = new TestPlugin();
  readonly bob = new TestPlugin();
  local!: LocalProgram;
  remote!: LocalProgram;
  restart!: (plugin: TestPlugin) => Promise<void>;

  static async start(): Promise<TestPlugins> {
    const test = new TestPlugins();
    const network = test.#stack.use(await Network.create([ALICE, BOB, DAVE]));
    const relay = await network.startRelay();
    const registry = test.#stack.use(await FileRegistry.open(network.twins));
    const start = async ({ secret, type }: TestTwin, plugin: Plugin, redis: string) =>
      await Gateway.start({
        keypair: Keypair.fromSecret(secret, type),
        encryption: EncryptionKeypair.fromSecret(secret),
        registry,
        relays: [relay.url],
        redis,
        plugins: [plugin],
      });
    const [first, second] = [await network.startRedis(), await network.startRedis()];
    test.local = test.#stack.use(await LocalProgram.connect(first.url));
    test.remote = test.#stack.use(await LocalProgram.connect(second.url));
    test.#stack.use(await start(BOB, test.bob, second.url));
    let gateway = await start(ALICE, test.alice, first.url);
    test.#stack.defer(() => gateway[Symbol.asyncDispose]());
    test.restart = async (plugin) => {
      await gateway[Symbol.asyncDispose]();
      gateway = await start(ALICE, plugin, first.url);
    };
    return test;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("plugins call each other, and are told what goes wrong", async () => {
  await using test = await TestPlugins.start();
  const { alice: { host }, bob } = test;
  const call = (command: string, options = {}, twin = BOB.id) =>
    inTime(host.call({ twin }, command, payload, { timeout: 20, ...options }), "an end");
  const fails = async (
    calling: Promise<unknown>,
    code: number,
    message: RegExp,
    kind: typeof CodedError = CodedError,
  ) =>
    await assert.rejects(calling, (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error instanceof RemoteError, kind === RemoteError);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });

  const { payload: answer, schema: what } = await call("test.echo", { uid: "a uid" });
  assert.deepEqual([Uint8Array.from(answer), what], [payload, schema]);
  assert.deepEqual(bob.answered, ["echo a uid"]);
  await fails(call("test.refused"), 42, /^no$/, RemoteError);
  await fails(call("test.failed"), 0, /^request can't be handed over now$/, RemoteError);
  await fails(call("test.none"), 0, /^no such command: test.none$/, RemoteError);
  await fails(call("test.silent", { timeout: 1 }), 500, /^twin 9 did not answer in time$/);
  await fails(call("test.echo", {}, DAVE.id), 0, /relay info is not set for this twin/);
  await fails(call("test.echo", {}, 99), 103, /^twin 99 is unknown$/);
  const abort = new AbortController();
  const given = call("test.silent", { signal: abort.signal, uid: "once" });
  await fails(call("test.silent", { uid: "once" }), 500, /too many calls wait/);
  abort.abort();
  await fails(given, 500, /^test.silent was given up$/);
  await fails(call("test.silent", { signal: abort.signal }), 500, /^test.silent was given up$/);

  // In order, with what wants no answer.
  bob.answered.length = 0;
  const uids = Array.from({ length: 30 }, (_, i) => `${i}`);
  const options = (uid: string) => ({ timeout: 20, uid });
  await Promise.all(
    uids.map((uid, i) =>
      i % 2
        ? host.send({ twin: BOB.id }, "test.silent", payload, options(uid))
        : call("test.echo", { uid })
    ),
  );
  const arrived = () =>
    bob.answered.map((text) => text.split(" ")[1]).filter((uid) => uid !== "once");
  await until(() => arrived().length === uids.length, "all of them");
  assert.deepEqual(arrived(), uids);
  // A local command may be called too, and answers to it go to nobody else.
  const asked = call("served");
  await test.remote.respond(await test.remote.pop("msgbus.served"), { dat: base64Of("[1]") });
  assert.equal(new TextDecoder().decode((await asked).payload), "[1]");
});

Deno.test("plugins take requests of local programs, or let them go out", async () => {
  await using test = await TestPlugins.start();
  const { alice, local } = test;
  const ret = await local.request({ dst: [BOB.id], cmd: "test.work", ref: "r" });
  await until(() => alice.taken.length === 1, "the request taken");
  const isForgotten = async () => await local.redis.xLen("msgbus.system.local.working") === 0;
  await until(isForgotten, "the entry forgotten");
  await alice.host.reply({ replyTo: ret, reference: "r" }, { ...result, source: { twin: 9 } });
  const error = { code: 7, message: "late" };
  await alice.host.reply({ replyTo: ret, reference: "r" }, { ...result, error });
  await alice.host.reply({ replyTo: "", reference: "r" }, result);
  const replies = [await local.pop(ret), await local.pop(ret)];
  for (const reply of replies) assert.ok(Math.abs(reply.now - unixNow()) < 10);
  const dat = base64Of('"x"');
  assert.deepEqual(replies.map(({ ref, dat, src, err }) => ({ ref, dat, src, err })), [
    { ref: "r", dat, src: "9", err: null },
    { ref: "r", dat, src: "", err: error },
  ]);

  const answer = await local.ask({ dst: [BOB.id], cmd: "test.echo" });
  assert.deepEqual([answer.src, answer.dat, answer.err], ["9", dat, null]);
  alice.taking = () => Promise.reject(new CodedError(13, "not now"));
  assert.deepEqual((await local.ask({ dst: [BOB.id], cmd: "test.work" })).err, {
    code: 13,
    message: "test.work: not now",
  });
  alice.taking = () => Promise.reject(new Error("a secret"));
  assert.equal((await local.ask({ dst: [BOB.id], cmd: "test.work" })).err.code, 500);
});

Deno.test("plugins are given again what they had not taken when the gateway ended", async () => {
  await using test = await TestPlugins.start();
  const { alice, local } = test;
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  alice.taking = () => promise;
  await local.request({ dst: [BOB.id], cmd: "test.work", ref: "again" });
  await until(() => alice.taken.length === 1, "the request given");
  const next = new TestPlugin();
  alice.stop = () => {
    alice.isStopped = true;
    reject(new Error("stopped"));
    return Promise.resolve();
  };
  await test.restart(next);
  assert.ok(alice.isStopped);
  await until(() => next.taken.length === 1, "the request given again");
  assert.deepEqual(next.taken, alice.taken);
  resolve(true);
});

Deno.test("plugins deliver requests to local commands, each once", async () => {
  await using test = await TestPlugins.start();
  const { bob: { host }, remote } = test;
  const request = { uid: "u", payload, source: { twin: 7 }, schema };
  for (let i = 0; i < 3; i++) await host.deliver("done", request);
  await host.deliver("done", { ...request, uid: "other" });
  const first = await remote.pop("msgbus.done");
  const { ref, src, cmd, dat } = first;
  assert.deepEqual({ ref, src, cmd, dat }, {
    ref: "u",
    src: "7",
    cmd: "done",
    dat: base64Of('"x"'),
  });
  assert.equal((await remote.pop("msgbus.done")).ref, "other");
  assert.equal(await remote.redis.exists("msgbus.done"), 0);
  await assert.rejects(host.deliver("system.local", request), /command is reserved/);
});
