/**
 * Measures the relay against its floor, in turns so that both have the same machine, and what the steps
 * of a message cost. Linux only: CPU time is read from /proc.
 *
 *     deno task bench
 */
import { ALICE, BOB, Network } from "../fixtures/network.ts";
import { measureCryptography } from "./cryptography.ts";
import {
  envelopeOfSize,
  type Forwarding,
  measureForwarding,
  startFloor,
  startRelay,
} from "./forwarding.ts";

/** Turns of each server, and seconds of each turn. */
const TURNS = 5;
const SECONDS = 2;

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const round = (value: number) => Math.round(value).toLocaleString("en");

async function benchForwarding(): Promise<void> {
  await using network = await Network.create([ALICE, BOB]);
  const floor = await startFloor(network);
  const relay = await startRelay(network);
  console.log("One sender to one receiver, messages/s (and a second of the server's CPU time)\n");
  console.log("| size | bare forwarder | relay | ratio | ratio by CPU |");
  console.log("| ---: | ---: | ---: | ---: | ---: |");
  for (const size of [200, 4096, 65536]) {
    const message = envelopeOfSize(size);
    const turns: { floor: Forwarding; relay: Forwarding }[] = [];
    await measureForwarding(floor, message, SECONDS / 2);
    await measureForwarding(relay, message, SECONDS / 2);
    for (let turn = 0; turn < TURNS; turn++) {
      turns.push({
        floor: await measureForwarding(floor, message, SECONDS),
        relay: await measureForwarding(relay, message, SECONDS),
      });
    }
    const cell = (server: "floor" | "relay") =>
      `${round(median(turns.map((turn) => turn[server].rate)))} ` +
      `(${round(median(turns.map((turn) => turn[server].ratePerCpu)))})`;
    const ratio = (figure: keyof Forwarding) =>
      median(turns.map(({ floor, relay }) => relay[figure] / floor[figure])).toFixed(2);
    console.log(
      `| ${size} B | ${cell("floor")} | ${cell("relay")} | ${ratio("rate")} | ${
        ratio("ratePerCpu")
      } |`,
    );
  }
  for (const { from, to } of [floor, relay]) {
    from[Symbol.dispose]();
    to[Symbol.dispose]();
  }
}

async function benchCryptography(): Promise<void> {
  const results = await measureCryptography();
  const unit = results[0]![1];
  console.log(`\nSteps of a message of 300 B, µs (and as many times "${results[0]![0]}")\n`);
  console.log("| step | µs | times |");
  console.log("| --- | ---: | ---: |");
  for (const [name, microseconds] of results) {
    console.log(`| ${name} | ${microseconds.toFixed(1)} | ${(microseconds / unit).toFixed(1)} |`);
  }
}

await benchForwarding();
await benchCryptography();
Deno.exit(0);
