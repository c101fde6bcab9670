import assert from "node:assert/strict";
import { readRouting, RmbError } from "@rmb/protocol";
import { until } from "../tests/fixtures/deadline.ts";
import { FederationQueueFullError } from "./federation/queue.ts";
import { MailboxFullError } from "./mailbox.ts";
import { encodeMessage, RouterFixture, type Sent } from "./tests/router_fixture.ts";

/** Where messages come from that other relays bring. */
const ELSEWHERE = { twin: 100 };

/** Another relay brings a message from there for twin 8. */
function accept({ router }: RouterFixture, uid: string, sent: Sent = {}) {
  const envelope = encodeMessage(uid, 8, { source: ELSEWHERE, ...sent });
  return router.accept(envelope, readRouting(envelope));
}

/** A message of twin 7 for twin 8, which was to go to another relay, comes back. */
function takeBack({ router }: RouterFixture, uid: string, sent: Sent = {}) {
  const envelope = encodeMessage(uid, 8, sent);
  return router.takeBack(envelope, readRouting(envelope));
}

Deno.test("Router.accept() takes a message for who is connected, and queues it for who is not", async () => {
  await using fixture = new RouterFixture();
  assert.equal(await accept(fixture, "1"), "taken");
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1"]);
  const { socket, session } = fixture.connectSession(8);
  await until(() => socket.sent.length === 1, "what waited sent");
  socket.take();
  await until(() => session.direct, "messages go straight to the socket");
  assert.equal(await accept(fixture, "2"), "taken");
  assert.deepEqual(socket.sent, ["1", "2"]);
  socket.take();
  assert.equal(fixture.metrics.received, 2);
});

Deno.test("Router.accept() takes no fail-fast message for a session that is away or closing", async () => {
  await using fixture = new RouterFixture();
  const tags = "fail-fast";
  assert.equal(await accept(fixture, "1", { tags }), "offline");
  const receiver = fixture.connect(8);
  assert.equal(await accept(fixture, "2", { tags }), "taken");
  await until(() => receiver.sent.length === 1, "it sent");
  receiver.take();
  receiver.close(1000);
  assert.equal(await accept(fixture, "3", { tags }), "offline");
  assert.equal(await accept(fixture, "4"), "taken");
  assert.deepEqual(receiver.sent, ["2"]);
});

Deno.test("Router.accept() says that a queue is full, also of a session that is connected", async () => {
  await using fixture = new RouterFixture();
  fixture.mailbox.append = () => Promise.reject(new MailboxFullError("full"));
  assert.equal(await accept(fixture, "1"), "full");
  fixture.connect(8);
  assert.equal(await accept(fixture, "2"), "full", "its mailbox is not read yet");
  assert.equal(fixture.router.storeFailure, undefined, "that is no failure");
});

Deno.test("Router.accept() says that a message can't be stored, and forgets that when one can", async () => {
  await using fixture = new RouterFixture();
  const { append } = fixture.mailbox;
  fixture.mailbox.append = () => Promise.reject(new Error("disk full"));
  assert.equal(await accept(fixture, "1"), "failed");
  assert.equal(fixture.router.storeFailure, "Error: disk full");
  assert.equal(fixture.metrics.storeErrors, 1);
  fixture.mailbox.append = append;
  assert.equal(await accept(fixture, "2"), "taken");
  assert.equal(fixture.router.storeFailure, undefined);
});

Deno.test("Router.takeBack() brings a message to its destination", async () => {
  await using fixture = new RouterFixture();
  await takeBack(fixture, "1");
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1"]);
});

Deno.test("Router.takeBack() answers a fail-fast request whose destination is offline", async () => {
  await using fixture = new RouterFixture();
  const source = fixture.connect(7);
  await takeBack(fixture, "1", { tags: "fail-fast", kind: "response" });
  await takeBack(fixture, "2", { tags: "fail-fast" });
  await until(() => source.sent.length === 1, "an answer");
  const away = { twin: 7, connection: "away" };
  await takeBack(fixture, "3", { tags: "fail-fast", source: away });
  await fixture.settled();
  assert.deepEqual(source.sent, ["2: destination offline"]);
  assert.deepEqual(await fixture.waiting(away), ["3: destination offline"]);
  assert.deepEqual(await fixture.waiting({ twin: 8 }), []);
});

Deno.test("Router.takeBack() throws when a message can't be taken now", async () => {
  await using fixture = new RouterFixture();
  const errors = { full: new MailboxFullError("full"), failed: new Error("disk full") };
  for (const [acceptance, error] of Object.entries(errors)) {
    fixture.mailbox.append = () => Promise.reject(error);
    await assert.rejects(takeBack(fixture, "1"), (thrown: Error) => {
      assert.ok(thrown instanceof RmbError);
      assert.equal(thrown.message, `a message can't be taken: ${acceptance}`);
      return true;
    });
  }
});

Deno.test("Router.answer() withstands a store that fails", async () => {
  await using fixture = new RouterFixture();
  fixture.mailbox.append = () => Promise.reject(new Error("disk full"));
  fixture.router.answer({ twin: 8 }, encodeMessage("1", 8));
  assert.ok(fixture.router.waitingBytes > 0);
  await fixture.settled();
});

Deno.test("Router hands over in order what is for twins elsewhere, whatever its tags", async () => {
  await using fixture = new RouterFixture();
  const [seven, nine] = [fixture.connect(7), fixture.connect(9, "a")];
  seven.receive(encodeMessage("1", 100));
  seven.receive(encodeMessage("2", 100, { tags: "fail-fast" }));
  nine.receive(encodeMessage("3", 100, { source: { twin: 9, connection: "a" } }));
  seven.receive(encodeMessage("4", 100, { kind: "response" }));
  await until(() => fixture.federated.length === 4, "all handed over");
  assert.deepEqual(fixture.federated, [["1", 7], ["2", 7], ["3", 9], ["4", 7]]);
  await fixture.settled();
  assert.deepEqual([...seven.sent, ...nine.sent], []);
});

Deno.test("Router delivers itself to a twin elsewhere that is connected here", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const receiver = fixture.connect(100);
  socket.receive(encodeMessage("1", 100));
  await until(() => receiver.sent.length === 1, "it sent");
  assert.deepEqual(fixture.federated, []);
});

Deno.test("Router tells requesters why a message for elsewhere was not taken", async () => {
  await using fixture = new RouterFixture();
  const socket = fixture.connect(7);
  const errors = [new FederationQueueFullError("full"), new Error("disk full")];
  for (const [i, error] of errors.entries()) {
    fixture.federate = () => Promise.reject(error);
    socket.receive(encodeMessage(`${i} silent`, 100, { kind: "response" }));
    socket.receive(encodeMessage(`${i}`, 100));
    await until(() => socket.sent.length === i + 1, "an answer");
    await fixture.settled();
  }
  assert.deepEqual(socket.sent, [
    "0: queue for other relays is full",
    "1: message can't be stored now",
  ]);
  assert.equal(fixture.router.storeFailure, "Error: disk full");
  fixture.federate = () => Promise.resolve();
  socket.receive(encodeMessage("2", 100));
  await until(() => fixture.router.storeFailure === undefined, "the store works again");
  await new Promise((resolve) => setTimeout(resolve, 60)); // So long is held up who finds a queue full.
});

Deno.test("Router holds a message for elsewhere until it is stored", async () => {
  await using fixture = new RouterFixture();
  const stored = Promise.withResolvers<void>();
  fixture.federate = () => stored.promise;
  fixture.connect(7).receive(encodeMessage("1", 100));
  await until(() => fixture.federated.length === 1, "it handed over");
  assert.ok(fixture.router.waitingBytes > 0);
  stored.resolve();
  await fixture.settled();
});

Deno.test("Router answers a ping when what came before it is stored, whatever comes after", async () => {
  await using fixture = new RouterFixture();
  const stored = ["1", "2", "3"].map(() => Promise.withResolvers<void>());
  fixture.federate = () => stored[fixture.federated.length - 1]!.promise;
  const socket = fixture.connect(7);
  await new Promise((resolve) => setTimeout(resolve)); // It has read its mailbox.
  const ping = (uid: string) => socket.receive(encodeMessage(uid, 7, { kind: "ping" }));
  ping("first");
  assert.deepEqual(socket.sent, ["first"]);
  for (const uid of ["1", "2"]) socket.receive(encodeMessage(uid, 100));
  ping("second");
  socket.receive(encodeMessage("3", 100));
  await until(() => fixture.federated.length === 3, "all handed over");
  stored[0]!.resolve();
  stored[2]!.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(socket.sent, ["first"]);
  stored[1]!.resolve();
  await until(() => socket.sent.length === 2, "the pong");
  ping("third");
  assert.deepEqual(socket.sent, ["first", "second", "third"]);
});
