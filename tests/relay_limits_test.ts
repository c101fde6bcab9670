/** What a relay's operator can limit. */
import assert from "node:assert/strict";
import { decodeEnvelope, readRouting, unixNow } from "@rmb/protocol";
import { until } from "./fixtures/deadline.ts";
import { range } from "./fixtures/numbered.ts";
import { RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import { envelopeBytes, type TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;
const PING = { case: "ping", value: {} } as const;
const EXCEEDED = "exceeded rate limits, dropping message";

/** Waits for the next window of a minute if this one has too little left for a test. */
async function enoughOfWindow(seconds: number): Promise<void> {
  const left = 60 - unixNow() % 60;
  if (left > seconds) return;
  await until(() => unixNow() % 60 < 5, "the next minute", (seconds + 2) * 1000);
}

/** The error that a session is told next. */
async function nextError(session: TestSession): Promise<[uid: string, message: string]> {
  const { uid, message } = await session.nextEnvelope();
  assert.equal(message.case, "error");
  return [uid, message.value.message];
}

Deno.test("a relay lets each twin send so many messages in a minute, pings and all its sessions counted", async () => {
  await enoughOfWindow(10);
  await using network = await RelayNetwork.start([7, 8, 9], {
    args: ["--limit", "10", "1000000"],
  });
  await using receiver = await network.connect(8);
  await using session = await network.connect(7);
  await using another = await network.connect(7, "a");
  await using stranger = await network.connect(9);
  const request = (from: TestSession, uid: string) =>
    from.send({ uid, destination: { twin: 8 }, message: REQUEST });
  for (const i of range(0, 4)) request(session, `${i}`);
  assert.equal((await session.settled()).length, 0, "the fifth, a ping, is answered");
  for (const i of range(4, 9)) request(another, `${i}`); // The sixth to the tenth.
  await until(() => receiver.received.length === 9, "all that is allowed");
  request(another, "10");
  assert.deepEqual(await nextError(another), ["10", EXCEEDED]);
  request(session, "11");
  assert.deepEqual(await nextError(session), ["11", EXCEEDED]);
  // Nothing is said of what is no request, not even of a ping.
  session.send({ destination: { twin: 8 }, message: { case: "response", value: {} } });
  session.send({ message: PING });
  request(session, "12");
  assert.deepEqual(await nextError(session), ["12", EXCEEDED]);
  // And others are not limited by it.
  request(stranger, "other");
  await until(() => receiver.received.length === 10, "the other's message");
  const uids = receiver.received.map((bytes) => readRouting(bytes as Uint8Array).uid);
  console.log(`at most 10 messages: ${uids.join(", ")} came, then "${EXCEEDED}"`);
  assert.deepEqual(uids.toSorted(), [...range(0, 9).map(String), "other"]);
});

Deno.test("a relay lets each twin send so many bytes in a minute; a message above all of them counts not", async () => {
  await enoughOfWindow(10);
  await using network = await RelayNetwork.start([7, 8], { args: ["--limit", "1000", "10000"] });
  await using receiver = await network.connect(8);
  await using session = await network.connect(7);
  const sized = (uid: string, size: number) => {
    const payload = { case: "plain", value: new Uint8Array(size) } as const;
    const fields = { uid, source: { twin: 7 }, destination: { twin: 8 }, message: REQUEST };
    return envelopeBytes({ ...fields, payload });
  };
  session.send(sized("huge", 10_001));
  assert.deepEqual(await nextError(session), ["huge", EXCEEDED]);
  session.send(sized("a", 4500));
  session.send(sized("b", 4500));
  session.send(sized("c", 4500));
  assert.deepEqual(await nextError(session), ["c", EXCEEDED]);
  session.send(sized("d", 10)); // What was dropped counts too.
  assert.deepEqual(await nextError(session), ["d", EXCEEDED]);
  const came = (await receiver.take(2)).map((bytes) => decodeEnvelope(bytes).uid);
  console.log(`at most 10,000 bytes: ${came.join(", ")} came of huge, a, b, c, d`);
  assert.deepEqual(came, ["a", "b"]);
  assert.deepEqual(receiver.received, []);
});

Deno.test("a relay has no more sessions than --workers times --user-per-worker, and says so", async () => {
  await using network = await RelayNetwork.start([7, 8], {
    args: ["--workers", "1", "--user-per-worker", "2"],
  });
  await using first = await network.connect(7);
  const second = await network.connect(7, "a");
  const refusal = await RawWebSocket.connect(await network.url(8)).then(
    () => "connected",
    ({ message }: Error) => message,
  );
  console.log(`the third session of two: ${refusal.split("\r\n\r\n")[1]?.trim()}`);
  assert.match(refusal, /^not upgraded: HTTP\/1\.1 503 /);
  assert.match(refusal, /2 sessions are connected: no more are taken now\n$/);
  // The sessions that are there go on, and there is room again when one has gone.
  assert.deepEqual(await first.settled(), []);
  await second.close();
  await until(
    async () => await network.metric('relay_worker_connections{worker="0"}') === 1,
    "the second session gone",
  );
  await using third = await network.connect(8);
  assert.deepEqual(await third.settled(), []);
});

Deno.test("a session of a full relay can replace its own connection", async () => {
  await using network = await RelayNetwork.start([7], {
    args: ["--workers", "1", "--user-per-worker", "1"],
  });
  const older = await network.connect(7);
  // It may have lost the older one without the relay's knowing.
  await using newer = await network.connect(7);
  assert.equal((await older.closed).code, 4000);
  assert.deepEqual(await newer.settled(), []);
});

Deno.test("a relay closes who sends more than --max-message in fragments, and takes as much", async () => {
  await using network = await RelayNetwork.start([7, 8], { args: ["--max-message", "1000"] });
  await using receiver = await network.connect(8);
  const message = (size: number) => {
    const payload = { case: "plain", value: new Uint8Array(size) } as const;
    const fields = { source: { twin: 7 }, destination: { twin: 8 }, message: REQUEST };
    return envelopeBytes({ ...fields, payload });
  };
  const overhead = message(500).length - 500;
  for (const [size, code] of [[1000, undefined], [1001, 1009]] as const) {
    using client = await RawWebSocket.connect(await network.url(7));
    const bytes = message(size - overhead);
    assert.equal(bytes.length, size);
    await client.send(2, bytes.subarray(0, 500), false);
    await client.send(0, bytes.subarray(500, 990), false);
    await client.send(0, bytes.subarray(990));
    if (code === undefined) {
      assert.deepEqual(await receiver.next(), bytes);
    } else {
      const frame = await client.read();
      assert.equal(frame && frame.payload[0]! * 256 + frame.payload[1]!, code);
    }
  }
  assert.deepEqual(await receiver.settled(), []);
});
