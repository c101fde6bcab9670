import assert from "node:assert/strict";
import type { Session } from "@rmb/protocol";
import { inTime, until } from "../tests/fixtures/deadline.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "../tests/fixtures/raw_web_socket.ts";
import type { Answer } from "./server.ts";
import { head, ServerFixture, upgradeHead } from "./tests/server_fixture.ts";

Deno.test("Server connects the session that a client is admitted as, by its whole query", async () => {
  const tokens: string[] = [];
  await using fixture = await ServerFixture.start({
    admit: (token) => {
      tokens.push(token);
      return Promise.resolve({ twin: 8, connection: "a" });
    },
  });
  for (const path of ["/?a.b?c=d&e", "/", "/?", "/any/path?x"]) {
    using _client = await RawWebSocket.connect(`ws://${fixture.host}${path}`);
  }
  assert.deepEqual(tokens, ["a.b?c=d&e", "", "", "x"]);
  assert.deepEqual(
    fixture.taken.map(({ session }) => session),
    Array(4).fill({
      twin: 8,
      connection: "a",
    }),
  );
});

Deno.test("Server refuses an upgrade with the answer of who admits", async () => {
  await using fixture = await ServerFixture.start({
    admit: () => Promise.resolve({ status: 401, body: "nö: a token is missing\n" }),
  });
  const before = Math.floor(Date.now() / 1000) * 1000;
  const answer = await fixture.exchange(upgradeHead("/"));
  const [top, body] = answer.split("\r\n\r\n");
  const [status, ...lines] = top!.split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => line.split(": ", 2)));
  assert.equal(status, "HTTP/1.1 401 Unauthorized");
  const date = new Date(headers["Date"]);
  assert.ok(date.getTime() >= before && date.getTime() <= Date.now());
  assert.equal(date.toUTCString(), headers["Date"]);
  assert.equal(headers["Connection"], "close");
  assert.equal(headers["Content-Type"], "text/plain; charset=utf-8");
  assert.equal(headers["Content-Length"], "24", "bytes, not characters");
  assert.equal(body, "nö: a token is missing\n");
  assert.equal(fixture.taken.length, 0);
});

Deno.test("Server lets a client read why it is refused that goes on sending", async () => {
  await using fixture = await ServerFixture.start({
    admit: () => Promise.resolve({ status: 401, body: "no\n" }),
  });
  const answer = await inTime(
    fixture.exchange(upgradeHead("/") + "x".repeat(16 * 1024 * 1024)),
    "the answer",
  );
  assert.match(answer, /^HTTP\/1\.1 401 .*\r\n\r\nno\n$/s);
});

Deno.test("Server refuses an upgrade with 500 when nobody can say whether to admit", async () => {
  await using fixture = await ServerFixture.start({
    admit: () => Promise.reject(new Error("secret")),
  });
  const answer = await fixture.exchange(upgradeHead("/"));
  assert.match(answer, /^HTTP\/1\.1 500 Internal Server Error\r\n.*\r\n\r\ninternal error\n$/s);
});

Deno.test("Server answers as if nothing was offered who offers to upgrade to anything else", async () => {
  await using fixture = await ServerFixture.start({
    answer: ({ method, url }) => Promise.resolve({ status: 200, body: `${method} ${url}\n` }),
  });
  using client = await fixture.open();
  for (const Upgrade of ["h2c", "websocket, h2c", "TLS/1.0"]) {
    const headers = { Connection: "Upgrade, HTTP2-Settings", Upgrade, "HTTP2-Settings": "" };
    await client.write(head("GET /health", headers));
    assert.match(await client.readUntil("GET /health\n"), /^HTTP\/1\.1 200 /);
    await client.write(head("POST /", { ...headers, "Content-Length": "4" }) + "body");
    assert.match(await client.readUntil("POST /\n"), /^HTTP\/1\.1 200 /);
  }
  assert.equal(fixture.taken.length, 0);
});

Deno.test("Server refuses an upgrade that is not WebSocket's", async () => {
  await using fixture = await ServerFixture.start();
  const wrong = [
    upgradeHead("/").replace(/Sec-WebSocket-Key.*\r\n/, ""),
    upgradeHead("/").replace("Version: 13", "Version: 99"),
    upgradeHead("/").replace("GET", "POST"),
  ];
  for (const text of wrong) assert.match(await fixture.exchange(text), /^HTTP\/1\.1 4\d\d /);
  assert.equal(fixture.taken.length, 0);
});

Deno.test("Server takes the name of the protocol in any case", async () => {
  await using fixture = await ServerFixture.start();
  using client = await fixture.open();
  await client.write(upgradeHead("/").replace("Upgrade: websocket", "upgrade: WebSocket"));
  assert.match(await client.readUntil("\r\n\r\n"), /^HTTP\/1\.1 101 /);
});

Deno.test("Server loses nothing of what a client sends before it is admitted", async () => {
  const asked = Promise.withResolvers<void>();
  const admitted = Promise.withResolvers<Session | Answer>();
  await using fixture = await ServerFixture.start({
    admit: () => {
      asked.resolve();
      return admitted.promise;
    },
  });
  using client = await fixture.open();
  const one = encodeFrame(OPCODE.text, new TextEncoder().encode("one"));
  await client.write(concat(new TextEncoder().encode(upgradeHead("/")), one));
  await asked.promise;
  await client.write(encodeFrame(OPCODE.text, new TextEncoder().encode("two")));
  admitted.resolve({ twin: 7 });
  const { received } = await fixture.first();
  await until(() => received.length === 2, "both messages");
  assert.deepEqual(received, ["one", "two"]);
});

Deno.test("Server withstands a client that goes while it is admitted", async () => {
  const asked = Promise.withResolvers<void>();
  const admitted = Promise.withResolvers<Session | Answer>();
  await using fixture = await ServerFixture.start({
    admit: (token) => {
      if (token === "second") return Promise.resolve({ twin: 8 });
      asked.resolve();
      return admitted.promise;
    },
  });
  const first = await fixture.open();
  await first.write(upgradeHead("/?first"));
  await asked.promise;
  first[Symbol.dispose]();
  using _second = await RawWebSocket.connect(`ws://${fixture.host}/?second`);
  admitted.resolve({ twin: 7 });
  const others = () => fixture.taken.filter(({ session }) => session.twin === 7);
  await RawWebSocket.connect(`ws://${fixture.host}/?second`).then((third) =>
    third[Symbol.dispose]()
  );
  await Promise.all(others().map(({ closed }) => inTime(closed, "its end")));
});

Deno.test("Server takes a message as long as it may be, and closes with 1009 above", async () => {
  await using fixture = await ServerFixture.start({ maxMessage: 1000 });
  using client = await RawWebSocket.connect(`ws://${fixture.host}/`);
  const { received, closed } = await fixture.first();
  await client.send(OPCODE.binary, new Uint8Array(1000));
  await until(() => received.length === 1, "the message");
  await client.send(OPCODE.binary, new Uint8Array(600), false);
  await client.send(OPCODE.more, new Uint8Array(401));
  assert.deepEqual(await closeOf(client), 1009);
  client.end();
  await inTime(closed, "the end of the connection");
  assert.equal(received.length, 1);
});

Deno.test("Server takes a message in 1024 frames, and closes the connection of one in more", async () => {
  await using fixture = await ServerFixture.start();
  using client = await RawWebSocket.connect(`ws://${fixture.host}/`);
  const { received, closed } = await fixture.first();
  const send = async (count: number) => {
    const frames = Array.from(
      { length: count },
      (_, i) =>
        encodeFrame(i === 0 ? OPCODE.text : OPCODE.more, new Uint8Array(0), i === count - 1),
    );
    await client.write(concat(...frames));
  };
  await send(1024);
  await until(() => received.length === 1, "the message");
  await send(1025);
  assert.deepEqual(await closeOf(client), 1008);
  client.end();
  await inTime(closed, "the end of the connection");
  assert.equal(received.length, 1);
});

Deno.test("Server leaves WebSockets to their owner when it stops, and waits for them", async () => {
  const fixture = await ServerFixture.start();
  using client = await RawWebSocket.connect(`ws://${fixture.host}/`);
  const { socket, received } = await fixture.first();
  let isStopped = false;
  const stopped = fixture.server[Symbol.asyncDispose]().then(() => isStopped = true);
  await client.send(OPCODE.text, new TextEncoder().encode("late"));
  await until(() => received.length === 1, "the message");
  assert.equal(isStopped, false);
  socket.close(1001, "");
  assert.equal(await closeOf(client), 1001);
  client.end();
  await inTime(stopped, "the end of the server");
});

/** The code of the frame by which a client is closed, which comes next. */
async function closeOf(client: RawWebSocket): Promise<number> {
  const frame = await inTime(client.read(), "a close frame");
  assert.equal(frame?.opcode, OPCODE.close);
  return new DataView(frame!.payload.buffer).getUint16(0);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}
