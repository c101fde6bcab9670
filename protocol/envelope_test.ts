import assert from "node:assert/strict";
import fc from "fast-check";
import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  stampEnvelope,
  timeLeft,
  unixNow,
} from "./envelope.ts";
import { FormatError } from "./errors.ts";
import { anyEnvelope, runs } from "./tests/fuzz.ts";

const NOW = 1_763_800_000;

Deno.test("decodeEnvelope() reads what encodeEnvelope() writes", () => {
  fc.assert(
    fc.property(anyEnvelope, (fields) => {
      const envelope = createEnvelope(fields);
      assert.deepEqual(decodeEnvelope(encodeEnvelope(envelope)), envelope);
    }),
    { numRuns: runs(500) },
  );
});

Deno.test("decodeEnvelope() tells empty optional fields from absent ones", () => {
  const empty = createEnvelope({
    tags: "",
    schema: "",
    federation: "",
    signature: new Uint8Array(),
    source: { twin: 0, connection: "" },
    payload: { case: "plain", value: new Uint8Array() },
  });
  const decoded = decodeEnvelope(encodeEnvelope(empty));
  assert.deepEqual(decoded, empty);
  assert.notDeepEqual(decoded, createEnvelope());
  assert.equal(decoded.destination, undefined);
});

Deno.test("decodeEnvelope() leaves out unknown fields, so that they take no memory", () => {
  const known = encodeEnvelope(createEnvelope({ uid: "a" }));
  const unknown = [0x92, 0x01, 0x01, 0x61]; // Field 18: "a".
  const decoded = decodeEnvelope(Uint8Array.of(...unknown, ...known, ...unknown));
  assert.equal("$unknown" in decoded, false);
  assert.deepEqual(encodeEnvelope(decoded), known);
});

Deno.test("decodeEnvelope() gives bytes as views, without copying", () => {
  const payload = new Uint8Array(1000);
  const bytes = encodeEnvelope(createEnvelope({ payload: { case: "plain", value: payload } }));
  const { payload: decoded } = decodeEnvelope(bytes);
  assert.ok(decoded.case === "plain");
  assert.equal(decoded.value.buffer, bytes.buffer);
});

Deno.test("decodeEnvelope() keeps the cause of what it refuses", () => {
  assert.throws(() => decodeEnvelope(Uint8Array.of(0x0a, 0x01, 0xff)), (error) => {
    assert.ok(error instanceof FormatError);
    assert.match(error.message, /^Cannot decode an envelope of 3 bytes: /);
    assert.ok(error.cause instanceof Error);
    return true;
  });
});

Deno.test("timeLeft() is timestamp + expiration - now, for envelopes and routing fields", () => {
  assert.equal(timeLeft({ timestamp: 100, expiration: 20 }, 90), 30);
  assert.equal(timeLeft({ timestamp: 100n, expiration: 20n }, 120), 0);
  assert.equal(timeLeft(createEnvelope({ timestamp: 100n }), 130), -30);
  assert.ok(timeLeft({ timestamp: 2n ** 64n - 1n, expiration: 2n ** 64n - 1n }, NOW) > 2 ** 64);
});

Deno.test("timeLeft() and stampEnvelope() take the present when not told the time", () => {
  const before = unixNow();
  const left = timeLeft({ timestamp: 0, expiration: 0 });
  const envelope = createEnvelope();
  stampEnvelope(envelope);
  const after = unixNow();
  assert.ok(-left >= before && -left <= after);
  assert.ok(envelope.timestamp >= BigInt(before) && envelope.timestamp <= BigInt(after));
});

const stamps: [name: string, timestamp: number, expiration: number, left: number][] = [
  ["keeps the expiration of one without a timestamp", 0, 300, 300],
  ["keeps the expiration of one from the future", NOW + 50, 300, 300],
  ["keeps the expiration of one from now", NOW, 300, 300],
  ["shrinks the expiration by the time passed", NOW - 50, 300, 250],
  ["leaves nothing to one that expires now", NOW - 300, 300, 0],
  ["never makes the expiration negative", NOW - 301, 300, 0],
  ["leaves nothing to one that never had anything", NOW - 1, 0, 0],
];
for (const [name, timestamp, expiration, left] of stamps) {
  Deno.test(`stampEnvelope() ${name}`, () => {
    const envelope = createEnvelope({
      timestamp: BigInt(timestamp),
      expiration: BigInt(expiration),
    });
    stampEnvelope(envelope, NOW);
    assert.equal(envelope.timestamp, BigInt(NOW));
    assert.equal(envelope.expiration, BigInt(left));
  });
}

Deno.test("stampEnvelope() never moves the deadline of a message from the past", () => {
  const anySeconds = fc.integer({ min: 1, max: NOW });
  fc.assert(fc.property(anySeconds, anySeconds, (timestamp, expiration) => {
    const envelope = createEnvelope({
      timestamp: BigInt(timestamp),
      expiration: BigInt(expiration),
    });
    const before = timeLeft(envelope, NOW);
    stampEnvelope(envelope, NOW);
    assert.equal(timeLeft(envelope, NOW), Math.max(before, 0));
    const stamped = createEnvelope(envelope);
    stampEnvelope(envelope, NOW);
    assert.deepEqual(envelope, stamped);
  }));
});
