import { spread, Table, whole } from "./figures.ts";
import { type Load, measureLatencies, measureRates } from "./load.ts";
import { BenchRelay, connectAcross, createNetwork, type Servers } from "./servers.ts";
import { benchStoring } from "./storing.ts";

/** Pairs and bytes of messages, and how many messages a second are sent to sample latencies. */
const LOADS = [[1, 200, 200], [10, 200, 500], [100, 200, 1000], [10, 4096, 500]] as const;

/**
 * Through Redis, and across two relays that share it.
 *
 * @param url The Redis to use; unless given, a redis-server that keeps nothing on disk is started.
 */
export async function benchRedis(url?: string): Promise<void> {
  await using network = await createNetwork();
  const redis = url ?? (await network.startRedis()).url;
  await benchStoring(network, {
    name: "Redis",
    floorName: "@redis/client",
    args: ["--redis", redis],
    floor: () => ["redis_floor.ts", redis],
  });

  const first = await BenchRelay.start(network, ["--redis", redis]);
  const second = await BenchRelay.start(network, ["--redis", redis]);
  const across: Servers = {
    name: "across",
    pids: [...first.pids, ...second.pids],
    connect: (pairs, size) => connectAcross(first, second, pairs, size),
  };
  console.log(
    "\nAcross two relays that share a Redis: messages/s (and in a second of both relays' CPU time), " +
      "and at a low rate the latency in ms, median / 99 % / longest\n",
  );
  const table = new Table(["pairs", "size", "rate", "messages/s", "latency"]);
  for (const [pairs, size, rate] of LOADS) {
    const load: Load = { pairs, size, turns: 2, seconds: 1.5 };
    const [measured] = await measureRates([across], load);
    const [latencies] = await measureLatencies([across], load, rate);
    table.row([
      ...[pairs, `${size} B`, `${whole(measured!.rate)} (${whole(measured!.ratePerCpu)})`],
      ...[whole(rate), spread(latencies!)],
    ]);
  }
  await Promise.all([first.stop(), second.stop()]);
}
