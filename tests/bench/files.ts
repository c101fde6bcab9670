import { FileNetwork, sha256OfFile } from "../fixtures/file_network.ts";
import { textOf } from "../fixtures/local_program.ts";
import { mebibytes, Table } from "./figures.ts";
import { measureRates } from "./load.ts";
import { cpuSeconds, memory } from "./process.ts";
import { BenchRelay, createNetwork, startForwarders } from "./servers.ts";

const SIZE = 1024 ** 3;
const CHUNK = 512 * 1024;
/** Chunks on their way, as gateways have them. */
const WINDOW = 8;

/** A file of 1 GiB between two gateways, beside the same chunks on bare sockets and a copy on the disk. */
export async function benchFiles(): Promise<void> {
  const table = new Table(["1 GiB", "MB/s", "cores: sender, relay, receiver"]);
  await using network = await createNetwork();
  const relay = await BenchRelay.start(network);
  const servers = [...await startForwarders(network), relay];
  const load = { pairs: 1, size: CHUNK, turns: 3, seconds: 2, window: WINDOW };
  for (const { servers: { name }, rate, busy } of await measureRates(servers, load)) {
    table.row([`chunks through ${name}`, megabytes(rate * CHUNK), `-, ${busy.toFixed(2)}, -`]);
  }
  await relay.stop();

  await using files = await FileNetwork.start();
  const { path, sha256 } = await files.makeFile("large", SIZE);
  table.row(["cp and sync", megabytes(SIZE / await secondsToCopy(path)), ""]);

  const { alice, bob, network: { relay: { program } } } = files;
  const pids = [alice.program.pid, program.pid, bob.program.pid];
  const before = await Promise.all(pids.map(memory));
  const cpu = await Promise.all(pids.map((pid) => cpuSeconds([pid])));
  const start = performance.now();
  const { last } = await files.answers(await files.upload({ path, cmd: "files.large" }));
  const seconds = (performance.now() - start) / 1000;
  const cores = await Promise.all(
    pids.map(async (pid, i) => ((await cpuSeconds([pid]) - cpu[i]!) / seconds).toFixed(2)),
  );
  const received = JSON.parse(textOf((await bob.local.pop("msgbus.files.large")).dat));
  if (last?.sha256 !== sha256 || await sha256OfFile(received.path) !== sha256) {
    throw new Error("what arrived is not what was sent");
  }
  table.row(["file.upload", megabytes(SIZE / seconds), cores.join(", ")]);

  console.log("\nMemory in MiB: before, at most\n");
  const memories = new Table(["", "sender", "relay", "receiver"]);
  const after = await Promise.all(pids.map(memory));
  memories.row(["before", ...before.map(({ resident }) => mebibytes(resident))]);
  memories.row(["at most", ...after.map(({ peak }) => mebibytes(peak))]);
}

async function secondsToCopy(path: string): Promise<number> {
  const start = performance.now();
  await Deno.copyFile(path, `${path}.copy`);
  {
    using copy = await Deno.open(`${path}.copy`, { write: true });
    await copy.sync();
  }
  const seconds = (performance.now() - start) / 1000;
  await Deno.remove(`${path}.copy`);
  return seconds;
}

/** Bytes a second as millions of them. */
function megabytes(rate: number): string {
  return (rate / 1e6).toFixed(0);
}
