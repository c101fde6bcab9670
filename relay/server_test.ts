import assert from "node:assert/strict";
import { RmbError } from "@rmb/protocol";
import { inTime } from "../tests/fixtures/deadline.ts";
import type { Answer } from "./server.ts";
import { head, ServerFixture, TIMES } from "./tests/server_fixture.ts";

Deno.test("Server answers requests, one after the other on a connection", async () => {
  const bodies = ["grüße\n", "", "{}\n"];
  await using fixture = await ServerFixture.start({
    answer: ({ method, url }) => {
      const [, number] = url!.split("/");
      const body = `${bodies[Number(number)]}`;
      const type = number === "2" ? { type: "application/json" } : {};
      return Promise.resolve({ status: method === "POST" ? 202 : 200, body, ...type });
    },
  });
  const ask = async (url: string, method = "GET") => {
    const response = await fetch(`http://${fixture.host}${url}`, { method });
    const { status, headers } = response;
    return [status, headers.get("content-type"), await response.text()];
  };
  assert.deepEqual(await ask("/0"), [200, "text/plain; charset=utf-8", bodies[0]]);
  assert.deepEqual(await ask("/1", "POST"), [202, null, ""]);
  assert.deepEqual(await ask("/2"), [200, "application/json", bodies[2]]);

  using client = await fixture.open();
  for (let i = 0; i < 3; i++) {
    await client.write(head("GET /0"));
    const answer = await client.readUntil("grüße\n");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(answer, /^content-length: 8\r$/im);
    assert.match(answer, /^date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r$/im);
  }
});

Deno.test("Server answers HEAD as GET, without the body", async () => {
  await using fixture = await ServerFixture.start();
  const answer = await fixture.exchange(head("HEAD /", { Connection: "close" }));
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /^content-length: 6\r$/im);
  assert.ok(answer.endsWith("\r\n\r\n"), answer);
});

Deno.test("Server answers 500 when a request fails, and does not say why", async () => {
  await using fixture = await ServerFixture.start({
    answer: () => Promise.reject(new Error("secret")),
  });
  const response = await fetch(`http://${fixture.host}/`);
  assert.equal(response.status, 500);
  assert.equal(await response.text(), "internal error\n");
});

Deno.test("Server closes the connection of a request whose end it did not wait for", async () => {
  await using fixture = await ServerFixture.start({
    answer: () => Promise.resolve({ status: 413, body: "too large\n" }),
  });
  const answer = await fixture.exchange(`${head("POST /", { "Content-Length": "1000" })}begin`);
  assert.match(answer, /^HTTP\/1\.1 413 .*^connection: close\r$.*\r\n\r\ntoo large\n$/ims);
});

Deno.test("Server refuses what is not HTTP with 400", async () => {
  await using fixture = await ServerFixture.start();
  const wrong = [
    "hello\r\n\r\n",
    "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "\u0016\u0003\u0001\u0002",
    head("POST /", { "Content-Length": "1", "Transfer-Encoding": "chunked" }),
    head("POST /", { "Content-Length": "-1" }),
  ];
  for (const text of wrong) {
    const answer = await inTime(fixture.exchange(text), `an answer to ${text}`);
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n.*^Connection: close\r$/ms);
    assert.ok(answer.endsWith("\r\nContent-Length: 9\r\n\r\nnot HTTP\n"), answer);
  }
});

Deno.test("Server takes a head of 15 KiB, and refuses one above 16 KiB with 431", async () => {
  await using fixture = await ServerFixture.start();
  const get = (size: number) =>
    fixture.exchange(head(`GET /?${"x".repeat(size)}`, { Connection: "close" }));
  assert.match(await get(15 * 1024), /^HTTP\/1\.1 200 /);
  const refused = /^HTTP\/1\.1 431 .*^Date: .* GMT\r$.*\r\nmore than 16384 bytes of headers\n$/ms;
  assert.match(await get(17 * 1024), refused);
  const header = head("GET /", { "X-Long": "x".repeat(17 * 1024) });
  assert.match(await fixture.exchange(header), refused);
});

Deno.test("Server refuses with 408 who is too slow with a head", async () => {
  await using fixture = await ServerFixture.start({ times: { ...TIMES, head: 100 } });
  for (const begin of ["GET / HTTP/1.1\r\nHost:", ""]) {
    const answer = await inTime(fixture.exchange(begin), `an answer to "${begin}"`);
    assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n.*\r\nthe request took too long\n$/s);
  }
});

Deno.test("Server cuts off who is too slow with a body", async () => {
  const ended = Promise.withResolvers<void>();
  await using fixture = await ServerFixture.start({
    times: { ...TIMES, head: 100, request: 100 },
    answer: async (request): Promise<Answer> => {
      request.on("close", ended.resolve);
      for await (const _chunk of request);
      return { status: 200, body: "all\n" };
    },
  });
  const begin = `${head("POST /", { "Content-Length": "1000" })}begin`;
  const answer = await inTime(fixture.exchange(begin), "the end of the connection");
  assert.match(answer, /^HTTP\/1\.1 408 /);
  await inTime(ended.promise, "the end of the request");
});

Deno.test("Server closes a connection that is not used any more", async () => {
  await using fixture = await ServerFixture.start({ times: { ...TIMES, keepAlive: 50 } });
  using client = await fixture.open();
  await client.write(head("GET /"));
  await client.readUntil("hello\n");
  assert.equal(await inTime(client.read(), "the end of the connection"), "");
});

Deno.test("Server closes who was refused, whether or not they go", async () => {
  await using fixture = await ServerFixture.start({ times: { ...TIMES, linger: 100 } });
  using client = await fixture.open();
  await client.write("hello\r\n\r\n");
  await client.readUntil("not HTTP\n");
  // It is read from for a while, so that the client can read what it was told.
  const goOn = async () => {
    for (;;) {
      await client.write("hello");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await assert.rejects(inTime(goOn(), "the end of the connection"), Deno.errors.BrokenPipe);
});

Deno.test("Server says where it listens, over IPv4 and IPv6", async () => {
  for (const hostname of ["127.0.0.1", "::1"]) {
    await using fixture = await ServerFixture.start({ hostname });
    const { address } = fixture.server;
    assert.equal(address.hostname, hostname);
    assert.ok(address.port > 0);
    const host = hostname === "::1" ? "[::1]" : hostname;
    const response = await fetch(`http://${host}:${address.port}/`);
    assert.equal(await response.text(), "hello\n");
  }
});

Deno.test("Server can't listen where another does", async () => {
  for (const [hostname, host] of [["127.0.0.1", "127.0.0.1"], ["::1", "[::1]"]] as const) {
    await using taken = await ServerFixture.start({ hostname });
    const { port } = taken.server.address;
    await assert.rejects(ServerFixture.start({ hostname, port }), (error: Error) => {
      assert.ok(error instanceof RmbError);
      assert.ok(error.message.startsWith(`Cannot listen on "${host}:${port}": `), error.message);
      return true;
    });
  }
});

Deno.test("Server answers what is under way when it stops, and takes nothing more", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Answer>();
  const fixture = await ServerFixture.start({
    answer: () => {
      asked.resolve();
      return answer.promise;
    },
  });
  const { server, host } = fixture;
  using client = await fixture.open();
  await client.write(head("GET /"));
  await asked.promise;
  let isStopped = false;
  const stopped = server[Symbol.asyncDispose]().then(() => isStopped = true);
  await assert.rejects(fetch(`http://${host}/`), TypeError);
  assert.equal(isStopped, false);
  answer.resolve({ status: 200, body: "late\n" });
  assert.match(await client.readAll(), /^HTTP\/1\.1 200 .*\r\nlate\n$/s);
  await inTime(stopped, "the end of the server");
});

Deno.test("Server does not wait for clients without a request when it stops", async () => {
  const fixture = await ServerFixture.start();
  using silent = await fixture.open();
  using slow = await fixture.open();
  using idle = await fixture.open();
  await slow.write("GET / HTTP/1.1\r\n");
  await idle.write(head("GET /"));
  await idle.readUntil("hello\n"); // By now it has accepted those before.
  await inTime(fixture.server[Symbol.asyncDispose](), "the end of the server", 5000);
  for (const client of [silent, slow, idle]) assert.equal(await client.read(), "");
});

Deno.test("Server waits no longer for an answer than for a request when it stops", async () => {
  const asked = Promise.withResolvers<void>();
  const fixture = await ServerFixture.start({
    times: { ...TIMES, head: 100, request: 100 },
    answer: () => {
      asked.resolve();
      return new Promise(() => {});
    },
  });
  using client = await fixture.open();
  await client.write(head("GET /"));
  await asked.promise;
  await inTime(fixture.server[Symbol.asyncDispose](), "the end of the server", 5000);
  assert.equal(await client.read(), "");
});
