import process from "node:process";
import { median } from "./figures.ts";
import { type Pair, sample, saturate } from "./pair.ts";
import { cpuSeconds } from "./process.ts";
import type { Servers } from "./servers.ts";

/** What one turn of a server under load measured. */
export interface Turn {
  /** Messages a second. */
  readonly rate: number;
  /** Messages a second of the servers' CPU time. */
  readonly ratePerCpu: number;
  /** Cores that the servers used, and that the load took. */
  readonly busy: number;
  readonly load: number;
}

/** What several turns measured: medians. */
export interface Measured extends Turn {
  readonly servers: Servers;
  /** Rates of all turns. */
  readonly turns: readonly Turn[];
}

/** How a server is loaded. */
export interface Load {
  readonly pairs: number;
  readonly size: number;
  readonly turns: number;
  /** Seconds of a turn. */
  readonly seconds: number;
  /** Most messages of a pair that are on their way. Default: so many that the server is never idle. */
  readonly window?: number;
}

/** Seconds of warming up before the first turn. */
const WARM_UP = 0.3;

/** Has servers carry as many messages as they can, in turns. Each turn has connections of its own. */
export async function measureRates(all: readonly Servers[], load: Load): Promise<Measured[]> {
  const turns = all.map((): Turn[] => []);
  for (const servers of all) await turnOf(servers, { ...load, seconds: WARM_UP });
  for (let turn = 0; turn < load.turns; turn++) {
    for (const [i, servers] of all.entries()) turns[i]!.push(await turnOf(servers, load));
  }
  return all.map((servers, i) => {
    const middle = (figure: keyof Turn) => median(turns[i]!.map((turn) => turn[figure]));
    return {
      servers,
      turns: turns[i]!,
      rate: middle("rate"),
      ratePerCpu: middle("ratePerCpu"),
      busy: middle("busy"),
      load: middle("load"),
    };
  });
}

/** The median over turns of how much of one another measured. */
export function ratio(a: Measured, b: Measured, figure: "rate" | "ratePerCpu"): string {
  return median(a.turns.map((turn, i) => turn[figure] / b.turns[i]![figure])).toFixed(2);
}

/** Samples the latency of servers at a low rate, in turns. */
export async function measureLatencies(
  all: readonly Servers[],
  { pairs: count, size, turns, seconds }: Load,
  rate: number,
): Promise<number[][]> {
  const latencies = all.map((): number[] => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, servers] of all.entries()) {
      const pairs = await servers.connect(count, size);
      await sample(pairs, WARM_UP / 2, rate);
      for (const latency of await sample(pairs, seconds, rate)) latencies[i]!.push(latency);
      close(pairs);
    }
  }
  return latencies;
}

async function turnOf(
  servers: Servers,
  { pairs: count, size, seconds, window }: Load,
): Promise<Turn> {
  const pairs = await servers.connect(count, size);
  const turn = await measure(servers.pids, async () => {
    await saturate(pairs, seconds, window);
    return pairs.reduce((received, pair) => received + pair.received, 0);
  });
  close(pairs);
  return turn;
}

/** Measures some work on processes by how many messages it says it was. */
export async function measure(
  pids: readonly number[],
  work: () => Promise<number>,
): Promise<Turn> {
  const [cpu, load, start] = [await cpuSeconds(pids), ownCpu(), performance.now()];
  const messages = await work();
  const seconds = (performance.now() - start) / 1000;
  const [cpuUsed, loadUsed] = [await cpuSeconds(pids) - cpu, ownCpu() - load];
  return {
    rate: messages / seconds,
    ratePerCpu: messages / cpuUsed,
    busy: cpuUsed / seconds,
    load: loadUsed / seconds,
  };
}

function close(pairs: readonly Pair[]): void {
  for (const pair of pairs) pair[Symbol.dispose]();
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
