import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import { Heartbeat } from "./heartbeat.ts";
import { FakeTimers } from "./tests/fake_timers.ts";
import type { WebSocket } from "./web_socket.ts";

const MIB = 1024 * 1024;

/** A client as a heartbeat sees it: what comes from it, and what is done to it. */
class Client {
  /** The seconds in which it was pinged. */
  readonly pings: number[] = [];
  /** Why it was dropped, each time that it was. */
  readonly dropped: string[] = [];
  readonly #socket = new EventEmitter();
  readonly #connection = new EventEmitter();

  constructor({ heartbeat, now }: Fixture) {
    const socket = Object.assign(this.#socket, { ping: () => this.pings.push(now()) });
    heartbeat.watch(
      socket as unknown as WebSocket,
      this.#connection as unknown as Duplex,
      (reason) => this.dropped.push(reason),
    );
  }

  /** It sends bytes; the WebSocket may make something of them. */
  send(size: number, ...completed: [event: "message" | "ping" | "pong", size: number][]): void {
    // Made up: nobody reads them.
    this.#connection.emit("data", { length: size });
    for (const [event, length] of completed) this.#socket.emit(event, { length });
  }

  close(): void {
    this.#socket.emit("close", 1000);
  }

  /** How many listen to what it sends. */
  get listeners(): number {
    return this.#connection.listenerCount("data");
  }
}

/** A heartbeat on a clock of its own. */
class Fixture implements Disposable {
  readonly heartbeat: Heartbeat;
  readonly timers = new FakeTimers("Interval");
  #now = 0;
  readonly now = () => this.#now;

  constructor() {
    this.heartbeat = new Heartbeat();
  }

  /** Lets seconds pass. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.#now++;
      this.timers.advance(1000);
    }
  }

  [Symbol.dispose](): void {
    this.heartbeat[Symbol.dispose]();
    assert.equal(this.timers.count, 0);
    this.timers[Symbol.dispose]();
  }
}

Deno.test("Heartbeat pings a silent client after 20 and 30 s, and drops it after 40 s", () => {
  using fixture = new Fixture();
  const client = new Client(fixture);
  fixture.pass(39);
  assert.deepEqual(client.pings, [20, 30]);
  assert.deepEqual(client.dropped, []);
  fixture.pass(1);
  assert.deepEqual(client.dropped, ["silent for 40 s"]);
  assert.deepEqual(client.pings, [20, 30]);
});

Deno.test("Heartbeat takes anything that a client sends for a sign of life", () => {
  using fixture = new Fixture();
  const client = new Client(fixture);
  fixture.pass(39);
  client.send(1);
  fixture.pass(39);
  assert.deepEqual(client.pings, [20, 30, 59, 69]);
  assert.deepEqual(client.dropped, []);
  client.send(6, ["pong", 0]);
  fixture.pass(19);
  assert.deepEqual(client.pings, [20, 30, 59, 69]);
});

Deno.test("Heartbeat counts for each client from when it came", () => {
  using fixture = new Fixture();
  const first = new Client(fixture);
  fixture.pass(15);
  const second = new Client(fixture);
  fixture.pass(25);
  assert.deepEqual([first.dropped.length, second.dropped.length], [1, 0]);
  assert.deepEqual(second.pings, [35]);
});

Deno.test("Heartbeat leaves a client alone that is closed", () => {
  using fixture = new Fixture();
  const client = new Client(fixture);
  client.send(1000);
  client.close();
  assert.equal(fixture.heartbeat.partial, 0);
  assert.equal(client.listeners, 0);
  fixture.pass(100);
  assert.deepEqual(client.pings, []);
  assert.deepEqual(client.dropped, []);
});

Deno.test("Heartbeat hears clients before their WebSockets do", () => {
  using fixture = new Fixture();
  const connection = new EventEmitter();
  const heard: number[] = [];
  // As the WebSocket has it by then.
  connection.on("data", () => heard.push(fixture.heartbeat.partial));
  fixture.heartbeat.watch(
    new EventEmitter() as unknown as WebSocket,
    connection as unknown as Duplex,
    assert.fail,
  );
  connection.emit("data", new Uint8Array(1000));
  assert.ok(heard[0]! >= 1000);
});

Deno.test("Heartbeat counts what is not complete, until it is", () => {
  using fixture = new Fixture();
  const { heartbeat } = fixture;
  const client = new Client(fixture);
  const other = new Client(fixture);
  client.send(1000);
  client.send(500);
  other.send(100);
  assert.ok(heartbeat.partial >= 1600 && heartbeat.partial < 1600 + 3 * 300);
  client.send(10, ["message", 1500]);
  assert.ok(heartbeat.partial >= 100 && heartbeat.partial < 100 + 300);
  other.send(10, ["message", 100]);
  assert.equal(heartbeat.partial, 0);
});

Deno.test("Heartbeat counts a control frame neither as part of a message nor as its end", () => {
  using fixture = new Fixture();
  const { heartbeat } = fixture;
  const client = new Client(fixture);
  client.send(1000);
  const before = heartbeat.partial;
  for (let i = 0; i < 1000; i++) {
    client.send(6 + 100, ["ping", 100]);
    client.send(6, ["pong", 0]);
  }
  assert.equal(heartbeat.partial, before);
});

Deno.test("Heartbeat takes no more off for control frames than there is", () => {
  using fixture = new Fixture();
  const { heartbeat } = fixture;
  const client = new Client(fixture);
  // All in one piece, which is counted as one.
  client.send(600, ...Array(100).fill(["ping", 0]));
  assert.equal(heartbeat.partial, 0);
  const other = new Client(fixture);
  other.send(1000);
  const before = heartbeat.partial;
  client.send(600, ...Array(100).fill(["ping", 0]));
  assert.equal(heartbeat.partial, before);
});

Deno.test("Heartbeat drops who has the largest message, when all that is not complete is too much", () => {
  using fixture = new Fixture();
  const { heartbeat } = fixture;
  const clients = [60, 90, 60].map((size) => {
    const client = new Client(fixture);
    client.send(size * MIB);
    return client;
  });
  const late = new Client(fixture);
  late.send(45 * MIB);
  assert.deepEqual(clients.map(({ dropped }) => dropped.length), [0, 0, 0]);
  late.send(1 * MIB);
  assert.deepEqual(clients.map(({ dropped }) => dropped), [
    [],
    ["its message is not complete and takes too much memory"],
    [],
  ]);
  assert.deepEqual(late.dropped, []);
  assert.ok(heartbeat.partial < 167 * MIB, "what it sent does not count any more");

  // What it yet sends, and its end, change nothing.
  const before = heartbeat.partial;
  clients[1]!.send(100 * MIB, ["message", 190 * MIB]);
  clients[1]!.close();
  assert.equal(heartbeat.partial, before);
  fixture.pass(100);
  assert.equal(clients[1]!.dropped.length, 1);
});

Deno.test("Heartbeat counts what small pieces cost beside their bytes", () => {
  using fixture = new Fixture();
  const client = new Client(fixture);
  for (let i = 0; i < MIB - 4096; i++) client.send(1);
  assert.deepEqual(client.dropped, []);
  for (let i = 0; i < 4096; i++) client.send(1);
  assert.equal(client.dropped.length, 1);
});
