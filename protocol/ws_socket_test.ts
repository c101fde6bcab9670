import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Client, envelope, nextUid } from "./tests/client.ts";
import { Events, Network, TestRelay, within } from "./tests/relay.ts";
import { openWsSocket } from "./ws_socket.ts";

Deno.test.sanitizer({ ops: true, resources: true });

/** Opens a socket to a test relay, and gives what it tells. */
async function open(url: string) {
  const messages = new Events<Uint8Array>("message");
  const { promise: opened, resolve } = Promise.withResolvers<string | undefined>();
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const socket = openWsSocket(new URL(url), {
    onOpen: resolve,
    onMessage: (bytes) => messages.push(bytes),
    onEnd: end,
  });
  return { socket, messages, ended, date: await within(opened, "not open") };
}

Deno.test("openWsSocket() tells the relay's clock", async () => {
  await using relay = new TestRelay();
  const { socket, date, ended } = await open(relay.url);
  assert.ok(Math.abs(Date.parse(date!) - Date.now()) < 10_000, date);
  socket.close();
  assert.match(await within(ended, "not closed"), /^127\S+ closed the connection \(1000/);
});

Deno.test("openWsSocket() sends long messages in pieces, as they are and in order", async () => {
  await using relay = new TestRelay();
  relay.answers = false;
  await using network = new Network(relay.port);
  network.delay = 1;
  const { socket, ended } = await open(network.url);
  const { messages } = await relay.sessions.next();
  const sizes = [0, 1, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 16 * 1024 * 1024, 5];
  const sent = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
  for (const bytes of sent) socket.send(bytes);
  const seen = new Set<number>();
  const looking = setInterval(() => seen.add(socket.bufferedAmount), 5);
  for (const bytes of sent) {
    const got = await messages.next() as Uint8Array;
    assert.equal(Buffer.compare(got, bytes), 0);
  }
  clearInterval(looking);
  assert.ok(seen.size > 2, `it shows how it goes on: ${[...seen]}`);
  assert.equal(socket.bufferedAmount, 0);
  socket.close();
  await within(ended, "not closed");
});

Deno.test("openWsSocket() delivers what comes until the relay has closed the connection too", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port);
  await using client = new Client(network.url, { openSocket: openWsSocket });
  const session = await relay.sessions.next();
  await client.connected();
  await client.connection.send(envelope("a"));
  assert.equal(await nextUid(session), "a");
  network.stall();
  for (const uid of ["x", "y"]) session.socket.send(envelope(uid) as Uint8Array<ArrayBuffer>);
  const closed = client.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  network.flow();
  await closed;
  assert.equal(client.received.length, 2);
});

Deno.test("openWsSocket() ends where the relay does not close the connection too", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port);
  const { socket, ended } = await open(network.url);
  await relay.sessions.next();
  network.stall();
  socket.close();
  await within(ended, "not closed");
});

Deno.test("openWsSocket() takes no message above 64 MiB", async () => {
  await using relay = new TestRelay();
  const { messages, ended } = await open(relay.url);
  const session = await relay.sessions.next();
  const size = 64 * 1024 * 1024;
  session.socket.send(new Uint8Array(size));
  assert.equal((await messages.next()).length, size);
  session.socket.send(new Uint8Array(size + 1));
  assert.match(await within(ended, "not closed"), /Max payload size exceeded/);
});

Deno.test("openWsSocket() tells nothing after terminate(), whenever that is", async () => {
  await using relay = new TestRelay();
  for (const turns of [0, 1, 5, 20]) {
    const told: string[] = [];
    const socket = openWsSocket(new URL(relay.url), {
      onOpen: () => told.push("open"),
      onMessage: () => told.push("message"),
      onEnd: () => told.push("end"),
    });
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setTimeout(resolve));
    socket.terminate();
    const before = told.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(told.length, before);
    socket.terminate();
    socket.send(new Uint8Array(1));
    socket.pause();
    socket.resume();
  }
});
