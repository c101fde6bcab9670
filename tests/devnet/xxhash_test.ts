import assert from "node:assert/strict";
import { xxh64 } from "./xxhash.ts";

// From the reference implementation's self test: bytes by its generator, with and without a seed.
const PRIME32 = 2654435761n;
const PRIME64 = 11400714785074694797n;
const buffer = new Uint8Array(222);
let state = PRIME32;
for (let i = 0; i < buffer.length; i++) {
  buffer[i] = Number(state >> 56n);
  state = (state * PRIME64) & ((1n << 64n) - 1n);
}

const vectors: readonly [length: number, seed: bigint, hash: string][] = [
  [0, 0n, "ef46db3751d8e999"],
  [0, PRIME32, "ac75fda2929b17ef"],
  [1, 0n, "e934a84adb052768"],
  [1, PRIME32, "5014607643a9b4c3"],
  [4, 0n, "9136a0dca57457ee"],
  [14, 0n, "8282dcc4994e35c8"],
  [14, PRIME32, "c3bd6bf63deb6df0"],
  [222, 0n, "b641ae8cb691c174"],
  [222, PRIME32, "20cb8ab7ae10c14a"],
];
for (const [length, seed, hash] of vectors) {
  Deno.test(`xxh64() of ${length} bytes with seed ${seed}`, () => {
    assert.equal(xxh64(buffer.subarray(0, length), seed).toReversed().toHex(), hash);
  });
}

Deno.test("xxh64() makes the known beginning of System.Account", () => {
  const utf8 = new TextEncoder();
  const twox128 = (text: string) =>
    [0n, 1n].map((seed) => xxh64(utf8.encode(text), seed).toHex()).join("");
  assert.equal(twox128("System"), "26aa394eea5630e07c48ae0c9558cef7");
  assert.equal(twox128("Account"), "b99d880ec681799c0cf30e8886371da9");
});
