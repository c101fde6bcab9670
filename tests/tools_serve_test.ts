import { type Client, RemoteError } from "@rmb/protocol";
import assert from "node:assert/strict";
import { BotNetwork } from "./fixtures/bot_network.ts";
import { ALICE, BOB } from "./fixtures/network.ts";
import type { Program } from "./fixtures/program.ts";
import { environmentOf, runTool, startTool } from "./fixtures/tools.ts";

/** A network in which BOB serves a command with a shell script, and ALICE calls it. */
class Served implements AsyncDisposable {
  readonly #network: BotNetwork;
  readonly #program: Program;
  readonly client: Client;

  private constructor(network: BotNetwork, program: Program, client: Client) {
    this.#network = network;
    this.#program = program;
    this.client = client;
  }

  static async start(script: string, ...options: string[]): Promise<Served> {
    const network = await BotNetwork.start();
    try {
      const args = ["serve", ...options, "test.run", "--", "sh", "-c", script];
      const env = environmentOf(network.network, network.relay, BOB);
      const program = await startTool(args, /^answering test\.run/, { env, permissions: "serve" });
      return new Served(network, program, await network.connect(ALICE, { session: "caller" }));
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Calls the command at the session that it is served at. */
  call(data?: unknown, session: string | undefined = "serve"): Promise<unknown> {
    return this.client.call(BOB.id, "test.run", data, { session, timeout: 30_000 });
  }

  /** Ends the server, and the network. */
  async stop(): Promise<number> {
    return (await this.#program.stop()).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#network[Symbol.asyncDispose]();
  }
}

Deno.test("serve gives a program the data and the caller, and answers with its JSON", async () => {
  await using served = await Served.start(
    `printf '{"data":%s,"twin":%s,"session":"%s","command":"%s"}' ` +
      `"$(cat)" "$RMB_CALLER_TWIN" "$RMB_CALLER_SESSION" "$RMB_COMMAND"`,
  );
  assert.deepEqual(await served.call([1, { two: "3" }]), {
    data: [1, { two: "3" }],
    twin: ALICE.id,
    session: "caller",
    command: "test.run",
  });
  assert.equal(await served.stop(), 0);
});

Deno.test("serve answers with text as a string, and with bytes when told to", async () => {
  {
    await using served = await Served.start("echo up since Monday; cat > /dev/null");
    assert.equal(await served.call(), "up since Monday");
  }
  await using served = await Served.start("printf '\\001\\377'", "--bytes", "--session", "raw");
  const bytes = await served.client.callBytes(BOB.id, "test.run", new Uint8Array(), {
    session: "raw",
  });
  assert.deepEqual([...bytes], [1, 255]);
});

Deno.test("serve answers a failure with the last line of a program's errors, in one line", async () => {
  await using served = await Served.start("echo first >&2; printf 'no\\tuse' >&2; exit 7");
  await assert.rejects(served.call(), (error) => {
    assert.ok(error instanceof RemoteError);
    assert.deepEqual({ code: error.code, message: error.message }, {
      code: 7,
      message: "no\\u0009use",
    });
    return true;
  });
});

Deno.test("serve kills what takes too long, with what it has started", async () => {
  await using served = await Served.start("sleep 600; true", "--timeout", "0.5");
  await assert.rejects(served.call(), { name: "RemoteError", message: /it took too long/ });
});

Deno.test("serve runs so many programs at once, and the others in their turn", async () => {
  await using served = await Served.start(
    // Two at once would find the folder there.
    'lock="${TMPDIR:-/tmp}/rmb-serve-$PPID"; ' +
      'mkdir "$lock" || exit 1; sleep 0.1; rmdir "$lock"; echo 1',
    "--jobs",
    "1",
  );
  const answers = await Promise.all(Array.from({ length: 5 }, () => served.call()));
  assert.deepEqual(answers, [1, 1, 1, 1, 1]);
});

Deno.test("serve answers for the twin itself when told to", async () => {
  await using served = await Served.start("echo 5", "--no-session");
  assert.equal(await served.client.call(BOB.id, "test.run"), 5);
});

Deno.test("serve keeps the secret of its environment from the program", async () => {
  await using served = await Served.start("env");
  const variables = String(await served.call());
  assert.match(variables, /^RMB_CALLER_TWIN=7$/m);
  assert.match(variables, /^RMB_PEER_MNEMONIC=$/m);
  assert.ok(!variables.includes(BOB.secret));
});

Deno.test("serve names the permission that it is missing", async () => {
  await using network = await BotNetwork.start();
  const env = environmentOf(network.network, network.relay, BOB);
  const run = await runTool(["serve", "test.run", "--", "uptime"], { env });
  assert.equal(run.code, 1);
  assert.match(run.stderr, /Cannot run "uptime": start with --allow-run=uptime/);
});

Deno.test("serve wants a program", async () => {
  const { code, stderr } = await runTool(["serve", "test.run"], {
    env: { RMB_PEER_MNEMONIC: BOB.secret },
  });
  assert.equal(code, 2);
  assert.match(stderr, /The program is missing: expected COMMAND -- PROGRAM/);
});
