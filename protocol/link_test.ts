import assert from "node:assert/strict";
import { createEnvelope, encodeEnvelope } from "./envelope.ts";
import { Link } from "./link.ts";
import { OutgoingMessage } from "./outgoing.ts";
import { readRouting } from "./routing.ts";
import type { RelaySocket } from "./socket.ts";
import { envelope } from "./tests/client.ts";

/** Milliseconds of a tick. */
const TICK = 100;

/** A link on a network whose kernel takes what the test says. */
class Fixture {
  bufferedAmount = 0;
  readonly pings: string[] = [];
  readonly link: Link = new Link(this as unknown as RelaySocket, { twin: 7 }, TICK);

  /** As a socket: the kernel takes pings at once. */
  send(bytes: Uint8Array): void {
    const { kind, uid } = readRouting(bytes);
    if (kind === "ping") this.pings.push(uid);
  }

  /** Hands a message over. */
  hand(size: number): Promise<void> {
    const message = new OutgoingMessage(envelope("a", size), undefined, () => "");
    const messages = new Set([message]);
    message.moveTo(messages);
    this.link.hand(messages);
    return message.confirmed;
  }

  pong(uid: string = this.pings.at(-1)!): void {
    const pong = createEnvelope({ uid, message: { case: "pong", value: {} } });
    assert.equal(this.link.hear(encodeEnvelope(pong)), false);
  }

  /** How many milliseconds of ticks it takes until the relay counts as one that does not answer. */
  patience(everyTick = () => {}): number {
    for (let ticks = 0; ticks < 1000; ticks++) {
      if (!this.link.answers) return ticks * TICK;
      everyTick();
      this.link.tick();
    }
    return Infinity;
  }
}

Deno.test("Link takes a relay for silent that does not answer within a second", () => {
  const fixture = new Fixture();
  assert.equal(fixture.link.answers, false, "it has not answered yet");
  fixture.pong();
  assert.equal(fixture.patience(), Infinity, "it owes nothing");
  fixture.link.ping();
  const patience = fixture.patience();
  assert.ok(patience >= 800 && patience <= 1000, `${patience} ms`);
  fixture.pong();
  assert.equal(fixture.link.answers, true);
});

Deno.test("Link takes no pong for an answer that does not know its ping", async () => {
  const fixture = new Fixture();
  fixture.pong();
  await new Promise((resolve) => setTimeout(resolve, TICK)); // Between two pings.
  const confirmed = fixture.hand(10);
  let isConfirmed = false;
  confirmed.then(() => isConfirmed = true);
  const [first, second] = fixture.pings;
  assert.ok(first !== undefined && second !== undefined);
  for (const uid of [first, "ping 2", "2", ""]) fixture.pong(uid);
  await Promise.resolve();
  assert.equal(isConfirmed, false);
  assert.match(second, /^[0-9a-f-]{36}$/, "nobody else can know it");
  fixture.pong(second);
  await confirmed;
});

Deno.test("Link gives a relay longer that says other things, but not for ever", () => {
  const fixture = new Fixture();
  fixture.pong();
  fixture.link.ping();
  const patience = fixture.patience(() => fixture.link.hear(envelope("other")));
  assert.ok(patience >= 10_000 && patience <= 13_000, `${patience} ms`);
});

Deno.test("Link waits for what the network needs for large messages, as it has shown", async () => {
  const fixture = new Fixture();
  fixture.pong();
  const size = 1024 * 1024;
  await new Promise((resolve) => setTimeout(resolve, TICK)); // Between two pings.
  const confirmed = fixture.hand(size);
  const first = fixture.patience();
  assert.ok(first > 2000 && first < 4000, `${first} ms with nothing known`);
  fixture.pong();
  await confirmed;
  await new Promise((resolve) => setTimeout(resolve, TICK));
  fixture.hand(size);
  const fast = fixture.patience();
  assert.ok(fast <= 1200, `${fast} ms after it was fast`);
});

Deno.test("Link does not take a relay for silent while the network takes what waits", () => {
  const fixture = new Fixture();
  fixture.pong();
  fixture.link.ping();
  fixture.bufferedAmount = 10_000_000;
  const slow = fixture.patience(() => fixture.bufferedAmount -= 1000);
  assert.equal(slow, Infinity);
  assert.ok(fixture.link.silent <= TICK);
  const stuck = fixture.patience();
  assert.ok(stuck <= 1000, `${stuck} ms`);
  assert.ok(fixture.link.silent > TICK);
});

Deno.test("Link does not take what goes into the kernel at once for a sign of life", () => {
  const fixture = new Fixture();
  fixture.pong();
  fixture.link.ping();
  let turn = 0;
  const patience = fixture.patience(() => {
    fixture.hand(100);
    fixture.bufferedAmount = turn++ % 2 === 0 ? 100 : 0; // Some of it is just on its way.
  });
  assert.ok(patience <= 1200, `${patience} ms`);
});
