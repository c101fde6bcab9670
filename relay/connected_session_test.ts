import assert from "node:assert/strict";
import fc from "fast-check";
import { until } from "../tests/fixtures/deadline.ts";
import { ConnectedSession } from "./connected_session.ts";
import { RelayMetrics } from "./metrics.ts";
import { SqliteStore } from "./sqlite/store.ts";
import { Clock } from "./tests/clock.ts";
import { FakeSocket } from "./tests/fake_socket.ts";
import {
  bytes,
  LARGE,
  LARGE_SIZE,
  LATER,
  pause,
  SessionFixture,
  text,
  turn,
} from "./tests/session_fixture.ts";

Deno.test("ConnectedSession sends straight to a socket that keeps up", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  const delivered = ["one", "two"].map((text) => fixture.session.deliver(bytes(text), LATER));
  assert.deepEqual(delivered, [undefined, undefined]);
  assert.deepEqual(fixture.socket.sent, ["one", "two"]);
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession sends what waits before what comes, in order", async () => {
  const store = new SqliteStore(":memory:");
  const { mailbox } = store;
  for (let i = 0; i < 250; i++) await mailbox.append("7", bytes(`${i}`), LATER);
  await using fixture = new SessionFixture({ store });
  await fixture.deliver("250", "251");
  await fixture.sent(100);
  await fixture.deliver("252");
  fixture.socket.take();
  assert.deepEqual(await fixture.sent(253), Array.from({ length: 253 }, (_, i) => `${i}`));
});

Deno.test("ConnectedSession misses nothing that comes while it reads the mailbox", async () => {
  const store = new SqliteStore(":memory:");
  const { mailbox } = store;
  const read = mailbox.read.bind(mailbox);
  const [reading, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  mailbox.read = async (session) => {
    mailbox.read = read;
    const queued = await read(session);
    reading.resolve();
    await go.promise;
    return queued;
  };
  await using fixture = new SessionFixture({ store });
  await reading.promise;
  await fixture.deliver("one");
  go.resolve();
  assert.deepEqual(await fixture.sent(1), ["one"]);
});

Deno.test("ConnectedSession waits for what is to come first into the mailbox", async () => {
  const before = Promise.withResolvers<void>();
  await using fixture = new SessionFixture({ before: before.promise });
  await fixture.deliver("second");
  await fixture.settled();
  assert.deepEqual(fixture.socket.sent, []);
  await fixture.mailbox.putBack("7", [{ envelope: bytes("first"), expires: LATER }]);
  before.resolve();
  assert.deepEqual(await fixture.sent(2), ["first", "second"]);
});

Deno.test("ConnectedSession lets messages wait in the mailbox while the socket has too many", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver(LARGE, "two", "three");
  await fixture.settled();
  assert.deepEqual(fixture.socket.sent, [LARGE]);
  assert.equal((await fixture.mailbox.read("7")).length, 2);

  fixture.socket.take(LARGE_SIZE - 1);
  await fixture.settled();
  assert.equal(fixture.socket.sent.length, 1, "not before the kernel has all");
  fixture.socket.take();
  assert.deepEqual(await fixture.sent(3), [LARGE, "two", "three"]);
  fixture.socket.take();
  await fixture.direct();
  await fixture.deliver("four");
  assert.equal(fixture.socket.sent.at(-1), "four");
  fixture.socket.take();
  await until(async () => (await fixture.mailbox.read("7")).length === 0, "nothing in the mailbox");
});

Deno.test("ConnectedSession puts back what the kernel had not taken when the client went", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one");
  fixture.socket.take();
  await fixture.settled();
  await fixture.deliver("two", LARGE, "four");
  fixture.socket.take(3);
  await fixture.settled();
  fixture.socket.end(1006);
  await fixture.deliver("five");
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), [LARGE, "four", "five"]);
});

Deno.test("ConnectedSession looks soon enough to know what a client read that then goes", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one", "two");
  fixture.socket.take();
  await turn();
  await turn();
  fixture.socket.end(1000);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession leaves in the mailbox what the client has not got of it", async () => {
  const store = new SqliteStore(":memory:");
  const { mailbox } = store;
  for (const text of ["one", "two", "three"]) await mailbox.append("7", bytes(text), LATER);
  await using fixture = new SessionFixture({ store });
  await fixture.sent(3);
  fixture.socket.take("one".length);
  await fixture.settled();
  fixture.socket.end(1006);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), ["two", "three"]);
});

Deno.test("ConnectedSession keeps the order of what it puts back and what is in the mailbox yet", async () => {
  const store = new SqliteStore(":memory:");
  const { mailbox } = store;
  for (const text of ["one", "two", "three"]) await mailbox.append("7", bytes(text), LATER);
  await using fixture = new SessionFixture({ store });
  await fixture.sent(3);
  // Whether these go straight to the socket, behind those, or wait in the mailbox.
  while (fixture.socket.sent.length < 5) await fixture.deliver("more");
  const all = fixture.socket.sent.slice();
  await fixture.deliver(LARGE, "last");
  fixture.socket.take("one".length);
  await fixture.settled();
  fixture.socket.end(1006);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), [...all.slice(1), LARGE, "last"]);
});

Deno.test("ConnectedSession puts nothing back if the client answers when it is closed", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one", "two");
  fixture.session.close("cancelled", 4000, "replaced");
  assert.equal(fixture.socket.closedWith, 4000);
  fixture.socket.take();
  fixture.socket.end(4000);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession puts back what a client has not got that does not answer when it is closed", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one", "two");
  fixture.socket.take("one".length);
  fixture.session.close("cancelled", 4000, "replaced");
  fixture.session.close("closed", 1003, "closed again");
  await fixture.settled();
  fixture.socket.end(1005);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), ["two"]);
});

Deno.test("ConnectedSession ends 2 s after it is closed if the socket does not", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one");
  const start = performance.now();
  fixture.session.close("cancelled", 1001, "shutting down");
  await fixture.session.ended;
  assert.ok(performance.now() - start < 5000);
  assert.deepEqual(await fixture.waiting(), ["one"]);
  assert.equal(fixture.metrics.sessions.size, 0);
});

Deno.test("ConnectedSession drops a client that takes nothing for 60 s, and keeps its queue", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  await fixture.deliver("one", LARGE, "three");
  using clock = new Clock();
  clock.advance(59);
  fixture.socket.take("one".length);
  await fixture.deliver("four");
  await pause(700); // Longer than it ever lets pass between two looks.
  clock.advance(50);
  await pause(700);
  assert.equal(fixture.socket.closedWith, undefined, "it took something since");
  clock.advance(10);
  await until(() => fixture.socket.closedWith !== undefined, "the session closed");
  assert.equal(fixture.socket.closedWith, 1008);
  fixture.socket.end(1005);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), [LARGE, "three", "four"]);
  assert.match((await fixture.metrics.scrape()).body, /reason="back_pressure_timeout"} 1/);
});

Deno.test("ConnectedSession keeps one message of any size in memory, and few more bytes than that", async () => {
  await using fixture = new SessionFixture();
  await fixture.direct();
  assert.equal(fixture.session.takes(2 * LARGE_SIZE), true);
  await fixture.deliver(LARGE);
  assert.equal(fixture.session.takes(1), false);
  await fixture.deliver("two");
  assert.deepEqual(fixture.socket.sent, [LARGE]);
});

Deno.test("ConnectedSession does not send again what the mailbox fails to remove", async () => {
  const store = new SqliteStore(":memory:");
  const { mailbox } = store;
  await mailbox.append("7", bytes("one"), LATER);
  const remove = mailbox.remove.bind(mailbox);
  const failed = Promise.withResolvers<void>();
  const removed: unknown[] = [];
  mailbox.remove = () => {
    mailbox.remove = (session, ids) => {
      removed.push(...ids);
      return remove(session, ids);
    };
    failed.resolve();
    return Promise.reject(new Error("disk full"));
  };
  await using fixture = new SessionFixture({ store });
  await fixture.sent(1);
  fixture.socket.take();
  await failed.promise;
  await fixture.deliver("two");
  assert.deepEqual(await fixture.sent(2), ["one", "two"]);
  assert.equal(fixture.metrics.storeErrors, 1);
  fixture.socket.take();
  await fixture.settled();
  fixture.socket.end(1000);
  await fixture.session.ended;
  assert.equal(removed.length, 1, "it is removed later, and once");
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession loses, repeats and swaps nothing, whatever clients and sockets do", async () => {
  const anyStep = fc.oneof(
    fc.record({ do: fc.constant("deliver"), count: fc.integer({ min: 1, max: 150 }) }),
    fc.record({ do: fc.constant("deliver large"), count: fc.integer({ min: 1, max: 2 }) }),
    fc.record({ do: fc.constant("take"), count: fc.integer({ min: 1, max: 1000 }) }),
    fc.record({ do: fc.constant("take all"), count: fc.constant(0) }),
    fc.record({ do: fc.constant("reconnect"), count: fc.constant(0) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 30 }), async (steps) => {
      await using store = new SqliteStore(":memory:");
      const { mailbox } = store;
      const removed = new Set<unknown>();
      const remove = mailbox.remove.bind(mailbox);
      mailbox.remove = (session, ids) => {
        for (const id of ids) assert.ok(removed.size < removed.add(id).size, "is removed once");
        return remove(session, ids);
      };
      const metrics = new RelayMetrics();
      const received: string[] = [];
      let socket = new FakeSocket(text);
      const connect = () =>
        new ConnectedSession(
          { twin: 7 },
          socket.asWebSocket(),
          mailbox,
          metrics,
          Promise.resolve(),
        );
      let session = connect();
      const end = async () => {
        await pause(20);
        received.push(...socket.taken);
        socket.end(1006);
        await session.ended;
      };
      let sent = 0;
      for (const step of steps) {
        if (step.do === "reconnect") {
          await end();
          socket = new FakeSocket(text);
          session = connect();
        } else if (step.do.startsWith("take")) {
          await turn();
          socket.take(step.do === "take all" ? undefined : step.count);
        } else {
          const padding = step.do === "deliver large" ? "x".repeat(300 * 1024) : "";
          for (let i = 0; i < step.count; i++) {
            session.deliver(bytes(`${sent++} ${padding}`), LATER)?.catch(assert.fail);
          }
        }
      }
      await until(() => {
        socket.take();
        return received.length + socket.taken.length >= sent;
      }, "all messages taken");
      await end();
      assert.deepEqual(
        received.map((message) => parseInt(message)),
        Array.from({ length: sent }, (_, i) => i),
      );
    }),
    { numRuns: 60, endOnFailure: true },
  );
});
