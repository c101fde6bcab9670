import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { inTime } from "../tests/fixtures/deadline.ts";
import { gatherWrites, makeWebSocketServer, type WebSocket } from "./web_socket.ts";

/** A client's request for a WebSocket, as far as the library looks at it. */
const REQUEST = {
  method: "GET",
  headers: {
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  },
} as unknown as IncomingMessage;

/** A WebSocket that gathers its writes, and what reaches the connection below it. */
class Fixture implements AsyncDisposable {
  /** The frames of each write, in order. */
  readonly writes: string[][] = [];
  /** The messages that were told to be written, in order. */
  readonly told: string[] = [];
  readonly socket: WebSocket;
  readonly connection: Duplex;

  constructor() {
    const write = (chunk: Uint8Array, done: () => void) => {
      this.writes.push(readFrames(Buffer.from(chunk)));
      done();
    };
    this.connection = new Duplex({
      read() {},
      write: (chunk, _encoding, done) => write(chunk, done),
      writev: (chunks, done) => write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done),
    });
    let upgraded: WebSocket | undefined;
    makeWebSocketServer({
      maxPayload: 1000,
      maxFragments: 10,
      maxBufferedChunks: 10,
      closeTimeout: 1000,
    }).handleUpgrade(REQUEST, this.connection, new Uint8Array(), (socket) => upgraded = socket);
    this.socket = upgraded!;
    this.writes.length = 0; // The answer to the request.
    gatherWrites(this.socket, this.connection);
  }

  /** Sends messages in this turn. */
  send(...messages: string[]): void {
    for (const message of messages) {
      const bytes = new TextEncoder().encode(message);
      this.socket.send(bytes, { binary: true, compress: false }, () => this.told.push(message));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.socket.on("close", resolve));
    this.socket.terminate();
    await inTime(closed, "the end of the WebSocket");
  }
}

/** The frames of a server, all of them short: a message's text, or the name of another. */
function readFrames(bytes: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const [opcode, size] = [bytes[at]! & 0x0f, bytes[at + 1]!];
    const payload = bytes.subarray(at + 2, at += 2 + size);
    frames.push({ 2: payload.toString(), 8: "close", 9: "ping" }[opcode] ?? `opcode ${opcode}`);
  }
  return frames;
}

/** Waits until the turn is over. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

Deno.test("gatherWrites() has all messages of a turn leave in one write, each told of in order", async () => {
  await using fixture = new Fixture();
  fixture.send("a", "b", "c");
  assert.deepEqual(fixture.writes, []);
  await nextTurn();
  assert.deepEqual(fixture.writes, [["a", "b", "c"]]);
  assert.deepEqual(fixture.told, ["a", "b", "c"]);
});

Deno.test("gatherWrites() holds nothing back for a later turn", async () => {
  await using fixture = new Fixture();
  for (const message of ["a", "b"]) {
    fixture.send(message);
    await nextTurn();
    assert.equal(fixture.connection.writableCorked, 0);
  }
  fixture.send("c", "d");
  await nextTurn();
  assert.deepEqual(fixture.writes, [["a"], ["b"], ["c", "d"]]);
});

Deno.test("gatherWrites() writes what is sent when a message was written", async () => {
  await using fixture = new Fixture();
  const bytes = new Uint8Array([0x61]);
  fixture.socket.send(bytes, { binary: true, compress: false }, () => fixture.send("b", "c"));
  await nextTurn();
  await nextTurn();
  assert.deepEqual(fixture.writes.flat(), ["a", "b", "c"]);
  assert.equal(fixture.connection.writableCorked, 0);
});

Deno.test("gatherWrites() keeps a ping and the close in their places between messages", async () => {
  await using fixture = new Fixture();
  fixture.socket.ping();
  fixture.send("a");
  fixture.socket.ping();
  fixture.send("b");
  fixture.socket.close(1000, "");
  await nextTurn();
  assert.deepEqual(fixture.writes, [["ping"], ["a", "ping", "b", "close"]]);
  assert.deepEqual(fixture.told, ["a", "b"]);
});

Deno.test("gatherWrites() tells of messages that a connection did not take any more", async () => {
  const fixture = new Fixture();
  const errors: unknown[] = [];
  fixture.socket.on("error", () => {});
  const bytes = new Uint8Array([0x61]);
  fixture.socket.send(bytes, { binary: true, compress: false }, (error) => errors.push(error));
  await fixture[Symbol.asyncDispose]();
  await nextTurn();
  assert.equal(errors.length, 1);
  assert.ok(errors[0] instanceof Error);
  assert.deepEqual(fixture.writes, []);
});
