import process from "node:process";
import { envelopeOfSize } from "./envelopes.ts";
import { median, spread, Table, whole } from "./figures.ts";
import { type Load, measure, measureLatencies, measureRates, type Turn } from "./load.ts";
import {
  BenchRelay,
  connectAcross,
  createNetwork,
  keypairOf,
  RECEIVER,
  SENDER,
  type Servers,
  setRelays,
  startForwarder,
} from "./servers.ts";

const PAIRS = [1, 10, 100];
const SIZES = [200, 4096];
/** Messages a second that are sent to sample latencies. */
const LOW_RATE = 200;
/** Messages of a pair on their way at most: so that there is always a next one to post. */
const WINDOW = 32;

/** From relay to relay over HTTP, beside the same requests from fetch alone to servers that do nothing. */
export async function benchFederation(): Promise<void> {
  await using network = await createNetwork();
  const http = ["--federation-scheme", "http"];
  const from = await BenchRelay.start(network, [], http);
  const to = await BenchRelay.start(network, [], http);
  await setRelays(network, (id) => id === SENDER.id ? from.address : to.address);
  await new Promise((resolve) => setTimeout(resolve, 500)); // Until both have read it.
  const relays: Servers = {
    name: "relays",
    pids: [...from.pids, ...to.pids],
    connect: (pairs, size) => connectAcross(from, to, pairs, size, true),
  };
  const floors = [
    await startForwarder(network, "fetch to Deno.serve", "posted_deno.ts"),
    await startForwarder(network, "fetch to node:http", "posted_node.ts"),
  ];

  console.log(
    "Relay to relay: messages/s (and in a second of CPU time of both sides), and at " +
      `${LOW_RATE} messages/s the latency in ms, median / 99 % / longest\n`,
  );
  const table = new Table([
    ...["pairs", "size", ...floors.map(({ name }) => name), "relays", "relays / node:http (CPU)"],
    "latency",
  ]);
  for (const pairs of PAIRS) {
    for (const size of SIZES) {
      const load: Load = { pairs, size, turns: 2, seconds: 1.5, window: WINDOW };
      const body = await envelopeOfSize(size, {
        source: { twin: SENDER.id, connection: "sender" },
        destination: { twin: RECEIVER.id, connection: "receiver" },
      }, keypairOf(SENDER));
      const posted = floors.map((): Turn[] => []);
      for (let turn = 0; turn < load.turns; turn++) {
        for (const [i, { url, pids }] of floors.entries()) {
          posted[i]!.push(await post(url, pids, body, pairs, load.seconds));
        }
      }
      const [measured] = await measureRates([relays], load);
      const [latencies] = await measureLatencies([relays], load, LOW_RATE);
      const middles = [...posted, [measured!]].map((turns) => ({
        rate: median(turns.map(({ rate }) => rate)),
        ratePerCpu: median(turns.map(({ ratePerCpu }) => ratePerCpu)),
      }));
      const [, node, ours] = middles as [Middle, Middle, Middle];
      table.row([
        ...[pairs, `${size} B`],
        ...middles.map(({ rate, ratePerCpu }) => `${whole(rate)} (${whole(ratePerCpu)})`),
        `${(ours.rate / node.rate).toFixed(2)} (${(ours.ratePerCpu / node.ratePerCpu).toFixed(2)})`,
        spread(latencies!),
      ]);
    }
  }
  await Promise.all([from.stop(), to.stop()]);
}

type Middle = Pick<Turn, "rate" | "ratePerCpu">;

/** Posts a body again and again, as many at once as there are pairs. */
async function post(
  url: string,
  pids: readonly number[],
  body: Uint8Array,
  concurrency: number,
  seconds: number,
): Promise<Turn> {
  using client = Deno.createHttpClient({ http2: false, poolMaxIdlePerHost: concurrency });
  return await measure([...pids, process.pid], async () => {
    const end = performance.now() + seconds * 1000;
    let count = 0;
    await Promise.all(Array.from({ length: concurrency }, async () => {
      for (; performance.now() < end; count++) {
        const response = await fetch(url.replace("ws:", "http:"), {
          method: "POST",
          body: body as Uint8Array<ArrayBuffer>,
          client,
        });
        await response.body?.cancel();
        if (response.status !== 202) throw new Error(`Posting failed: ${response.status}`);
      }
    }));
    return count;
  });
}
