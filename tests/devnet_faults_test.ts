import assert from "node:assert/strict";
import { ChainClient, testOnChain } from "./fixtures/chain_client.ts";
import { until } from "./fixtures/deadline.ts";

/** Whether a promise has not settled, after all that was ready. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  const settled = promise.catch(() => {});
  return await Promise.race([
    settled,
    new Promise((resolve) => setTimeout(resolve, 0, pending)),
  ]) === pending;
}

testOnChain("a method that hangs is never answered, others are", async ({ devnet, client }) => {
  await devnet.faults({ hang: ["state_getStorage"] });
  const hung = client.raw("state_getStorage", "0x12");
  hung.catch(() => {}); // The connection ends at some time.
  assert.equal(await client.raw("system_chainType"), "Development");
  await devnet.faults({ hang: false });
  assert.equal(await client.raw("state_getStorage", "0x12"), null);
  assert.equal(await isPending(hung), true);
  assert.equal(await devnet.calls("state_getStorage"), 2);
});

testOnChain(
  "a node that hangs takes connections and does nothing with them",
  async ({ devnet, client }) => {
    const heads: number[] = [];
    await client.api.rpc.chain.subscribeNewHeads(({ number }) =>
      void heads.push(number.toNumber())
    );
    await until(() => heads.length === 1, "the present head");
    await devnet.faults({ hang: true });
    await devnet.produce();
    const call = client.raw("system_chainType");
    call.catch(() => {});
    const socket = new WebSocket(devnet.url);
    let opened = false;
    socket.onopen = () => opened = true;
    await until(async () => await devnet.calls("system_chainType") === 1, "the call");
    assert.equal(await isPending(call), true);
    assert.equal(opened, false);
    assert.deepEqual(heads, [0]);
    await using other = await ChainClient.connect(devnet.urls[1]!);
    assert.equal(await other.raw("system_chainType"), "Development");
    await devnet.faults({ refuse: true });
    await until(() => socket.readyState === WebSocket.CLOSED, "the end of the connection");
    await devnet.faults({ refuse: false, hang: false });
    await using again = await ChainClient.connect(devnet.url);
    assert.equal(await again.raw("system_chainType"), "Development");
  },
  { nodes: 2 },
);

testOnChain(
  "connections are closed, and refused, for one node only",
  async ({ devnet, client }) => {
    await using other = await ChainClient.connect(devnet.urls[1]!);
    assert.equal((await devnet.node()).connections, 1);
    await devnet.closeConnections();
    await until(() => !client.provider.isConnected, "the end of the connection");
    await using second = await ChainClient.connect(devnet.url);
    await devnet.faults({ refuse: true });
    await until(() => !second.provider.isConnected, "the end of the second connection");
    const { hostname, port } = new URL(devnet.url);
    const connected = Deno.connect({ hostname, port: Number(port) });
    await assert.rejects(connected, Deno.errors.ConnectionRefused);
    assert.equal(await other.raw("system_chainType"), "Development");
    await devnet.faults({ refuse: false });
    await using again = await ChainClient.connect(devnet.url);
    assert.equal(await again.raw("system_chainType"), "Development");
  },
  { nodes: 2 },
);

testOnChain("a slow node answers later", async ({ devnet, client }) => {
  await devnet.faults({ slow: 300 });
  const start = performance.now();
  await client.raw("system_chainType");
  assert.ok(performance.now() - start >= 299);
});

testOnChain(
  "a node that is silent, or behind, knows the blocks all the same",
  async ({ devnet, client }) => {
    const heads: number[] = [];
    await client.api.rpc.chain.subscribeNewHeads(({ number }) =>
      void heads.push(number.toNumber())
    );
    await devnet.faults({ silent: true });
    await devnet.produce(2);
    assert.equal((await client.api.rpc.chain.getHeader()).number.toNumber(), 2);
    await devnet.faults({ silent: false, skip: 3 });
    await devnet.produce(5);
    await until(() => heads.length === 3, "the heads");
    assert.deepEqual(heads, [0, 6, 7]);
  },
);

testOnChain("what can't be done is refused with the reason", async ({ devnet }) => {
  await devnet.produce(3);
  await assert.rejects(devnet.fork(3), /of 3, 1 are final/);
  await assert.rejects(devnet.fork(0), /"depth" must be a number/);
  await assert.rejects(devnet.setTwin({ id: 70, relay: "a" }), /no twin 70/);
  await assert.rejects(devnet.faults({ slow: 1 }, 1), /no node 1/);
  await assert.rejects(devnet.faults({ slow: "x" } as never), /"slow"/);
  await assert.rejects(devnet.faults({ hang: ["no_method"] }), /"hang"/);
  await assert.rejects(devnet.setTwin({ id: 1, relay: 7 } as never), /"relay"/);
  await assert.rejects(devnet.faults({ slwo: 1 } as never), /slwo/);
  await assert.rejects(devnet.control({ do: "fly" } as never), /fly/);
});
