import { CommandError, Commands } from "@rmb/protocol";
import assert from "node:assert/strict";
import { BotNetwork } from "./fixtures/bot_network.ts";
import { ALICE, BOB } from "./fixtures/network.ts";
import { Terminal } from "./fixtures/terminal.ts";
import { environmentOf, runTool, startTool, toolArguments } from "./fixtures/tools.ts";

/** A network in which BOB answers, and the environment in which a tool is ALICE. */
async function start(): Promise<{ network: BotNetwork; env: Record<string, string> }> {
  const network = await BotNetwork.start();
  const commands = new Commands();
  commands.prefix("test")
    .handle("echo", (data) => data)
    .handle("text", () => `one\n\x1b[2J${"x".repeat(2000)}`)
    .handle("who", (_, { caller }) => caller.twin)
    .handle("fail", () => {
      throw new CommandError(77, "no such\nthing");
    })
    .handle(
      "never",
      (_, { signal }) => new Promise((resolve) => signal.addEventListener("abort", resolve)),
    )
    .handleBytes("reverse", (bytes) => bytes.toReversed());
  await network.connect(BOB, { session: "bot", commands });
  return { network, env: environmentOf(network.network, network.relay, ALICE) };
}

Deno.test("call prints the answer of a bot as compact JSON where there is no terminal", async () => {
  const { network, env } = await start();
  await using _ = network;
  const { code, stdout, stderr } = await runTool(
    ["call", "9:bot", "test.echo", '{"a": [1, "ü"], "b": null}'],
    { env },
  );
  assert.deepEqual({ code, stdout, stderr }, {
    code: 0,
    stdout: '{"a":[1,"ü"],"b":null}\n',
    stderr: "",
  });
  assert.equal((await runTool(["call", "9:bot", "test.who"], { env })).stdout, "7\n");
  const json = await runTool(["call", "--json", "9:bot", "test.echo", '"x"'], { env });
  assert.deepEqual(JSON.parse(json.stdout), { answer: "x" });
});

Deno.test("call reads data from standard input, and bytes as they are", async () => {
  const { network, env } = await start();
  await using _ = network;
  const input = new TextEncoder().encode('{"piped": true}');
  const piped = await runTool(["call", "9:bot", "test.echo", "-"], { env, input });
  assert.deepEqual(JSON.parse(piped.stdout), { piped: true });
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
  const reversed = await runTool(["call", "--bytes", "9:bot", "test.reverse", "-"], {
    env,
    input: bytes,
  });
  assert.equal(reversed.code, 0);
  assert.deepEqual(new Uint8Array(reversed.bytes), bytes.toReversed());
});

Deno.test("call tells by its exit code what went wrong", async () => {
  const { network, env } = await start();
  await using _ = network;
  const cases: [code: number, args: string[], says: RegExp, kind?: string][] = [
    [3, ["9:bot", "test.fail"], /error 77: no such\\u000athing\n$/, "RemoteError"],
    [3, ["9:bot", "test.nothing"], /no such command/, "RemoteError"],
    [4, ["9:bot", "test.never", "--timeout", "0.5"], /within 0\.5 s/, "CallTimeoutError"],
    [5, ["9:nobody", "test.echo", "--fail-fast"], /destination offline/, "OfflineError"],
    [6, ["99", "test.echo"], /no twin 99/, "UnknownTwinError"],
    [2, ["9:bot", "test.echo", "{broken"], /DATA is not JSON/],
    [2, ["0", "test.echo"], /Cannot read a twin/],
    [2, ["9:bot"], /Expected a `COMMAND`/],
  ];
  for (const [code, args, says, kind] of cases) {
    const run = await runTool(["call", ...args], { env });
    assert.equal(run.code, code, run.stderr);
    assert.equal(run.stdout, "");
    assert.match(run.stderr, says);
    if (kind === undefined) continue;
    const json = await runTool(["call", "--json", ...args], { env });
    assert.equal(json.code, code);
    assert.equal(JSON.parse(json.stdout).error.kind, kind);
  }
});

Deno.test("call says that no relay is there", async () => {
  const { network, env } = await start();
  await using _ = network;
  await network.relay.program.stop();
  const { code, stderr } = await runTool(["call", "9:bot", "test.echo"], { env });
  assert.equal(code, 1);
  assert.match(stderr, /Cannot connect/);
});

Deno.test("ping measures round trips and tells of all of them at the end", async () => {
  const { network, env } = await start();
  await using _ = network;
  const run = await runTool(
    ["ping", "-c", "3", "-i", "0.05", "--command", "test.echo", "9:bot"],
    { env },
  );
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.stdout.match(/^answer of 9:bot: seq [123], [\d.]+ ms$/gm)?.length, 3);
  assert.match(run.stdout, /^3 sent, 3 answered, 0 % lost$/m);
  assert.match(run.stdout, /^min \/ mean \/ max: [\d.]+ ms \/ [\d.]+ ms \/ [\d.]+ ms$/m);
  assert.match(run.stdout, /^50 %: .+, 90 %: .+, 99 %: .+$/m);
});

Deno.test("ping writes lines of JSON, the last one a summary", async () => {
  const { network, env } = await start();
  await using _ = network;
  const run = await runTool(["ping", "--json", "-c", "4", "-i", "0.05", "9:bot"], { env });
  const lines = run.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.slice(0, 4).map(({ seq }) => seq).toSorted(), [1, 2, 3, 4]);
  const { sent, answered, loss, min, mean, max, p50, p90, p99 } = lines[4];
  assert.deepEqual({ sent, answered, loss }, { sent: 4, answered: 4, loss: 0 });
  assert.ok(0 < min && min <= p50 && p50 <= p90 && p90 <= p99 && p99 <= max);
  assert.ok(min <= mean && mean <= max);
});

Deno.test("ping ends with code 4 when nothing is answered", async () => {
  const { network, env } = await start();
  await using _ = network;
  const args = ["-c", "2", "-i", "0.05", "-W", "0.3", "--command", "test.never", "9:bot"];
  const { code, stdout, stderr } = await runTool(["ping", ...args], { env });
  assert.equal(code, 4);
  assert.equal(stderr.match(/^seq [12]: No answer/gm)?.length, 2);
  assert.match(stdout, /^2 sent, 0 answered, 100 % lost$/m);
});

Deno.test("ping tells of all round trips also when it is interrupted", async () => {
  const { network, env } = await start();
  await using _ = network;
  await using ping = await startTool(["ping", "-i", "0.02", "9:bot"], /seq 5,/, { env });
  const { code } = await ping.stop("SIGINT");
  assert.equal(code, 0);
  const summary = ping.lines.find((line) => line.includes(" sent, "));
  const [, sent, answered] = /^(\d+) sent, (\d+) answered/.exec(summary!)!.map(Number);
  assert.ok(answered! >= 5 && sent! - answered! <= 1, summary!);
});

Deno.test("call and ping end with code 130 when they are interrupted and not done", async () => {
  const { network, env } = await start();
  await using _ = network;
  const away = { ...env, RMB_PEER_RELAY: "ws://127.0.0.1:9" };
  const cases = [
    [["call", "-d", "9:bot", "test.never"], env, /is connected/],
    [["call", "9", "test.never"], away, /is not connected/],
    [["ping", "9"], away, /is not connected/],
  ] as const;
  for (const [args, env, ready] of cases) {
    await using tool = await startTool(args, ready, { env });
    assert.equal((await tool.stop("SIGINT")).code, 130, args.join(" "));
  }
  const args = ["serve", "x", "--", "true"];
  await using serve = await startTool(args, /is not connected/, {
    env: away,
    permissions: "serve",
  });
  assert.equal((await serve.stop("SIGTERM")).code, 0, "it is meant to be stopped");
});

Deno.test("call prints text in its lines on a terminal, whole, and lets it control nothing", async () => {
  const { network, env } = await start();
  await using _ = network;
  const command = [Deno.execPath(), ...toolArguments(["call", "9:bot", "test.text"], "peer")];
  await using terminal = new Terminal(command, env);
  assert.equal(await terminal.ended(), 0);
  assert.equal(terminal.output, `one\r\n\\u001b[2J${"x".repeat(2000)}\r\n`);
});
