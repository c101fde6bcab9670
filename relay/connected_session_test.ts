import assert from "node:assert/strict";
import fc from "fast-check";
import { unixNow } from "@rmb/protocol";
import { ConnectedSession } from "./connected_session.ts";
import type { Mailbox } from "./mailbox.ts";
import { RelayMetrics } from "./metrics.ts";
import { SqliteMailbox } from "./sqlite_mailbox.ts";
import { Clock } from "./tests/clock.ts";

/** The socket of a client that reads nothing until told to, and behaves as Deno's do. */
class FakeSocket {
  readyState: number = WebSocket.OPEN;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** What was sent, as text. */
  readonly sent: string[] = [];
  /** How it was closed from this side. */
  closedWith: number | undefined;
  #buffered = 0;
  #taken = 0;

  /** True for an open socket only. */
  get bufferedAmount(): number {
    return this.readyState === WebSocket.OPEN ? this.#buffered : 0;
  }

  send(bytes: ArrayBuffer | Uint8Array): void {
    this.sent.push(text(new Uint8Array(bytes)));
    this.#buffered += bytes.byteLength;
  }

  close(code: number): void {
    if (this.readyState !== WebSocket.OPEN) return;
    this.readyState = WebSocket.CLOSING;
    this.closedWith = code;
  }

  /** The kernel takes so many bytes, or all. */
  take(bytes: number = this.#buffered): void {
    const taken = Math.min(bytes, this.#buffered);
    this.#buffered -= taken;
    this.#taken += taken;
  }

  /** What the kernel has as a whole, of what was sent in ASCII. */
  get taken(): string[] {
    let end = 0;
    return this.sent.filter((message) => (end += message.length) <= this.#taken);
  }

  /** The connection ends; some say so twice. */
  end(code: number): void {
    this.readyState = WebSocket.CLOSED;
    this.onclose?.({ code, reason: "" });
    this.onclose?.({ code: 0, reason: "" });
  }
}

/** A session of twin 7 on a fake socket. */
class Fixture implements AsyncDisposable {
  readonly mailbox: Mailbox;
  readonly socket = new FakeSocket();
  readonly metrics = new RelayMetrics();
  readonly session: ConnectedSession;

  constructor(
    { mailbox = new SqliteMailbox(":memory:"), before = Promise.resolve() }: {
      mailbox?: Mailbox;
      before?: Promise<unknown>;
    } = {},
  ) {
    this.mailbox = mailbox;
    const socket = this.socket as unknown as WebSocket;
    this.session = new ConnectedSession({ twin: 7 }, socket, mailbox, this.metrics, before);
  }

  /** Delivers messages, and waits until those that must are in the mailbox. */
  async deliver(...texts: string[]): Promise<void> {
    await Promise.all(texts.map((text) => this.session.deliver(bytes(text), LATER)));
  }

  /** Waits until messages go straight to the socket. */
  async direct(): Promise<void> {
    while (this.session.deliver(new Uint8Array(), LATER) !== undefined) await turn();
    while (this.socket.sent.at(-1) !== "") await turn();
    this.socket.sent.splice(0);
  }

  /** Waits until the socket was given so many messages. */
  async sent(count: number): Promise<string[]> {
    while (this.socket.sent.length < count) await turn();
    return this.socket.sent;
  }

  /** Waits until the session must have looked what the kernel took: it does so every 5 ms. */
  async settled(): Promise<void> {
    await pause(20);
  }

  /** Takes what waits in the mailbox. */
  async waiting(): Promise<string[]> {
    const texts: string[] = [];
    for (;;) {
      const queued = await this.mailbox.read("7");
      if (queued.length === 0) return texts;
      texts.push(...queued.map(({ envelope }) => text(envelope)));
      await this.mailbox.remove("7", queued.map(({ id }) => id));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState !== WebSocket.CLOSED) this.socket.end(1000);
    await this.session.ended;
    await this.mailbox[Symbol.asyncDispose]();
  }
}

const LATER = unixNow() + 3000;

/** Stands for so many bytes, more than a socket is given before the kernel took it. */
const LARGE = "large";
const LARGE_SIZE = 1024 * 1024 + 1;

Deno.test("ConnectedSession sends straight to a socket that keeps up", async () => {
  await using fixture = new Fixture();
  await fixture.direct();
  const delivered = ["one", "two"].map((text) => fixture.session.deliver(bytes(text), LATER));
  assert.deepEqual(delivered, [undefined, undefined]);
  assert.deepEqual(fixture.socket.sent, ["one", "two"]);
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession sends what waits before what comes, in order", async () => {
  const mailbox = new SqliteMailbox(":memory:");
  for (let i = 0; i < 250; i++) await mailbox.append("7", bytes(`${i}`), LATER);
  await using fixture = new Fixture({ mailbox });
  await fixture.deliver("250", "251");
  await fixture.sent(100);
  await fixture.deliver("252");
  fixture.socket.take();
  assert.deepEqual(await fixture.sent(253), Array.from({ length: 253 }, (_, i) => `${i}`));
});

Deno.test("ConnectedSession waits for what is to come first into the mailbox", async () => {
  const before = Promise.withResolvers<void>();
  await using fixture = new Fixture({ before: before.promise });
  await fixture.deliver("second");
  await fixture.settled();
  assert.deepEqual(fixture.socket.sent, []);
  await fixture.mailbox.putBack("7", [{ envelope: bytes("first"), expires: LATER }]);
  before.resolve();
  assert.deepEqual(await fixture.sent(2), ["first", "second"]);
});

Deno.test("ConnectedSession lets messages wait in the mailbox while the socket has too many", async () => {
  await using fixture = new Fixture();
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
  assert.deepEqual(fixture.socket.sent, ["four"]);
  fixture.socket.take();
  while ((await fixture.mailbox.read("7")).length > 0) await turn();
});

Deno.test("ConnectedSession puts back what the kernel had not taken when the client went", async () => {
  await using fixture = new Fixture();
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
  await using fixture = new Fixture();
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
  const mailbox = new SqliteMailbox(":memory:");
  for (const text of ["one", "two", "three"]) await mailbox.append("7", bytes(text), LATER);
  await using fixture = new Fixture({ mailbox });
  await fixture.sent(3);
  fixture.socket.take("one".length);
  await fixture.settled();
  fixture.socket.end(1006);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), ["two", "three"]);
});

Deno.test("ConnectedSession keeps the order of what it puts back and what is in the mailbox yet", async () => {
  const mailbox = new SqliteMailbox(":memory:");
  for (const text of ["one", "two", "three"]) await mailbox.append("7", bytes(text), LATER);
  await using fixture = new Fixture({ mailbox });
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
  await using fixture = new Fixture();
  await fixture.direct();
  await fixture.deliver("one", "two");
  fixture.session.close("cancelled", 4000, "replaced");
  assert.equal(fixture.socket.closedWith, 4000);
  fixture.socket.end(4000);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), []);
});

Deno.test("ConnectedSession puts back what a client has not got that does not answer when it is closed", async () => {
  await using fixture = new Fixture();
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
  await using fixture = new Fixture();
  await fixture.direct();
  await fixture.deliver("one");
  const start = performance.now();
  fixture.session.close("cancelled", 1001, "shutting down");
  await fixture.session.ended;
  assert.ok(performance.now() - start < 5000);
  assert.deepEqual(await fixture.waiting(), ["one"]);
  assert.equal(fixture.metrics.sessions, 0);
});

Deno.test("ConnectedSession drops a client that takes nothing for 60 s, and keeps its queue", async () => {
  await using fixture = new Fixture();
  await fixture.direct();
  await fixture.deliver("one", LARGE, "three");
  using clock = new Clock();
  clock.advance(59);
  fixture.socket.take("one".length);
  await fixture.deliver("four");
  await pause(100); // Longer than it ever lets pass between two looks.
  clock.advance(59);
  await pause(100);
  assert.equal(fixture.socket.closedWith, undefined, "it took something since");
  clock.advance(2);
  while (fixture.socket.closedWith === undefined) await turn();
  assert.equal(fixture.socket.closedWith, 1008);
  fixture.socket.end(1005);
  await fixture.session.ended;
  assert.deepEqual(await fixture.waiting(), [LARGE, "three", "four"]);
  assert.match(await (await fixture.metrics.scrape()).text(), /reason="back_pressure_timeout"} 1/);
});

Deno.test("ConnectedSession does not send again what the mailbox fails to remove", async () => {
  const mailbox = new SqliteMailbox(":memory:");
  await mailbox.append("7", bytes("one"), LATER);
  const remove = mailbox.remove.bind(mailbox);
  const failed = Promise.withResolvers<void>();
  mailbox.remove = () => {
    mailbox.remove = remove;
    failed.resolve();
    return Promise.reject(new Error("disk full"));
  };
  await using fixture = new Fixture({ mailbox });
  await fixture.sent(1);
  fixture.socket.take();
  await failed.promise;
  await fixture.deliver("two");
  assert.deepEqual(await fixture.sent(2), ["one", "two"]);
  assert.equal(fixture.metrics.storeErrors, 1);
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
      await using mailbox = new SqliteMailbox(":memory:");
      const metrics = new RelayMetrics();
      const received: string[] = [];
      let socket = new FakeSocket();
      const connect = () =>
        new ConnectedSession(
          { twin: 7 },
          socket as unknown as WebSocket,
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
          socket = new FakeSocket();
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
      while (received.length + socket.taken.length < sent) {
        socket.take();
        await turn();
      }
      await end();
      assert.deepEqual(
        received.map((message) => parseInt(message)),
        Array.from({ length: sent }, (_, i) => i),
      );
    }),
    { numRuns: 60, endOnFailure: true },
  );
});

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Lets everything else run once. */
function turn(): Promise<void> {
  return pause(1);
}

function bytes(text: string): Uint8Array {
  return text === LARGE ? new Uint8Array(LARGE_SIZE) : new TextEncoder().encode(text);
}

function text(bytes: Uint8Array): string {
  return bytes.length === LARGE_SIZE ? LARGE : new TextDecoder().decode(bytes);
}
