/** What a relay queued survives its sudden death. */
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { assertAllOnce, numbered, numberOf, range, ReadingClient } from "./fixtures/numbered.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";
import type { TestSession } from "./fixtures/test_session.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;
const QUEUED = 2000;

/** Sends messages of all sizes to a twin, numbered from and up to below some numbers. */
function sendNumbered(sender: TestSession, twin: number, from: number, to: number): Uint8Array[] {
  return range(from, to).map((i) => {
    const value = new Uint8Array(i * 7919 % 3000).fill(i);
    const fields = { destination: { twin }, message: REQUEST } as const;
    const payload = { case: "cipher", value } as const;
    return sender.send({ uid: `${i}`, ...fields, payload });
  });
}

/** Waits until the relay has stored all that was sent before: what it hands out, it has stored. */
async function stored(network: RelayNetwork, sender: TestSession): Promise<void> {
  const destination = { twin: sender.session.twin, connection: crypto.randomUUID() };
  const sent = sender.send({ destination, message: REQUEST });
  await sender.settled();
  await using receiver = await network.connect(destination.twin, destination.connection);
  assert.deepEqual(await receiver.next(), sent);
}

/** The same for a relay that may end meanwhile: returns whether it has stored all. */
async function isStored(
  network: RelayNetwork,
  sender: TestSession,
  isOpen: () => boolean,
): Promise<boolean> {
  const destination = { twin: sender.session.twin, connection: crypto.randomUUID() };
  sender.send({ destination, message: REQUEST });
  sender.send({ message: { case: "ping", value: {} } });
  await until(() => sender.received.length > 0 || !isOpen(), "a pong");
  sender.received.splice(0);
  const url = await network.url(destination.twin, destination.connection);
  const receiver = await ReadingClient.connect(url).catch(() => undefined);
  await until(() => !isOpen() || receiver?.received.length !== 0, "the message");
  receiver?.[Symbol.dispose]();
  return receiver?.received.length === 1;
}

Deno.test("a relay that is killed delivers all it had queued once, in order, when it runs again", async () => {
  await using network = await RelayNetwork.start([7, 8, 9]);
  const sender = await network.connect(7);
  const sent = [8, 9].map((twin) => sendNumbered(sender, twin, 0, QUEUED));
  await stored(network, sender);
  await network.relay.program.stop("SIGKILL");
  await network.restart();
  for (const [i, twin] of [8, 9].entries()) {
    await using receiver = await network.connect(twin);
    const received = await receiver.take(QUEUED);
    assert.deepEqual(await receiver.settled(), []);
    assert.deepEqual(received, sent[i]);
    console.log(`twin ${twin}: ${QUEUED} queued, ${received.length} delivered after kill -9`);
  }

  // And what was delivered is not delivered again, however the relay ends.
  const connections = () => network.metric('relay_worker_connections{worker="0"}');
  await until(async () => await connections() === 0, "both receivers gone");
  await network.relay.program.stop("SIGKILL");
  await network.restart();
  for (const twin of [8, 9]) {
    await using receiver = await network.connect(twin);
    assert.deepEqual(await receiver.settled(), []);
  }
});

Deno.test("a relay that is killed right after a pong has stored all that was sent before the ping", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const total = { sent: 0, received: 0 };
  for (let round = 0; round < 5; round++) {
    const sender = await network.connect(7);
    const sent = sendNumbered(sender, 8, 0, 100 * round + 1);
    await sender.settled();
    await network.relay.program.stop("SIGKILL");
    await network.restart();
    await using receiver = await network.connect(8);
    assert.deepEqual(await receiver.take(sent.length), sent);
    assert.deepEqual(await receiver.settled(), []);
    total.sent += sent.length;
    total.received += sent.length;
  }
  console.log(`${total.sent} sent before pongs, ${total.received} delivered after kill -9`);
});

Deno.test("a relay that is killed while it queues keeps all up to some message", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const sender = await network.connect(7);
  const sent = QUEUED + 6000;
  sendNumbered(sender, 8, 0, QUEUED);
  await stored(network, sender);
  sendNumbered(sender, 8, QUEUED, sent);
  await until(
    async () => await network.metric("relay_message_rx") > QUEUED + 100,
    "the relay in the middle of the rest",
  );
  await network.relay.program.stop("SIGKILL");
  await network.restart();
  await using receiver = await network.connect(8);
  const received = (await receiver.settled()).map(({ uid }) => Number(uid));
  console.log(`${received.length} of ${sent} sent were queued at kill -9`);
  assert.ok(received.length >= QUEUED);
  assert.deepEqual(received, range(0, received.length));
});

Deno.test("a relay that is killed while it delivers loses nothing, and repeats little", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const sender = await network.connect(7);
  sendNumbered(sender, 8, 0, QUEUED);
  await stored(network, sender);
  const receiver = await network.connect(8);
  await until(() => receiver.received.length > 300, "the receiver in the middle of its queue");
  await network.relay.program.stop("SIGKILL");
  await receiver.closed;
  const before = receiver.received.map((bytes) => numberOf(bytes as Uint8Array));

  await network.restart();
  await using again = await network.connect(8);
  const [first] = (await again.take(1)).map(numberOf);
  const rest = (await again.take(QUEUED - 1 - first!)).map(numberOf);
  assert.deepEqual(await again.settled(), []);
  const repeated = before.length - first!;
  console.log(`${before.length} of ${QUEUED} delivered at kill -9, ${repeated} of them repeated`);
  assert.deepEqual(before, range(0, before.length));
  assert.deepEqual(rest, range(first! + 1, QUEUED));
  assert.ok(
    repeated >= 0 && repeated <= 200,
    `${repeated} repeated: two reads of the mailbox at most`,
  );
});

Deno.test("a relay that is killed has 10,000 messages for several sessions when it runs again", async () => {
  await using network = await RelayNetwork.start([7, 8, 9]);
  const sender = await network.connect(7);
  const sessions = [
    { twin: 8 },
    { twin: 8, connection: "a" },
    { twin: 8, connection: "" },
    { twin: 9 },
    { twin: 9, connection: "a" },
  ];
  const count = 2000;
  for (const i of range(0, count)) {
    // One by one: so they are mixed in the store.
    for (const session of sessions) {
      sender.send(numbered(i, sender.session, session, { size: i * 7919 % 500 }));
    }
  }
  await stored(network, sender);
  await network.relay.program.stop("SIGKILL");
  await network.restart();
  assert.equal(await network.metric("relay_queue_messages"), count * sessions.length);
  // All at once.
  const received = await Promise.all(sessions.map(async ({ twin, connection }) => {
    using client = await ReadingClient.connect(await network.url(twin, connection));
    await until(() => client.received.length >= count, "all messages");
    return await client.close();
  }));
  for (const messages of received) assertAllOnce(messages, { 7: count });
  console.log(
    `${count * sessions.length} messages queued for ${sessions.length} sessions, ` +
      `${received.flat().length} delivered after kill -9`,
  );
  const left = () => network.metric("relay_queue_messages");
  await until(async () => await left() === 0, "the mailboxes empty");
});

Deno.test("a relay that is killed under load has all that it had stored when it runs again", async () => {
  await using network = await RelayNetwork.start([7, 8, 9]);
  const senders: TestSession[] = [];
  for (const connection of ["a", "b", "c"]) senders.push(await network.connect(7, connection));
  // What each has sent, and what of that is known to be stored.
  const sent = senders.map(() => 0);
  const confirmed = senders.map(() => 0);
  const destination = (i: number) => ({ twin: 8, connection: `${i}` });
  const [step, enough] = [200, 1000];
  let ended = 0;
  const sending = senders.map(async (sender, i) => {
    let isOpen = true;
    sender.closed.then(() => isOpen = false);
    while (isOpen) {
      for (const end = sent[i]! + step; sent[i]! < end; sent[i]!++) {
        sender.send(numbered(sent[i]!, sender.session, destination(i), { size: 300 }));
      }
      const known = sent[i]!;
      if (await isStored(network, sender, () => isOpen)) confirmed[i] = known;
    }
    ended++;
  });
  await until(() => confirmed.every((count) => count >= enough), "enough stored");
  await network.relay.program.stop("SIGKILL");
  await until(() => ended === senders.length, "the end noticed");
  await Promise.all(sending);
  await network.restart();
  for (const i of senders.keys()) {
    await using receiver = await network.connect(8, `${i}`);
    const numbers = (await receiver.settled()).map(({ uid }) => Number(uid));
    console.log(
      `sender ${i}: ${sent[i]} sent, ${confirmed[i]} known to be stored, ` +
        `${numbers.length} delivered after kill -9`,
    );
    assert.ok(numbers.length >= confirmed[i]!);
    assert.deepEqual(numbers, range(0, numbers.length));
  }
});
