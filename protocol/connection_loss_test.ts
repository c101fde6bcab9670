import assert from "node:assert/strict";
import { createEnvelope, decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { FormatError } from "./errors.ts";
import { Client, envelope, keypair, nextUid, testEachSocket } from "./tests/client.ts";
import { Network, TestRelay, type TestSession } from "./tests/relay.ts";

Deno.test.sanitizer({ ops: true, resources: true });

const PONG = encodeEnvelope(createEnvelope({ message: { case: "pong", value: {} } }));

/** Answers a session's pings until this many are answered. */
async function pong({ messages, socket }: TestSession, count: number): Promise<void> {
  for (; count > 0; count--) {
    await messages.next();
    socket.send(PONG as Uint8Array<ArrayBuffer>);
  }
}

/** Refuses with a status, and a clock that is off by some seconds. */
const refusing = (status: number, clock = 0) => () => {
  const date = new Date(Date.now() + clock * 1000).toUTCString();
  return new Response("no", { status, headers: { date } });
};

Deno.test("RelayConnection refuses a URL that is no relay's at once", () => {
  assert.throws(() => new Client("https://relay.grid.tf"), FormatError);
});

testEachSocket(
  "RelayConnection waits longer and longer between attempts, within its bounds",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = refusing(503);
    await using client = new Client(relay.url, { times: { retry: [8, 64] } });
    const waits: number[] = [];
    let last = 0;
    for (let i = 0; i < 8; i++) {
      const { retryIn } = await client.disconnected();
      waits.push(retryIn);
      const now = performance.now();
      // A timer may count from up to a millisecond before, and retryIn is rounded.
      if (i > 0) assert.ok(now - last > waits[i - 1]! - 2, `${now - last} after ${waits}`);
      last = now;
    }
    waits.forEach((wait, i) => {
      const least = Math.min(8 * 2 ** i, 32);
      assert.ok(wait >= least && wait <= 2 * least, `wait ${i} of ${waits}`);
    });
    assert.ok(new Set(waits.slice(3)).size > 1, `no jitter: ${waits}`);
  },
);

testEachSocket(
  "RelayConnection waits no shorter than the shortest where both bounds are close",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = refusing(503);
    await using client = new Client(relay.url, { times: { retry: [10, 12] } });
    for (let i = 0; i < 6; i++) {
      const { retryIn } = await client.disconnected();
      assert.ok(retryIn >= 10 && retryIn <= 12, `${retryIn}`);
    }
  },
);

testEachSocket(
  "RelayConnection waits longer and longer where each connection ends at once",
  async () => {
    await using relay = new TestRelay();
    await using client = new Client(relay.url, { times: { retry: [10, 400] } });
    for (const least of [10, 20, 40]) {
      (await relay.sessions.next()).socket.close();
      await client.connected();
      const { retryIn } = await client.disconnected();
      assert.ok(retryIn >= least && retryIn <= 2 * least, `${retryIn}`);
    }
  },
);

testEachSocket(
  "RelayConnection begins anew with short waits after a connection that held",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = refusing(503);
    await using client = new Client(relay.url, { times: { ping: 10, retry: [10, 60] } });
    for (let i = 0; i < 4; i++) await client.disconnected(); // It waits 30 to 60 ms now.
    relay.refuse = undefined;
    while (!(await client.states.next()).connected);
    const session = await relay.sessions.next();
    for (const start = performance.now(); performance.now() - start < 70;) await pong(session, 1);
    session.socket.close();
    const { retryIn } = await client.disconnected();
    assert.ok(retryIn >= 10 && retryIn <= 20, `${retryIn}`);
  },
);

testEachSocket(
  "RelayConnection pings the relay for its own session, at once and then again",
  async () => {
    await using relay = new TestRelay();
    await using _client = new Client(relay.url, { times: { ping: 10 } });
    const { messages } = await relay.sessions.next();
    for (let i = 0; i < 3; i++) {
      const ping = decodeEnvelope(await messages.next() as Uint8Array);
      assert.equal(ping.message.case, "ping");
      assert.deepEqual([ping.source?.twin, ping.source?.connection], [7, "sid"]);
      assert.deepEqual(ping.destination, ping.source);
    }
  },
);

testEachSocket("RelayConnection takes silence for death", async () => {
  await using relay = new TestRelay();
  relay.answers = false;
  await using client = new Client(relay.url, { times: { ping: 10, silence: 50 } });
  for (let i = 0; i < 2; i++) {
    const session = await relay.sessions.next();
    await client.connected();
    assert.match((await client.disconnected()).reason, /^127\S+ said nothing for 0.05 s$/);
    await session.closed;
  }
});

testEachSocket("RelayConnection stays connected as long as pongs come", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url, { times: { ping: 20, silence: 400 } });
  const session = await relay.sessions.next();
  await client.connected();
  await pong(session, 30); // Longer than the time of silence.
  assert.equal(client.states.length, 0);
  assert.equal(client.received.length, 0);
  assert.equal(client.connection.connected, true);
});

testEachSocket(
  "RelayConnection leaves a dead network, and connects again when there is one",
  async () => {
    await using relay = new TestRelay();
    await using network = new Network(relay.port);
    const times = { ping: 10, silence: 200, connect: 40 };
    await using client = new Client(network.url, { times });
    await pong(await relay.sessions.next(), 1);
    await client.connected();
    network.stall();
    assert.match((await client.disconnected()).reason, /said nothing for 0.2 s$/);
    assert.match((await client.disconnected()).reason, /^no answer from 127\S+ within 40 ms$/);
    network.cut();
    while (!(await client.states.next()).connected);
    const sent = client.connection.send(envelope("a"));
    for (;;) { // The connections that came to nothing may come to the relay yet.
      const session = await relay.sessions.next();
      const first = await Promise.race([nextUid(session).catch(() => ""), session.closed]);
      if (first === "a") break;
    }
    await sent;
  },
);

testEachSocket("RelayConnection drops a connection on which text comes", async () => {
  await using relay = new TestRelay();
  await using client = new Client(relay.url);
  const session = await relay.sessions.next();
  await client.connected();
  session.socket.send("text");
  session.socket.send(envelope("a") as Uint8Array<ArrayBuffer>);
  const { reason } = await client.disconnected();
  assert.match(reason, /^127\S+ sent text, which is not of this protocol$/);
  await session.closed;
  assert.equal(client.received.length, 0);
  await client.connected();
});

testEachSocket("RelayConnection names the clock where it is why a token was refused", async () => {
  await using relay = new TestRelay();
  for (const [clock, side] of [[3600, "behind"], [-3600, "ahead of"]] as const) {
    relay.refuse = refusing(401, clock);
    await using client = new Client(relay.url);
    const { reason } = await client.disconnected();
    const skew = new RegExp(
      `^127\\S+ refused the token \\(401[^)]*\\): this machine's clock is (\\d+) s ${side} the relay's$`,
    ).exec(reason);
    assert.ok(skew && Math.abs(Number(skew[1]) - 3600) <= 10, reason);
  }
});

Deno.test("RelayConnection names twin and key where the clock is not why", async () => {
  await using relay = new TestRelay();
  const asked: string[] = [];
  for (const clock of [0, 20, -20]) {
    relay.refuse = (request) => {
      asked.push(request.method);
      return refusing(401, clock)();
    };
    await using client = new Client(relay.url);
    const { reason } = await client.disconnected();
    assert.match(reason, /^127\S+ refused the token \(401\): twin 7 is unknown to the relay, or /);
    assert.ok(reason.includes(`the sr25519 key ${keypair.address} (`), reason);
  }
  assert.deepEqual(asked.slice(0, 2), ["GET", "HEAD"]);
});

testEachSocket(
  "RelayConnection names twin and key where the relay's clock can't be told",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = ({ method }) =>
      new Response(null, { status: method === "HEAD" ? 302 : 401, headers: { date: "noon" } });
    await using client = new Client(relay.url);
    assert.match((await client.disconnected()).reason, /twin 7 is unknown to the relay/);
  },
);

testEachSocket(
  "RelayConnection blames no token for other failures, be 401 part of the port",
  async () => {
    await using relay = new TestRelay();
    relay.refuse = refusing(503);
    let listener: Deno.TcpListener | undefined;
    for (let port = 10_401; listener === undefined && port < 65_536; port += 1000) {
      try {
        listener = Deno.listen({ hostname: "127.0.0.1", port });
      } catch (error) {
        assert.ok(error instanceof Deno.errors.AddrInUse);
      }
    }
    await using network = new Network(relay.port, false, listener);
    await using client = new Client(network.url, { times: { connect: 20 } });
    assert.match((await client.disconnected()).reason, /^no answer from 127.0.0.1:\d\d401 within/);
    network.cut();
    for (;;) {
      const { reason } = await client.disconnected();
      assert.doesNotMatch(reason, /refused the token/);
      if (reason.includes("503")) break;
    }
  },
);

testEachSocket("RelayConnection shows its token in no reason", async () => {
  await using relay = new TestRelay();
  const tokens: string[] = [];
  const refusals = [refusing(401), refusing(400), refusing(503), refusing(200), refusing(302)];
  await using client = new Client(relay.url);
  for (const refusal of refusals) {
    relay.refuse = (request) => {
      tokens.push(new URL(request.url).search.slice(1));
      return refusal();
    };
    const { reason } = await client.disconnected();
    for (const part of tokens.flatMap((token) => token.split(".")).filter((part) => part)) {
      assert.ok(!reason.includes(part), reason);
    }
  }
});
