/** The way of a message through a relay, rule by rule (docs of the protocol: the relay). */
import assert from "node:assert/strict";
import { createEnvelope, decodeEnvelope, type EnvelopeInit, unixNow } from "@rmb/protocol";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import { envelopeBytes, type TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;
const RESPONSE = { case: "response", value: {} } as const;
const ERROR = { case: "error", value: { code: 500, message: "no" } } as const;
const PING = { case: "ping", value: {} } as const;
const PONG = { case: "pong", value: {} } as const;

/** Twins without a session of their own, by what the registry says of them. */
const [UNKNOWN, NO_RELAY, ELSEWHERE, HERE_TOO, AWAY] = [99, 20, 21, 22, 23];

/** Starts a relay for the twins 7, 8 and those above. */
function startRelay(): Promise<RelayNetwork> {
  return RelayNetwork.start([7, 8, NO_RELAY, ELSEWHERE, HERE_TOO, AWAY], {
    elsewhere: { [NO_RELAY]: "", [ELSEWHERE]: "a.test_b.test", [HERE_TOO]: "a.test_relay.test" },
  });
}

/** Sends a request and asserts that the next thing that comes, and the only one, is the relay's error. */
async function assertRefused(
  session: TestSession,
  fields: EnvelopeInit,
  message: string,
): Promise<void> {
  const before = BigInt(unixNow());
  const { uid } = decodeEnvelope(session.send({ message: REQUEST, ...fields }));
  const answer = await session.nextEnvelope();
  const { timestamp } = answer;
  assert.ok(timestamp >= before && timestamp <= BigInt(unixNow()), "stamped");
  assert.deepEqual(
    answer,
    createEnvelope({
      uid,
      timestamp,
      expiration: 300n,
      destination: session.session,
      message: { case: "error", value: { code: 0, message } },
    }),
  );
  assert.deepEqual(await session.settled(), []);
}

Deno.test("a relay refuses a message whose source is not its session", async () => {
  await using network = await startRelay();
  await using none = await network.connect(7);
  await using empty = await network.connect(7, "");
  await using bot = await network.connect(7, "bot");
  await using other = await network.connect(8);
  const destination = { twin: 8 };
  for (
    const [session, ...sources] of [
      [none, { twin: 8 }, { twin: 0 }, { twin: 7, connection: "" }, { twin: 7, connection: "bot" }],
      [empty, { twin: 7 }, { twin: 7, connection: "bot" }],
      [bot, { twin: 7 }, { twin: 7, connection: "" }, { twin: 7, connection: "Bot" }],
    ] as const
  ) {
    for (const source of sources) {
      await assertRefused(session, { source, destination }, "message wrong source");
    }
    session.send(envelopeBytes({ destination, message: REQUEST }));
    const [refusal] = await session.settled();
    assert.equal(refusal?.message.case, "error", "a message without a source is refused");
  }
  assert.deepEqual(await other.settled(), [], "nothing was delivered");
});

Deno.test("a relay answers a ping with a pong, whatever its destination and signature", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7, "bot");
  await using other = await network.connect(8);
  const ping: EnvelopeInit = {
    uid: "ping",
    tags: "fail-fast",
    timestamp: 1n,
    expiration: 2n,
    source: session.session,
    destination: { twin: 8 },
    message: PING,
    signature: new Uint8Array(65),
    payload: { case: "plain", value: new TextEncoder().encode("I say ") },
  };
  const { source, destination, ...rest } = ping;
  const swapped = { ...rest, source: destination, destination: source, message: PONG };
  const greeting = (text: string) => ({ case: "plain", value: new TextEncoder().encode(text) });

  session.send(ping);
  const pong = { ...swapped, payload: greeting("I say hello world") };
  assert.deepEqual(await session.nextEnvelope(), createEnvelope(pong as EnvelopeInit));

  session.send({ ...ping, payload: { case: "cipher", value: new Uint8Array(100) } });
  const withoutCipher = { ...swapped, payload: greeting("hello world") };
  assert.deepEqual(await session.nextEnvelope(), createEnvelope(withoutCipher as EnvelopeInit));

  for (const twin of [UNKNOWN, 0]) {
    session.send({ uid: "other ping", destination: { twin }, message: PING });
    assert.equal((await session.nextEnvelope()).message.case, "pong");
  }
  assert.deepEqual(await other.settled(), [], "no ping was delivered");
});

Deno.test("a relay answers no ping of another session", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7, "bot");
  session.send({ source: { twin: 7 }, message: PING });
  assert.deepEqual(await session.settled(), []);
});

Deno.test("a relay refuses a request that goes nowhere", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7, "bot");
  for (
    const [destination, message] of [
      [{ twin: 0 }, "message with missing destination"],
      [{ twin: 0, connection: "bot" }, "message with missing destination"],
      [{ twin: UNKNOWN }, "unknown twin destination"],
      [{ twin: NO_RELAY }, "relay info is not set for this twin"],
    ] as const
  ) {
    await assertRefused(session, { destination }, message);
    await assertRefused(session, { destination, tags: "fail-fast" }, message);
  }
  session.send({ message: REQUEST });
  const [refusal] = await session.settled();
  assert.equal(refusal?.message.case, "error", "no destination at all");
});

Deno.test("a relay refuses for the first reason there is", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7);
  const source = { twin: 8 };
  await assertRefused(session, { source, destination: { twin: 0 } }, "message wrong source");
  await assertRefused(session, { source, destination: { twin: UNKNOWN } }, "message wrong source");
});

Deno.test("a relay says nothing about what is not a request and can't be delivered", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7);
  for (const message of [RESPONSE, ERROR, PONG, { case: undefined }] as const) {
    session.send({ message, source: { twin: 8 }, destination: { twin: 8 } });
    session.send({ message, destination: { twin: 0 } });
    assert.deepEqual(await session.settled(), []);
    // What is said of a request behind it, and first, shows that nothing was said before.
    for (
      const [twin, reason] of [
        [UNKNOWN, "unknown twin destination"],
        [NO_RELAY, "relay info is not set for this twin"],
        [AWAY, "destination offline"],
      ] as const
    ) {
      const fields = { destination: { twin }, tags: "fail-fast" };
      session.send({ message, ...fields });
      await assertRefused(session, fields, reason);
    }
  }
  await using away = await network.connect(AWAY);
  assert.deepEqual(await away.settled(), [], "what has to fail fast was not queued");
});

Deno.test("a relay delivers the very bytes that it got, to the session that they name", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  await using none = await network.connect(8);
  await using empty = await network.connect(8, "");
  await using bot = await network.connect(8, "bot:1");
  for (const receiver of [none, empty, bot]) {
    const sent: Uint8Array[] = [];
    for (const message of [REQUEST, RESPONSE, ERROR, PONG, { case: undefined }] as const) {
      const fields = { message, destination: receiver.session, tags: "", schema: "" };
      sent.push(sender.send(fields));
      sent.push(
        sender.send({ ...fields, payload: { case: "cipher", value: new Uint8Array(70_000) } }),
      );
    }
    // What no decoder would make again: a field that is not known yet, before all others.
    const envelope = envelopeBytes({ source: sender.session, destination: receiver.session });
    sent.push(sender.send(Uint8Array.of(0x9a, 0x06, 0x01, 0x78, ...envelope)));
    // Expired: it is for the receiver to see.
    sent.push(sender.send({ destination: receiver.session, timestamp: 1n, expiration: 1n }));
    assert.deepEqual(await receiver.take(sent.length), sent);
  }
  for (const receiver of [none, empty, bot]) assert.deepEqual(await receiver.settled(), []);
});

Deno.test("a relay delivers to who is connected, whatever the registry says of them", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  for (const twin of [NO_RELAY, ELSEWHERE]) {
    await using receiver = await network.connect(twin);
    const sent = sender.send({ destination: { twin }, message: REQUEST, tags: "fail-fast" });
    assert.deepEqual(await receiver.next(), sent);
  }
});

Deno.test("a relay delivers to the sender's own session, and to another of its twin", async () => {
  await using network = await startRelay();
  await using session = await network.connect(7);
  await using other = await network.connect(7, "bot");
  for (const receiver of [session, other]) {
    const sent = session.send({ destination: receiver.session, message: REQUEST });
    assert.deepEqual(await receiver.next(), sent);
  }
});

Deno.test("a relay queues for a session that is away, and drops what expires there", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  for (const away of [{ twin: AWAY }, { twin: AWAY, connection: "" }, { twin: HERE_TOO }]) {
    const send = (fields: EnvelopeInit) => sender.send({ destination: away, ...fields });
    const first = send({ message: REQUEST });
    send({ message: REQUEST, timestamp: BigInt(unixNow() - 100), expiration: 100n });
    send({ message: REQUEST, timestamp: 0n, expiration: 0n });
    const ahead = send({ message: RESPONSE, timestamp: BigInt(unixNow() + 1000), expiration: 1n });
    const endless = send({ message: ERROR, expiration: 0xffff_ffff_ffff_ffffn });
    await sender.settled();

    await using receiver = await network.connect(away.twin, away.connection);
    assert.deepEqual(await receiver.take(3), [first, ahead, endless]);
    const direct = send({ message: REQUEST });
    assert.deepEqual(await receiver.next(), direct);
  }
  assert.deepEqual(await sender.settled(), [], "queueing is not an error");
});

Deno.test("a relay delivers what it queued once, also if the session comes and goes", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  const sent = Array.from(
    { length: 250 },
    (_, i) => sender.send({ uid: `${i}`, destination: { twin: AWAY }, message: REQUEST }),
  );
  await sender.settled();
  const received: Uint8Array[] = [];
  {
    await using receiver = await network.connect(AWAY);
    received.push(...await receiver.take(sent.length));
  }
  await using receiver = await network.connect(AWAY);
  assert.deepEqual(await receiver.settled(), []);
  assert.deepEqual(received, sent);
});

Deno.test("a relay refuses to queue what is tagged fail-fast, as a word of its own", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  const destination = { twin: AWAY };
  for (
    const tags of ["fail-fast", "a,fail-fast", "fail-fast b", "a\tfail-fast,\nb", ",fail-fast"]
  ) {
    await assertRefused(sender, { tags, destination }, "destination offline");
  }
  const sent = ["fail-faster", "not-fail-fast", "Fail-Fast", "fail,fast", "fail-fast;", ""]
    .map((tags) => sender.send({ tags, destination, message: REQUEST }));
  await using receiver = await network.connect(AWAY);
  assert.deepEqual(await receiver.take(sent.length), sent);
  assert.deepEqual(await sender.settled(), []);
});

Deno.test("a relay tells a requester when the queue of the destination is full", async () => {
  await using network = await startRelay();
  await using sender = await network.connect(7);
  const destination = { twin: AWAY };
  const fill = envelopeBytes({ source: { twin: 7 }, destination, message: RESPONSE });
  for (let i = 0; i < 10_000; i++) sender.send(fill);
  await assertRefused(sender, { destination }, "queue of the destination is full");
  sender.send(fill);
  await assertRefused(sender, { destination }, "queue of the destination is full");
  await using receiver = await network.connect(AWAY);
  const first = await receiver.take(10_000);
  assert.ok(first.every((bytes) => bytes.length === fill.length));
  const sent = sender.send({ destination, message: REQUEST });
  assert.deepEqual(await receiver.next(), sent);
});
