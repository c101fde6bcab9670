/** Sessions of a relay: how they begin and end; and what a relay answers to other requests. */
import assert from "node:assert/strict";
import { createToken } from "@rmb/protocol";
import { inTime, until } from "./fixtures/deadline.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { RelayNetwork, testTwin } from "./fixtures/relay_network.ts";
import { envelopeBytes, type TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;

async function assertClosed(session: TestSession, code: number, reason: RegExp): Promise<void> {
  const closed = await inTime(session.closed, "the relay to close the session");
  assert.equal(closed.code, code);
  assert.match(closed.reason, reason);
}

Deno.test("a relay keeps the sessions of a twin apart: without id, with an empty one, with others", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(8);
  const ids = [undefined, "", "bot", "BOT", "a:b", "é"];
  const sessions: TestSession[] = [];
  for (const id of ids) sessions.push(await network.connect(7, id));
  assert.equal(await network.metric('relay_worker_connections{worker="0"}'), ids.length + 1);
  for (const { session } of sessions) {
    sender.send({ uid: session.connection ?? "none", destination: session, message: REQUEST });
  }
  await sender.settled();
  for (const session of sessions) {
    const arrived = await session.settled();
    assert.deepEqual(arrived.map(({ uid }) => uid), [session.session.connection ?? "none"]);
    await session.close();
  }
});

Deno.test("a relay closes the older connection of a session, and only that", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(8);
  const older = await network.connect(7, "bot");
  await using bystander = await network.connect(7);
  await using newer = await network.connect(7, "bot");
  await assertClosed(older, 4000, /replaced by a newer connection/);
  assert.equal(await network.metric('relay_session_evictions_total{reason="cancelled"}'), 1);
  assert.equal(await network.metric('relay_worker_connections{worker="0"}'), 3);
  for (const receiver of [newer, bystander]) {
    const sent = sender.send({ destination: receiver.session, message: REQUEST });
    assert.deepEqual(await receiver.next(), sent);
  }
  assert.deepEqual(await newer.settled(), []);
});

Deno.test("a relay delivers each message once while a session changes connections", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(8);
  const connections: TestSession[] = [];
  let sent = 0;
  for (let i = 0; i < 20; i++) {
    connections.push(await network.connect(7));
    for (let j = 0; j < 50; j++) {
      sender.send({ uid: `${sent++}`, destination: { twin: 7 }, message: REQUEST });
    }
  }
  const last = connections.at(-1)!;
  const arrived: string[] = [];
  for (const connection of connections) {
    if (connection !== last) await assertClosed(connection, 4000, /replaced/);
    arrived.push(...connection.receivedUids());
  }
  while (arrived.length < sent) arrived.push((await last.nextEnvelope()).uid);
  assert.deepEqual(arrived, Array.from({ length: sent }, (_, i) => `${i}`));
  assert.deepEqual(await last.settled(), []);
  await last.close();
});

Deno.test("a relay does not deliver again what a client got before it went", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using sender = await network.connect(8);
  for (let i = 0; i < 20; i++) {
    const receiver = await network.connect(7);
    await receiver.settled();
    const sent = [1, 2, 3].map(() => sender.send({ destination: { twin: 7 }, message: REQUEST }));
    assert.deepEqual(await receiver.take(3), sent);
    await receiver.close();
    await using next = await network.connect(7);
    assert.deepEqual(await next.settled(), []);
  }
});

Deno.test("a relay closes a session that sends text", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using other = await network.connect(8);
  const session = await network.connect(7);
  session.sendText("hello");
  await assertClosed(session, 1003, /text/);
  assert.deepEqual(await other.settled(), [], "others go on");
});

Deno.test("a relay closes a session that sends what is not an envelope, and delivers none of it", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using other = await network.connect(8);
  const fields = { source: { twin: 7 }, destination: other.session, message: REQUEST };
  const good = envelopeBytes({ uid: "uid", ...fields });
  const bad: Record<string, Uint8Array> = {
    "bytes of no meaning": Uint8Array.of(0xff, 0xff, 0xff),
    "an envelope that ends early": good.subarray(0, -1),
    "an envelope with one byte more": Uint8Array.of(...good, 0),
    "a field of another wire type": Uint8Array.of(...good, 0x90, 0x01, 0x01, 0x48, 0x01),
    "text that is not UTF-8": Uint8Array.of(...good, 0x12, 0x02, 0xc3, 0x28),
    "a field twice": Uint8Array.of(...good, 0x0a, 0x01, 0x78),
    "two messages": Uint8Array.of(...good, 0x42, 0x00),
    "a group": Uint8Array.of(...good, 0x9b, 0x06, 0x9c, 0x06),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    const session = await network.connect(7);
    session.send(bytes);
    session.send(good);
    const { code } = await inTime(session.closed, `the end of a session that sent ${what}`);
    assert.equal(code, 1007, what);
    assert.deepEqual(await other.settled(), [], what);
  }
});

Deno.test("a relay closes a session that sends more than --max-message, and takes as much", async () => {
  await using network = await RelayNetwork.start([7, 8], { args: ["--max-message", "1000"] });
  await using other = await network.connect(8);
  const session = await network.connect(7);
  const sized = (size: number) => {
    const payload = { case: "plain", value: new Uint8Array(size) } as const;
    const bytes = envelopeBytes({ source: { twin: 7 }, destination: { twin: 8 }, payload });
    return size === 0 ? bytes.length : bytes;
  };
  const overhead = (sized(500) as Uint8Array).length - 500;
  const fits = sized(1000 - overhead) as Uint8Array;
  assert.equal(fits.length, 1000);
  session.send(fits);
  assert.deepEqual(await other.next(), fits);
  session.send(sized(1001 - overhead) as Uint8Array);
  await assertClosed(session, 1009, /^$/);
  assert.deepEqual(await other.settled(), []);
});

Deno.test("a relay answers WebSocket pings, and takes a message in fragments", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  await using other = await network.connect(8);
  using client = await RawWebSocket.connect(await network.url(7));
  const message = envelopeBytes({
    source: { twin: 7 },
    destination: { twin: 8 },
    message: REQUEST,
  });
  const ping = new TextEncoder().encode("are you there?");
  await client.write(encodeFrame(OPCODE.binary, message.subarray(0, 10), false));
  await client.write(encodeFrame(OPCODE.more, message.subarray(10, 20), false));
  await client.write(encodeFrame(OPCODE.ping, ping));
  await client.write(encodeFrame(OPCODE.more, message.subarray(20)));
  assert.deepEqual(await other.next(), message);
  assert.deepEqual(await client.read(), { opcode: OPCODE.pong, payload: ping });
});

Deno.test("a relay says before the upgrade why it refuses a token", async () => {
  await using network = await RelayNetwork.start([7]);
  const { url } = network.relay;
  const token = await createToken(network.keypair(8), { twin: 7 });
  for (
    const [address, answer] of [
      [url, /^not upgraded: HTTP\/1\.1 400 .*\r\n\r\na token is missing/s],
      [`${url}/?`, /^not upgraded: HTTP\/1\.1 400 /],
      [`${url}/?token`, /^not upgraded: HTTP\/1\.1 401 .*\r\n\r\nMalformed token/s],
      [`${url}/?${token}`, /^not upgraded: HTTP\/1\.1 401 .*Token signature does not hold/s],
    ] as const
  ) {
    await assert.rejects(RawWebSocket.connect(address), { message: answer });
  }
  using _ = await RawWebSocket.connect((await network.url(7)).replace("/?", "/any/path?"));
});

Deno.test("a relay answers 404 where there is no upgrade and no page", async () => {
  await using network = await RelayNetwork.start([7]);
  const { http } = network.relay;
  const token = await createToken(network.keypair(7), { twin: 7 });
  for (
    const [method, path] of [
      ["GET", `/?${token}`],
      ["GET", "/metrics/"],
      ["GET", "/index.html"],
      ["POST", "/metrics"],
      ["DELETE", "/health"],
    ] as const
  ) {
    const answer = await fetch(http + path, { method });
    assert.equal(answer.status, 404, `${method} ${path}`);
    assert.equal(await answer.text(), "page not found\n");
  }
});

Deno.test("a relay answers /health, and /metrics under the names that dashboards know", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const { http } = network.relay;
  assert.equal(await (await fetch(`${http}/health`)).text(), "ready\n");
  assert.equal(await (await fetch(`${http}/health/live`)).text(), "alive\n");
  {
    await using sender = await network.connect(7);
    await using receiver = await network.connect(8);
    const sent = sender.send({ destination: { twin: 8 }, message: REQUEST });
    await receiver.next();
    await sender.settled();
    assert.equal(await network.metric("relay_message_rx"), 1);
    assert.equal(await network.metric("relay_message_rx_bytes"), sent.length);
    assert.equal(await network.metric("relay_message_tx"), 2, "the pong too");
    assert.ok(await network.metric("relay_message_tx_bytes") > sent.length);
    assert.equal(await network.metric('relay_worker_connections{worker="0"}'), 2);
  }
  const closed = 'relay_session_evictions_total{reason="closed"}';
  await until(async () => await network.metric(closed) === 2, "both sessions counted as closed");

  const answer = await fetch(`${http}/metrics`);
  assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const types = Object.fromEntries(
    (await answer.text()).matchAll(/^# TYPE (\S+) (\S+)$/gm).map(
      ([, name, type]) => [name, type],
    ),
  );
  assert.partialDeepStrictEqual(types, {
    relay_worker_connections: "gauge",
    relay_message_rx: "counter",
    relay_message_tx: "counter",
    relay_message_rx_bytes: "counter",
    relay_message_tx_bytes: "counter",
    relay_session_evictions_total: "counter",
    process_cpu_seconds_total: "counter",
    process_resident_memory_bytes: "gauge",
    process_start_time_seconds: "gauge",
  });
});

Deno.test("a relay notices a change of the twins file without a restart", async () => {
  await using network = await RelayNetwork.start([7, 8], { elsewhere: { 8: "" } });
  await using session = await network.connect(7);
  const refusal = async (twin: number) => {
    session.send({ destination: { twin }, message: REQUEST, tags: "fail-fast" });
    const { message } = await session.nextEnvelope();
    return message.case === "error" ? message.value.message : message.case;
  };
  assert.equal(await refusal(8), "relay info is not set for this twin");
  await network.changeTwins(() => ({ relay: "relay.test" }));
  await until(async () => await refusal(8) === "destination offline", "the relay of twin 8 known");

  const { type } = testTwin(9);
  await assert.rejects(network.connect(9), /401/);
  const account = network.keypair(9).address;
  await network.changeTwins(({ id }) => id === 8 ? { id: 9, account, relay: "relay.test" } : {});
  await until(async () => await refusal(8) === "unknown twin destination", "twin 8 gone");
  await using newcomer = await network.connect(9);
  assert.deepEqual(await newcomer.settled(), [], `a ${type} twin is known`);
});
