/** HTTP requests that mean harm: a relay answers or cuts them off, and its sessions notice nothing. */
import assert from "node:assert/strict";
import { createEnvelope, encodeEnvelope, signEnvelope, unixNow } from "@rmb/protocol";
import { mutated, randomNumbers, runs } from "../protocol/tests/fuzz.ts";
import { inTime } from "./fixtures/deadline.ts";
import { range } from "./fixtures/numbered.ts";
import { exchangeRaw, readAll, writeAll } from "./fixtures/raw_http.ts";
import { ALICE, MALLORY, Siege, TRUDY } from "./fixtures/siege.ts";

const MAX_MESSAGE = 64 * 1024;

/** The request that brings a message from another relay, in one piece. */
function posted(body: Uint8Array, connection = "close"): (Uint8Array | string)[] {
  const head = `POST / HTTP/1.1\r\nHost: relay.test\r\nConnection: ${connection}\r\n`;
  return [`${head}Content-Length: ${body.length}\r\n\r\n`, body];
}

Deno.test("a relay answers every hostile body with its reason, and others notice nothing", async () => {
  await using siege = await Siege.start(["--max-message", `${MAX_MESSAGE}`]);
  const { network } = siege;
  const random = randomNumbers(Math.random() * 2 ** 31);
  const signed = async (fields: object, signer: number) => {
    const envelope = createEnvelope({
      uid: crypto.randomUUID(),
      timestamp: BigInt(unixNow()),
      expiration: 60n,
      source: { twin: MALLORY },
      destination: { twin: TRUDY },
      message: { case: "request", value: { command: "do" } },
      ...fields,
    });
    await signEnvelope(envelope, network.keypair(signer));
    return encodeEnvelope(envelope);
  };
  const good = await signed({}, MALLORY);
  const bodies: [what: string, make: () => Uint8Array, status: number, reason: RegExp][] = [
    ["none", () => new Uint8Array(), 400, /./],
    [
      "random",
      () => Uint8Array.from({ length: 1 + random(300) }, () => random(256)),
      400,
      /not an envelope|missing|without|expired/,
    ],
    ["cut", () => good.subarray(0, 1 + random(good.length - 1)), 400, /./],
    ["mutated", () => mutated(good, random), 400, /./],
    ["too long", () => new Uint8Array(MAX_MESSAGE + 1), 413, /longer than 65536 bytes/],
  ];
  for (
    const [what, fields, signer, status, reason] of [
      ["wrong signature", {}, ALICE, 403, /not signed by twin 9/],
      ["unknown source", { source: { twin: 999 } }, MALLORY, 403, /unknown twin source/],
      ["unknown destination", { destination: { twin: 999 } }, MALLORY, 403, /unknown twin dest/],
      ["expired", { timestamp: BigInt(unixNow() - 100) }, MALLORY, 400, /expired/],
    ] as const
  ) {
    const bytes = await signed(fields, signer);
    bodies.push([what, () => bytes, status, reason]);
  }
  const answers = new Map<string, number>();
  const count = runs(1000);
  for (const i of range(0, count)) {
    const [what, make, status, reason] = bodies[i % bodies.length]!;
    const body = make();
    const answer = await exchangeRaw(network.relay.port, posted(body));
    const key = `${what} ${answer.status}`;
    answers.set(key, (answers.get(key) ?? 0) + 1);
    // What was altered may still be an envelope, with a signature that does not hold; or the same.
    if (["cut", "mutated"].includes(what) && [202, 403].includes(answer.status)) continue;
    assert.equal(answer.status, status, `${what}: ${answer.body}`);
    assert.match(answer.body, reason, what);
  }
  console.log([...answers].map(([key, times]) => `${key}: ${times}`).join(", "));
  const last = await exchangeRaw(network.relay.port, posted(good));
  assert.deepEqual(last, { status: 202, body: "" });
  await siege.end(`${count} hostile bodies`, 300e6);
});

Deno.test("a relay bounds what many large and many slow bodies take at once", async () => {
  await using siege = await Siege.start();
  const { port } = siege.network.relay;
  const [count, size] = [150, 8 * 1024 * 1024];
  const chunk = new Uint8Array(64 * 1024);
  const statuses = new Map<number, number>();
  const length = `Connection: close\r\nContent-Length: ${size}\r\n\r\n`;
  await Promise.all(
    range(0, count).map(async (i) => {
      const body = (function* () {
        yield `POST / HTTP/1.1\r\nHost: relay.test\r\n${length}`;
        // Those with an even number never send the end.
        for (let at = 0; at + chunk.length < size; at += chunk.length) yield chunk;
        if (i % 2 === 1) yield chunk;
      })();
      const { status } = await exchangeRaw(port, body, 30_000);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }),
  );
  const told = [...statuses].map(([status, times]) => `${status}: ${times}`).join(", ");
  assert.ok([...statuses.keys()].every((status) => [0, 400, 408, 503].includes(status)), told);
  await siege.end(
    `${count} bodies of ${size / 2 ** 20} MiB, half of them not ended (${told})`,
    450e6,
  );
});

Deno.test("a relay refuses heads that are too large or too many, and others notice nothing", async () => {
  await using siege = await Siege.start();
  const { port } = siege.network.relay;
  const line = "GET /health HTTP/1.1\r\nHost: relay.test\r\n";
  const endless = function* () {
    yield line;
    for (let i = 0; i < 100_000; i++) yield `X-${i}: ${"x".repeat(1000)}\r\n`;
  };
  const heads: [string, () => Iterable<string>, number[]][] = [
    ["a huge header", () => [line, `X: ${"x".repeat(1e6)}\r\n\r\n`], [431]],
    ["a huge URL", () => [`GET /${"x".repeat(1e6)} HTTP/1.1\r\n\r\n`], [431, 414]],
    ["many headers", () => [line, "X: y\r\n".repeat(100_000), "\r\n"], [431]],
    ["endless headers", endless, [431]],
    ["no HTTP", () => ["x".repeat(100_000)], [400]],
    ["a bad length", () => [`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n`], [400]],
    [
      "two lengths",
      () => ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
      [400],
    ],
    [
      "a length and chunks",
      () => [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ],
      [400],
    ],
    [
      "bad chunks",
      () => ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"],
      [400],
    ],
  ];
  const seen: string[] = [];
  for (const [what, make, statuses] of heads) {
    for (let i = 0; i < 5; i++) {
      const { status } = await exchangeRaw(port, make());
      // A connection that is reset while it is written to can lose the answer.
      assert.ok(status === 0 || statuses.includes(status), `${what}: ${status}`);
      if (i === 0) seen.push(`${what} ${status}`);
    }
  }
  await siege.end(seen.join(", "), 300e6);
});

Deno.test("a relay closes 1,000 connections that say nothing or only half, and others notice nothing", async () => {
  await using siege = await Siege.start();
  const { network } = siege;
  const { port } = network.relay;
  const count = 1000;
  const token = (await network.url(MALLORY)).split("?")[1];
  const kinds = [
    ["silent", ""],
    ["half a head", `GET /?${token} HTTP/1.1\r\nHost: relay.test\r\nUpgr`],
    ["half a body", "POST / HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 1000\r\n\r\nabc"],
    [
      "half a body in chunks",
      "POST / HTTP/1.1\r\nHost: relay.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
  ] as const;
  const start = performance.now();
  const took = new Map<string, number>();
  await Promise.all(
    range(0, count).map(async (i) => {
      const [what, text] = kinds[i % kinds.length]!;
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await writeAll(connection, text);
      await inTime(readAll(connection), `the end of a connection with ${what}`, 30_000);
      took.set(what, Math.max(took.get(what) ?? 0, performance.now() - start));
    }),
  );
  const times = [...took].map(([what, time]) => `${what} after ${(time / 1000).toFixed(1)} s`);
  await siege.end(`${count} connections closed: ${times.join(", ")}`, 300e6);
});
