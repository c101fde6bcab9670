import assert from "node:assert/strict";
import fc from "fast-check";
import { createEnvelope, decodeEnvelope, encodeEnvelope, type EnvelopeInit } from "./envelope.ts";
import { Keypair } from "./keys.ts";
import { challenge, signEnvelope, verifyEnvelope } from "./signature.ts";
import { anyEnvelope, runs } from "./tests/fuzz.ts";

const alice = Keypair.fromSecret("//Alice");
const bob = Keypair.fromSecret("//Bob", "ed25519");

Deno.test("a signed envelope verifies after encoding and decoding, for the signer only", async () => {
  await fc.assert(
    fc.asyncProperty(anyEnvelope, async (fields) => {
      for (const keypair of [alice, bob]) {
        const envelope = createEnvelope(fields);
        await signEnvelope(envelope, keypair);
        const received = decodeEnvelope(encodeEnvelope(envelope));
        assert.equal(await verifyEnvelope(received, keypair.publicKey), true);
        const stranger = keypair === alice ? bob : alice;
        assert.equal(await verifyEnvelope(received, stranger.publicKey), false);
      }
    }),
    { numRuns: runs(50) },
  );
});

const full: EnvelopeInit = {
  uid: "uid",
  tags: "tags",
  timestamp: 5n,
  expiration: 6n,
  source: { twin: 1, connection: "source" },
  destination: { twin: 2, connection: "destination" },
  message: { case: "request", value: { command: "command" } },
  schema: "schema",
  federation: "federation",
  payload: { case: "plain", value: Uint8Array.of(1, 2, 3) },
  relays: ["a", "b"],
};
const failed = { ...full, message: { case: "error", value: { code: 1, message: "m" } } } as const;

const covered: Record<string, [EnvelopeInit, EnvelopeInit]> = {
  "the uid": [full, { ...full, uid: "other" }],
  "the tags": [full, { ...full, tags: "other" }],
  "the timestamp": [full, { ...full, timestamp: 7n }],
  "the expiration": [full, { ...full, expiration: 7n }],
  "the source twin": [full, { ...full, source: { twin: 3, connection: "source" } }],
  "the source connection": [full, { ...full, source: { twin: 1, connection: "other" } }],
  "the destination twin": [full, { ...full, destination: { twin: 3, connection: "destination" } }],
  "the destination connection": [full, { ...full, destination: { twin: 2, connection: "other" } }],
  "the command": [full, { ...full, message: { case: "request", value: { command: "other" } } }],
  "the error code": [failed, {
    ...failed,
    message: { case: "error", value: { code: 2, message: "m" } },
  }],
  "the error message": [failed, {
    ...failed,
    message: { case: "error", value: { code: 1, message: "other" } },
  }],
  "the schema": [full, { ...full, schema: "other" }],
  "the federation": [full, { ...full, federation: "other" }],
  "the payload": [full, { ...full, payload: { case: "plain", value: Uint8Array.of(1, 2) } }],
  "the relays": [full, { ...full, relays: ["a"] }],
};
for (const [name, [signed, altered]] of Object.entries(covered)) {
  Deno.test(`the signature covers ${name}`, async () => {
    const envelope = createEnvelope(signed);
    await signEnvelope(envelope, alice);
    assert.equal(await verifyEnvelope(envelope, alice.publicKey), true);
    const forged = createEnvelope({ ...altered, signature: envelope.signature! });
    assert.equal(await verifyEnvelope(forged, alice.publicKey), false);
  });
}

Deno.test("the challenge is 16 bytes, whatever signature is set already", () => {
  const unsigned = challenge(createEnvelope(full));
  assert.equal(unsigned.length, 16);
  assert.deepEqual(challenge(createEnvelope({ ...full, signature: new Uint8Array(65) })), unsigned);
});

Deno.test("the challenge is the same for absent and empty optional text and addresses", () => {
  const empty = createEnvelope({
    tags: "",
    schema: "",
    federation: "",
    source: { twin: 0, connection: "" },
    destination: { twin: 0 },
  });
  assert.deepEqual(challenge(empty), challenge(createEnvelope()));
});

Deno.test("verifyEnvelope() refuses an envelope without a signature, or with an empty one", async () => {
  assert.equal(await verifyEnvelope(createEnvelope(full), alice.publicKey), false);
  const empty = createEnvelope({ ...full, signature: new Uint8Array() });
  assert.equal(await verifyEnvelope(empty, alice.publicKey), false);
});

Deno.test("the challenge is the same where the runtime has no MD5, as in browsers", async () => {
  const process = Object.getOwnPropertyDescriptor(globalThis, "process")!;
  assert.ok(Reflect.deleteProperty(globalThis, "process"));
  try {
    const inBrowser: typeof import("./signature.ts") = await import("./signature.ts?browser");
    Object.defineProperty(globalThis, "process", process);
    fc.assert(
      fc.property(anyEnvelope, (fields) => {
        const envelope = createEnvelope(fields);
        assert.deepEqual(inBrowser.challenge(envelope), challenge(envelope));
      }),
      { numRuns: runs(100) },
    );
  } finally {
    Object.defineProperty(globalThis, "process", process);
  }
});
