import { spread, Table, whole } from "./figures.ts";
import { measureLatencies, measureRates, ratio } from "./load.ts";
import { BenchRelay, createNetwork, startForwarders } from "./servers.ts";

const PAIRS = [1, 10, 100];
/** Sizes in bytes, and how many messages of them a second are sent to sample latencies. */
const SIZES = [[200, 2000], [4096, 2000], [65536, 500]] as const;

/** From socket to socket, beside the bare forwarders. */
export async function benchForwarding(): Promise<void> {
  await using network = await createNetwork();
  const [floor, ws] = await startForwarders(network);
  const relay = await BenchRelay.start(network);
  const all = [floor, ws, relay];

  console.log("Connected to connected: messages/s (and in a second of the server's CPU time)\n");
  const rates = new Table([
    ...["pairs", "size", ...all.map(({ name }) => name)],
    ...["relay / Deno.serve (CPU)", "relay / ws (CPU)", "cores: relay, load"],
  ]);
  for (const pairs of PAIRS) {
    for (const [size] of SIZES) {
      const measured = await measureRates(all, { pairs, size, turns: 3, seconds: 1 });
      const [ofFloor, ofWs, ofRelay] = measured as [typeof measured[0], ...typeof measured];
      const to = (other: typeof ofFloor) =>
        `${ratio(ofRelay!, other, "rate")} (${ratio(ofRelay!, other, "ratePerCpu")})`;
      rates.row([
        ...[pairs, `${size} B`],
        ...measured.map(({ rate, ratePerCpu }) => `${whole(rate)} (${whole(ratePerCpu)})`),
        ...[to(ofFloor), to(ofWs!), `${ofRelay!.busy.toFixed(2)}, ${ofRelay!.load.toFixed(2)}`],
      ]);
    }
  }

  console.log("\nThe same at a low rate: latency in ms, median / 99 % / longest\n");
  const latencies = new Table(["pairs", "size", "messages/s", ...all.map(({ name }) => name)]);
  for (const pairs of PAIRS) {
    for (const [size, rate] of SIZES) {
      const sampled = await measureLatencies(all, { pairs, size, turns: 1, seconds: 1.2 }, rate);
      latencies.row([pairs, `${size} B`, whole(rate), ...sampled.map(spread)]);
    }
  }
  await relay.stop();
}
