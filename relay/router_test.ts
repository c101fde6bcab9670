import assert from "node:assert/strict";
import { createEnvelope, encodeEnvelope, readRouting, type Twin, unixNow } from "@rmb/protocol";
import { until } from "../tests/fixtures/deadline.ts";
import { RelayMetrics } from "./metrics.ts";
import { Router } from "./router.ts";
import { SqliteStore } from "./sqlite/store.ts";
import { FakeSocket } from "./tests/fake_socket.ts";

/** A router on fake sockets, which knows every twin. */
class Fixture implements AsyncDisposable {
  readonly store = new SqliteStore(":memory:");
  readonly router: Router;
  readonly #sender: FakeSocket;
  readonly #sockets: FakeSocket[] = [];

  constructor() {
    const account = new Uint8Array(32);
    this.router = new Router({
      domains: ["relay.test"],
      metrics: new RelayMetrics(),
      store: this.store,
      rateLimit: undefined,
      federate: () => Promise.reject(new Error("not used here")),
      registry: {
        twin: (id): Promise<Twin> =>
          Promise.resolve({ id, account, relays: ["relay.test"], pk: undefined }),
      },
    });
    this.#sender = this.connect(7);
  }

  connect(twin: number): FakeSocket {
    const socket = new FakeSocket((bytes) => readRouting(bytes).uid);
    this.#sockets.push(socket);
    this.router.connect({ twin }, socket.asWebSocket());
    return socket;
  }

  /** Twin 7 sends to another. */
  send(uid: string, twin: number): void {
    this.#sender.receive(encodeEnvelope(createEnvelope({
      uid,
      source: { twin: 7 },
      destination: { twin },
      timestamp: BigInt(unixNow()),
      expiration: 60n,
      message: { case: "request", value: { command: "do" } },
    })));
  }

  /** All connections end. */
  endAll(): void {
    for (const socket of this.#sockets) socket.end(1006);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.router.close();
    this.endAll();
    await closed;
    await this.store[Symbol.asyncDispose]();
  }
}

Deno.test("Router gives a newer connection first what the older one has not got", async () => {
  await using fixture = new Fixture();
  const older = fixture.connect(8);
  for (const uid of ["1", "2", "3"]) fixture.send(uid, 8);
  await until(() => older.sent.length === 3, "all sent");

  const newer = fixture.connect(8);
  assert.equal(older.closedWith, 4000);
  fixture.send("4", 8);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(newer.sent, [], "the older connection may yet get them");
  older.end(1006);
  await until(() => newer.sent.length === 4, "all sent again");
  assert.deepEqual(newer.sent, ["1", "2", "3", "4"]);
});

Deno.test("Router gives the newest of many connections what none has got", async () => {
  await using fixture = new Fixture();
  const first = fixture.connect(8);
  for (const uid of ["1", "2"]) fixture.send(uid, 8);
  await until(() => first.sent.length === 2, "all sent");
  const others = [2, 3, 4].map(() => fixture.connect(8));
  fixture.send("3", 8);
  const newest = others.pop()!;
  for (const socket of [...others, first]) socket.end(1006);
  await until(() => newest.sent.length === 3, "all sent again");
  assert.deepEqual(newest.sent, ["1", "2", "3"]);
  assert.deepEqual(others.flatMap(({ sent }) => sent), []);
});

Deno.test("Router closes who connects while it closes, and keeps what they have not got", async () => {
  await using fixture = new Fixture();
  const receiver = fixture.connect(8);
  fixture.send("1", 8);
  await until(() => receiver.sent.length === 1, "it sent");
  const closed = fixture.router.close();
  fixture.send("2", 8);
  const late = fixture.connect(8);
  assert.deepEqual([receiver.closedWith, late.closedWith], [1001, 1001]);
  fixture.endAll();
  await closed;
  const waiting = await fixture.store.mailbox.read("8");
  assert.deepEqual(waiting.map(({ envelope }) => readRouting(envelope).uid), ["1", "2"]);
});
