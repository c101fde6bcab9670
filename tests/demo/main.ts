/**
 * The main job, for real: two gateways and a relay, each with what it needs in processes of its own,
 * carry a request and its answer, and then a request to a twin that is away.
 *
 *     deno task demo              with identities in a file
 *     deno task demo --chain      with identities on a chain, published by transactions
 */
import {
  ALICE,
  BOB,
  Network,
  type TestRedis,
  type TestRelay,
  type TestTwin,
} from "../fixtures/network.ts";
import type { Program } from "../fixtures/program.ts";

const start = performance.now();

function say(who: string, what: string): void {
  const time = ((performance.now() - start) / 1000).toFixed(2).padStart(6);
  console.log(`${time} s  ${who.padEnd(14)} ${what}`);
}

function step(title: string): void {
  console.log(`\n${title}`);
}

/** Prints the lines of a program's log as they come: its time, level and module are left out. */
function follow(who: string) {
  return (line: string) => {
    const logged = line.match(/^\S+ \[(?:INF|DBG|TRC|WRN|ERR)\] [^:]+: (.*)$/);
    if (logged) say(who, logged[1]!);
  };
}

/** Starts a program of this folder, as one that only knows Redis. */
function startLocal(
  network: Network,
  who: string,
  file: string,
  args: string[],
  ready: RegExp,
): Promise<Program> {
  return network.start({
    command: Deno.execPath(),
    args: ["run", "--quiet", "--allow-net", new URL(file, import.meta.url).pathname, ...args],
    ready,
    onLine: (line) => say(who, line),
  });
}

async function call(network: Network, redis: TestRedis, ...numbers: number[]): Promise<Program> {
  const args = [redis.url, `${BOB.id}`, ...numbers.map(String)];
  return await startLocal(network, "caller", "caller.ts", args, /request/);
}

/** Starts a twin's gateway, and waits until others can know its relay and encryption key. */
async function startGateway(
  network: Network,
  twin: TestTwin,
  redis: TestRedis,
  relay: TestRelay,
): Promise<Program> {
  const options = { onLine: follow(`gateway ${twin.id}`) };
  const gateway = await network.startGateway(twin, redis, relay, options);
  await gateway.line(/now publishes/);
  return gateway;
}

async function demo(network: Network): Promise<void> {
  step(`Start: two Redis, a relay, a gateway for twin ${ALICE.id} and one for twin ${BOB.id}`);
  const aliceRedis = await network.startRedis();
  const bobRedis = await network.startRedis();
  say("redis", `${aliceRedis.url} for twin ${ALICE.id}, ${bobRedis.url} for twin ${BOB.id}`);
  const relay = await network.startRelay({ args: ["-dd"], onLine: follow("relay") });
  const [, bobGateway] = await Promise.all([
    startGateway(network, ALICE, aliceRedis, relay),
    startGateway(network, BOB, bobRedis, relay),
  ]);
  await startLocal(network, "service", "service.ts", [bobRedis.url], /waiting/);

  step("A request crosses: readable for caller and service, unreadable for the relay");
  const first = await call(network, aliceRedis, 19, 23);
  const firstOk = (await first.ended).success;

  step(`The gateway of twin ${BOB.id} goes away; a request to it is queued by the relay`);
  await bobGateway.stop();
  const second = await call(network, aliceRedis, 1, 2, 3);
  await relay.program.line(/waits in the mailbox/);

  step("It comes back; the request is delivered and answered");
  await network.startGateway(BOB, bobRedis, relay, { onLine: follow("gateway 9") });
  const secondOk = (await second.ended).success;
  if (!firstOk || !secondOk) throw new Error("a request was not answered");

  step("Done: everything is stopped and removed");
}

const network = await Network.create(
  [ALICE, BOB],
  Deno.args.includes("--chain") ? { blockTime: 1000, onLine: follow("chain") } : undefined,
);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await network[Symbol.asyncDispose]();
    Deno.exit(1);
  });
}
try {
  await demo(network);
} finally {
  await network[Symbol.asyncDispose]();
}
Deno.exit(0);
