/** WebSocket clients that mean harm once they are connected: what they cost a relay is bounded. */
import assert from "node:assert/strict";
import { runs } from "../protocol/tests/fuzz.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { numbered, range } from "./fixtures/numbered.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { MALLORY, Siege, TRUDY } from "./fixtures/siege.ts";

/** Reads until the relay has ended the connection; says how it closed it. */
async function readToEnd(client: RawWebSocket): Promise<string> {
  for (;;) {
    const frame = await inTime(client.read(), "the end of the connection");
    if (frame === undefined) return "cut";
    if (frame.opcode !== OPCODE.close) continue;
    const [high = 0, low = 0] = frame.payload;
    return `closed with ${high * 256 + low}`;
  }
}

/** Sends pieces until there are none any more, or the relay takes none. */
async function sendAll(client: RawWebSocket, pieces: Iterable<Uint8Array>): Promise<number> {
  let sent = 0;
  for (const piece of pieces) {
    const taken = await inTime(client.write(piece), "room to send").then(() => true, () => false);
    if (!taken) break;
    sent++;
  }
  return sent;
}

/** The beginning of a message, and then more of it without an end. */
function* fragments(count: number, size: number): Generator<Uint8Array> {
  const fragment = new Uint8Array(size);
  yield encodeFrame(OPCODE.binary, fragment, false);
  for (let i = 1; i < count; i++) yield encodeFrame(OPCODE.more, fragment, false);
}

Deno.test("a relay ends endless messages, however they are divided, and others notice nothing", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  const told: string[] = [];
  for (
    const [what, pieces] of [
      ["empty fragments", () => fragments(Infinity, 0)],
      ["fragments of a byte", () => fragments(Infinity, 1)],
      ["fragments of 128 KiB", () => fragments(1000, 128 * 1024)],
      [
        "one frame of 64 MiB and a byte",
        function* () {
          const frame = encodeFrame(OPCODE.binary, new Uint8Array(64 * 2 ** 20 + 1));
          for (let at = 0; at < frame.length; at += 65536) yield frame.subarray(at, at + 65536);
        },
      ],
    ] as [string, () => Iterable<Uint8Array>][]
  ) {
    using client = await RawWebSocket.connect(await network.url(MALLORY));
    let endedAt = Infinity;
    const end = readToEnd(client).finally(() => endedAt = performance.now());
    // It does not stop when it is told to: then the relay has to cut it.
    const sent = await sendAll(client, pieces());
    const [how, cut] = [await end, performance.now()];
    told.push(`${what}: ${how} after ${sent} writes`);
    assert.ok(cut - endedAt < 5000, `${what}: not cut for ${cut - endedAt} ms`);
  }
  // As much as is allowed is taken, in as many fragments as are.
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const message = numbered(0, { twin: MALLORY }, { twin: TRUDY }, { size: 63 * 2 ** 20 });
  const [count, size] = [1000, Math.ceil(message.length / 1000)];
  const parts = range(0, count).map((i) =>
    encodeFrame(
      i === 0 ? OPCODE.binary : OPCODE.more,
      message.subarray(i * size, (i + 1) * size),
      i === count - 1,
    )
  );
  using receiver = await RawWebSocket.connect(await network.url(TRUDY));
  const reading = inTime(receiver.read(), "the large message");
  assert.equal(await sendAll(client, parts), count);
  assert.equal((await reading)?.payload.length, message.length);
  told.push(`${message.length} bytes in ${count} fragments: delivered`);
  await siege.end(told.join("; "), 600e6);
});

Deno.test("a relay cuts those with the largest messages when incomplete ones take too much in all", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  const [count, part] = [10, 128 * 1024];
  const clients = await Promise.all(
    range(0, count).map(async (i) => RawWebSocket.connect(await network.url(MALLORY, `${i}`))),
  );
  let ended = 0;
  const reading = clients.map((client) => readToEnd(client).then(() => ended++));
  // Each up to nearly what it may: 60 MiB times 10 is far more than 256 MiB.
  let most = 0;
  const writing = clients.map((client) => sendAll(client, fragments(480, part)));
  let over = false;
  const looking = (async () => {
    while (!over) most = Math.max(most, await network.metric("relay_partial_bytes"));
  })();
  const sent = (await Promise.all(writing)).reduce((sum, sent) => sum + sent);
  over = true;
  await looking;
  await until(() => ended >= count - 5, "all but those that fit cut");
  const survivors = count - ended;
  for (const client of clients) client[Symbol.dispose]();
  await Promise.all(reading);
  await until(
    async () => await network.metric("relay_partial_bytes") < 1e6,
    "what was held released",
  );
  assert.ok(most < 300e6, `${most} bytes held`);
  await siege.end(
    `${count} sessions sent ${(sent * part / 1e6).toFixed(0)} MB of messages that do not end: ` +
      `${(most / 1e6).toFixed(0)} MB held at most, ${survivors} sessions survived`,
    900e6,
  );
});

Deno.test("a relay bounds what many receivers that do not read cost, and others notice nothing", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  const count = runs(50);
  const stuck: RawWebSocket[] = [];
  for (const i of range(0, count)) {
    stuck.push(await RawWebSocket.connect(await network.url(TRUDY, `${i}`)));
  }
  using sender = await RawWebSocket.connect(await network.url(MALLORY));
  const [each, size] = [16, 1024 * 1024];
  for (const round of range(0, each)) {
    for (const i of range(0, count)) {
      const destination = { twin: TRUDY, connection: `${i}` };
      const bytes = numbered(round, { twin: MALLORY }, destination, { size });
      await sender.write(encodeFrame(OPCODE.binary, bytes));
    }
  }
  const received = () => network.metric("relay_message_rx_bytes");
  await until(async () => await received() >= count * each * size, "all received", 30_000);
  const unsent = await network.metric("relay_unsent_bytes");
  const heldBack = await network.metric("relay_sessions_held_back");
  for (const client of stuck) client[Symbol.dispose]();
  await siege.end(
    `${count * each} MiB for ${count} receivers that do not read: ${heldBack} held back, ` +
      `${(unsent / 1e6).toFixed(0)} MB for them in memory`,
    300e6 + count * 8e6,
  );
});

Deno.test("a relay answers no more control frames than it has to, and others notice nothing", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  // Pings whose pongs it does not read: they must not pile up in the relay.
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const ping = encodeFrame(OPCODE.ping, new Uint8Array(125));
  const many = new Uint8Array(ping.length * 500);
  for (let i = 0; i < 500; i++) many.set(ping, i * ping.length);
  const count = runs(2000);
  let sent = 0;
  for (; sent < count; sent++) {
    // The relay may stop to read it, or cut it: as long as it does not hold what it should send.
    const writing = client.write(many).then(() => "sent", () => "cut");
    const { promise: held, resolve } = Promise.withResolvers<"held back">();
    const timer = setTimeout(() => resolve("held back"), 3000);
    const outcome = await Promise.race([writing, held]);
    clearTimeout(timer);
    if (outcome !== "sent") break;
  }
  await siege.end(`${sent * 500} pings of ${count * 500} sent by who reads no pong`, 300e6);
});
