/** Messages in quantity: their order, the memory that they cost, and slow receivers. */
import assert from "node:assert/strict";
import { decodeEnvelope, readRouting, RelayConnection, type Session } from "@rmb/protocol";
import { inTime, until } from "./fixtures/deadline.ts";
import { OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import { envelopeBytes, type TestSession } from "./fixtures/test_session.ts";

const RESPONSE = { case: "response", value: {} } as const;

/** A numbered message. */
function numbered(uid: number, source: Session, destination: Session, size = 0): Uint8Array {
  const payload = { case: "plain", value: new Uint8Array(size) } as const;
  return envelopeBytes({ uid: `${uid}`, source, destination, message: RESPONSE, payload });
}

/** The numbers of the messages that a session gets. */
async function takeNumbers(session: TestSession, count: number): Promise<number[]> {
  return (await session.take(count)).map((bytes) => Number(readRouting(bytes).uid));
}

/** The numbers of the messages that a client gets, from now until it was closed or has the last. */
async function readNumbers(client: RawWebSocket, last = Infinity): Promise<number[]> {
  const numbers: number[] = [];
  while (numbers.at(-1) !== last) {
    const frame = await inTime(client.read(), "a frame");
    if (frame === undefined || frame.opcode === OPCODE.close) break;
    if (frame.opcode === OPCODE.binary) numbers.push(Number(decodeEnvelope(frame.payload).uid));
  }
  return numbers;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

Deno.test("a relay keeps the order when a receiver connects in the middle of a stream", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(7);
  const count = 6000;
  const sessions = ["a", "b", "c", "d"].map((connection) => ({ twin: 8, connection }));
  const receivers: Promise<TestSession>[] = [];
  for (let i = 0; i < count; i++) {
    for (const session of sessions) sender.send(numbered(i, sender.session, session));
    // Each connects at another time, and the stream goes on meanwhile.
    if (i % 1000 === 999 && receivers.length < sessions.length) {
      receivers.push(network.connect(8, sessions[receivers.length]!.connection));
    }
    if (i % 250 === 249) await sender.settled();
  }
  for (const connecting of receivers) {
    await using receiver = await connecting;
    assert.deepEqual(await takeNumbers(receiver, count), range(0, count));
    assert.deepEqual(await receiver.settled(), []);
  }
});

Deno.test("a relay keeps each sender's order when many send to one", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using receiver = await network.connect(8);
  const senders: TestSession[] = [];
  for (let i = 0; i < 20; i++) senders.push(await network.connect(7, `${i}`));
  const count = 100;
  for (const i of range(0, count)) {
    for (const sender of senders) sender.send(numbered(i, sender.session, receiver.session));
  }
  const received = new Map<string, number[]>();
  for (const bytes of await receiver.take(count * senders.length)) {
    const { uid, source } = readRouting(bytes);
    received.set(source.connection!, [...received.get(source.connection!) ?? [], Number(uid)]);
  }
  assert.equal(received.size, senders.length);
  for (const numbers of received.values()) assert.deepEqual(numbers, range(0, count));
  await Promise.all(senders.map((sender) => sender.close()));
});

Deno.test("a relay carries many sessions at once, each with its own messages", async () => {
  await using network = await RelayNetwork.start([7]);
  const sessions: TestSession[] = [];
  const received = new Map<string, Promise<string[]>>();
  for (const i of range(0, 300)) sessions.push(await network.connect(7, `${i}`));
  assert.equal(await network.metric('relay_worker_connections{worker="0"}'), sessions.length);
  sessions.forEach((session, i) => {
    const next = sessions[(i + 1) % sessions.length]!;
    for (const j of range(0, 10)) {
      session.send({ uid: `${i}/${j}`, destination: next.session, message: RESPONSE });
    }
    received.set(`${i}`, next.take(10).then((all) => all.map((bytes) => readRouting(bytes).uid)));
  });
  for (const [i, uids] of received) {
    assert.deepEqual(await uids, range(0, 10).map((j) => `${i}/${j}`));
  }
  await Promise.all(sessions.map((session) => session.close()));
  assert.equal(await network.metric("relay_message_rx"), 3000);
});

Deno.test("a receiver that stops reading costs bounded memory, and gets all in order later", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(7);
  using receiver = await RawWebSocket.connect(await network.url(8));
  const [count, size] = [9000, 32 * 1024];
  const memory = () => network.metric("process_resident_memory_bytes");
  const before = await memory();
  let most = before;
  for (let i = 0; i < count; i++) {
    sender.send(numbered(i, sender.session, { twin: 8 }, size));
    if (i % 50 === 49) await sender.settled();
    if (i % 500 === 499) most = Math.max(most, await memory());
  }
  const grown = most - before;
  console.log(`relay grew by ${(grown / 1e6).toFixed(0)} MB with ${count * size / 1e6} MB waiting`);
  assert.ok(grown < 160e6, `grew by ${grown} bytes`);
  assert.deepEqual(await readNumbers(receiver, count - 1), range(0, count));

  // And then directly again.
  sender.send(numbered(count, sender.session, { twin: 8 }));
  assert.deepEqual(await readNumbers(receiver, count), [count]);
});

Deno.test("a new connection takes over from one that stopped reading, with no message lost", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(7);
  using stuck = await RawWebSocket.connect(await network.url(8));
  const count = 2000;
  for (const i of range(0, count)) {
    sender.send(numbered(i, sender.session, { twin: 8 }, 16 * 1024));
    if (i % 50 === 49) await sender.settled();
  }
  const receiver = await network.connect(8);
  const [first] = await takeNumbers(receiver, 1);
  assert.ok(first! > 0, "what the kernel had taken for the older connection is not sent again");
  assert.deepEqual(await takeNumbers(receiver, count - 1 - first!), range(first! + 1, count));
  await receiver.close();
  await using next = await network.connect(8);
  assert.deepEqual(await next.settled(), [], "nothing came too late for the newer connection");
  const read = await readNumbers(stuck);
  assert.ok(read.length >= first!, `${read.length} were on the older connection`);
  assert.deepEqual(read, range(0, read.length));
});

Deno.test("a relay told to stop closes its sessions with 1001, ends with 0, and loses nothing", async () => {
  await using network = await RelayNetwork.start([7, 8, 9]);
  const sender = await network.connect(7);
  const idle = await network.connect(9);
  const stuck = await RawWebSocket.connect(await network.url(8));
  const count = 2000;
  for (const i of range(0, count)) {
    sender.send(numbered(i, sender.session, { twin: 8 }, 16 * 1024));
    if (i % 50 === 49) await sender.settled();
  }
  const status = network.relay.program.stop("SIGTERM");
  for (const session of [sender, idle]) {
    assert.equal((await inTime(session.closed, "the session closed")).code, 1001);
  }
  assert.equal((await status).code, 0);
  const read = await readNumbers(stuck);
  stuck[Symbol.dispose]();
  assert.deepEqual(read, range(0, read.length));

  await network.restart();
  await using receiver = await network.connect(8);
  const rest = await takeNumbers(receiver, count - read.length);
  assert.deepEqual([...read, ...rest], range(0, count));
  assert.deepEqual(await receiver.settled(), []);
});

Deno.test("RelayConnections carry a stream in order over an end and a new start of the relay", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const received: number[] = [];
  const connect = (twin: number, onMessage: (bytes: Uint8Array) => void) =>
    new RelayConnection({
      url: network.relay.url,
      session: { twin },
      keypair: network.keypair(twin),
      onMessage,
      times: { retry: [50, 200] },
    });
  await using sender = connect(7, () => {});
  await using _ = connect(8, (bytes) => received.push(Number(readRouting(bytes).uid)));
  const send = (from: number, to: number) =>
    Promise.all(range(from, to).map((i) => sender.send(numbered(i, { twin: 7 }, { twin: 8 }))));

  await send(0, 2000);
  await until(() => received.length === 2000, "the first half");
  assert.equal((await network.relay.program.stop()).code, 0);
  await until(() => !sender.connected, "the end noticed");
  const rest = send(2000, 4000);
  await network.restart();
  await rest;
  await until(() => received.length >= 4000, "the second half");
  assert.deepEqual(received, range(0, 4000));
});
