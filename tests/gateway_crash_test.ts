/** Gateways and Redis that are killed under load: each request is answered once all the same. */
import assert from "node:assert/strict";
import { GatewayNetwork, type TestGateway } from "./fixtures/gateway_network.ts";
import { assertAllAnswered, Traffic } from "./fixtures/traffic.ts";

const FUZZ = Number(Deno.env.get("RMB_FUZZ") ?? 1);

/** How often each gateway is killed. */
const KILLS = 25 * FUZZ;

/** A Redis that keeps its data, as that of a machine which means it. */
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

Deno.test(`gateways that are killed ${2 * KILLS} times under load lose nothing`, async () => {
  await using network = await GatewayNetwork.start();
  const { alice, bob } = network;
  await using traffic = await Traffic.start(alice.redis.url, bob.redis.url, { exp: 5, twin: 9 });
  const kill = async (gateway: TestGateway) => {
    for (let i = 0; i < KILLS; i++) {
      await pause(Math.random() * 1000);
      await gateway.program.stop("SIGKILL");
      await network.restart(gateway);
    }
  };
  await Promise.all([kill(alice), kill(bob)]);
  const counts = await traffic.stop();
  assertAllAnswered(`${2 * KILLS} kills of gateways`, counts);
  // What a gateway had received and not yet pushed is lost with it: its sender is told.
  assert.ok(counts.answered > counts.sent / 10, "many are answered");
});

Deno.test("Redis that is killed under load loses nothing", async () => {
  await using network = await GatewayNetwork.start({ redisArgs: DURABLE });
  const { alice, bob } = network;
  await using traffic = await Traffic.start(alice.redis.url, bob.redis.url, { exp: 5, twin: 9 });
  const kill = async (gateway: TestGateway) => {
    let { program } = gateway.redis;
    for (let i = 0; i < 5 * FUZZ; i++) {
      await pause(300 + Math.random() * 700);
      await program.stop("SIGKILL");
      await pause(Math.random() * 500);
      ({ program } = await network.network.startRedis(gateway.redis.port, ...DURABLE));
    }
  };
  await Promise.all([kill(alice), kill(bob)]);
  const counts = await traffic.stop();
  assertAllAnswered(`${10 * FUZZ} kills of Redis`, counts);
  assert.ok(counts.answered > counts.sent / 2, "most are answered");
});
