/** What a relay queued survives its sudden death. */
import assert from "node:assert/strict";
import { readRouting } from "@rmb/protocol";
import { until } from "./fixtures/deadline.ts";
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

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const number = (bytes: Uint8Array) => Number(readRouting(bytes).uid);

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
  const before = receiver.received.map((bytes) => number(bytes as Uint8Array));

  await network.restart();
  await using again = await network.connect(8);
  const [first] = (await again.take(1)).map(number);
  const rest = (await again.take(QUEUED - 1 - first!)).map(number);
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
