/**
 * Golden data made by other implementations (tests/vectors): what they made is accepted here, and
 * what is deterministic comes out the same.
 */
import assert from "node:assert/strict";
import { hex } from "@scure/base";
import {
  challenge,
  createEnvelope,
  createToken,
  decodeEnvelope,
  encodeEnvelope,
  EncryptionKeypair,
  type EnvelopeInit,
  Keypair,
  type KeyType,
  parseToken,
  readRouting,
  SecretError,
  signEnvelope,
  TokenError,
  tokenSession,
  verifyEnvelope,
  verifyToken,
} from "@rmb/protocol";
import e2e from "./vectors/e2e.json" with { type: "json" };
import envelopes from "./vectors/envelopes.json" with { type: "json" };
import keys from "./vectors/keys.json" with { type: "json" };
import tokens from "./vectors/tokens.json" with { type: "json" };

for (const vector of keys.keys) {
  const name = vector.secret.split(" ").slice(0, 2).join(" ") + vector.secret.slice(-10);
  Deno.test(`keys: ${vector.type} of "${name}"`, () => {
    const make = () => Keypair.fromSecret(vector.secret, vector.type as KeyType);
    if (vector.error !== undefined) {
      assert.throws(make, SecretError);
      return;
    }
    const keypair = make();
    assert.equal(hex.encode(keypair.publicKey), vector.publicKey);
    assert.equal(keypair.address, vector.address);
    const encryption = EncryptionKeypair.fromSecret(vector.secret);
    assert.equal(encryption && hex.encode(encryption.publicKey), vector.e2ePublicKey ?? undefined);
  });
}

/** The fields of a vector as an envelope; which of the optional ones are present, `encoded` says. */
function fieldsOf(vector: (typeof envelopes.envelopes)[number]): EnvelopeInit {
  const { fields } = vector;
  const present = decodeEnvelope(hex.decode(vector.encoded));
  const address = (
    { twin, connection }: { twin: number; connection: string },
    decoded: { connection?: string | undefined } | undefined,
  ) => decoded?.connection === undefined ? { twin } : { twin, connection };
  return {
    uid: fields.uid,
    timestamp: BigInt(fields.timestamp),
    expiration: BigInt(fields.expiration),
    source: address(fields.source, present.source),
    destination: address(fields.destination, present.destination),
    relays: fields.relays,
    signature: hex.decode(fields.signature),
    ...(present.tags !== undefined && { tags: fields.tags }),
    ...(present.schema !== undefined && { schema: fields.schema }),
    ...(present.federation !== undefined && { federation: fields.federation }),
    ...("request" in fields && { message: { case: "request", value: fields.request } }),
    ...("response" in fields && { message: { case: "response", value: {} } }),
    ...("error" in fields && { message: { case: "error", value: fields.error } }),
    ...(present.payload.case !== undefined && {
      payload: { case: present.payload.case, value: hex.decode(fields[present.payload.case]) },
    }),
  } as EnvelopeInit;
}

for (const vector of envelopes.envelopes) {
  Deno.test(`envelopes: ${vector.name}, ${vector.signer.type}`, async (t) => {
    const encoded = hex.decode(vector.encoded);
    const decoded = decodeEnvelope(encoded);
    const keypair = Keypair.fromSecret(vector.signer.secret, vector.signer.type as KeyType);

    await t.step("decodes to its fields", () => {
      assert.deepEqual(decoded, createEnvelope(fieldsOf(vector)));
    });
    await t.step("encodes to the same bytes, but for the order of an error's fields", () => {
      const ours = encodeEnvelope(createEnvelope(fieldsOf(vector)));
      assert.equal(ours.length, encoded.length);
      assert.deepEqual(decodeEnvelope(ours), decoded);
      if (decoded.message.case !== "error") assert.equal(hex.encode(ours), vector.encoded);
    });
    await t.step("has the same routing fields when only those are read", () => {
      const { uid, tags, timestamp, expiration, source, destination, kind } = readRouting(encoded);
      assert.deepEqual({ uid, tags, timestamp, expiration, source, destination, kind }, {
        uid: vector.fields.uid,
        tags: decoded.tags,
        timestamp: vector.fields.timestamp,
        expiration: vector.fields.expiration,
        source: { twin: vector.fields.source.twin, connection: decoded.source?.connection },
        destination: {
          twin: vector.fields.destination.twin,
          connection: decoded.destination?.connection,
        },
        kind: decoded.message.case,
      });
    });
    await t.step("has the same challenge", () => {
      assert.equal(hex.encode(challenge(decoded)), vector.challenge);
    });
    await t.step("its signature is accepted, and no other", async () => {
      assert.equal(await verifyEnvelope(decoded, keypair.publicKey), true);
      const altered = decodeEnvelope(encoded);
      altered.uid += "x";
      assert.equal(await verifyEnvelope(altered, keypair.publicKey), false);
      const stranger = Keypair.fromSecret("//Alice", keypair.type);
      assert.equal(await verifyEnvelope(decoded, stranger.publicKey), false);
    });
    await t.step("signed here: the same bytes where signatures are deterministic", async () => {
      const ours = createEnvelope({ ...fieldsOf(vector), signature: new Uint8Array() });
      await signEnvelope(ours, keypair);
      assert.equal(await verifyEnvelope(ours, keypair.publicKey), true);
      if (keypair.type === "ed25519") assert.equal(hex.encode(ours.signature!), vector.signature);
    });
  });
}

for (const vector of e2e.cases) {
  Deno.test(`encryption: ${vector.plain.length / 2} bytes`, async () => {
    const from = EncryptionKeypair.fromSecret(vector.from.secret)!;
    const to = EncryptionKeypair.fromSecret(vector.to.secret)!;
    assert.equal(hex.encode(from.publicKey), vector.from.publicKey);
    assert.equal(hex.encode(to.publicKey), vector.to.publicKey);
    const cipher = hex.decode(vector.cipher);
    assert.equal(hex.encode(await to.decrypt(cipher, from.publicKey)), vector.plain);
    assert.equal(hex.encode(await from.decrypt(cipher, to.publicKey)), vector.plain);
    const ours = await from.encrypt(hex.decode(vector.plain), to.publicKey);
    assert.equal(hex.encode(await to.decrypt(ours, from.publicKey)), vector.plain);
  });
}

for (const vector of tokens.tokens) {
  Deno.test(`tokens: ${vector.name}`, async () => {
    const account = hex.decode(vector.publicKey);
    const token = parseToken(vector.token);
    if (!vector.verifies) {
      await assert.rejects(verifyToken(token, account, token.claims.iat), TokenError);
      return;
    }
    assert.deepEqual(token.claims, vector.claims);
    await verifyToken(token, account, token.claims.iat);
    await verifyToken(token, account, token.claims.exp);
    await assert.rejects(verifyToken(token, account, token.claims.exp + 1), /expired/);
    const session = tokenSession(token.claims);
    assert.equal(session.connection, vector.claims?.sid ?? undefined);
  });
}

Deno.test("tokens: ed25519 ones of ours differ from theirs in the order of members only", async () => {
  const keypair = Keypair.fromSecret(keys.keys[11]!.secret, "ed25519");
  const text = await createToken(keypair, { twin: 7, connection: "bot-1" }, 1763800000);
  const token = parseToken(text);
  const go = tokens.tokens.find(({ name }) => name === "Go client, ed25519, session bot-1")!;
  assert.deepEqual(token.claims, parseToken(go.token).claims);
  await verifyToken(token, keypair.publicKey, 1763800060);
});
