/** Receivers that come and go, or read when it suits them: none of their messages is lost or comes twice. */
import assert from "node:assert/strict";
import { runs } from "../protocol/tests/fuzz.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { numbered, numberOf, range, ReadingClient } from "./fixtures/numbered.ts";
import { OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { type Leave, testReconnects } from "./fixtures/reconnects.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import type { TestSession } from "./fixtures/test_session.ts";

const RECEIVER = 8;

/** Has a receiver come and go while three send to it. */
async function testComing(what: string, leave: Leave): Promise<void> {
  await using network = await RelayNetwork.start([7, RECEIVER, 9, 11]);
  const senders: TestSession[] = [];
  for (const twin of [7, 9, 11]) senders.push(await network.connect(twin));
  const times = { stay: 100, time: runs(10_000) };
  const relays = [network.relay];
  await testReconnects(network, { what, senders, receiver: RECEIVER, relays, ...times, leave });
  await Promise.all(senders.map((sender) => sender.close()));
}

Deno.test("a receiver that closes and reconnects every 100 ms gets all once, in order", async () => {
  await testComing("closed and connected again", async (client, next) => {
    await client.close();
    return await next();
  });
});

Deno.test("a receiver whose connections replace each other gets all once, in order", async () => {
  await testComing("replaced by a newer connection", async (client, next) => {
    const newer = await next();
    const closed = await inTime(client.ended, "the older connection closed");
    assert.equal(closed?.code, 4000);
    return newer;
  });
});

/** Reads so many messages, or up to the end of the connection. */
async function readUpTo(client: RawWebSocket, count: number): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = [];
  while (messages.length < count) {
    const frame = await inTime(client.read(), "a frame");
    if (frame === undefined || frame.opcode === OPCODE.close) break;
    if (frame.opcode === OPCODE.binary) messages.push(frame.payload);
  }
  return messages;
}

Deno.test("a receiver that reads by fits and starts gets all in order, in bounded memory", async () => {
  await using network = await RelayNetwork.start([7, RECEIVER]);
  await using sender = await network.connect(7);
  using client = await RawWebSocket.connect(await network.url(RECEIVER));
  const memory = () => network.metric("process_resident_memory_bytes");
  const [rounds, size] = [12, 8 * 1024];
  const before = await memory();
  let most = before;
  let sent = 0;
  const received: Uint8Array[] = [];
  for (let round = 0; round < rounds; round++) {
    // It does not read, and more comes than the kernel and the relay's outbox hold ...
    for (let i = 0; i < 1500; i++) {
      sender.send(numbered(sent++, sender.session, { twin: RECEIVER }, { size }));
      if (i % 100 === 99) await sender.settled();
    }
    most = Math.max(most, await memory());
    // ... then it reads on: some of it, or, in every second round, all.
    const wanted = round % 2 === 1 ? sent - received.length : 700;
    received.push(...await readUpTo(client, wanted));
  }
  const grown = (most - before) / 1e6;
  console.log(
    `${sent} messages of ${size} bytes sent while the receiver read now and then, ` +
      `${received.length} came; the relay grew by ${grown.toFixed(0)} MB`,
  );
  assert.deepEqual(received.map(numberOf), range(0, sent));
  assert.ok(grown < 128, `${grown} MB`);
});

Deno.test("a receiver that never reads again and is cut loses what it was sent, and nothing else", async () => {
  await using network = await RelayNetwork.start([7, RECEIVER]);
  await using sender = await network.connect(7);
  const stuck = await RawWebSocket.connect(await network.url(RECEIVER));
  const [count, size] = [4000, 8 * 1024];
  const memory = () => network.metric("process_resident_memory_bytes");
  const before = await memory();
  let most = before;
  for (let i = 0; i < count; i++) {
    sender.send(numbered(i, sender.session, { twin: RECEIVER }, { size }));
    if (i % 100 === 99) await sender.settled();
    if (i % 500 === 499) most = Math.max(most, await memory());
  }
  assert.equal(await network.metric("relay_sessions_held_back"), 1);
  stuck[Symbol.dispose]();
  await until(
    async () => await network.metric('relay_worker_connections{worker="0"}') === 1,
    "the receiver's end noticed",
  );
  using client = await ReadingClient.connect(await network.url(RECEIVER));
  await until(
    () => client.received.length > 0 && numberOf(client.received.at(-1)!) === count - 1,
    "the last message",
  );
  const received = (await client.close()).map(numberOf);
  const grown = (most - before) / 1e6;
  const kernel = received[0]!;
  console.log(
    `${count} messages of ${size} bytes to who never reads: ${kernel} were in the kernel, ` +
      `${received.length} came later; the relay grew by ${grown.toFixed(0)} MB`,
  );
  assert.deepEqual(received, range(kernel, count));
  // The kernel's buffers of both ends take a few megabytes at most.
  assert.ok(kernel * size < 16e6, `${kernel} of ${count} are lost`);
  assert.ok(grown < 128, `${grown} MB`);
});
