import assert from "node:assert/strict";
import * as schnorrkel from "@polkadot-labs/schnorrkel-wasm";
import fc from "fast-check";
import { parseAccount } from "./account.ts";
import { SecretError, TokenError } from "./errors.ts";
import { Keypair, type KeyType, verifySignature } from "./keys.ts";
import { mutated, randomNumbers, runs } from "./tests/fuzz.ts";
import { createToken, parseToken, verifyToken } from "./token.ts";

const NOW = 1_763_800_000;
const TYPES: readonly KeyType[] = ["sr25519", "ed25519"];
const message = new TextEncoder().encode("message");

Deno.test("Keypair.fromSecret() makes sr25519 keys when not told the type", () => {
  const keypair = Keypair.fromSecret("//Alice");
  assert.equal(keypair.type, "sr25519");
  assert.deepEqual(keypair.publicKey, Keypair.fromSecret("//Alice", "sr25519").publicKey);
});

Deno.test("Keypair.fromSecret() makes the same key for the same secret, another for others", () => {
  const keys = ["//Alice", "//Bob", `0x${"00".repeat(32)}`]
    .flatMap((secret) => TYPES.map((type) => Keypair.fromSecret(secret, type).publicKey.join()));
  assert.equal(new Set(keys).size, 6);
  assert.throws(() => Keypair.fromSecret("no such words"), SecretError);
});

for (const type of TYPES) {
  const keypair = Keypair.fromSecret("//Alice", type);

  Deno.test(`address is the account of the public key, ${type}`, () => {
    assert.deepEqual(parseAccount(keypair.address), keypair.publicKey);
    assert.equal(keypair.address[0], "5");
  });

  Deno.test(`sign() makes 65 bytes that tell the type and verify, ${type}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), async (message) => {
        const signature = await keypair.sign(message);
        assert.equal(signature.length, 65);
        assert.equal(String.fromCharCode(signature[0]!), type[0]);
        assert.equal(await verifySignature(keypair.publicKey, message, signature), true);
      }),
      { numRuns: runs(50) },
    );
  });

  Deno.test(`verifySignature() refuses other type bytes, ${type}`, async () => {
    const signature = await keypair.sign(message);
    for (let tag = 0; tag < 256; tag++) {
      if (String.fromCharCode(tag) === type[0]) continue;
      const retagged = Uint8Array.of(tag, ...signature.subarray(1));
      assert.equal(await verifySignature(keypair.publicKey, message, retagged), false);
    }
  });

  Deno.test(`verifySignature() refuses signatures of other sizes, ${type}`, async () => {
    const signature = await keypair.sign(message);
    for (const size of [0, 1, 64, 66, 1000]) {
      const resized = new Uint8Array(size);
      resized.set(signature.subarray(0, size));
      assert.equal(await verifySignature(keypair.publicKey, message, resized), false);
    }
  });
}

/** Malformed signatures, keys and tokens, one after another, as an attacker might send them. */
class Attack {
  readonly #random = randomNumbers(5);
  readonly #keypair: Keypair;
  readonly #signature: Uint8Array;
  readonly #token: Uint8Array;

  constructor(keypair: Keypair, signature: Uint8Array, token: string) {
    this.#keypair = keypair;
    this.#signature = signature;
    this.#token = new TextEncoder().encode(token);
  }

  /** Tries one that must fail, and tells whether it did. */
  async next(): Promise<boolean> {
    const { publicKey } = this.#keypair;
    switch (this.#random(5)) {
      case 0: { // A signature of random bytes.
        const signature = this.#bytes(65);
        signature[0] = this.#signature[0]!;
        return !await verifySignature(publicKey, message, signature);
      }
      case 1: { // A well-formed signature, for a scalar that is too large too.
        const signature = this.#bytes(65);
        signature[0] = this.#signature[0]!;
        signature[64] = this.#random(0x12) | 0x80;
        return !await verifySignature(publicKey, message, signature);
      }
      case 2: { // An altered signature.
        const signature = mutated(this.#signature, this.#random);
        return signature.join() === this.#signature.join() ||
          !await verifySignature(publicKey, message, signature);
      }
      case 3: { // A key that is none, or not the one.
        const key = this.#random(2) ? this.#bytes(32) : mutated(publicKey, this.#random);
        return key.join() === publicKey.join() ||
          !await verifySignature(key, message, this.#signature);
      }
      default: { // An altered token.
        const text = String.fromCharCode(...mutated(this.#token, this.#random));
        if (text === String.fromCharCode(...this.#token)) return true;
        try {
          await verifyToken(parseToken(text), publicKey, NOW);
          return false;
        } catch (error) {
          return error instanceof TokenError;
        }
      }
    }
  }

  #bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.#random(256));
  }
}

const { memory } = (schnorrkel as unknown as { __wasm: { memory: WebAssembly.Memory } }).__wasm;

for (const type of TYPES) {
  Deno.test(`malformed signatures, keys and tokens leave verification working, ${type}`, async () => {
    const keypair = Keypair.fromSecret("//Alice", type);
    const signature = await keypair.sign(message);
    const token = await createToken(keypair, { twin: 7, connection: "sid" }, NOW);
    const attack = new Attack(keypair, signature, token);
    const size = memory.buffer.byteLength;
    for (let i = runs(10_000); i > 0; i--) {
      if (!await attack.next()) assert.fail(`accepted what is malformed, ${i} before the end`);
    }
    assert.equal(await verifySignature(keypair.publicKey, message, signature), true);
    assert.equal(
      await verifySignature(keypair.publicKey, message, await keypair.sign(message)),
      true,
    );
    assert.equal(memory.buffer.byteLength, size);
  });
}
