import { createEnvelope, createToken, encodeEnvelope, Keypair, stampEnvelope } from "@rmb/protocol";
import { ALICE, BOB, type Network, type TestTwin } from "../fixtures/network.ts";
import type { Program } from "../fixtures/program.ts";
import { RawSocket } from "./raw_socket.ts";

/** Messages, and bytes of them, on their way at most; and messages written at once. */
const WINDOW = 1024;
const WINDOW_BYTES = 2 * 1024 * 1024;
const BATCH = 64;

/** A pong that nobody asked for: a sign of life of a receiver that says nothing else. */
const PONG = Uint8Array.of(0x8a, 0x80, 0, 0, 0, 0);

/** What one run of forwarding measured. */
export interface Forwarding {
  /** Messages a second. */
  readonly rate: number;
  /** Messages a second of the server's CPU time. */
  readonly ratePerCpu: number;
}

/** A server that forwards from one socket to another. */
export interface Forwarder {
  readonly program: Program;
  readonly from: RawSocket;
  readonly to: RawSocket;
}

/** Starts the bare forwarder. */
export async function startFloor(network: Network): Promise<Forwarder> {
  const file = new URL("forwarder.ts", import.meta.url).pathname;
  const program = await network.start({
    command: Deno.execPath(),
    args: ["run", "--quiet", "--allow-net", file],
    ready: /listening on/,
  });
  const [, url] = await program.line(/listening on (\S+)/);
  const connect = (path: string) => RawSocket.connect(new URL(path, url));
  return { program, to: await connect("/b"), from: await connect("/a") };
}

/** Starts `rmb-relay` with two sessions. */
export async function startRelay(network: Network): Promise<Forwarder> {
  const { program, url, http, domain } = await network.startRelay();
  await publishRelay(network, domain);
  const connect = async ({ secret, type, id }: TestTwin) =>
    RawSocket.connect(
      new URL(`?${await createToken(Keypair.fromSecret(secret, type), { twin: id })}`, url),
    );
  const [to, from] = [await connect(BOB), await connect(ALICE)];
  while (
    !/relay_worker_connections\{worker="0"\} 2/.test(await (await fetch(`${http}/metrics`)).text())
  ) {
    // Until both sessions are there.
  }
  return { program, from, to };
}

async function publishRelay(network: Network, domain: string): Promise<void> {
  const file = JSON.parse(await Deno.readTextFile(network.twins));
  for (const twin of file.twins) twin.relay = domain;
  await Deno.writeTextFile(network.twins, JSON.stringify(file));
}

/** An envelope from ALICE to BOB of a size in bytes. */
export function envelopeOfSize(size: number): Uint8Array {
  const make = (payload: number) => {
    const envelope = createEnvelope({
      uid: "8fbe1a5d-173f-4c38-b41c-fc3beebb65e5",
      expiration: 3600n,
      source: { twin: ALICE.id },
      destination: { twin: BOB.id },
      message: { case: "request", value: { command: "calculator.add" } },
      schema: "application/json",
      signature: new Uint8Array(65),
      payload: { case: "cipher", value: new Uint8Array(payload) },
    });
    stampEnvelope(envelope);
    return encodeEnvelope(envelope);
  };
  const overhead = make(size).length - size;
  return make(size - overhead);
}

/** Sends messages through a server for some time, as fast as they arrive at the other end. */
export async function measureForwarding(
  { program, from, to }: Forwarder,
  message: Uint8Array,
  seconds: number,
): Promise<Forwarding> {
  const frame = RawSocket.frame(message);
  const window = Math.min(WINDOW, Math.floor(WINDOW_BYTES / message.length));
  const batchSize = Math.min(BATCH, window >> 1);
  const batch = new Uint8Array(frame.length * batchSize);
  for (let i = 0; i < batchSize; i++) batch.set(frame, i * frame.length);
  const frameReceived = RawSocket.received(message.length);

  await to.write(PONG);
  const cpu = await cpuSeconds(program.pid);
  const start = performance.now();
  const end = start + seconds * 1000;
  let sent = 0;
  let bytes = 0;
  let wake = () => {};
  const sending = (async () => {
    while (performance.now() < end) {
      if (sent - bytes / frameReceived > window - batchSize) {
        await new Promise<void>((resolve) => wake = resolve);
      } else {
        sent += batchSize;
        await from.write(batch);
      }
    }
  })();
  while (performance.now() < end || bytes < sent * frameReceived) {
    bytes += await to.read();
    wake();
  }
  await sending;
  const received = bytes / frameReceived;
  const elapsed = (performance.now() - start) / 1000;
  return {
    rate: received / elapsed,
    ratePerCpu: received / (await cpuSeconds(program.pid) - cpu),
  };
}

/** CPU time of a process so far, user and system, from Linux's /proc (100 ticks a second). */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
