/**
 * A relay under fire: whatever some clients send, others exchange their messages as if nothing were.
 * The environment variable RMB_FUZZ multiplies how much is sent: 20 for 100,000 frames and 10,000
 * tokens.
 */
import assert from "node:assert/strict";
import { randomNumbers, runs } from "../protocol/tests/fuzz.ts";
import { inTime } from "./fixtures/deadline.ts";
import { anyEnvelopes, HOSTILE_TOKENS, hostileFrame, hostileToken } from "./fixtures/hostile.ts";
import { encodeFrame, OPCODE, RawWebSocket } from "./fixtures/raw_web_socket.ts";
import { ALICE, BOB, MALLORY, Siege, TRUDY } from "./fixtures/siege.ts";

const MAX_MESSAGE = 64 * 1024;

/** Sends hostile frames on one session, again and again connected. */
async function sendFrames(siege: Siege, connection: string, count: number): Promise<number> {
  const random = randomNumbers(Math.random() * 2 ** 31);
  const source = { twin: MALLORY, connection };
  const destinations = [{ twin: ALICE }, { twin: BOB }, source, { twin: TRUDY }, { twin: 0 }];
  const envelopes = anyEnvelopes(random, source, destinations, 200);
  let sent = 0;
  let connections = 0;
  while (sent < count) {
    connections++;
    using client = await RawWebSocket.connect(await siege.network.url(MALLORY, connection));
    let open = true;
    const reading = (async () => {
      while (await client.read());
      open = false;
    })();
    while (open && sent < count && random(100) > 0) {
      await client.write(hostileFrame(random, envelopes, MAX_MESSAGE)).catch(() => open = false);
      sent++;
      // Lets the relay answer: otherwise most would be sent to a connection that it has closed.
      await new Promise((resolve) => setTimeout(resolve));
    }
    client.end();
    await inTime(reading, "the end of a hostile connection");
  }
  return connections;
}

Deno.test("a relay withstands frames of all kinds, and others notice nothing", async () => {
  await using siege = await Siege.start(["--max-message", `${MAX_MESSAGE}`]);
  const count = runs(5000);
  const start = performance.now();
  const clients = ["a", "b", "", "d"].map((id) => sendFrames(siege, id, count / 4));
  const connections = (await Promise.all(clients)).reduce((sum, n) => sum + n);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  // Deno lets go of a connection that was cut no sooner than its idle timeout: for some 40 s.
  const bound = 250e6 + Math.min(connections, 25_000) * 16e3;
  await siege.end(`${count} frames on ${connections} connections in ${seconds} s`, bound);
});

Deno.test("a relay refuses tokens of all kinds, and others notice nothing", async () => {
  await using siege = await Siege.start([]);
  const { network } = siege;
  const random = randomNumbers(Math.random() * 2 ** 31);
  const count = runs(500);
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const kind = HOSTILE_TOKENS[i % HOSTILE_TOKENS.length]!;
    const keypairs = [network.keypair(MALLORY), network.keypair(TRUDY)] as const;
    const token = await hostileToken(kind, random, MALLORY, ...keypairs);
    const refused = /^not upgraded: HTTP\/1\.1 (401|431|414|400) /;
    await assert.rejects(RawWebSocket.connect(`${network.relay.url}/?${token}`), {
      message: kind === "huge" ? refused : /^not upgraded: HTTP\/1\.1 401 /,
    }, `${kind}: ${token.slice(0, 500)}`);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  await siege.end(`${count} tokens in ${seconds} s`, 300e6);
});

Deno.test("a relay refuses frames that are too large for any relay, and others notice nothing", async () => {
  await using siege = await Siege.start([]);
  const size = 64 * 1024 * 1024;
  const frame = encodeFrame(OPCODE.binary, new Uint8Array(size));
  const endless = encodeFrame(OPCODE.binary, new Uint8Array(65536));
  new DataView(endless.buffer).setBigUint64(2, 2n ** 62n);
  for (const bytes of [frame, endless]) {
    using client = await RawWebSocket.connect(await siege.network.url(MALLORY));
    await client.write(bytes).catch(() => {}); // It is cut off before all is sent.
    while (await inTime(client.read(), "the end of the connection"));
  }
  await siege.end(`a frame of ${size} bytes`, 500e6);
});
