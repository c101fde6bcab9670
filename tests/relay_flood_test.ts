/** Senders that are faster than those they send to. */
import assert from "node:assert/strict";
import { decodeEnvelope, type EnvelopeInit, RelayConnection } from "@rmb/protocol";
import { runs } from "../protocol/tests/fuzz.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { assertAllOnce, numbered, range, ReadingClient } from "./fixtures/numbered.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { MALLORY, Siege, TRUDY } from "./fixtures/siege.ts";
import { envelopeBytes } from "./fixtures/test_session.ts";

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
    400e6,
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

Deno.test("a sender that is faster than its receiver has to wait: nothing is refused, or lost", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  // It reads all the time, but slower by far than the other could send.
  using slow = await RawWebSocket.connect(await network.url(TRUDY));
  const [count, size, step] = [runs(20_000), 4 * 1024, 100];
  const received: Uint8Array[] = [];
  const reading = (async () => {
    while (received.length < count) {
      const frame = await inTime(slow.read(), "a frame");
      if (frame?.opcode !== OPCODE.binary) break;
      received.push(frame.payload);
      if (received.length % step === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const told = new Told(client);
  const start = performance.now();
  let most = 0;
  for (const i of range(0, count)) {
    const bytes = numbered(i, { twin: MALLORY }, { twin: TRUDY }, { kind: "request", size });
    await client.write(encodeFrame(OPCODE.binary, bytes));
    most = Math.max(most, i - received.length);
  }
  await reading;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  assertAllOnce(received, { [MALLORY]: count });
  assert.deepEqual([...told.errors], []);
  client.end();
  await told.end();
  await siege.end(
    `${count} requests of ${size} bytes to a slow receiver in ${seconds} s, ${received.length} came, ` +
      `at most ${most} were under way`,
    400e6,
  );
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
    400e6,
  );
});

Deno.test("a sender that outruns the store is held up, then refused, then closed; others go on", async () => {
  await using siege = await Siege.start([], true);
  const { network } = siege;
  using client = await RawWebSocket.connect(await network.url(MALLORY));
  const told = new Told(client);
  const send = async (i: number) => {
    const bytes = numbered(i, { twin: MALLORY }, { twin: TRUDY }, { kind: "request", size: 100 });
    await client.write(encodeFrame(OPCODE.binary, bytes));
  };
  await send(0);
  // Its mailbox is known to be empty soon: then answers come to it directly.
  for (const i of range(0, 20)) {
    const ping = { uid: `${i}`, source: { twin: MALLORY }, message: { case: "ping", value: {} } };
    await client.send(OPCODE.binary, envelopeBytes(ping as EnvelopeInit));
    await until(() => told.errors.get("pong") === i + 1, "a pong");
  }
  told.errors.clear();
  const received = () => network.metric("relay_message_rx");
  const before = await received();
  // The store takes nothing more: it does not even say so.
  Deno.kill(network.redis!.program.pid, "SIGSTOP");
  const start = performance.now();
  let sent = 1;
  try {
    while (told.closed === undefined && performance.now() - start < 20_000) await send(sent++);
  } catch {
    // It is closed.
  }
  await told.end();
  const seconds = (performance.now() - start) / 1000;
  Deno.kill(network.redis!.program.pid, "SIGCONT");
  assert.ok(await received() > before);
  const overloaded = told.errors.get("relay is overloaded, try again later") ?? 0;
  assert.equal(told.closed?.code, 1013);
  assert.match(told.closed.reason, /sends more than the relay can store/);
  assert.ok(overloaded > 0);
  assert.equal(told.errors.size, 1);

  // What was not refused is delivered: the first so many, each once.
  using receiver = await ReadingClient.connect(await network.url(TRUDY));
  await until(() => receiver.received.length >= 10_000, "what was taken");
  const messages = await receiver.close();
  assertAllOnce(messages, { [MALLORY]: messages.length });
  assert.ok(seconds > 0.9, "it was held up first");
  await siege.end(
    `${sent} requests while Redis hung: ${overloaded} refused as too many, then closed with 1013 ` +
      `after ${seconds.toFixed(1)} s; ${messages.length} came when Redis went on`,
    400e6,
  );
});
