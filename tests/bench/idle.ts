import { mebibytes, Table, whole } from "./figures.ts";
import { cpuSeconds, memory, openFiles } from "./process.ts";
import { BenchRelay, createNetwork, RECEIVER, root, startForwarders } from "./servers.ts";

/** How many sessions, and files that a process may have open beside them. */
const SESSIONS = 10_000;
const OTHER_FILES = 200;
/** How long they are watched, in seconds: two pings of the relay's, and then some. */
const WATCHED = 45;
/** Seconds between envelope pings: what clients in use do. */
const PING_INTERVAL = 20;

/** What idle sessions take, on the relay and on the bare forwarders; all at once. */
export async function benchIdle(): Promise<void> {
  const limit = await openFiles();
  const count = Math.min(SESSIONS, limit - OTHER_FILES);
  if (count < SESSIONS) {
    console.log(`Only ${count} sessions: ulimit -n is ${limit}. Raise it for ${SESSIONS}.\n`);
  }
  await using network = await createNetwork();
  const [floor, ws] = await startForwarders(network);
  const relays = [await BenchRelay.start(network), await BenchRelay.start(network)] as const;
  const bare = (url: string) => Array.from({ length: count }, (_, i) => `${url}/to/${i}`);
  const sessions = (relay: BenchRelay) => () =>
    Promise.all(Array.from({ length: count }, async (_, i) => {
      const url = await relay.url(RECEIVER, `${i}`);
      return `${url}#${encodeURIComponent(`${RECEIVER.id}:${i}`)}`;
    }));
  const subjects = [
    { name: "Deno.serve", pid: floor.pids[0]!, urls: () => bare(floor.url), args: [] },
    { name: "ws", pid: ws.pids[0]!, urls: () => bare(ws.url), args: [] },
    { name: "relay", pid: relays[0].program.pid, urls: sessions(relays[0]), args: [] },
    {
      name: "relay, clients ping",
      pid: relays[1].program.pid,
      urls: sessions(relays[1]),
      args: ["--pings", `${PING_INTERVAL}`],
    },
  ];

  const connected: { seconds: number; cpu: number; memory: number; clients: Clients }[] = [];
  for (const { pid, urls, args } of subjects) {
    const before = await memory(pid);
    const cpu = await cpuSeconds([pid]);
    const clients = await Clients.start(await urls(), args);
    connected.push({
      seconds: clients.seconds,
      cpu: await cpuSeconds([pid]) - cpu,
      memory: (await memory(pid)).resident - before.resident,
      clients,
    });
  }
  const pids = subjects.map(({ pid }) => pid);
  const before = await Promise.all(pids.map((pid) => cpuSeconds([pid])));
  await new Promise((resolve) => setTimeout(resolve, WATCHED * 1000));
  const after = await Promise.all(pids.map((pid) => cpuSeconds([pid])));

  console.log(`${whole(count)} idle sessions\n`);
  const table = new Table([
    ...["server", "s to connect all", "ms of CPU to connect one", "KiB of memory each"],
    ...["CPU s in a minute", "sessions lost", "MiB in all"],
  ]);
  for (const [i, { name, pid }] of subjects.entries()) {
    const { seconds, cpu, memory: grown, clients } = connected[i]!;
    table.row([
      ...[name, seconds.toFixed(1), (1000 * cpu / count).toFixed(2)],
      ...[(grown / count / 1024).toFixed(1), ((after[i]! - before[i]!) / WATCHED * 60).toFixed(2)],
      ...[clients.lost, mebibytes((await memory(pid)).resident)],
    ]);
    await clients.stop();
  }
}

/** Idle clients in a process of their own. */
class Clients {
  /** Time that connecting them took. */
  readonly seconds: number;
  /** How many were connected and are not any more. */
  lost = 0;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  private constructor(child: Deno.ChildProcess, lines: AsyncIterator<string>, seconds: number) {
    this.#child = child;
    this.seconds = seconds;
    this.#reading = (async () => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) return;
        if (/lost/.test(value)) this.lost++;
      }
    })();
  }

  /** Connects to URLs. */
  static async start(urls: readonly string[], args: readonly string[]): Promise<Clients> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "-A", `${root}tests/bench/idle_clients.ts`, ...args],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(urls.join("\n")));
    await writer.close();
    const lines = linesOf(child.stdout);
    const { value, done } = await lines.next();
    const seconds = Number(/connected (\S+)/.exec(value ?? "")?.[1]) / 1000;
    if (done || isNaN(seconds)) throw new Error(`Clients can't connect: ${value}`);
    return new Clients(child, lines, seconds);
  }

  /** Ends them. */
  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#reading;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
