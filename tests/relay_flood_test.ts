/** Senders that are faster than those they send to. */
import assert from "node:assert/strict";
import { decodeEnvelope, RelayConnection } from "@rmb/protocol";
import { runs } from "../protocol/tests/fuzz.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { assertAllOnce, numbered, range, ReadingClient } from "./fixtures/numbered.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { MALLORY, Siege, TRUDY } from "./fixtures/siege.ts";

Deno.test("a burst of 100,000 responses comes through RelayConnections in order, in bounded memory", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  const count = runs(100_000);
  const received: Uint8Array[] = [];
  const connect = (twin: number, onMessage: (bytes: Uint8Array) => void) =>
    new RelayConnection({
      url: network.relay.url,
      session: { twin },
      keypair: network.keypair(twin),
      onMessage,
    });
  await using receiver = connect(TRUDY, (bytes) => received.push(bytes));
  await using sender = connect(MALLORY, () => {});
  await until(() => receiver.connected && sender.connected, "both connected");
  const burst = range(0, count).map((i) => numbered(i, { twin: MALLORY }, { twin: TRUDY }));
  const start = performance.now();
  await inTime(
    Promise.all(burst.map((bytes) => sender.send(bytes))),
    "all sent",
    60_000 + count,
  );
  await until(() => received.length >= count, "all received", 60_000 + count);
  const seconds = (performance.now() - start) / 1000;
  assertAllOnce(received, { [MALLORY]: count });
  const rate = Math.round(count / seconds);
  await siege.end(
    `${count} responses sent at once, ${received.length} came in order in ${
      seconds.toFixed(1)
    } s ` +
      `(${rate}/s)`,
    300e6,
  );
});

/** What a client was told while it sent. */
class Told {
  readonly errors = new Map<string, number>();
  closed: { code: number; reason: string } | undefined;
  readonly #reading: Promise<void>;

  constructor(client: RawWebSocket) {
    this.#reading = this.#read(client);
  }

  /** Waits until the relay has closed the connection. */
  async end(): Promise<void> {
    await inTime(this.#reading, "the end of the connection", 40_000);
  }

  async #read(client: RawWebSocket): Promise<void> {
    for (;;) {
      const frame = await client.read();
      if (frame === undefined) return;
      if (frame.opcode === OPCODE.close) {
        const { payload } = frame;
        const reason = new TextDecoder().decode(payload.subarray(2));
        this.closed = { code: payload[0]! * 256 + payload[1]!, reason };
      } else if (frame.opcode === OPCODE.binary) {
        const { message } = decodeEnvelope(frame.payload);
        const text = message.case === "error" ? message.value.message : `${message.case}`;
        this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
      }
    }
  }
}

Deno.test("a sender that outruns a slow receiver waits, then is refused, then closed; others go on", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  // It reads, but slower by far than the other sends.
  using slow = await RawWebSocket.connect(await network.url(TRUDY));
  let over = false;
  const got: number[] = [];
  const reading = (async () => {
    while (!over) {
      const frame = await slow.read();
      if (frame === undefined) break;
      if (frame.opcode === OPCODE.binary) got.push(Number(decodeEnvelope(frame.payload).uid));
      if (got.length % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const told = new Told(client);
  const message = (i: number) =>
    numbered(i, { twin: MALLORY }, { twin: TRUDY }, { kind: "request", size: 8 * 1024 });
  let sent = 0;
  const start = performance.now();
  // As fast as the relay reads: that is what a client without flow control of its own does.
  while (told.closed === undefined && performance.now() - start < 40_000) {
    const sending = client.write(encodeFrame(OPCODE.binary, message(sent++)));
    if (await sending.then(() => false, () => true)) break;
  }
  await told.end();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  over = true;
  slow[Symbol.dispose]();
  await reading;
  const errors = [...told.errors].map(([text, count]) => `${count} times "${text}"`).join(", ");
  const { code, reason } = told.closed ?? {};
  await siege.end(
    `${sent} requests in ${seconds} s to who read ${got.length}; told ${errors || "nothing"}; ` +
      `closed with ${code} ${reason}`,
    300e6,
  );
  assert.equal(code, 1013);
  assert.match(reason!, /sends more than the relay can store/);
  assert.ok(told.errors.get("relay is overloaded, try again later")! > 0);
  assert.deepEqual(got, range(0, got.length));
});

Deno.test("a sender that nobody keeps from sending fills the queue of who is away, and is told so", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const told = new Told(client);
  const count = 12_000;
  for (const i of range(0, count)) {
    const bytes = numbered(i, { twin: MALLORY }, { twin: TRUDY }, { kind: "request", size: 1000 });
    await client.write(encodeFrame(OPCODE.binary, bytes));
  }
  const full = "queue of the destination is full";
  await until(() => told.errors.get(full) === count - 10_000, "word that the queue is full");
  using receiver = await ReadingClient.connect(await network.url(TRUDY));
  await until(() => receiver.received.length >= 10_000, "what fitted");
  assertAllOnce(await receiver.close(), { [MALLORY]: 10_000 });
  assert.deepEqual([...told.errors], [[full, count - 10_000]]);
  client.end();
  await told.end();
  await siege.end(
    `${count} requests to who is away: ${receiver.received.length} came later, ` +
      `${told.errors.get(full)} were refused`,
    300e6,
  );
});
