import assert from "node:assert/strict";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { captureLog } from "../protocol/tests/twins_file.ts";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";
import { lyingNode, type Message } from "./fixtures/lying_node.ts";
import { relayOf, seen, setRelay } from "./fixtures/tfchain.ts";

const LIES: Record<string, (message: Message, method: string) => void> = {
  "can't say what its own blocks changed": (message, method) => {
    if (method !== "state_getStorage") return;
    delete message.result;
    message.error = { code: -32000, message: "no database" };
  },
  "says that nothing ever happens": (message, method) => {
    if (method === "state_getStorage") message.result = null;
  },
  "numbers its blocks as it likes": ({ params }, method) => {
    if (method === "chain_newHead") Object.assign(params!.result as object, { number: "0xffff" });
  },
};

for (const [what, lie] of Object.entries(LIES)) {
  Deno.test(`a node that ${what} is left for the next`, async () => {
    await using log = await captureLog();
    await using devnet = await Devnet.start({ nodes: 2 });
    let lies = false;
    await using node = lyingNode(devnet.url, (message, method) => {
      if (lies) lie(message, method);
    });
    await using registry = await TfchainRegistry.connect({ urls: [node.url, devnet.urls[1]!] });
    assert.equal(await relayOf(registry, 1), "");
    lies = true;
    await devnet.setTwin({ id: 1, relay: "one.test" });
    await until(async () => {
      await devnet.produce();
      return (await devnet.node(1)).connections === 1;
    }, "the next node being connected");
    await seen(registry, await setRelay(devnet, 2, "two.test"));
    assert.equal(await relayOf(registry, 1), "one.test");
    const messages = log.records.map(({ message }) => message.join(""));
    assert.ok(messages.some((text) => text.includes("it can't be followed: ")), `${messages}`);
  });
}

Deno.test("a node that tells no true hashes after a gap is left for the next", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  let lies = false;
  let silent = false;
  let withheld = 0;
  await using node = lyingNode(devnet.url, (message, method) => {
    if (lies && method === "chain_getBlockHash") message.result = [`0x${"12".repeat(32)}`];
    if (!silent || method !== "chain_newHead") return true;
    withheld++;
    return false;
  });
  await using registry = await TfchainRegistry.connect({ urls: [node.url, devnet.urls[1]!] });
  assert.equal(await relayOf(registry, 1), "");
  lies = silent = true;
  await setRelay(devnet, 1, "one.test");
  await devnet.produce();
  await until(() => withheld > 0, "a head withheld");
  silent = false;
  await until(async () => {
    await devnet.produce();
    return (await devnet.node(1)).connections === 1;
  }, "the next node being connected");
  await until(async () => await relayOf(registry, 1) === "one.test", "the change being seen");
});
