import assert from "node:assert/strict";
import { ed25519 } from "@noble/curves/ed25519.js";
import { derive, sign, verify } from "./_ed25519.ts";
import { SecretError } from "./errors.ts";
import { randomNumbers, runs } from "./tests/fuzz.ts";
import { withSubtle } from "./tests/subtle.ts";

const seed = new Uint8Array(32).fill(7);
const chainCode = new Uint8Array(32);
const pair = derive(seed, []);
const message = new TextEncoder().encode("message");

Deno.test("derive() takes the seed as secret key when there is no path", () => {
  assert.deepEqual(pair.publicKey, ed25519.getPublicKey(seed));
});

Deno.test("derive() makes another key for every hard step", () => {
  const hard = { hard: true, chainCode };
  const other = { hard: true, chainCode: chainCode.slice().fill(1) };
  const keys = [[], [hard], [other], [hard, other], [other, hard]]
    .map((path) => derive(seed, path).publicKey.join());
  assert.equal(new Set(keys).size, 5);
});

Deno.test("derive() refuses a soft step", () => {
  assert.throws(() => derive(seed, [{ hard: false, chainCode }]), SecretError);
});

Deno.test("sign() makes the signature that any implementation makes", async () => {
  assert.deepEqual(await sign(pair, message), ed25519.sign(message, seed));
});

Deno.test("the secret key can't be taken out", async () => {
  const key = await pair.secretKey;
  assert.ok(key instanceof CryptoKey);
  await assert.rejects(crypto.subtle.exportKey("pkcs8", key), DOMException);
});

Deno.test("verify() holds for what sign() made, for the message and key only", async () => {
  const signature = await sign(pair, message);
  const { publicKey } = derive(new Uint8Array(32), []);
  assert.equal(await verify(pair.publicKey, message, signature), true);
  assert.equal(await verify(pair.publicKey, message.subarray(1), signature), false);
  assert.equal(await verify(publicKey, message, signature), false);
});

Deno.test("verify() reads views into larger bytes", async () => {
  const within = (bytes: Uint8Array) => Uint8Array.of(1, 2, ...bytes, 3).subarray(2, -1);
  const pair = derive(new Uint8Array(32).fill(9), []); // A key not seen before.
  const signature = await sign(pair, message);
  assert.equal(
    await verify(within(pair.publicKey), within(message), within(signature)),
    true,
  );
});

Deno.test("verify() refuses every bit of a signature and of a key flipped", async () => {
  const signature = await sign(pair, message);
  for (let bit = 0; bit < 512; bit++) {
    signature[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(await verify(pair.publicKey, message, signature), false, `bit ${bit}`);
    signature[bit >> 3]! ^= 1 << (bit & 7);
  }
  const key = pair.publicKey.slice();
  for (let bit = 0; bit < 256; bit++) {
    key[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(await verify(key, message, signature), false, `bit ${bit} of the key`);
    key[bit >> 3]! ^= 1 << (bit & 7);
  }
});

Deno.test("verify() refuses keys and signatures of other sizes", async () => {
  const signature = await sign(pair, message);
  for (let size = 0; size < 100; size++) {
    if (size !== 32) assert.equal(await verify(new Uint8Array(size), message, signature), false);
    if (size !== 64) {
      assert.equal(await verify(pair.publicKey, message, new Uint8Array(size)), false);
    }
  }
});

Deno.test("verify() refuses the signature whose scalar has the order added", async () => {
  const signature = await sign(pair, message);
  const order = ed25519.Point.Fn.ORDER;
  const s = signature.subarray(32).reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
  const added = Uint8Array.from(
    { length: 32 },
    (_, i) => Number(s + order >> BigInt(8 * i) & 0xffn),
  );
  const malleable = Uint8Array.of(...signature.subarray(0, 32), ...added);
  assert.equal(await verify(pair.publicKey, message, malleable), false);
});

Deno.test("verify() refuses random keys and signatures", async () => {
  const random = randomNumbers(2);
  const randomBytes = (size: number) => Uint8Array.from({ length: size }, () => random(256));
  for (let i = runs(2000); i > 0; i--) {
    const key = i % 2 ? randomBytes(32) : pair.publicKey;
    assert.equal(await verify(key, message, randomBytes(64)), false);
  }
});

const unsupporting = {
  importKey: () => Promise.reject(new DOMException("Unrecognized name", "NotSupportedError")),
};
for (
  const [subtle, where] of [[undefined, "is no WebCrypto"], [unsupporting, "is one without it"]]
) {
  Deno.test(`sign() and verify() do the same where there ${where}`, async () => {
    const seed = crypto.getRandomValues(new Uint8Array(32)); // Keys not seen before.
    const { publicKey } = derive(seed, []);
    const signature = await withSubtle(subtle, () => sign(derive(seed, []), message));
    assert.deepEqual(signature, await sign(derive(seed, []), message));
    await withSubtle(subtle, async () => {
      assert.equal(await verify(publicKey, message, signature), true);
      assert.equal(await verify(publicKey, message.subarray(1), signature), false);
      assert.equal(await verify(publicKey, message, signature.with(63, 255)), false);
      const noKey = new Uint8Array(32).fill(2); // A y coordinate without a point.
      assert.equal(await verify(noKey, message, signature), false);
    });
  });
}
