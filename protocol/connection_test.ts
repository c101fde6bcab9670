import assert from "node:assert/strict";
import { createEnvelope, decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { readRouting } from "./routing.ts";
import { parseToken, verifyToken } from "./token.ts";
import {
  checkNotSent,
  Client,
  envelope,
  keypair,
  nextUid,
  testEachSocket,
} from "./tests/client.ts";
import { Network, TestRelay } from "./tests/relay.ts";

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

Deno.test.sanitizer({ ops: true, resources: true });

testEachSocket(
  "RelayConnection connects with a token of its session, a fresh one each time",
  async () => {
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
  },
);

testEachSocket("RelayConnection connects a session without a session id as such", async () => {
  await using relay = new TestRelay();
  await using _client = new Client(relay.url, { session: { twin: 7 } });
  const session = await relay.sessions.next();
  assert.equal(parseToken(session.token).claims.sid, undefined);
  const ping = decodeEnvelope(await session.messages.next() as Uint8Array);
  assert.deepEqual([ping.source?.twin, ping.source?.connection], [7, undefined]);
});

testEachSocket("RelayConnection tells when it is connected, and why it is not", async () => {
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

testEachSocket(
  "RelayConnection delivers what the relay sends, in order, pongs left out",
  async () => {
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
  },
);

testEachSocket("send() sends in order, and resolves when the relay has the message", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  const uids = Array.from({ length: 300 }, (_, i) => String(i));
  const sizes = [0, 10, 1000, 100_000];
  const sent = uids.map((uid, i) => client.connection.send(envelope(uid, sizes[i % 4])));
  for (const uid of uids) assert.equal(await nextUid(session), uid);
  await Promise.all(sent);
});

testEachSocket("send() sends a view into larger bytes as it is", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  const bytes = envelope("a");
  await client.connection.send(Uint8Array.of(1, 2, ...bytes, 3).subarray(2, -1));
  assert.equal(await nextUid(session), "a");
});

testEachSocket("messages sent while not connected wait, and go out in order", async () => {
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

testEachSocket(
  "send() rejects a message that was not connected for in time, and only that",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = () => new Response(null, { status: 503 });
    await using client = new Client(relay.url);
    const [first, last] = ["first", "last"].map((uid) => client.connection.send(envelope(uid)));
    await checkNotSent(client.connection.send(envelope("late"), 20), /was not connected in time/);
    await checkNotSent(
      client.connection.send(envelope("at once"), -1),
      /was not connected in time/,
    );
    relay.refuse = undefined;
    const session = await relay.sessions.next();
    assert.equal(await nextUid(session), "first");
    assert.equal(await nextUid(session), "last");
    await Promise.all([first, last]);
  },
);

testEachSocket("send() keeps no timer of a message that is out", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  await client.connection.send(envelope("a"), 3_600_000); // The sanitizer would tell.
});

testEachSocket(
  "what was not confirmed goes out again on the next connection, in order",
  async () => {
    await using relay = new TestRelay();
    await using network = new Network(relay.port);
    await using client = new Client(network.url);
    await relay.sessions.next();
    await client.connected();
    await client.connection.send(envelope("confirmed"));
    network.stall();
    const settled: number[] = [];
    const count = 60; // 30 MiB: more than kernels take.
    const sending = Array.from({ length: count }, async (_, i) => {
      await client.connection.send(envelope(String(i), 512 * 1024));
      settled.push(i);
    });
    await pause(50); // Some of it goes to the kernel.
    assert.deepEqual(settled, []);
    assert.equal(client.connection.waiting, count);
    network.cut();
    const session = await relay.sessions.next();
    for (let i = 0; i < count; i++) assert.equal(await nextUid(session), String(i));
    await Promise.all(sending);
    assert.deepEqual(settled, Array.from({ length: count }, (_, i) => i));
    assert.equal(client.connection.waiting, 0);
  },
);

testEachSocket(
  "send() resolves when a pong says that the relay has the message, not before",
  async () => {
    await using relay = new TestRelay();
    relay.answers = false;
    await using client = new Client(relay.url);
    const session = await relay.sessions.next();
    const first = await session.messages.next() as Uint8Array; // The ping at the start.
    const settled: string[] = [];
    const send = async (uid: string) => {
      await client.connection.send(envelope(uid));
      settled.push(uid);
    };
    const sending = [send("a"), send("b")];
    for (const uid of ["a", "b"]) assert.equal(await nextUid(session), uid);
    session.answer(first); // That was before them.
    const second = await session.messages.next() as Uint8Array;
    assert.equal(readRouting(second).kind, "ping");
    const late = send("c");
    assert.equal(await nextUid(session), "c");
    assert.deepEqual(settled, []);
    session.answer(first); // A pong that comes twice says nothing.
    session.answer(second);
    await Promise.all(sending);
    assert.deepEqual(settled, ["a", "b"]);
    assert.equal(client.connection.waiting, 1);
    session.answer(await session.messages.next() as Uint8Array);
    await late;
    assert.ok(client.connection.roundTrip! > 0);
  },
);

testEachSocket("a stream of messages needs few pings", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const { messages } = await relay.sessions.next();
  const start = performance.now();
  for (let i = 0; i < 5; i++) {
    const burst = Array.from({ length: 100 }, (_, n) => client.connection.send(envelope(`${n}`)));
    await Promise.all(burst);
  }
  const most = 2 + Math.ceil((performance.now() - start) / 100); // One at the start.
  let pings = 0;
  while (messages.length > 0) {
    if (readRouting(await messages.next() as Uint8Array).kind === "ping") pings++;
  }
  assert.ok(pings >= 5 && pings <= most, `${pings} pings, at most ${most}`);
});

testEachSocket("pause() stops what arrives, resume() goes on with it", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url, { times: { ping: 10, silence: 100 } });
  const { socket } = await relay.sessions.next();
  await client.connected();
  const send = (uid: string) => socket.send(envelope(uid, 100_000) as Uint8Array<ArrayBuffer>);
  send("before");
  await client.received.next();
  client.connection.pause();
  const count = 300; // 30 MB: more than kernels take.
  for (let i = 0; i < count; i++) send(`${i}`);
  await pause(200); // Longer than silence: it is not held against the relay.
  assert.ok(client.received.length < count / 2, `${client.received.length} arrived`);
  assert.equal(client.connection.connected, true);
  client.connection.resume();
  for (let i = 0; i < count; i++) {
    assert.equal(readRouting(await client.received.next()).uid, `${i}`);
  }
  client.connection.pause();
  await client.close(); // It goes on for that.
});

testEachSocket("pause() leaves the relay its signs of life", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url, { times: { ping: 10 } });
  const { messages } = await relay.sessions.next();
  await client.connected();
  client.connection.pause();
  for (let pings = 0; pings < 10; pings++) {
    assert.equal(readRouting(await messages.next() as Uint8Array).kind, "ping");
  }
  client.connection.resume();
  await client.connection.send(envelope("after"));
});

testEachSocket(
  "send() rejects a message whose time ran out in a socket, and does not send it again",
  async () => {
    await using relay = new TestRelay();
    await using network = new Network(relay.port);
    await using client = new Client(network.url);
    await relay.sessions.next();
    await client.connected();
    network.stall();
    const { connection } = client;
    const send = (uid: string, size: number, time: number) =>
      checkNotSent(connection.send(envelope(uid, size), time), /did not confirm it in time/);
    const late = send("late", 20 * 1024 * 1024, 1); // More than kernels take.
    const patient = connection.send(envelope("patient"));
    await Promise.all([late, send("behind", 0, 2)]);
    network.cut();
    assert.equal(await nextUid(await relay.sessions.next()), "patient");
    await patient;
  },
);
