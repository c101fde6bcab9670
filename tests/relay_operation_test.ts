/** What operators see of a relay: TLS, health, its end, and too few file descriptors. */
import assert from "node:assert/strict";
import { makeCertificate } from "./fixtures/certificate.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { assertAllOnce, numbered, range, ReadingClient } from "./fixtures/numbered.ts";
import { exchangeRaw } from "./fixtures/raw_http.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { RelayNetwork, testTwin } from "./fixtures/relay_network.ts";
import { evaluate } from "./fixtures/run_peer.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;

Deno.test("a relay serves wss with its own certificate to RelayConnections that trust it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-tls-" });
  try {
    const { cert, key } = await makeCertificate(folder, "relay");
    await using network = await RelayNetwork.start([7, 8], {
      args: ["--tls-cert", cert, "--tls-key", key],
    });
    const { port } = network.relay;
    // Who speaks no TLS, or stops in the middle of its handshake, is cut off.
    const cut = Promise.all(
      ["GET /health HTTP/1.1\r\n\r\n", "\x16\x03\x01"].map((words) => exchangeRaw(port, [words])),
    );
    // In a process of its own, whose trust a variable can change.
    const run = (env: Record<string, string>) =>
      evaluate(
        `
        import { createEnvelope, encodeEnvelope, Keypair, readRouting, RelayConnection }
          from "@rmb/protocol";
        import { openWsSocket } from "@rmb/protocol/ws-socket";
        const [url, ...secrets] = Deno.args;
        const received = Promise.withResolvers();
        const [sender, receiver] = [[7, "ed25519"], [8, "sr25519"]].map(([twin, type], i) =>
          new RelayConnection({
            url,
            session: { twin },
            keypair: Keypair.fromSecret(secrets[i], type),
            openSocket: i === 0 ? openWsSocket : undefined,
            onMessage: (bytes) => received.resolve(readRouting(bytes).uid),
            onState: ({ connected, reason }) => connected || received.resolve(reason),
          })
        );
        sender.send(encodeEnvelope(createEnvelope({
          uid: "over TLS",
          timestamp: BigInt(Math.floor(Date.now() / 1000)),
          expiration: 60n,
          source: { twin: 7 },
          destination: { twin: 8 },
          message: { case: "response", value: {} },
        }))).catch(() => {});
        console.log(await received.promise);
        await Promise.all([sender.close(), receiver.close()]);
        `,
        [`wss://127.0.0.1:${port}`, testTwin(7).secret, testTwin(8).secret],
        env,
      );
    const trusting = await run({ DENO_CERT: cert });
    const others = await run({});
    console.log(`who trusts it gets "${trusting.stdout.trim()}", others: ${others.stdout.trim()}`);
    assert.equal(trusting.stdout, "over TLS\n", trusting.stderr);
    assert.match(others.stdout, /certificate/i);

    using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(cert)] });
    const health = await fetch(`https://127.0.0.1:${port}/health`, { client });
    assert.equal(await health.text(), "ready\n");
    await cut;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a relay says why it can't use a certificate, and does not start", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-tls-" });
  try {
    const { cert, key } = await makeCertificate(folder, "relay");
    const other = await makeCertificate(folder, "other");
    for (
      const [args, reason] of [
        [["--tls-cert", `${folder}/none`, "--tls-key", key], /Cannot read ".*none"/],
        [["--tls-cert", key, "--tls-key", key], /no PEM block "CERTIFICATE"/],
        [["--tls-cert", cert, "--tls-key", other.key], /it is not the key of/],
      ] as const
    ) {
      await assert.rejects(RelayNetwork.start([7], { args }), ({ message }: Error) => {
        const lines = message.split("\n").slice(1);
        assert.match(lines.join("\n"), reason);
        assert.doesNotMatch(message, /uncaught|at file:/i, message);
        return true;
      });
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a relay that is told to stop ends within 10 s, with all that slow receivers have not got", async () => {
  await using network = await RelayNetwork.start([7, 8]);
  const [count, slow, size] = [40, 8, 512 * 1024];
  const stuck: RawWebSocket[] = [];
  for (const i of range(0, slow)) {
    stuck.push(await RawWebSocket.connect(await network.url(8, `${i}`)));
  }
  using sender = await RawWebSocket.connect(await network.url(7));
  for (const n of range(0, count)) {
    for (const i of range(0, slow)) {
      const destination = { twin: 8, connection: `${i}` };
      await sender.write(
        encodeFrame(OPCODE.binary, numbered(n, { twin: 7 }, destination, { size })),
      );
    }
  }
  await until(
    async () => await network.metric("relay_message_rx") === count * slow,
    "all received",
  );
  const start = performance.now();
  const { code } = await network.relay.program.stop("SIGTERM");
  const seconds = (performance.now() - start) / 1000;
  assert.equal(code, 0);
  assert.ok(seconds < 10, `${seconds} s`);

  // What the kernel had is still in the connections; the rest is in the mailbox.
  await network.restart();
  let [before, after] = [0, 0];
  for (const [i, client] of stuck.entries()) {
    const messages: Uint8Array[] = [];
    for (;;) {
      const frame = await inTime(client.read(), "a frame");
      if (frame === undefined) break;
      if (frame.opcode === OPCODE.binary) messages.push(frame.payload);
    }
    client[Symbol.dispose]();
    before += messages.length;
    using rest = await ReadingClient.connect(await network.url(8, `${i}`));
    await until(() => rest.received.length >= count - messages.length, "the rest");
    after += (await rest.close()).length;
    assertAllOnce([...messages, ...rest.received], { 7: count });
  }
  console.log(
    `stopped in ${seconds.toFixed(1)} s with ${slow} slow receivers: of ${count * slow} messages ` +
      `${before} came before, ${after} after the new start`,
  );
});

Deno.test("a relay with too few file descriptors serves those it has, and others when there are again", async () => {
  await using network = await RelayNetwork.start([7, 8], {
    through: ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"],
  });
  await using alice = await network.connect(7);
  await using bob = await network.connect(8);
  const connections: Deno.Conn[] = [];
  for (let i = 0; i < 100; i++) {
    connections.push(
      await Deno.connect({ hostname: "127.0.0.1", port: network.relay.port }),
    );
  }
  const exchange = async (uid: string) => {
    alice.send({ uid, destination: bob.session, message: REQUEST });
    assert.equal((await bob.nextEnvelope()).uid, uid);
  };
  for (const i of range(0, 100)) await exchange(`${i}`);
  // Also to who is away: the store may need a file.
  alice.send({ uid: "away", destination: { twin: 8, connection: "a" }, message: REQUEST });
  assert.deepEqual(await alice.settled(), []);
  for (const connection of connections) connection.close();
  const start = performance.now();
  const isServed = async () => {
    const signal = AbortSignal.timeout(1000);
    const answer = await fetch(`${network.relay.http}/health`, { signal }).catch(() => undefined);
    return await answer?.text() === "ready\n";
  };
  await until(isServed, "an answer of /health");
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  assert.equal(await network.metric("relay_message_rx"), 101);
  await using newcomer = await network.connect(8, "a");
  assert.equal((await newcomer.nextEnvelope()).uid, "away");
  await exchange("after");
  const complaints = network.relay.program.lines.filter((line) => /listening anew/.test(line));
  console.log(
    `100 connections to a relay with 64 file descriptors: its sessions went on, and new ones were ` +
      `taken ${seconds} s after the others had gone; it listened anew ${complaints.length} times`,
  );
});
