import assert from "node:assert/strict";
import { inTime } from "../tests/fixtures/deadline.ts";
import type { TlsKeys } from "./server.ts";
import { Client, head, ServerFixture, TIMES } from "./tests/server_fixture.ts";
import { makeTlsKeys } from "./tests/tls_keys.ts";

/** Connects, if the server has this certificate. */
async function connect({ server }: ServerFixture, { cert }: TlsKeys): Promise<Client> {
  const { port } = server.address;
  const connection = await Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] });
  try {
    await connection.handshake();
    return new Client(connection);
  } catch (error) {
    connection.close();
    throw error;
  }
}

const [FIRST, SECOND] = await Promise.all([makeTlsKeys(), makeTlsKeys()]);

Deno.test("Server serves TLS, WebSocket too", async () => {
  await using fixture = await ServerFixture.start({ tls: FIRST });
  using client = await connect(fixture, FIRST);
  await client.write(head("GET /"));
  assert.match(await client.readUntil("hello\n"), /^HTTP\/1\.1 200 OK\r\n/);
  await assert.rejects(connect(fixture, SECOND), Deno.errors.InvalidData);

  using http = Deno.createHttpClient({ caCerts: [FIRST.cert] });
  const url = `wss://localhost:${fixture.server.address.port}/?token`;
  const socket = new WebSocket(url, { client: http });
  await inTime(new Promise((resolve) => socket.onopen = resolve), "the connection");
  const { received, closed } = await fixture.first();
  socket.send("one");
  socket.close(4001);
  assert.equal(await inTime(closed, "the end"), 4001);
  assert.deepEqual(received, ["one"]);
});

Deno.test("Server uses a renewed certificate for new connections, and keeps those it has", async () => {
  await using fixture = await ServerFixture.start({ tls: FIRST });
  using before = await connect(fixture, FIRST);
  fixture.server.renew(SECOND);
  using after = await connect(fixture, SECOND);
  await assert.rejects(connect(fixture, FIRST), Deno.errors.InvalidData);
  for (const client of [before, after]) {
    await client.write(head("GET /"));
    assert.match(await client.readUntil("hello\n"), /^HTTP\/1\.1 200 OK\r\n/);
  }
});

Deno.test("Server cuts off who is no TLS client, and who is too slow to become one", async () => {
  await using fixture = await ServerFixture.start({ tls: FIRST, times: { ...TIMES, head: 100 } });
  using plain = await fixture.open();
  await plain.write(head("GET /"));
  assert.doesNotMatch(await inTime(plain.readAll(), "the end of the plain one"), /HTTP/);
  using silent = await fixture.open();
  await inTime(silent.readAll(), "the end of the silent one");
  using _client = await connect(fixture, FIRST);
});

Deno.test("Server does not wait for a handshake when it stops", async () => {
  const fixture = await ServerFixture.start({ tls: FIRST });
  using silent = await fixture.open();
  using _client = await connect(fixture, FIRST);
  await inTime(fixture.server[Symbol.asyncDispose](), "the end of the server", 5000);
  await silent.readAll();
});
