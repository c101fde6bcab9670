import assert from "node:assert/strict";
import { ALICE, Network } from "./fixtures/network.ts";
import { onPort } from "./fixtures/ports.ts";
import { Terminal } from "./fixtures/terminal.ts";
import { runTool, toolArguments } from "./fixtures/tools.ts";

Deno.test("top tells of a relay, as lines and as JSON", async () => {
  await using network = await Network.create([ALICE]);
  const relay = await network.startRelay();
  const url = relay.http;
  const lines = await runTool(["top", "-i", "0.1", url]);
  assert.equal(lines.code, 0, lines.stderr);
  assert.match(lines.stdout, new RegExp(`^rmb relay at ${relay.domain}$`, "m"));
  assert.match(lines.stdout, /^SESSIONS\n +connected +0$/m);
  const json = await runTool(["top", "-i", "0.1", "--once", "--json", url]);
  const { kind, host, sessions, messages } = JSON.parse(json.stdout);
  assert.deepEqual({ kind, host, connected: sessions.connected }, {
    kind: "relay",
    host: relay.domain,
    connected: 0,
  });
  assert.deepEqual(messages.in, { perSecond: 0, bytesPerSecond: 0 });
});

Deno.test("top tells how a gateway's relays are", async () => {
  await using network = await Network.create([ALICE]);
  const relay = await network.startRelay();
  const redis = await network.startRedis();
  const port = await onPort(undefined, async (port) => {
    const args = ["--metrics-listen", `127.0.0.1:${port}`];
    await network.startGateway(ALICE, redis, relay, { args });
    return port;
  });
  const { stdout } = await runTool(["top", "-i", "0.1", "--once", "--json", `127.0.0.1:${port}`]);
  const { kind, relays, programs } = JSON.parse(stdout);
  assert.equal(kind, "gateway");
  assert.equal(relays[relay.domain].state, "in use");
  assert.equal(programs.redis, "connected");
});

Deno.test("top fails where there is nothing to watch, and says why", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) =>
      new URL(request.url).pathname === "/metrics"
        ? new Response("up 1\n")
        : new Response("no", { status: 404 }),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  const cases: [string, RegExp][] = [
    [url, /metrics of neither a relay nor a gateway/],
    [`${url}/elsewhere`, /it answers with HTTP status 404/],
  ];
  for (const [url, says] of cases) {
    const { code, stdout, stderr } = await runTool(["top", "--once", url]);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
    assert.match(stderr, says);
  }
});

const onLinux = { ignore: Deno.build.os !== "linux" };

Deno.test("top fills a terminal, and gives it back at q and at Ctrl-C", onLinux, async () => {
  await using network = await Network.create([ALICE]);
  const relay = await network.startRelay();
  for (const key of ["q", "\x03"]) {
    await using terminal = new Terminal([
      Deno.execPath(),
      ...toolArguments(["top", "-i", "0.1", relay.http], "peer"),
    ]);
    await terminal.shows(/MESSAGES[^]*rmb relay at[^]*q quits/); // Twice: it is refreshed.
    await terminal.press(key);
    assert.equal(await terminal.ended(), 0);
    const { output } = terminal;
    assert.ok(output.startsWith("\x1b[?1049h\x1b[?25l"), JSON.stringify(output.slice(0, 100)));
    assert.ok(output.endsWith("\x1b[?25h\x1b[?1049l"), JSON.stringify(output.slice(-100)));
    for (const frame of output.split("\x1b[H").slice(1)) {
      const lines = frame.split("\x1b[J")[0]!.split("\r\n");
      assert.ok(lines.length <= 24);
      // deno-lint-ignore no-control-regex -- they are what is looked for
      for (const line of lines) assert.ok(line.replace(/\x1b\[K$/, "").length <= 80, line);
    }
  }
});

Deno.test("top goes on while a relay is away, and says so", onLinux, async () => {
  await using network = await Network.create([ALICE]);
  const relay = await network.startRelay();
  await using terminal = new Terminal([
    Deno.execPath(),
    ...toolArguments(["top", "-i", "0.1", relay.http], "peer"),
  ]);
  await terminal.shows(/q quits/);
  await relay.program.stop();
  await terminal.shows(/these are old: Cannot watch \S+: .*onnect/);
  const before = terminal.output.length;
  await network.startRelay({ port: relay.port });
  await terminal.shows(new RegExp(`^[^]{${before},}q quits`));
  await terminal.press("q");
  assert.equal(await terminal.ended(), 0);
});
