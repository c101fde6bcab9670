import assert from "node:assert/strict";
import { unixNow } from "@rmb/protocol";
import { until } from "../tests/fixtures/deadline.ts";
import { ConnectedSession } from "./connected_session.ts";
import { RelayMetrics } from "./metrics.ts";
import { SqliteStore } from "./sqlite/store.ts";
import { FakeSocket } from "./tests/fake_socket.ts";

Deno.test("ConnectedSession with most in memory is dropped when all have too much, and keeps its queue", async () => {
  const metrics = new RelayMetrics();
  await using store = new SqliteStore(":memory:");
  const make = async (twin: number) => {
    const socket = new FakeSocket(() => "");
    const { mailbox } = store;
    const before = Promise.resolve();
    const session = new ConnectedSession({ twin }, socket.asWebSocket(), mailbox, metrics, before);
    await until(() => session.direct, "messages go straight to the socket");
    return { socket, session };
  };
  const sessions = await Promise.all([1, 2, 3, 4, 5].map(make));
  const [first, ...others] = sessions;
  const sized = (mebibytes: number) => new Uint8Array(mebibytes * 1024 * 1024);
  first!.session.deliver(sized(120), unixNow() + 60);
  const less = sized(110); // Once in this test's memory, however often it is sent.
  for (const { session } of others) session.deliver(less, unixNow() + 60);
  await first!.session.ended;
  assert.equal((await store.mailbox.read("1")).length, 1);
  assert.deepEqual(others.map(({ session }) => session.open), [true, true, true, true]);
  assert.equal(metrics.unsentBytes, 4 * less.length);
  for (const { socket } of others) socket.take();
  assert.equal(metrics.unsentBytes, 0);
  for (const { socket } of others) socket.end(1000);
  await Promise.all(others.map(({ session }) => session.ended));
  assert.equal(metrics.unsentBytes, 0);
});
