import assert from "node:assert/strict";
import { SqliteStore } from "./sqlite/store.ts";
import { bytes, LATER, SessionFixture } from "./tests/session_fixture.ts";

Deno.test("ConnectedSession sends answers behind what waits in the mailbox", async () => {
  const before = Promise.withResolvers<void>();
  await using fixture = new SessionFixture({ before: before.promise });
  await fixture.deliver("waits");
  assert.equal(fixture.session.answer(bytes("pong"), 0), undefined);
  assert.equal(fixture.session.answer(bytes("error"), LATER), undefined);
  assert.deepEqual(fixture.socket.sent, []);
  before.resolve();
  assert.deepEqual(await fixture.sent(3), ["waits", "pong", "error"]);
  await fixture.direct();
  fixture.session.answer(bytes("another"), 0);
  assert.deepEqual(fixture.socket.sent, ["waits", "pong", "error", "another"]);
});

Deno.test("ConnectedSession keeps of its answers what matters to a later connection", async () => {
  const before = Promise.withResolvers<void>();
  await using fixture = new SessionFixture({ before: before.promise });
  await fixture.deliver("waits");
  for (let i = 0; i < 200; i++) fixture.session.answer(bytes("pong"), 0);
  fixture.socket.end(1006);
  fixture.session.answer(bytes("error"), LATER);
  before.resolve();
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), ["waits", "error"], "nobody needs a pong any more");
});

Deno.test("ConnectedSession sends answers at once while its mailbox can't be read", async () => {
  const store = new SqliteStore(":memory:");
  const read = store.mailbox.read.bind(store.mailbox);
  store.mailbox.read = () => Promise.reject(new Error("disk full"));
  await using fixture = new SessionFixture({ store });
  fixture.session.answer(bytes("one"), 0);
  assert.deepEqual(await fixture.sent(1), ["one"]);
  fixture.session.answer(bytes("two"), 0);
  assert.deepEqual(fixture.socket.sent, ["one", "two"]);
  store.mailbox.read = read;
  await fixture.direct();
});
