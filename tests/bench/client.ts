import { Commands } from "@rmb/protocol";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import { BotNetwork } from "../fixtures/bot_network.ts";
import { ALICE, BOB } from "../fixtures/network.ts";
import { spread, Table, whole } from "./figures.ts";
import { cryptographyOf } from "./gateway.ts";
import { cpuSeconds } from "./process.ts";

/** Calls in flight, and bytes of their payloads. */
const LOADS = [[1, 100], [16, 100], [256, 100], [16, 65536]] as const;
/** Seconds of warming up, and of measuring. */
const WARM_UP = 1;
const SECONDS = 5;

/** Calls from bot to bot and back through a relay, both bots in one process, beside their cryptography. */
export async function benchClient(): Promise<void> {
  await using network = await BotNetwork.start();
  const commands = new Commands().handleBytes("echo", (payload) => payload);
  const openSocket = openWsSocket;
  await network.connect(BOB, { commands, session: "echo", openSocket });
  const alice = await network.connect(ALICE, { openSocket });

  /** Keeps a number of calls in flight for some seconds. */
  async function load(inFlight: number, payload: Uint8Array, seconds: number): Promise<number[]> {
    const latencies: number[] = [];
    const end = performance.now() + seconds * 1000;
    await Promise.all(Array.from({ length: inFlight }, async () => {
      for (let start; (start = performance.now()) < end;) {
        await alice.callBytes(BOB.id, "echo", payload, { session: "echo" });
        latencies.push(performance.now() - start);
      }
    }));
    return latencies;
  }

  console.log(
    "Bot to bot and back, both in one process, through a relay: round trips/s; time of one in ms, median / " +
      "99 % / longest; messages that a bot handles in a second of CPU time; what its cryptography alone " +
      "would allow, and which share of its CPU time that is\n",
  );
  const table = new Table([
    ...["in flight", "payload", "round trips/s", "time", "messages / CPU s"],
    ...["cryptography alone", "share"],
  ]);
  for (const [inFlight, size] of LOADS) {
    const payload = new Uint8Array(size);
    await load(inFlight, payload, WARM_UP);
    const before = await cpuSeconds([Deno.pid]);
    const latencies = await load(inFlight, payload, SECONDS);
    const cpu = (await cpuSeconds([Deno.pid]) - before) / 2 / latencies.length;
    const crypto = await cryptographyOf(size);
    table.row([
      ...[inFlight, `${size} B`, whole(latencies.length / SECONDS), spread(latencies)],
      ...[whole(2 / cpu), whole(2 / crypto), `${Math.round(crypto / cpu * 100)} %`],
    ]);
  }
}
