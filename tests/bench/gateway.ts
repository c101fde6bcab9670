import { challenge, decodeEnvelope, EncryptionKeypair, verifySignature } from "@rmb/protocol";
import { GatewayNetwork, keypairOf } from "../fixtures/gateway_network.ts";
import { base64Of, connectRedis, type RedisClient } from "../fixtures/local_program.ts";
import { ALICE, BOB } from "../fixtures/network.ts";
import { envelopeOfSize } from "./envelopes.ts";
import { spread, Table, whole } from "./figures.ts";
import { cpuSeconds } from "./process.ts";
import { root } from "./servers.ts";

/** Requests in flight, and bytes of their payloads. */
const LOADS = [[1, 100], [16, 100], [256, 100], [1, 65536], [16, 65536], [256, 65536]] as const;
/** Seconds of warming up, and of measuring. */
const WARM_UP = 1;
const SECONDS = 5;

/** List that answers come back on. */
const REPLIES = "replies.bench";

/** What a load measured. */
interface Measured {
  /** Round trips a second. */
  readonly rate: number;
  /** Milliseconds from pushing a request to having its answer. */
  readonly latencies: readonly number[];
  /** CPU seconds of one gateway, the mean of both, for one round trip. */
  readonly cpu: number;
}

/**
 * Round trips of local programs through a gateway, a relay, another gateway, and back, beside what the
 * cryptography of one gateway's part of it costs when it is all that is done.
 */
export async function benchGateway(): Promise<void> {
  await using network = await GatewayNetwork.start();
  const { alice, bob } = network;
  await network.network.start({
    command: Deno.execPath(),
    args: [
      "run",
      "--quiet",
      "-A",
      "--config",
      `${root}deno.json`,
      `${root}tests/bench/echo_service.ts`,
      bob.redis.url,
    ],
    ready: /echoing/,
  });
  const gateways = [alice.program.pid, bob.program.pid];
  const pushing = await connectRedis(alice.redis.url);
  const popping = await connectRedis(alice.redis.url);

  console.log(
    "Local program to local program and back, through two gateways and a relay: round trips/s; time of " +
      "one in ms, median / 99 % / longest; messages that a gateway handles in a second of its CPU time; " +
      "what its cryptography alone would allow, and which share of its CPU time that is\n",
  );
  const table = new Table([
    ...["in flight", "payload", "round trips/s", "time", "messages / CPU s"],
    ...["cryptography alone", "share"],
  ]);
  for (const [inFlight, size] of LOADS) {
    const load = (seconds: number) =>
      roundTrips(pushing, popping, gateways, inFlight, size, seconds);
    await load(WARM_UP);
    const { rate, latencies, cpu } = await load(SECONDS);
    const crypto = await cryptographyOf(size);
    table.row([
      ...[inFlight, `${size} B`, whole(rate), spread(latencies), whole(2 / cpu)],
      ...[whole(2 / crypto), `${Math.round(crypto / cpu * 100)} %`],
    ]);
  }
  for (const client of [pushing, popping]) client.destroy();
}

/** Keeps a number of requests in flight for some seconds, and waits for the last answers. */
async function roundTrips(
  pushing: RedisClient,
  popping: RedisClient,
  gateways: readonly number[],
  inFlight: number,
  size: number,
  seconds: number,
): Promise<Measured> {
  const dat = base64Of("x".repeat(size));
  const sentAt = new Map<string, number>();
  const latencies: number[] = [];
  let sent = 0;
  const send = () => {
    const ref = `${sent++}`;
    sentAt.set(ref, performance.now());
    const request = {
      ver: 1,
      ref,
      cmd: "bench.echo",
      exp: 60,
      dat,
      dst: [9],
      ret: REPLIES,
      now: 0,
    };
    pushing.lPush("msgbus.system.local", JSON.stringify({ ...request, shm: "application/json" }));
  };
  const cpuBefore = await cpuSeconds(gateways);
  const start = performance.now();
  const end = start + seconds * 1000;
  for (let i = 0; i < inFlight; i++) send();
  while (sentAt.size > 0) {
    const popped = await popping.brPop(REPLIES, 20);
    if (popped === null) {
      throw new Error(`${sentAt.size} of ${sent} requests got no answer in 20 s`);
    }
    const more = await popping.rPopCount(REPLIES, 100);
    for (const text of [popped.element, ...more ?? []]) {
      const { ref, err } = JSON.parse(text);
      if (err !== null) throw new Error(`A request was answered with "${err.message}"`);
      const now = performance.now();
      latencies.push(now - sentAt.get(ref)!);
      sentAt.delete(ref);
      if (now < end) send();
    }
  }
  const rate = latencies.length / (performance.now() - start) * 1000;
  const cpu = (await cpuSeconds(gateways) - cpuBefore) / gateways.length / latencies.length;
  return { rate, latencies, cpu };
}

/**
 * Seconds of CPU time for what one gateway does in one round trip: encrypt and sign a message, verify
 * and decrypt another; the mean of both twins' kinds of keys.
 */
export async function cryptographyOf(size: number): Promise<number> {
  const twins = [ALICE, BOB];
  const pairs = await Promise.all(twins.map(async (twin, i) => {
    const other = twins[1 - i]!;
    const ends = { source: { twin: twin.id }, destination: { twin: other.id } };
    const keypair = keypairOf(twin);
    const digest = challenge(decodeEnvelope(await envelopeOfSize(size + 250, ends, keypair)));
    return {
      keypair,
      digest,
      signature: await keypair.sign(digest),
      encryption: EncryptionKeypair.fromSecret(twin.secret)!,
      pk: EncryptionKeypair.fromSecret(other.secret)!.publicKey,
    };
  }));
  const plain = new Uint8Array(size);
  const round = async () => {
    for (const [i, { keypair, digest, encryption, pk }] of pairs.entries()) {
      const other = pairs[1 - i]!;
      await encryption.encrypt(plain, pk);
      await keypair.sign(digest);
      await verifySignature(other.keypair.publicKey, other.digest, other.signature);
      await encryption.decrypt(ciphers[i]!, pk);
    }
  };
  const ciphers = await Promise.all(
    pairs.map((pair, i) => pairs[1 - i]!.encryption.encrypt(plain, pair.encryption.publicKey)),
  );
  for (let i = 0; i < 100; i++) await round();
  const rounds = 500;
  const before = await cpuSeconds([Deno.pid]);
  for (let i = 0; i < rounds; i++) await round();
  return (await cpuSeconds([Deno.pid]) - before) / rounds / pairs.length;
}
