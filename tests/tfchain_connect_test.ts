import assert from "node:assert/strict";
import { FormatError, RegistryError } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { captureLog } from "../protocol/tests/twins_file.ts";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";

/** A URL that nobody listens at. */
function closedUrl(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `ws://127.0.0.1:${listener.addr.port}`;
}

Deno.test("of three URLs the one that works is used", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  await devnet.faults({ hang: true }, 0);
  const urls = [closedUrl(), ...devnet.urls];
  await using registry = await TfchainRegistry.connect({ urls });
  assert.equal((await registry.twin(1))?.id, 1);
  assert.equal((await devnet.node(1)).connections, 1);
});

Deno.test("without a node that can be reached, the error names each URL with its reason", async () => {
  await using web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    return new Response("a web site");
  });
  const [closed, site] = [closedUrl(), `ws://127.0.0.1:${web.addr.port}/`];
  const urls = [closed.replace("ws://", "ws://user:secret@"), `${site}secret?key=secret`];
  await assert.rejects(TfchainRegistry.connect({ urls }), (error) => {
    assert.ok(error instanceof RegistryError);
    const reasons = error.message.match(/^Cannot connect to the chain: (.*); (.*)$/s)!;
    assert.match(reasons[1]!, new RegExp(`^${closed}: .*connect error`));
    assert.match(reasons[2]!, new RegExp(`^${site}…: .*200`));
    assert.doesNotMatch(error.message, /secret|user|key/);
    return true;
  });
});

Deno.test("what is no WebSocket's URL is refused, and not quoted; no URL is refused too", async () => {
  for (const url of ["https://node.test/?key=secret", "secret", "ws://", ""]) {
    const reason = "Cannot use the URL of a chain's node: expected ws://host or wss://host";
    await assert.rejects(TfchainRegistry.connect({ urls: [url] }), new FormatError(reason));
  }
  await assert.rejects(TfchainRegistry.connect({ urls: [] }), FormatError);
});

Deno.test("a server that speaks something else is left, and said to", async () => {
  for (const nonsense of ["no JSON", "null", new Uint8Array(3)]) {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => {
        const { socket, response } = Deno.upgradeWebSocket(request);
        socket.onmessage = () => socket.send(nonsense);
        socket.onerror = () => {};
        return response;
      },
    );
    const url = `ws://127.0.0.1:${server.addr.port}`;
    await assert.rejects(TfchainRegistry.connect({ urls: [url] }), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.ok(error.message.startsWith(`Cannot connect to the chain: ${url}: `), error.message);
      assert.match(error.message, /not of this protocol/);
      return true;
    });
  }
});

Deno.test("connecting can be given up", async () => {
  await using devnet = await Devnet.start();
  await devnet.faults({ hang: true });
  const stop = new AbortController();
  const connected = TfchainRegistry.connect({ urls: devnet.urls, signal: stop.signal });
  const reason = new Error("told to stop");
  setTimeout(() => stop.abort(reason));
  await assert.rejects(connected, reason);
  await assert.rejects(TfchainRegistry.connect({ urls: devnet.urls, signal: stop.signal }), reason);
});

for (const [side, ahead] of [["ahead", 3_600_000], ["behind", -3_600_000]] as const) {
  Deno.test(`a chain whose clock is ${side} is warned about once, with both times`, async () => {
    await using log = await captureLog();
    await using devnet = await Devnet.start();
    await devnet.clock(ahead);
    await devnet.produce();
    await using _ = await TfchainRegistry.connect({ urls: devnet.urls });
    const warnings = log.records.filter(({ level }) => level === "warning");
    assert.equal(warnings.length, 1);
    const wrong = side === "ahead" ? "behind" : "ahead";
    assert.ok(`${warnings[0]!.rawMessage}`.startsWith(`this machine's clock is ${wrong}`));
    const { time, now } = warnings[0]!.properties as { time: string; now: string };
    const difference = (Date.parse(time) - Date.parse(now)) / ahead;
    assert.ok(difference > 0.9 && difference < 1.1, `${time} ${now}`);
  });
}

Deno.test("connecting says so in one line, and nothing is printed", async () => {
  await using log = await captureLog();
  const printed: unknown[] = [];
  const { console } = globalThis;
  globalThis.console = new Proxy(console, {
    get: () => (...args: unknown[]) => void printed.push(args),
  });
  try {
    await using devnet = await Devnet.start();
    await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
    await devnet.closeConnections();
    await until(() => registry.statistics().reconnectCycles > 0, "the loss");
    await registry.twin(1);
    assert.deepEqual(
      log.records.map(({ level, rawMessage }) => [level, rawMessage]),
      [
        ["info", "connected to {chain} by {url}"],
        ["warning", "the chain is not connected: {failure}; next attempt in {retryIn} ms"],
        ["info", "connected to {chain} by {url}"],
      ],
    );
  } finally {
    globalThis.console = console;
  }
  assert.deepEqual(printed, []);
});

Deno.test("nobody loads @polkadot/api who does not use a chain", async () => {
  for (const [entry, loads] of [["@rmb/protocol", false], ["@rmb/protocol/tfchain", true]]) {
    const program = `import "${entry}"; console.log("__polkadotjs" in globalThis)`;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", program],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(new TextDecoder().decode(stdout), `${loads}\n`);
  }
});
