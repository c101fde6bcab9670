/** A relay that drops, delays, reorders, doubles, replays and alters what two gateways exchange. */
import assert from "node:assert/strict";
import { GatewayNetwork } from "./fixtures/gateway_network.ts";
import { HostileRelay } from "./fixtures/hostile_relay.ts";
import { assertAllAnswered, Traffic } from "./fixtures/traffic.ts";

const FUZZ = Number(Deno.env.get("RMB_FUZZ") ?? 1);

Deno.test("a hostile relay makes nothing happen twice, and loses nothing without a word", async () => {
  await using network = await GatewayNetwork.start();
  const { alice, bob } = network;
  await using hostile = new HostileRelay(network.relay.url);
  for (const gateway of [alice, bob]) {
    await gateway.program.stop();
    gateway.program = await network.network.startGateway(gateway.twin, gateway.redis, hostile, {
      args: ["--no-update"],
    });
  }
  await using traffic = await Traffic.start(alice.redis.url, bob.redis.url, {
    exp: 5,
    twin: 9,
    answersTwice: true,
  });
  await new Promise((resolve) => setTimeout(resolve, 4000 * FUZZ));
  const counts = await traffic.stop();
  assertAllAnswered(`a hostile relay that did ${JSON.stringify(hostile.wrongs)}`, counts);
  assert.ok(Object.values(hostile.wrongs).every((count) => count > 0));
  assert.ok(counts.answered > counts.sent / 10, "many are answered");
});
