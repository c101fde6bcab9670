/** @rmb/protocol in a browser: the page that the documentation shows, on a chain, through a real relay. */
import { Commands } from "@rmb/protocol";
import assert from "node:assert/strict";
import { CAROL } from "./fixtures/gateway_network.ts";
import { BOB } from "./fixtures/network.ts";
import { fill, PageNetwork } from "./fixtures/page_network.ts";

/** Longest bundle, in bytes: with @polkadot/api, uncompressed. */
const MAX_BUNDLE = 1.6e6;

const ADD = new Commands().handle("calculator.add", (numbers: number[], { caller }) => ({
  sum: numbers.reduce((sum, number) => sum + number, 0),
  caller: caller.twin,
}));
const BOT = `${BOB.id}:calculator`;
const TO_PAGE = { session: "page" };

Deno.test("a bot in a page calls a bot through a relay, and is called", async () => {
  await using network = await PageNetwork.start(ADD);
  const { bob, browser, network: { folder }, script } = network;
  assert.ok(script.length < MAX_BUNDLE, `${script.length} bytes`);
  const tab = await network.open();
  await fill(tab, { secret: CAROL.secret });
  await tab.click("text=Connect");
  await tab.waitForSelector(`text=connected as twin ${CAROL.id}`);
  assert.equal(await tab.inputValue("input[name=secret]"), "");

  await fill(tab, { destination: BOT });
  await tab.click("text=Call");
  await tab.waitForSelector(`text=calculator.add answers {"sum":42,"caller":${CAROL.id}}`);
  assert.equal(
    await bob.call(CAROL.id, "page.greet", "Bob", TO_PAGE),
    `Hello Bob, from a page of ${new URL(tab.url()).host}`,
  );
  await tab.waitForSelector(`text=twin ${BOB.id} greets as Bob`);

  await fill(tab, { command: "calculator.divide" });
  await tab.click("text=Call");
  await tab.waitForSelector("text=RemoteError: no such command: calculator.divide");
  await tab.screenshot({ path: `${folder}/page.png` });
  assert.deepEqual(browser.errors, []);
  const stored = await tab.evaluate(
    "JSON.stringify([localStorage, sessionStorage, document.cookie])",
  );
  assert.equal(stored, '[{},{},""]');
  const shots = Deno.env.get("RMB_TEST_SCREENSHOTS");
  if (shots) await Deno.copyFile(`${folder}/page.png`, `${shots}/browser-bot.png`);
});

Deno.test("a page goes on when its relay comes back, with the call that was in flight", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<string>();
  const commands = new Commands().handle("calculator.think", () => {
    asked.resolve();
    return answer.promise;
  });
  await using network = await PageNetwork.start(commands);
  const tab = await network.open();
  await fill(tab, { secret: CAROL.secret });
  await tab.click("text=Connect");
  await tab.waitForSelector("text=connected as");
  await fill(tab, { destination: BOT, command: "calculator.think" });
  await tab.click("text=Call");
  await asked.promise;
  await network.restartRelay();
  answer.resolve("42");
  await tab.waitForSelector('text=calculator.think answers "42"');
  assert.match(await network.bob.call(CAROL.id, "page.greet", "Bob", TO_PAGE), /^Hello Bob/);
});

Deno.test("a page that has no WebCrypto, as from http:, says what is wrong, and works", async () => {
  await using network = await PageNetwork.start(ADD);
  const tab = await network.open("0.0.0.0");
  const missing = await tab.evaluate("[isSecureContext, crypto.subtle, crypto.randomUUID]");
  assert.deepEqual(missing, [false, undefined, undefined]);
  for (
    const [secret, error] of [
      ["neck stage box", "SecretError: Cannot read the mnemonic: it has 3 words"],
      ["//Nobody", "NoTwinError: No twin has the sr25519 account 5"],
    ] as const
  ) {
    await fill(tab, { secret });
    await tab.click("text=Connect");
    await tab.waitForSelector(`text=${error}`);
  }
  await fill(tab, { secret: CAROL.secret });
  await tab.click("text=Connect");
  await tab.waitForSelector("text=connected as");

  // Long enough that it would be WebCrypto's to encrypt and decrypt.
  const numbers = new Array(2000).fill(1);
  await fill(tab, { destination: BOT, data: JSON.stringify(numbers) });
  await tab.click("text=Call");
  await tab.waitForSelector(`text=calculator.add answers {"sum":2000,"caller":${CAROL.id}}`);
  const name = "Bob".repeat(1000);
  const greeting: string = await network.bob.call(CAROL.id, "page.greet", name, TO_PAGE);
  assert.ok(greeting.startsWith(`Hello ${name},`));
  assert.deepEqual(network.browser.errors, []);
});
