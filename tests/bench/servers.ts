import { createToken, Keypair, type Session } from "@rmb/protocol";
import { ALICE, BOB, Network, type TestTwin } from "../fixtures/network.ts";
import type { Program } from "../fixtures/program.ts";
import { envelopeOfSize } from "./envelopes.ts";
import { Pair } from "./pair.ts";
import { RawSocket } from "./raw_socket.ts";

/** The folder of the project. */
export const root = new URL("../../", import.meta.url).pathname;

/** What all twins name as their relay unless a benchmark says otherwise. */
const DOMAIN = "relay.test";

/** Servers that messages go through. */
export interface Servers {
  /** What they are, for a table's head. */
  readonly name: string;
  /** Their processes. */
  readonly pids: readonly number[];
  /** Connects senders, each with a receiver, for messages of a size in bytes. */
  connect(pairs: number, size: number): Promise<Pair[]>;
}

/** The twin that sends and the one that receives, each in as many sessions as needed. */
export const SENDER = ALICE;
export const RECEIVER = BOB;

const keypairs = new Map([SENDER, RECEIVER].map((twin) => [
  twin.id,
  Keypair.fromSecret(twin.secret, twin.type),
]));

/** The key pair of one of them. */
export function keypairOf({ id }: TestTwin): Keypair {
  return keypairs.get(id)!;
}

/** A new network of the two. */
export async function createNetwork(): Promise<Network> {
  const network = await Network.create([SENDER, RECEIVER]);
  await setRelays(network, () => DOMAIN);
  return network;
}

/** Says in the twins file which relay each of the two has. */
export async function setRelays(
  { twins: path }: Network,
  relay: (id: number) => string,
): Promise<void> {
  const { twins }: { twins: { id: number }[] } = JSON.parse(await Deno.readTextFile(path));
  const changed = twins.map((twin) => ({ ...twin, relay: relay(twin.id) }));
  await Deno.writeTextFile(path, JSON.stringify({ twins: changed }));
}

/** A relay in a process of its own. */
export class BenchRelay implements Servers {
  readonly name: string = "relay";
  readonly program: Program;
  /** Host and port, which is a domain of it too. */
  readonly address: string;

  private constructor(program: Program, address: string) {
    this.program = program;
    this.address = address;
  }

  /**
   * Starts a relay. `RMB_BENCH_PROFILE` names a folder for a CPU profile of it, which is written when it
   * is stopped with {@linkcode BenchRelay.stop}.
   *
   * @param store `--redis` with a URL; its own SQLite file unless given.
   */
  static async start(
    network: Network,
    store: readonly string[] = [],
    more: readonly string[] = [],
  ): Promise<BenchRelay> {
    const address = `127.0.0.1:${freePort()}`;
    const profile = Deno.env.get("RMB_BENCH_PROFILE");
    const program = await network.start({
      command: Deno.execPath(),
      args: [
        ...["run", "--no-prompt", "--quiet", "--config", `${root}deno.json`, "-P=relay"],
        ...profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`],
        ...[`${root}relay/mod.ts`, "--domain", DOMAIN, "--domain", address, "--listen", address],
        ...["--twins", network.twins],
        ...store.length > 0 ? store : ["--data", `${network.folder}/${address}.db`],
        ...more,
      ],
      ready: /listening on/,
    });
    return new BenchRelay(program, address);
  }

  /** Its process. */
  get pids(): readonly number[] {
    return [this.program.pid];
  }

  /** Connects a session. */
  async session(twin: TestTwin, connection: string): Promise<RawSocket> {
    return await RawSocket.connect(await this.url(twin, connection));
  }

  /** The URL that connects a session within the next minute. */
  async url(twin: TestTwin, connection: string): Promise<URL> {
    const session: Session = { twin: twin.id, connection };
    return new URL(`ws://${this.address}/?${await createToken(keypairOf(twin), session)}`);
  }

  /** Connects senders and receivers. */
  connect(pairs: number, size: number): Promise<Pair[]> {
    return connectAcross(this, this, pairs, size);
  }

  /** Ends it as its user would, and waits. */
  async stop(): Promise<void> {
    await this.program.stop();
  }
}

/**
 * Connects senders to one relay and receivers to another, or the same.
 *
 * @param signed Whether their messages are signed, as other relays want them.
 */
export async function connectAcross(
  from: BenchRelay,
  to: BenchRelay,
  pairs: number,
  size: number,
  signed = false,
): Promise<Pair[]> {
  const run = crypto.randomUUID().slice(0, 6);
  return await Promise.all(Array.from({ length: pairs }, async (_, i) => {
    const connection = `${run}-${i}`;
    const receiver = await to.session(RECEIVER, connection);
    const message = await envelopeOfSize(size, {
      source: { twin: SENDER.id, connection },
      destination: { twin: RECEIVER.id, connection },
    }, signed ? keypairOf(SENDER) : undefined);
    return new Pair(await from.session(SENDER, connection), receiver, message);
  }));
}

/** Starts a bare forwarder, a file beside this one. */
export async function startForwarder(
  network: Network,
  name: string,
  file: string,
): Promise<Servers & { readonly url: string }> {
  const program = await network.start({
    command: Deno.execPath(),
    args: [
      ...["run", "--no-prompt", "--quiet", "--config", `${root}deno.json`, "-P=relay"],
      `${root}tests/bench/${file}`,
    ],
    ready: /listening on/,
  });
  const url = (await program.line(/listening on (\S+)/))[1]!;
  const connect = (pairs: number, size: number) =>
    Promise.all(Array.from({ length: pairs }, async (_, i) => {
      const id = `${crypto.randomUUID().slice(0, 6)}-${i}`;
      const ends = { source: { twin: SENDER.id }, destination: { twin: RECEIVER.id } };
      const to = await RawSocket.connect(new URL(`/to/${id}`, url));
      const from = await RawSocket.connect(new URL(`/from/${id}`, url));
      return new Pair(from, to, await envelopeOfSize(size, ends));
    }));
  return { name, pids: [program.pid], url, connect };
}

/** Starts both bare forwarders. */
export async function startForwarders(network: Network) {
  return [
    await startForwarder(network, "Deno.serve", "forwarder.ts"),
    await startForwarder(network, "ws", "ws_forwarder.ts"),
  ] as const;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
