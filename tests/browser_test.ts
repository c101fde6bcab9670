/** @rmb/protocol in a browser: the page that the documentation shows, on a chain, through a real relay. */
import { Client, Commands } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import assert from "node:assert/strict";
import { TestBrowser } from "./fixtures/browser.ts";
import { CAROL } from "./fixtures/gateway_network.ts";
import { BOB, Network } from "./fixtures/network.ts";

const root = new URL("../", import.meta.url);
const page = new URL("docs/examples/browser/", root);

/** Longest bundle, in bytes: with @polkadot/api, uncompressed. */
const MAX_BUNDLE = 1.6e6;

async function bundle(): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform",
      "browser",
      "--minify",
      "docs/examples/browser/page.js",
    ],
    cwd: root,
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("a bot in a page calls a bot through a relay, and is called", async () => {
  await using network = await Network.create([BOB, CAROL], { blockTime: 200 });
  const relay = await network.startRelay();
  await using registry = await TfchainRegistry.connect({ urls: network.chain.urls });
  await using bob = await Client.connect({
    ...{ secret: BOB.secret, keyType: BOB.type, registry, relays: [relay.url] },
    session: "calculator",
    commands: new Commands().handle("calculator.add", (numbers: number[], { caller }) => ({
      sum: numbers.reduce((sum, number) => sum + number, 0),
      caller: caller.twin,
    })),
  });

  const script = await bundle();
  assert.ok(script.length < MAX_BUNDLE, `${script.length} bytes`);
  const html = await Deno.readTextFile(new URL("index.html", page));
  await using server = Deno.serve({ hostname: "localhost", port: 0, onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return new Response(html, { headers: { "content-type": "text/html" } });
    if (pathname !== "/bundle.js") return new Response(null, { status: 204 });
    return new Response(script, { headers: { "content-type": "text/javascript" } });
  });

  await using browser = await TestBrowser.start();
  const { port } = server.addr;
  const tab = await browser.open(`http://localhost:${port}/`, { width: 720, height: 640 });
  const fill = (name: string, text: string) => tab.fill(`input[name=${name}]`, text);
  await fill("secret", CAROL.secret);
  await fill("relay", relay.url);
  await fill("substrate", network.chain.urls[0]!);
  await tab.click("text=Connect");
  await tab.waitForSelector(`text=connected as twin ${CAROL.id}`);
  assert.equal(await tab.inputValue("input[name=secret]"), "");

  await fill("destination", `${BOB.id}:calculator`);
  await tab.click("text=Call");
  await tab.waitForSelector(`text=calculator.add answers {"sum":42,"caller":${CAROL.id}}`);
  assert.equal(
    await bob.call(CAROL.id, "page.greet", "Bob", { session: "page" }),
    `Hello Bob, from a page of localhost:${port}`,
  );
  await tab.waitForSelector(`text=twin ${BOB.id} greets as Bob`);

  await fill("command", "calculator.divide");
  await tab.click("text=Call");
  await tab.waitForSelector("text=RemoteError: no such command: calculator.divide");
  await tab.screenshot({ path: `${network.folder}/page.png` });
  assert.deepEqual(browser.errors, []);
  const stored = await tab.evaluate(
    "JSON.stringify([localStorage, sessionStorage, document.cookie])",
  );
  assert.equal(stored, '[{},{},""]');
  const shots = Deno.env.get("RMB_TEST_SCREENSHOTS");
  if (shots) await Deno.copyFile(`${network.folder}/page.png`, `${shots}/browser-bot.png`);
});
