/** An orderly end and new start of a relay while messages flow. */
import assert from "node:assert/strict";
import { inTime, until } from "./fixtures/deadline.ts";
import { assertAllOnce, numbered, ReadingClient } from "./fixtures/numbered.ts";
import { OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { pause } from "./fixtures/reconnects.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";

/**
 * Sends numbered messages until the relay closes the connection, and then says so too, behind them.
 *
 * @param from The first number.
 * @returns The number behind the last.
 */
async function sendUntilClosed(url: string, twin: number, from: number): Promise<number> {
  using client = await RawWebSocket.connect(url);
  let closed = false;
  const reading = (async () => {
    for (;;) {
      const frame = await client.read();
      if (frame === undefined) return;
      if (frame.opcode !== OPCODE.close) continue;
      assert.equal(frame.payload[0]! * 256 + frame.payload[1]!, 1001);
      closed = true;
    }
  })();
  let next = from;
  while (!closed) {
    for (let i = 0; i < 20; i++) {
      const bytes = numbered(next++, { twin }, { twin: 8 }, { size: 500 });
      await client.send(OPCODE.binary, bytes);
    }
    await pause(1);
  }
  await client.send(OPCODE.close, Uint8Array.of(1001 >> 8, 1001 & 0xff));
  await inTime(reading, "the end of the connection");
  return next;
}

Deno.test("a relay that is told to stop takes what its sessions send before they say that they close", async () => {
  await using network = await RelayNetwork.start([7, 8, 9, 11]);
  const twins = [7, 9, 11];
  let next = twins.map(() => 0);
  for (let round = 0; round < 3; round++) {
    const sending = twins.map(async (twin, i) =>
      await sendUntilClosed(await network.url(twin), twin, next[i]!)
    );
    const received = () => network.metric("relay_message_rx");
    await until(async () => await received() > 500, "some load");
    assert.equal((await network.relay.program.stop("SIGTERM")).code, 0);
    next = await Promise.all(sending);
    await network.restart();
  }
  const all = next.reduce((sum, count) => sum + count);
  using receiver = await ReadingClient.connect(await network.url(8));
  await until(() => receiver.received.length >= all, "all messages", 5000).catch(() => {});
  const received = await receiver.close();
  console.log(`${all} sent while the relay was stopped 3 times, ${received.length} came`);
  assertAllOnce(received, Object.fromEntries(twins.map((twin, i) => [`${twin}`, next[i]!])));
});
