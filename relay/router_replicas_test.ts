import assert from "node:assert/strict";
import { readRouting } from "@rmb/protocol";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import type { Replicas } from "./replicas.ts";
import { encodeMessage, RouterFixture, type Sent } from "./tests/router_fixture.ts";

/** Other replicas, as a router is told of them. */
class FakeReplicas implements Replicas {
  onTakenOver = (_session: string) => Promise.resolve();
  /** What was called, in order. */
  readonly calls: string[] = [];
  /** When a claim holds. */
  claimed = Promise.resolve();
  /** Whether sessions are connected elsewhere. */
  elsewhere: () => Promise<boolean> = () => Promise.resolve(false);

  claim(session: string): Promise<void> {
    this.calls.push(`claim ${session}`);
    return this.claimed;
  }

  release(session: string): void {
    this.calls.push(`release ${session}`);
  }

  has(session: string): Promise<boolean> {
    this.calls.push(`has ${session}`);
    return this.elsewhere();
  }

  /** How often it was asked where sessions are. */
  get asked(): number {
    return this.calls.filter((call) => call.startsWith("has ")).length;
  }
}

const FAIL_FAST: Sent = { tags: "fail-fast" };

Deno.test("Router reads a session's mailbox when no other replica has anything to put there", async () => {
  const replicas = new FakeReplicas();
  const claimed = Promise.withResolvers<void>();
  replicas.claimed = claimed.promise;
  await using fixture = new RouterFixture({ replicas });
  const read: string[] = [];
  const { mailbox } = fixture;
  const realRead = mailbox.read.bind(mailbox);
  mailbox.read = (session, after) => {
    read.push(session);
    return realRead(session, after);
  };
  const receiver = fixture.connect(8);
  assert.deepEqual(replicas.calls, ["claim 8"]);
  const second = encodeMessage("2", 8, { source: { twin: 100 } });
  assert.equal(await fixture.router.accept(second, readRouting(second)), "taken");
  assert.deepEqual(read, []);
  await mailbox.putBack("8", [{ envelope: encodeMessage("1", 8), expires: Infinity }]);
  claimed.resolve();
  await until(() => receiver.sent.length === 2, "all sent");
  assert.deepEqual(receiver.sent, ["1", "2"]);
});

Deno.test("Router releases a session when its last connection here has ended", async () => {
  const replicas = new FakeReplicas();
  await using fixture = new RouterFixture({ replicas });
  const older = fixture.connectSession(8, "a");
  const newer = fixture.connectSession(8, "a");
  older.socket.end(1006);
  await older.session.ended;
  assert.deepEqual(replicas.calls, ["claim 8:a", "claim 8:a"]);
  newer.socket.end(1006);
  await until(() => fixture.router.sessions === 0, "the session ended");
  assert.deepEqual(replicas.calls.slice(2), ["release 8:a"]);
});

Deno.test("Router closes a session that another replica has taken over, and says when all is put back", async () => {
  const replicas = new FakeReplicas();
  await using fixture = new RouterFixture({ replicas });
  const { socket, session } = fixture.connectSession(8);
  await until(() => session.direct, "messages go straight to the socket");
  fixture.connect(7).receive(encodeMessage("1", 8));
  assert.deepEqual(socket.sent, ["1"]);

  let isOver = false;
  const over = replicas.onTakenOver("8").then(() => isOver = true);
  assert.equal(socket.closedWith, 4000);
  await fixture.mailbox.read("8");
  assert.equal(isOver, false, "the client may yet get it");
  socket.end(1006);
  await inTime(over, "the end of the session");
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1"]);
});

Deno.test("Router has nothing to do when a session is taken over that is not connected", async () => {
  const replicas = new FakeReplicas();
  await using fixture = new RouterFixture({ replicas });
  const other = fixture.connect(8);
  await inTime(replicas.onTakenOver("8:a"), "the answer");
  assert.equal(other.closedWith, undefined);
});

Deno.test("Router queues a fail-fast message for a session that another replica has", async () => {
  const replicas = new FakeReplicas();
  replicas.elsewhere = () => Promise.resolve(true);
  await using fixture = new RouterFixture({ replicas });
  const socket = fixture.connect(7);
  socket.receive(encodeMessage("1", 8, FAIL_FAST));
  await until(async () => (await fixture.waiting({ twin: 8 })).length === 1, "it queued");
  const second = encodeMessage("2", 8, { ...FAIL_FAST, source: { twin: 100 } });
  assert.equal(await fixture.router.accept(second, readRouting(second)), "taken");
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1", "2"]);
  assert.equal(replicas.asked, 2);
  assert.deepEqual(socket.sent, []);
});

Deno.test("Router refuses a fail-fast request for a session that no replica has, or nobody knows", async () => {
  for (const answer of [() => Promise.resolve(false), () => Promise.reject(new Error("down"))]) {
    const replicas = new FakeReplicas();
    replicas.elsewhere = answer;
    await using fixture = new RouterFixture({ replicas });
    const socket = fixture.connect(7);
    socket.receive(encodeMessage("1", 8, FAIL_FAST));
    await until(() => socket.sent.length === 1, "an answer");
    const second = encodeMessage("2", 8, { ...FAIL_FAST, source: { twin: 100 } });
    assert.equal(await fixture.router.accept(second, readRouting(second)), "offline");
    assert.deepEqual(socket.sent, ["1: destination offline"]);
    assert.deepEqual(await fixture.waiting({ twin: 8 }), []);
  }
});

Deno.test("Router asks other replicas once for all messages that come meanwhile, in order", async () => {
  const replicas = new FakeReplicas();
  const elsewhere = Promise.withResolvers<boolean>();
  replicas.elsewhere = () => elsewhere.promise;
  await using fixture = new RouterFixture({ replicas });
  const socket = fixture.connect(7);
  socket.receive(encodeMessage("1", 8));
  socket.receive(encodeMessage("2", 8, FAIL_FAST));
  await until(() => replicas.asked === 1, "other replicas asked");
  socket.receive(encodeMessage("3", 8));
  socket.receive(encodeMessage("4", 8, FAIL_FAST));
  elsewhere.resolve(true);
  await until(async () => (await fixture.waiting({ twin: 8 })).length === 4, "all queued");
  assert.deepEqual(await fixture.waiting({ twin: 8 }), ["1", "2", "3", "4"]);
  assert.equal(replicas.asked, 1);
});

Deno.test("Router asks no other replica where no message must arrive at once", async () => {
  const replicas = new FakeReplicas();
  await using fixture = new RouterFixture({ replicas });
  const socket = fixture.connect(7);
  const receiver = fixture.connect(9);
  socket.receive(encodeMessage("1", 8));
  socket.receive(encodeMessage("2", 9, FAIL_FAST));
  await until(() => receiver.sent.length === 1, "it sent");
  await fixture.settled();
  assert.equal(replicas.asked, 0);
});

Deno.test("Router delivers to a session that connects here while other replicas are asked", async () => {
  const replicas = new FakeReplicas();
  const elsewhere = Promise.withResolvers<boolean>();
  replicas.elsewhere = () => elsewhere.promise;
  await using fixture = new RouterFixture({ replicas });
  const socket = fixture.connect(7);
  socket.receive(encodeMessage("1", 8, FAIL_FAST));
  await until(() => replicas.asked === 1, "other replicas asked");
  const receiver = fixture.connect(8);
  elsewhere.resolve(false);
  await until(() => receiver.sent.length === 1, "it sent");
  assert.deepEqual(socket.sent, []);
});
