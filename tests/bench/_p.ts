import { measureRates } from "./load.ts";
import { BenchRelay, createNetwork, startForwarders } from "./servers.ts";
await using network = await createNetwork();
const prof = Deno.env.get("RMB_BENCH_PROFILE");
const [floor, ws] = prof ? [] : await startForwarders(network);
const relay = await BenchRelay.start(network);
const all = prof ? [relay] : [floor!, ws!, relay];
for (const [pairs, size] of JSON.parse(Deno.args[0]!)) {
  const m = await measureRates(all, { pairs, size, turns: prof ? 2 : 5, seconds: prof ? 3 : 1 });
  console.log(
    pairs,
    size,
    m.map((x) => `${x.servers.name} ${Math.round(x.rate)} (${Math.round(x.ratePerCpu)})`).join(
      "  ",
    ),
    prof
      ? ""
      : (m[2]!.rate / m[0]!.rate).toFixed(2) + " ws " + (m[2]!.rate / m[1]!.rate).toFixed(2) +
        " cpu " + (m[2]!.ratePerCpu / m[0]!.ratePerCpu).toFixed(2),
  );
}
await relay.stop();
Deno.exit(0);
