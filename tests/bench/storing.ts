import { decodeEnvelope } from "@rmb/protocol";
import type { Network } from "../fixtures/network.ts";
import { envelopeOfSize, pingOf } from "./envelopes.ts";
import { mebibytes, median, Table, whole } from "./figures.ts";
import { measure, type Turn } from "./load.ts";
import { saturate } from "./pair.ts";
import { memory } from "./process.ts";
import { RawSocket } from "./raw_socket.ts";
import { BenchRelay, connectAcross, createNetwork, RECEIVER, SENDER } from "./servers.ts";

/** Sessions that messages wait for: a queue takes no more than 10,000. */
const SESSIONS = 10;
/** Sizes in bytes, and how many messages of them each session gets. */
const SIZES = [[200, 10_000], [4096, 5_000]] as const;
const TURNS = 3;
/** The same for receivers that are held back, and how long, in milliseconds. */
const HELD_SIZES = [4096, 65536];
const HOLD = 500;
/** Bytes on their way to each of them: more than a relay keeps in memory, and than it lets a sender have. */
const HOLD_BYTES = 12 * 1024 * 1024;
/** How long that goes on, in seconds. */
const HOLD_TIME = 2;
/** Frames written at once. */
const BATCH = 64;

/** What storing messages and delivering them measured. */
interface Stored {
  readonly stored: Turn;
  readonly delivered: Turn;
}

/** Where messages are stored. */
export interface Place {
  /** What it is, and what the floor there is. */
  readonly name: string;
  readonly floorName: string;
  /** What a relay needs to use it; empty for a file of its own. */
  readonly args: readonly string[];
  /** The floor's file, and its first argument. */
  readonly floor: (turn: number) => readonly [file: string, argument: string];
}

/** Through SQLite: receivers that are away, and receivers that are held back. */
export async function benchSqlite(): Promise<void> {
  await using network = await createNetwork();
  await benchStoring(network, {
    name: "SQLite",
    floorName: "node:sqlite",
    args: [],
    floor: (turn) => ["sqlite_floor.ts", `${network.folder}/floor-${turn}.db`],
  });
}

/** The same for any place. */
export async function benchStoring(network: Network, place: Place): Promise<void> {
  const relay = await BenchRelay.start(network, place.args);
  const { pid } = relay.program;
  const fresh = mebibytes((await memory(pid)).resident);

  console.log(
    `Through ${place.name} to ${SESSIONS} receivers that were away: messages/s ` +
      "(and in a second of CPU time)\n",
  );
  const table = new Table([
    ...["messages", `${place.floorName} stores`, "relay stores", "ratio (CPU)"],
    ...[`${place.floorName} delivers`, "relay delivers", "ratio (CPU)"],
    ...["relay's MiB: new, full, drained, most"],
  ]);
  await storeAndDeliver(relay, 200, 1000);
  let turn = 0;
  for (const [size, each] of SIZES) {
    const [floors, relays]: [Stored[], Stored[]] = [[], []];
    let sizes = "";
    for (let i = 0; i < TURNS; i++) {
      floors.push(await runFloor(place.floor(turn++), SESSIONS * each, size));
      relays.push(
        await storeAndDeliver(relay, size, each, async () => {
          sizes = mebibytes((await memory(pid)).resident);
        }),
      );
    }
    const { resident, peak } = await memory(pid);
    table.row([
      `${whole(SESSIONS * each)} of ${size} B`,
      ...cells(floors, relays, "stored"),
      ...cells(floors, relays, "delivered"),
      `${fresh}, ${sizes}, ${mebibytes(resident)}, ${mebibytes(peak)}`,
    ]);
  }

  console.log(
    `\nThrough ${place.name} to ${SESSIONS} receivers that read nothing for ${HOLD} ms ` +
      `of ${HOLD_TIME} s: messages/s (and in a second of CPU time)\n`,
  );
  const held = new Table(["size", "relay", "relay's MiB: most"]);
  for (const size of HELD_SIZES) {
    const turns: Turn[] = [];
    for (let i = 0; i < TURNS; i++) turns.push(await holdBack(relay, size));
    held.row([`${size} B`, figures(turns), mebibytes((await memory(pid)).peak)]);
  }
  await relay.stop();
}

/** Stores messages for sessions that are away, then connects these. */
async function storeAndDeliver(
  relay: BenchRelay,
  size: number,
  each: number,
  onStored: () => Promise<void> = () => Promise.resolve(),
): Promise<Stored> {
  const run = crypto.randomUUID().slice(0, 6);
  const names = Array.from({ length: SESSIONS }, (_, i) => `${run}-${i}`);
  const senders = await Promise.all(names.map((name) => relay.session(SENDER, name)));
  const frames = await Promise.all(names.map(async (connection) => {
    const [source, destination] = [SENDER, RECEIVER].map(({ id }) => ({ twin: id, connection }));
    return RawSocket.frame(
      await envelopeOfSize(size, { source: source!, destination: destination! }),
    );
  }));
  const stored = await measure(relay.pids, async () => {
    await Promise.all(senders.map(async (sender, i) => {
      await writeMany(sender, frames[i]!, each);
      await settled(sender, names[i]!);
    }));
    return SESSIONS * each;
  });
  for (const sender of senders) sender[Symbol.dispose]();
  await onStored();
  const urls = await Promise.all(names.map((name) => relay.url(RECEIVER, name)));
  const delivered = await measure(relay.pids, async () => {
    await Promise.all(urls.map(async (url) => {
      using receiver = await RawSocket.connect(url);
      const bytes = RawSocket.received(size) * each;
      for (let read = 0; read < bytes;) read += await receiver.read();
    }));
    return SESSIONS * each;
  });
  return { stored, delivered };
}

/** Has more on its way than a relay keeps in memory, to receivers that read nothing for a while. */
async function holdBack(relay: BenchRelay, size: number): Promise<Turn> {
  const pairs = await connectAcross(relay, relay, SESSIONS, size);
  const turn = await measure(relay.pids, async () => {
    await saturate(pairs, HOLD_TIME, HOLD_BYTES / size, HOLD);
    return pairs.reduce((received, pair) => received + pair.received, 0);
  });
  for (const pair of pairs) pair[Symbol.dispose]();
  return turn;
}

async function writeMany(socket: RawSocket, frame: Uint8Array, count: number): Promise<void> {
  const batch = RawSocket.frames(frame, BATCH);
  for (let sent = 0; sent < count; sent += BATCH) {
    await socket.write(batch.subarray(0, Math.min(BATCH, count - sent) * frame.length));
  }
}

/** Waits until a relay has taken all that a session sent, and refused none of it. */
async function settled(socket: RawSocket, connection: string): Promise<void> {
  await socket.write(RawSocket.frame(pingOf({ twin: SENDER.id, connection })));
  const buffer = new Uint8Array(64 * 1024);
  const size = await socket.read(buffer);
  const head = RawSocket.received(size) - size;
  const { message } = decodeEnvelope(buffer.slice(head, size));
  if (message.case !== "pong") throw new Error(`A message was refused: ${JSON.stringify(message)}`);
}

async function runFloor(
  [file, argument]: readonly [file: string, argument: string],
  count: number,
  size: number,
): Promise<Stored> {
  const path = new URL(file, import.meta.url).pathname;
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", path, argument, `${count}`, `${size}`],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${file} failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

function cells(floors: readonly Stored[], relays: readonly Stored[], part: keyof Stored): string[] {
  const ratio = (figure: "rate" | "ratePerCpu") =>
    median(relays.map((relay, i) => relay[part][figure] / floors[i]![part][figure])).toFixed(2);
  return [
    ...[floors, relays].map((turns) => figures(turns.map((turn) => turn[part]))),
    `${ratio("rate")} (${ratio("ratePerCpu")})`,
  ];
}

function figures(turns: readonly Turn[]): string {
  const middle = (figure: "rate" | "ratePerCpu") =>
    whole(median(turns.map((turn) => turn[figure])));
  return `${middle("rate")} (${middle("ratePerCpu")})`;
}
