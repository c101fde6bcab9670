import { measureRates } from "./load.ts";
import { BenchRelay, createNetwork, startForwarders } from "./servers.ts";
await using network = await createNetwork();
const [_f, ws] = await startForwarders(network);
const relay = await BenchRelay.start(network);
for (const s of [ws, relay]) {
  await measureRates([s!], { pairs: 1, size: 200, turns: 1, seconds: 1 });
  const st = new Deno.Command("timeout", {
    args: [
      "2",
      "strace",
      "-f",
      "-tt",
      "-e",
      "trace=writev,read,readv,recvfrom,recvmsg,write,sendto",
      "-p",
      String(s!.pids[0]),
      "-o",
      `/tmp/st-${s!.name}.txt`,
    ],
  }).spawn();
  await new Promise((r) => setTimeout(r, 300));
  const m = await measureRates([s!], { pairs: 1, size: 200, turns: 1, seconds: 2 });
  console.log(s!.name, Math.round(m[0]!.rate * 2));
  await st.status;
}
Deno.exit(0);
