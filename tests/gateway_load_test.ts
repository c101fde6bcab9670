/** Many requests at once, through two gateways and a relay. */
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { GatewayNetwork } from "./fixtures/gateway_network.ts";
import { base64Of, type Json, LocalProgram, textOf } from "./fixtures/local_program.ts";

const REQUESTS = 2000;
const COMMANDS = ["load.a", "load.b", "load.c", "load.d"];

/** Pushes the requests, in portions as a busy program would. */
async function pushRequests({ redis }: LocalProgram, ret: string): Promise<void> {
  const portion = 100;
  for (let first = 0; first < REQUESTS; first += portion) {
    const entries = Array.from({ length: portion }, (_, i) =>
      JSON.stringify({
        ver: 1,
        ref: `${first + i}`,
        cmd: COMMANDS[(first + i) % COMMANDS.length],
        exp: 300,
        dat: base64Of(`payload ${first + i}`),
        dst: [9],
        ret,
        now: 0,
      }));
    await redis.lPush("msgbus.system.local", entries);
  }
}

/** Echoes the requests of a command, and gives their payloads in the order in which they came. */
async function serve(url: string, command: string, count: number): Promise<string[]> {
  await using local = await LocalProgram.connect(url);
  const payloads: string[] = [];
  while (payloads.length < count) {
    const request = await local.pop(`msgbus.${command}`);
    payloads.push(textOf(request.dat));
    await local.respond(request, { dat: request.dat });
  }
  return payloads;
}

Deno.test(`${REQUESTS} requests are answered once each, in order per command`, async () => {
  await using network = await GatewayNetwork.start();
  const { alice, bob } = network;
  const start = performance.now();
  const services = COMMANDS.map((command) =>
    serve(bob.redis.url, command, REQUESTS / COMMANDS.length)
  );
  const ret = "replies.load";
  const pushing = pushRequests(alice.local, ret);
  const answers: Json[] = [];
  while (answers.length < REQUESTS) answers.push(await alice.local.pop(ret));
  await pushing;
  const served = await Promise.all(services);
  const seconds = (performance.now() - start) / 1000;

  const refs = new Set<string>();
  for (const { ref, src, dat, err } of answers) {
    assert.deepEqual({ src, dat, err }, { src: "9", dat: base64Of(`payload ${ref}`), err: null });
    refs.add(ref);
  }
  assert.equal(refs.size, REQUESTS);
  served.forEach((payloads, i) => {
    const expected = payloads.map((_, n) => `payload ${n * COMMANDS.length + i}`);
    assert.deepEqual(payloads, expected, `order of ${COMMANDS[i]}`);
  });

  // Nothing is left that would be a second answer, or none; only what copies are known by.
  for (const { local: { redis } } of [alice, bob]) {
    for (const list of ["local", "reply"]) {
      const isDone = async () => await redis.xLen(`msgbus.system.${list}.working`) === 0;
      await until(isDone, "nothing in hand");
    }
    const isKnown = (key: string) => /^msgbus\.system\.(?:gateway|seen|.*\.working)$/.test(key);
    assert.deepEqual((await redis.keys("*")).filter((key) => !isKnown(key)), []);
  }
  assert.equal(await bob.local.redis.zCard("msgbus.system.seen"), REQUESTS);
  const rate = Math.round(REQUESTS / seconds);
  console.log(
    `${REQUESTS} requests sent, ${served.flat().length} served, ${answers.length} answered ` +
      `in ${seconds.toFixed(1)} s: ${rate} requests/s`,
  );
});
