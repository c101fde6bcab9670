import assert from "node:assert/strict";
import type { RelayState } from "./connection.ts";
import { checkNotSent, Client, envelope, nextUid, testEachSocket } from "./tests/client.ts";
import { Network, TestRelay } from "./tests/relay.ts";

Deno.test.sanitizer({ ops: true, resources: true });

/** A port that nothing listens on. */
function closedPort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

testEachSocket("close() ends the connection, for good", async () => {
  await using relay = new TestRelay();
  const client = new Client(relay.url);
  const session = await relay.sessions.next();
  await client.connected();
  await client.close();
  assert.equal((await session.closed).code, 1000);
  assert.equal(client.connection.connected, false);
  assert.equal(client.states.length, 0);
  assert.equal(relay.sessions.length, 0);
});

testEachSocket("close() sends what was given before it", async () => {
  await using relay = new TestRelay();
  const client = new Client(relay.url);
  const session = await relay.sessions.next();
  await client.connected();
  const sent = ["a", "b", "c"].map((uid) => client.connection.send(envelope(uid, 2e6)));
  await client.close();
  await Promise.all(sent);
  for (const uid of ["a", "b", "c"]) assert.equal(await nextUid(session), uid);
});

testEachSocket("close() rejects what was not sent, and send() whatever comes after", async () => {
  const client = new Client(`ws://127.0.0.1:${closedPort()}`);
  const waiting = [undefined, 3_600_000].map((timeout) =>
    checkNotSent(client.connection.send(envelope("a"), timeout), /^Cannot send: .* was closed$/)
  );
  await client.disconnected();
  await client.close();
  await Promise.all(waiting);
  await checkNotSent(client.connection.send(envelope("a")), /^Cannot send: .* is closed$/);
  await checkNotSent(client.connection.send(envelope("a"), 1000), /^Cannot send: .* is closed$/);
});

testEachSocket(
  "close() gives a relay that takes nothing a few seconds, and rejects the rest",
  async () => {
    await using relay = new TestRelay();
    await using network = new Network(relay.port);
    const client = new Client(network.url);
    await relay.sessions.next();
    await client.connected();
    network.stall();
    const stuck = ["a", "b"].map((uid) =>
      checkNotSent(client.connection.send(envelope(uid, 20 * 1024 * 1024)), /was closed$/)
    );
    const start = performance.now();
    await client.close();
    await Promise.all(stuck);
    const took = performance.now() - start;
    assert.ok(took > 1900 && took < 6000, `${took} ms`);
  },
);

testEachSocket("close() right after the start makes no connection", async () => {
  const { WebSocket } = globalThis;
  let begun = 0;
  globalThis.WebSocket = class extends WebSocket {
    constructor(...parameters: ConstructorParameters<typeof WebSocket>) {
      super(...parameters);
      begun++;
    }
  };
  try {
    const client = new Client(`ws://127.0.0.1:${closedPort()}`);
    await client.close();
    assert.equal(begun, 0);
  } finally {
    globalThis.WebSocket = WebSocket;
  }
});

testEachSocket("close() at any time while connecting leaves nothing running", async () => {
  await using relay = new TestRelay();
  for (let turns = 1; turns < 40; turns++) {
    const client = new Client(relay.url);
    // Turns of the event loop, or of microtasks only.
    for (let i = 0; i < turns >> 1; i++) {
      await (turns & 1 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve)));
    }
    await client.close();
    assert.equal(client.connection.connected, false);
  }
});

testEachSocket("close() while waiting to try again does not wait for that", async () => {
  const client = new Client(`ws://127.0.0.1:${closedPort()}`, {
    times: { retry: [3_600_000, 3_600_000] },
  });
  await client.disconnected();
  await client.close();
});

testEachSocket("close() while the relay does not answer does not wait for that", async () => {
  await using relay = new TestRelay();
  await using network = new Network(relay.port, false);
  const client = new Client(network.url, { times: { connect: 30, retry: [1, 1] } });
  await client.disconnected();
  await client.close();
  await using _network = new Network(relay.port, false);
  await new Client(_network.url, { times: { connect: 3_600_000 } }).close();
});

Deno.test("close() while the relay is asked for its time does not wait for that", async () => {
  await using relay = new TestRelay();
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  relay.refuse = ({ method }) => {
    if (method !== "HEAD") return new Response(null, { status: 401 });
    asked.resolve();
    return answer.promise;
  };
  const client = new Client(relay.url);
  await asked.promise;
  const start = performance.now();
  await client.close();
  assert.ok(performance.now() - start < 2000);
  answer.resolve(new Response());
});

testEachSocket("close() from within onState is fine, whatever the state", async () => {
  await using relay = new TestRelay();
  for (const closeWhen of [true, false]) {
    relay.refuse = closeWhen ? undefined : () => new Response(null, { status: 503 });
    const closed = Promise.withResolvers<void>();
    const client = new Client(relay.url, {
      onState: ({ connected }: RelayState) => {
        if (connected === closeWhen) closed.resolve(client.close());
      },
      times: { retry: [3_600_000, 3_600_000] },
    });
    await closed.promise;
    assert.equal(client.connection.connected, false);
  }
});

testEachSocket("close() twice, and by disposing, is the same as once", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  await client.connected();
  const sent = client.connection.send(envelope("a"));
  await Promise.all([client.close(), client.close()]);
  await client.close();
  await sent;
  assert.equal(await nextUid(session), "a");
});
