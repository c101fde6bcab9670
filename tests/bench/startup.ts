import { ALICE, BOB, Network, type TestRelay } from "../fixtures/network.ts";
import type { Program } from "../fixtures/program.ts";
import { mebibytes, median, Table } from "./figures.ts";
import { cpuSeconds, memory } from "./process.ts";
import { root } from "./servers.ts";

/** How often each program is started. */
const TURNS = 7;
/** How long it is left alone before its memory is read, in milliseconds. */
const SETTLE = 2000;

/** Time between blocks, in milliseconds. */
const BLOCK_TIME = 1000;

/** What starting a program takes, and what it needs then. */
interface Start {
  readonly seconds: number;
  readonly cpu: number;
  readonly memory: number;
}

/** How soon relay and gateway are ready, and their memory, with twins from a file and on a chain. */
export async function benchStartup(): Promise<void> {
  await using file = await Network.create([ALICE, BOB]);
  await using chain = await Network.create([ALICE, BOB], { blockTime: BLOCK_TIME });
  const redis = await file.startRedis();
  const relays = new Map<Network, TestRelay>();
  for (const network of [file, chain]) relays.set(network, await network.startRelay());
  const gateway = (network: Network) => () =>
    network.startGateway(ALICE, redis, relays.get(network)!);
  const subjects: readonly { name: string; start: () => Promise<Program>; starts: Start[] }[] = [
    { name: "Deno.serve", start: () => startForwarder(file), starts: [] },
    { name: "relay, --twins", start: () => startRelay(file), starts: [] },
    { name: "relay, --substrate", start: () => startRelay(chain), starts: [] },
    { name: "gateway, --twins", start: gateway(file), starts: [] },
    { name: "gateway, --substrate", start: gateway(chain), starts: [] },
  ];
  for (let turn = 0; turn < TURNS; turn++) {
    for (const { start, starts } of subjects) starts.push(await measure(start));
  }

  console.log("From the start of the process until it is ready, and its memory 2 s later\n");
  const table = new Table(["program", "s until ready", "longest", "CPU s until then", "MiB"]);
  for (const { name, starts } of subjects) {
    const seconds = starts.map(({ seconds }) => seconds);
    table.row([
      ...[name, median(seconds).toFixed(2), Math.max(...seconds).toFixed(2)],
      ...[median(starts.map(({ cpu }) => cpu)).toFixed(2)],
      mebibytes(median(starts.map(({ memory }) => memory))),
    ]);
  }
}

/** The floor: a program that listens, and has loaded nothing. */
async function startForwarder(network: Network): Promise<Program> {
  const config = ["--no-prompt", "--quiet", "--config", `${root}deno.json`, "-P=relay"];
  return await network.start({
    command: Deno.execPath(),
    args: ["run", ...config, `${root}tests/bench/forwarder.ts`],
    ready: /listening on/,
  });
}

async function startRelay(network: Network): Promise<Program> {
  return (await network.startRelay()).program;
}

async function measure(start: () => Promise<Program>): Promise<Start> {
  const begin = performance.now();
  await using program = await start();
  const seconds = (performance.now() - begin) / 1000;
  const cpu = await cpuSeconds([program.pid]);
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  return { seconds, cpu, memory: (await memory(program.pid)).resident };
}
