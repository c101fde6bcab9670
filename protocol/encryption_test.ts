import assert from "node:assert/strict";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import fc from "fast-check";
import { EncryptionKeypair } from "./encryption.ts";
import { EncryptionError, SecretError } from "./errors.ts";
import { mutated, randomNumbers, runs } from "./tests/fuzz.ts";
import { withSubtle } from "./tests/subtle.ts";

const keypairOf = (byte: string) => EncryptionKeypair.fromSecret(`0x${byte.repeat(32)}`)!;
const alice = keypairOf("11");
const bob = keypairOf("22");
const eve = keypairOf("33");

Deno.test("fromSecret() makes a key pair of a mnemonic or seed, and of nothing else", () => {
  const mnemonic = "legal winner thank year wave sausage worth useful legal winner thank yellow";
  assert.equal(EncryptionKeypair.fromSecret(mnemonic)!.publicKey.length, 33);
  assert.equal(EncryptionKeypair.fromSecret(`${mnemonic}//path`), undefined);
  assert.equal(EncryptionKeypair.fromSecret(`${mnemonic}/soft`), undefined);
  assert.equal(EncryptionKeypair.fromSecret(`${mnemonic}///password`), undefined);
  assert.equal(EncryptionKeypair.fromSecret("//Alice"), undefined);
  assert.throws(() => EncryptionKeypair.fromSecret("no such words"), SecretError);
});

Deno.test("fromSecret() makes none of the seeds that are no secp256k1 key", () => {
  const order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
  assert.equal(EncryptionKeypair.fromSecret(`0x${"00".repeat(32)}`), undefined);
  assert.equal(EncryptionKeypair.fromSecret(`0x${order}`), undefined);
  assert.notEqual(EncryptionKeypair.fromSecret(`0x${order.replace(/1$/, "0")}`), undefined);
});

Deno.test("decrypt() gives back what encrypt() took, at both ends", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (plain) => {
      const cipher = await alice.encrypt(plain, bob.publicKey);
      assert.equal(cipher.length, plain.length + 28);
      assert.deepEqual(await bob.decrypt(cipher, alice.publicKey), plain);
      assert.deepEqual(await alice.decrypt(cipher, bob.publicKey), plain);
    }),
    { numRuns: runs(100) },
  );
});

Deno.test("payloads of any size work, also where another implementation of AES takes over", async () => {
  for (const size of [0, 1, 16, 2019, 2020, 2031, 2032, 2047, 2048, 2049, 512 * 1024]) {
    const plain = new Uint8Array(size).fill(size);
    const cipher = await alice.encrypt(plain, bob.publicKey);
    assert.deepEqual(await bob.decrypt(cipher, alice.publicKey), plain, `${size} bytes`);
    cipher[cipher.length - 1]! ^= 1;
    await assert.rejects(bob.decrypt(cipher, alice.publicKey), EncryptionError, `${size} bytes`);
  }
});

Deno.test("encrypt() never uses a nonce twice, nor shows the payload", async () => {
  const plain = new Uint8Array(16).fill(0x61);
  const nonces = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const cipher = await alice.encrypt(plain, bob.publicKey);
    nonces.add(cipher.subarray(0, 12).join());
    assert.ok(!cipher.join().includes(plain.join()));
  }
  assert.equal(nonces.size, 200);
});

Deno.test("decrypt() refuses what was encrypted for another key, or comes from another", async () => {
  const cipher = await alice.encrypt(new Uint8Array(10), bob.publicKey);
  await assert.rejects(eve.decrypt(cipher, alice.publicKey), EncryptionError);
  await assert.rejects(bob.decrypt(cipher, eve.publicKey), EncryptionError);
});

Deno.test("decrypt() refuses what is too short for nonce and tag", async () => {
  for (let size = 0; size < 28; size++) {
    await assert.rejects(bob.decrypt(new Uint8Array(size), alice.publicKey), (error) => {
      assert.ok(error instanceof EncryptionError);
      assert.match(error.message, new RegExp(`${size} bytes are too few`));
      return true;
    });
  }
});

Deno.test("decrypt() refuses altered payloads with an EncryptionError, small and large", async () => {
  const random = randomNumbers(11);
  for (const size of [20, 3000]) {
    const cipher = await alice.encrypt(new Uint8Array(size), bob.publicKey);
    for (let i = runs(300); i > 0; i--) {
      const altered = mutated(cipher, random);
      if (altered.join() === cipher.join()) continue;
      await assert.rejects(bob.decrypt(altered, alice.publicKey), EncryptionError);
    }
    assert.deepEqual(await bob.decrypt(cipher, alice.publicKey), new Uint8Array(size));
  }
});

const badKeys: Record<string, Uint8Array> = {
  "no bytes": new Uint8Array(),
  "a key without its first byte": alice.publicKey.subarray(1),
  "a key that is too long": Uint8Array.of(...alice.publicKey, 0),
  "an uncompressed key": secp256k1.Point.fromBytes(bob.publicKey).toBytes(false),
  "another first byte": Uint8Array.of(4, ...alice.publicKey.subarray(1)),
  "an x that is not on the curve": new Uint8Array(33).fill(2, 0, 1).fill(5, 32),
  "an x that is too large": new Uint8Array(33).fill(0xff).fill(2, 0, 1),
  zeros: new Uint8Array(33),
};
for (const [name, key] of Object.entries(badKeys)) {
  Deno.test(`a pk that is no key is refused: ${name}`, async () => {
    for (let times = 0; times < 2; times++) { // Remembered the second time.
      assert.equal(alice.accepts(key), false);
      await assert.rejects(alice.encrypt(new Uint8Array(1), key), EncryptionError);
      await assert.rejects(alice.decrypt(new Uint8Array(40), key), EncryptionError);
    }
    assert.equal(alice.accepts(bob.publicKey), true);
  });
}

Deno.test("any bytes as pk are accepted or refused with an EncryptionError", async () => {
  const anyPk = fc.oneof(
    fc.uint8Array({ maxLength: 70 }),
    fc.uint8Array({ minLength: 32, maxLength: 32 }).map((x) => Uint8Array.of(2, ...x)),
  );
  await fc.assert(
    fc.asyncProperty(anyPk, async (pk) => {
      const encrypted = alice.encrypt(new Uint8Array(1), pk);
      if (alice.accepts(pk)) assert.equal((await encrypted).length, 29);
      else await assert.rejects(encrypted, EncryptionError);
    }),
    { numRuns: runs(100) },
  );
});

Deno.test("encrypt() and decrypt() work where there is no WebCrypto", async () => {
  for (const plain of [new Uint8Array(10), new Uint8Array(5000)]) {
    await withSubtle(undefined, async () => {
      const cipher = await alice.encrypt(plain, bob.publicKey);
      assert.deepEqual(await bob.decrypt(cipher, alice.publicKey), plain);
      await assert.rejects(eve.decrypt(cipher, alice.publicKey), EncryptionError);
    });
  }
});
