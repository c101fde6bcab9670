import assert from "node:assert/strict";
import * as schnorrkel from "@polkadot-labs/schnorrkel-wasm";
import { derive, guard, sign, verify } from "./_sr25519.ts";
import { randomNumbers, runs } from "./tests/fuzz.ts";

const { memory } = (schnorrkel as unknown as { __wasm: { memory: WebAssembly.Memory } }).__wasm;

const pair = derive(new Uint8Array(32).fill(7), []);
const message = new TextEncoder().encode("message");
const signature = sign(pair, message);

/** Calls a function and counts the panics of the WebAssembly module, which end up on the console. */
function countPanics(call: () => void): number {
  const original = console.error;
  let panics = 0;
  console.error = () => panics++;
  try {
    call();
  } finally {
    console.error = original;
  }
  return panics;
}

/** A number as 32 bytes, little endian. */
function scalar(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number(value >> BigInt(8 * i) & 0xffn));
}

/** A well-formed signature with this scalar. */
function signatureWith(s: bigint): Uint8Array {
  const bytes = Uint8Array.of(...signature.subarray(0, 32), ...scalar(s));
  bytes[63]! |= 0x80;
  return bytes;
}

const ORDER = (1n << 252n) + 27742317777372353535851937790883648493n;
const FIELD = (1n << 255n) - 19n;

Deno.test("verify() holds for what sign() made, for the message and key only", () => {
  assert.equal(signature.length, 64);
  assert.equal(verify(pair.publicKey, message, signature), true);
  assert.equal(verify(pair.publicKey, message.subarray(1), signature), false);
  const { publicKey } = derive(new Uint8Array(32).fill(8), []);
  assert.equal(verify(publicKey, message, signature), false);
});

Deno.test("sign() and verify() take messages of any size", () => {
  for (const size of [0, 1, 16, 4096, 1_000_000]) {
    const message = new Uint8Array(size).fill(1);
    assert.equal(verify(pair.publicKey, message, sign(pair, message)), true);
  }
});

Deno.test("derive() makes another key for every step, hard or soft", () => {
  const seed = new Uint8Array(32);
  const chainCode = new Uint8Array(32);
  const paths = [[], [true], [false], [true, false], [false, true], [true, true]];
  const keys = paths.map((path) =>
    derive(seed, path.map((hard) => ({ hard, chainCode }))).publicKey.join()
  );
  assert.equal(new Set(keys).size, paths.length);
});

Deno.test("verify() refuses every bit of a signature flipped, without a panic", () => {
  const panics = countPanics(() => {
    for (let bit = 0; bit < 512; bit++) {
      const flipped = signature.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(verify(pair.publicKey, message, flipped), false, `bit ${bit}`);
    }
  });
  assert.equal(panics, 0);
});

Deno.test("verify() refuses scalars around the group order without a panic", () => {
  const panics = countPanics(() => {
    for (const s of [0n, 1n, ORDER - 1n, ORDER, ORDER + 1n, FIELD, (1n << 255n) - 1n]) {
      assert.equal(verify(pair.publicKey, message, signatureWith(s)), false);
      for (let byte = 0n; byte < 32n; byte++) {
        const close = (ORDER ^ (s & 0xffn) << (8n * byte)) & ((1n << 255n) - 1n);
        assert.equal(verify(pair.publicKey, message, signatureWith(close)), false);
      }
    }
  });
  assert.equal(panics, 0);
});

Deno.test("verify() refuses the signature whose scalar has the order added", () => {
  const s = signature.subarray(32).reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
  assert.equal(verify(pair.publicKey, message, signatureWith(s & (1n << 255n) - 1n)), true);
  assert.equal(
    verify(pair.publicKey, message, signatureWith((s & (1n << 255n) - 1n) + ORDER)),
    false,
  );
});

Deno.test("verify() refuses keys that are no points without a panic", () => {
  const flip = pair.publicKey.slice();
  const keys = [0n, 1n, 2n, FIELD - 1n, FIELD, FIELD + 1n, FIELD + 2n, (1n << 256n) - 1n].map(
    scalar,
  );
  for (let bit = 0; bit < 256; bit++) {
    flip[bit >> 3]! ^= 1 << (bit & 7);
    keys.push(flip.slice());
    flip[bit >> 3]! ^= 1 << (bit & 7);
  }
  for (let size = 0; size < 80; size++) if (size !== 32) keys.push(new Uint8Array(size));
  const panics = countPanics(() => {
    for (const key of keys) assert.equal(verify(key, message, signature), false, `key ${key}`);
  });
  assert.equal(panics, 0);
});

Deno.test("verify() refuses random keys and signatures without a panic", () => {
  const random = randomNumbers(1);
  const randomBytes = (size: number) => Uint8Array.from({ length: size }, () => random(256));
  const panics = countPanics(() => {
    for (let i = runs(2000); i > 0; i--) {
      const key = i % 2 ? randomBytes(32) : pair.publicKey;
      const signature = randomBytes(64);
      if (i % 4) signature[63]! = signature[63]! & 0x0f | 0x80;
      assert.equal(verify(key, message, signature), false);
    }
  });
  assert.equal(panics, 0);
});

const aborts: Record<string, () => unknown> = {
  "a signature without its marker": () =>
    schnorrkel.sr25519_verify(pair.publicKey, message, new Uint8Array(64)),
  "a signature that is too short": () =>
    schnorrkel.sr25519_verify(pair.publicKey, message, new Uint8Array(63)),
  "a key that is no point": () =>
    schnorrkel.sr25519_verify(new Uint8Array(32).fill(0xff), message, signature),
  "a seed that is too short": () => schnorrkel.sr25519_keypair_from_seed(new Uint8Array(31)),
  "a secret key that is too short": () =>
    schnorrkel.sr25519_sign(pair.publicKey, new Uint8Array(63), message),
};
for (const [name, abort] of Object.entries(aborts)) {
  Deno.test(`guard() leaves all working, and memory as it was, after aborts on ${name}`, () => {
    const times = runs(1000);
    const size = memory.buffer.byteLength;
    const panics = countPanics(() => {
      for (let i = 0; i < times; i++) assert.throws(() => guard(abort), WebAssembly.RuntimeError);
    });
    assert.equal(panics, times);
    assert.equal(verify(pair.publicKey, message, signature), true);
    assert.equal(verify(pair.publicKey, message, sign(pair, message)), true);
    assert.deepEqual(derive(new Uint8Array(32).fill(7), []).publicKey, pair.publicKey);
    assert.equal(memory.buffer.byteLength, size);
  });
}

Deno.test("sign() never uses the same randomness twice, whatever aborts in between", () => {
  const signatures = new Set<string>();
  for (let i = 0; i < 50; i++) {
    signatures.add(sign(pair, message).join());
    countPanics(() => assert.throws(() => guard(aborts["a signature without its marker"]!)));
  }
  assert.equal(signatures.size, 50);
});
