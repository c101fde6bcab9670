/** Gateways with two relays, one of which fails, or both: each request is answered once all the same. */
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { GatewayNetwork, statusOf } from "./fixtures/gateway_network.ts";
import type { Json } from "./fixtures/local_program.ts";
import type { TestRelay } from "./fixtures/network.ts";
import type { Program } from "./fixtures/program.ts";
import { assertAllAnswered, Traffic } from "./fixtures/traffic.ts";

const FUZZ = Number(Deno.env.get("RMB_FUZZ") ?? 1);

/** How often a relay fails. */
const ROUNDS = 3 * FUZZ;

/** How long both relays are away, in milliseconds. */
const OUTAGE = FUZZ > 1 ? 20_000 : 4000;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Starts two relays, gateways that know both, and traffic between these. */
async function start(exp: number) {
  const network = await GatewayNetwork.start({ relayCount: 2 });
  const { alice, bob } = network;
  const traffic = await Traffic.start(alice.redis.url, bob.redis.url, { exp, twin: bob.twin.id });
  const programs = [alice.program, bob.program];
  for (const gateway of [alice, bob]) {
    const areUsed = async () => {
      const { relays } = await statusOf(gateway);
      return relays[0].preferred && relays.every(({ healthy }: Json) => healthy);
    };
    await until(areUsed, "both relays to answer");
  }
  /** Waits until a line of each gateway that it has not written yet, and says how long that took. */
  const lines = (pattern: RegExp) => {
    const from = programs.map(({ lines }) => lines.length);
    const begin = performance.now();
    const has = ({ lines }: Program, i: number) =>
      lines.slice(from[i]).some((l) => pattern.test(l));
    return until(() => programs.every(has), `a line of each gateway like ${pattern}`)
      .then(() => Math.round(performance.now() - begin));
  };
  return {
    network,
    traffic,
    lines,
    relays: network.relays as [TestRelay, TestRelay],
    async [Symbol.asyncDispose]() {
      await traffic[Symbol.asyncDispose]();
      await network[Symbol.asyncDispose]();
    },
  };
}

/** The line that says that messages go through a relay from now on. */
function through({ url }: TestRelay): RegExp {
  return new RegExp(`messages go through relay ${url} now`);
}

Deno.test("a relay that is killed under load is replaced by the next at once, until it is back", async () => {
  await using fixture = await start(10);
  const { network, traffic, lines, relays: [first, second] } = fixture;
  let { program } = first;
  const over: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await pause(300);
    const isOver = lines(through(second));
    await program.stop("SIGKILL");
    over.push(await isOver);
    const isBack = lines(through(first));
    ({ program } = await network.network.startRelay({ port: first.port }));
    await isBack;
  }
  const counts = await traffic.stop();
  assertAllAnswered(`${ROUNDS} kills of a relay, over after ${over.join(", ")} ms`, counts);
  assert.ok(Math.max(...over) < 5000, `over after ${over} ms`);
  assert.ok(counts.answered > counts.sent / 2, "most are answered");
});

Deno.test("a relay that is up but silent is replaced within about a second, until it answers", async () => {
  await using fixture = await start(10);
  const { traffic, lines, relays: [first, second] } = fixture;
  const over: number[] = [];
  const back: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await pause(300);
    const [isSilent, isOver] = [lines(/does not answer/), lines(through(second))];
    Deno.kill(first.program.pid, "SIGSTOP");
    over.push(await isOver);
    await isSilent;
    await pause(300);
    const isBack = lines(through(first));
    Deno.kill(first.program.pid, "SIGCONT");
    back.push(await isBack);
  }
  const counts = await traffic.stop();
  const times = `over after ${over.join(", ")} ms, back after ${back.join(", ")} ms`;
  assertAllAnswered(`${ROUNDS} stops of a relay, ${times}`, counts);
  assert.ok(Math.max(...over) < 5000, times);
  assert.ok(Math.min(...back) > 1500, times);
  assert.ok(counts.answered > counts.sent / 2, "most are answered");
});

Deno.test("requests wait while both relays are away, or are answered with an error in time", async () => {
  await using fixture = await start(2);
  const { network, traffic, lines, relays } = fixture;
  await pause(500);
  const areGone = lines(/is not connected: /);
  await Promise.all(relays.map(({ program }) => program.stop("SIGKILL")));
  await areGone;
  await pause(OUTAGE);
  const areBack = lines(/ is connected/);
  await Promise.all(relays.map(({ port }) => network.network.startRelay({ port })));
  await areBack;
  const { sent } = traffic;
  await until(() => traffic.sent > sent + 200, "some more requests");
  const counts = await traffic.stop();
  assertAllAnswered(`both relays away for ${OUTAGE} ms`, counts);
  assert.ok(counts.failed > 0 && counts.answered > 0);
  const reasons = Object.keys(counts.reasons);
  assert.ok(reasons.some((reason) => /^Cannot send: .*was not connected in time/.test(reason)));
});
