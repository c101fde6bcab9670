import assert from "node:assert/strict";
import { Keypair, RegistryError } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { until } from "./fixtures/deadline.ts";
import { Devnet } from "./fixtures/devnet.ts";
import { relayOf } from "./fixtures/tfchain.ts";

const alice = Keypair.fromSecret("//Alice");
const bob = Keypair.fromSecret("//Bob");
const update = { relays: ["relay.test"], pk: Uint8Array.of(2, ...new Uint8Array(32).fill(1)) };

const SUBMIT = "author_submitAndWatchExtrinsic";

/** Waits until so many transactions were sent to a node. */
function sent(devnet: Devnet, count: number, node = 0): Promise<void> {
  return until(
    async () => await devnet.calls(SUBMIT, node) === count,
    `${count} transactions being sent to node ${node}`,
  );
}

/** Waits until transactions wait to be put into a block. */
function waiting(devnet: Devnet): Promise<void> {
  return until(async () => (await devnet.status()).waiting > 0, "a transaction waiting");
}

Deno.test("what the chain has already is not sent again", async () => {
  await using devnet = await Devnet.start({ blockTime: 100 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await registry.updateTwin(alice, update);
  await registry.updateTwin(alice, update);
  assert.equal(await devnet.calls(SUBMIT), 1);
});

Deno.test("an update is done once it is in a block, final or not", async () => {
  await using devnet = await Devnet.start();
  await devnet.finality(false);
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const updated = registry.updateTwin(alice, update);
  await waiting(devnet);
  await devnet.produce();
  await updated;
  assert.equal(await relayOf(registry, 1), "relay.test");
});

Deno.test("an account that can't pay is told so, and which it is", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  const poor = Keypair.fromSecret("//Poor");
  const path = `${folder}/twins.json`;
  await Deno.writeTextFile(
    path,
    JSON.stringify({
      twins: [{ id: 1, account: alice.address }],
    }),
  );
  await using devnet = await Devnet.start({ twins: path });
  await Deno.remove(folder, { recursive: true });
  await devnet.setTwin({ id: 2, account: poor.address }); // Twins of the file are given something.
  await devnet.produce();
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await assert.rejects(registry.updateTwin(poor, update), (error) => {
    assert.ok(error instanceof RegistryError);
    const begin = `Cannot update the twin of ${poor.address}: ` +
      "the account has too little to pay for it (";
    assert.ok(error.message.startsWith(begin), error.message);
    return true;
  });
  assert.equal(await devnet.calls(SUBMIT), 1);
});

Deno.test("what the chain refuses in a block is told by its name", async () => {
  await using devnet = await Devnet.start({ blockTime: 100 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await assert.rejects(
    registry.updateTwin(alice, { ...update, relays: ["no domain!"] }),
    new RegistryError(`Cannot update the twin of ${alice.address}: refused: InvalidRelay`),
  );
  assert.equal(await relayOf(registry, 1), "");
  await registry.updateTwin(alice, update); // The nonce has been used; the next one is right.
});

Deno.test("what a node refuses is told with its reason", async () => {
  await using devnet = await Devnet.start({ blockTime: 100 });
  await devnet.transactions({ refuse: "Transaction call is not expected" });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  await assert.rejects(
    registry.updateTwin(alice, update),
    /refused: .*Transaction call is not expected/,
  );
  assert.equal(await devnet.calls(SUBMIT), 1);
});

for (const fate of ["dropped", "invalid"] as const) {
  Deno.test(`a transaction that becomes ${fate} is made anew, once`, async () => {
    await using devnet = await Devnet.start();
    await devnet.transactions({ withhold: true });
    await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
    const first = registry.updateTwin(alice, update);
    await waiting(devnet);
    await devnet.transactions({ clear: fate });
    await sent(devnet, 2);
    await waiting(devnet);
    await devnet.transactions({ withhold: false });
    await devnet.produce();
    await first;
    assert.equal(await relayOf(registry, 1), "relay.test");

    await devnet.transactions({ withhold: true });
    const second = assert.rejects(registry.updateTwin(bob, update), new RegExp(fate));
    for (const count of [3, 4]) {
      await sent(devnet, count);
      await waiting(devnet);
      await devnet.transactions({ clear: fate });
    }
    await second;
    assert.equal(await devnet.calls(SUBMIT), 4);
  });
}

Deno.test("a stale nonce is asked for anew", async () => {
  await using devnet = await Devnet.start({ blockTime: 100 });
  await devnet.transactions({ refuse: "Transaction is outdated" });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const updated = registry.updateTwin(alice, update);
  updated.catch(() => {});
  await sent(devnet, 2);
  await assert.rejects(updated, /refused: .*outdated/);
  assert.equal(await devnet.calls("system_accountNextIndex"), 2);
});

Deno.test("two updates of one account at once both come to their end", async () => {
  await using devnet = await Devnet.start({ blockTime: 200 });
  await using ours = await TfchainRegistry.connect({ urls: devnet.urls });
  await using theirs = await TfchainRegistry.connect({ urls: devnet.urls });
  await Promise.all([ours.updateTwin(alice, update), theirs.updateTwin(alice, update)]);
  for (const registry of [ours, theirs]) assert.equal(await relayOf(registry, 1), "relay.test");
});

Deno.test("a node lost while the transaction waits: it is not sent twice if a block has it", async () => {
  await using devnet = await Devnet.start({ nodes: 2 });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const updated = registry.updateTwin(alice, update);
  await waiting(devnet);
  await devnet.faults({ refuse: true }, 1);
  await devnet.faults({ refuse: true }, 0);
  await devnet.closeConnections(0);
  await until(() => registry.statistics().reconnecting, "the loss being noticed");
  await devnet.produce();
  await devnet.faults({ refuse: false }, 1);
  await updated;
  assert.equal(await relayOf(registry, 1), "relay.test");
  assert.equal(await devnet.calls(SUBMIT, 0) + await devnet.calls(SUBMIT, 1), 1);
});

Deno.test("an update that gets into no block ends after a time limit", async () => {
  await using devnet = await Devnet.start();
  await devnet.transactions({ withhold: true });
  await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const { setTimeout } = globalThis;
  // The minute passes as soon as the transaction waits.
  let expire = () => {};
  Object.assign(globalThis, {
    setTimeout: (call: () => void, time: number) => {
      if (time !== 60_000) return setTimeout(call, time);
      expire = call;
      return undefined;
    },
  });
  const updated = registry.updateTwin(alice, update);
  Object.assign(globalThis, { setTimeout });
  await waiting(devnet);
  expire();
  await assert.rejects(
    updated,
    new RegExp(`Cannot update the twin of ${alice.address}: not done within 60 s`),
  );
});

Deno.test("closing the registry ends an update", async () => {
  await using devnet = await Devnet.start();
  await devnet.transactions({ withhold: true });
  const registry = await TfchainRegistry.connect({ urls: devnet.urls });
  const updated = assert.rejects(registry.updateTwin(alice, update), /the registry is closed/);
  await waiting(devnet);
  await registry[Symbol.asyncDispose]();
  await updated;
});
