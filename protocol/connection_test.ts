import assert from "node:assert/strict";
import { createEnvelope, decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { parseToken, verifyToken } from "./token.ts";
import { checkNotSent, Client, envelope, keypair, nextUid } from "./tests/client.ts";
import { Network, TestRelay } from "./tests/relay.ts";

Deno.test.sanitizer({ ops: true, resources: true });

Deno.test("RelayConnection connects with a token of its session, a fresh one each time", async () => {
  await using relay = new TestRelay();
  await using _client = new Client(relay.url);
  const tokens = [];
  for (let i = 0; i < 3; i++) {
    const { token, socket } = await relay.sessions.next();
    await verifyToken(parseToken(token), keypair.publicKey);
    assert.equal(parseToken(token).claims.sub, 7);
    assert.equal(parseToken(token).claims.sid, "sid");
    tokens.push(token);
    socket.close();
  }
  assert.equal(new Set(tokens).size, 3);
});

Deno.test("RelayConnection connects a session without a session id as such", async () => {
  await using relay = new TestRelay();
  await using _client = new Client(relay.url, { session: { twin: 7 } });
  const session = await relay.sessions.next();
  assert.equal(parseToken(session.token).claims.sid, undefined);
  const ping = decodeEnvelope(await session.messages.next() as Uint8Array);
  assert.deepEqual([ping.source?.twin, ping.source?.connection], [7, undefined]);
});

Deno.test("RelayConnection tells when it is connected, and why it is not", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  assert.equal(client.connection.connected, false);
  const session = await relay.sessions.next();
  await client.connected();
  assert.equal(client.connection.connected, true);
  session.socket.close(3001, "evicted");
  const { reason } = await client.disconnected();
  assert.match(reason, /^127\.0\.0\.1:\d+ closed the connection \(3001: evicted\)$/);
  assert.equal(client.connection.connected, false);
  await client.connected();
});

Deno.test("RelayConnection delivers what the relay sends, in order, pongs left out", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const { socket } = await relay.sessions.next();
  const pong = encodeEnvelope(createEnvelope({ uid: "p", message: { case: "pong", value: {} } }));
  const junk = Uint8Array.of(0xff);
  for (const bytes of [pong, envelope("a"), pong, junk, new Uint8Array(), envelope("b", 3e6)]) {
    socket.send(bytes as Uint8Array<ArrayBuffer>);
  }
  assert.deepEqual(await client.received.next(), envelope("a"));
  assert.deepEqual(await client.received.next(), junk); // For the receiver to refuse.
  assert.deepEqual(await client.received.next(), new Uint8Array());
  assert.deepEqual(await client.received.next(), envelope("b", 3e6));
});

Deno.test("send() sends in order, and resolves when the message is out", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  const uids = Array.from({ length: 300 }, (_, i) => String(i));
  const sizes = [0, 10, 1000, 100_000];
  const sent = uids.map((uid, i) => client.connection.send(envelope(uid, sizes[i % 4])));
  for (const uid of uids) assert.equal(await nextUid(session), uid);
  await Promise.all(sent);
});

Deno.test("send() sends a view into larger bytes as it is", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  const bytes = envelope("a");
  await client.connection.send(Uint8Array.of(1, 2, ...bytes, 3).subarray(2, -1));
  assert.equal(await nextUid(session), "a");
});

Deno.test("messages sent while not connected wait, and go out in order", async () => {
  await using relay = new TestRelay();
  relay.refuse = () => new Response("later", { status: 503 });
  await using client = new Client(relay.url);
  await client.disconnected();
  const sent = ["a", "b", "c"].map((uid) => client.connection.send(envelope(uid)));
  await client.disconnected();
  relay.refuse = undefined;
  const session = await relay.sessions.next();
  for (const uid of ["a", "b", "c"]) assert.equal(await nextUid(session), uid);
  await Promise.all(sent);
});

Deno.test("send() rejects a message that was not connected for in time, and only that", async () => {
  await using relay = new TestRelay();
  relay.refuse = () => new Response(null, { status: 503 });
  await using client = new Client(relay.url);
  const [first, last] = ["first", "last"].map((uid) => client.connection.send(envelope(uid)));
  await checkNotSent(client.connection.send(envelope("late"), 20), /was not connected in time/);
  await checkNotSent(client.connection.send(envelope("at once"), -1), /was not connected in time/);
  relay.refuse = undefined;
  const session = await relay.sessions.next();
  assert.equal(await nextUid(session), "first");
  assert.equal(await nextUid(session), "last");
  await Promise.all([first, last]);
});

Deno.test("send() keeps no timer of a message that is out", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  await client.connection.send(envelope("a"), 3_600_000); // The sanitizer would tell.
});

Deno.test("messages that the socket did not get rid of go out on the next one, in order", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port);
  await using client = new Client(network.url);
  await relay.sessions.next();
  await client.connected();
  network.stall();
  const settled: number[] = [];
  const count = 60; // 30 MiB: more than kernels take.
  const sending = Array.from({ length: count }, async (_, i) => {
    await client.connection.send(envelope(String(i), 512 * 1024));
    settled.push(i);
  });
  await sending[0]; // It was taken; the last ones can't be.
  const taken = [...settled];
  assert.ok(taken.length < count);
  network.cut();
  const session = await relay.sessions.next();
  const first = Number(await nextUid(session));
  assert.ok(first <= Math.max(...taken) + 1, `${first} came first, ${taken.length} were taken`);
  for (let i = first + 1; i < count; i++) assert.equal(await nextUid(session), String(i));
  await Promise.all(sending);
  assert.deepEqual(settled, Array.from({ length: count }, (_, i) => i));
});

Deno.test("send() rejects a message whose time ran out in a socket that then died", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port);
  await using client = new Client(network.url);
  await relay.sessions.next();
  await client.connected();
  network.stall();
  const { connection } = client;
  const late = connection.send(envelope("late", 20 * 1024 * 1024), 1); // More than kernels take.
  const patient = connection.send(envelope("patient"));
  await checkNotSent(connection.send(envelope("behind"), 2), /was not connected in time/);
  network.cut();
  await checkNotSent(late, /was not connected in time/);
  assert.equal(await nextUid(await relay.sessions.next()), "patient");
  await patient;
});
