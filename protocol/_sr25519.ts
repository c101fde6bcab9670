/**
 * sr25519 on schnorrkel's WebAssembly. That build aborts on malformed input instead of returning an
 * error, and every abort leaks memory until nothing works any more; so all input is checked first,
 * and should it abort all the same, its memory is put back to what it was at the start.
 */
import * as schnorrkel from "@polkadot-labs/schnorrkel-wasm";
import { ristretto255 } from "@noble/curves/ed25519.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { LRUCache } from "lru-cache";
import type { Junction } from "./secret.ts";

/** The part of the module's own exports that its type declarations leave out. */
interface SchnorrkelMemory {
  readonly memory: WebAssembly.Memory;
  __wbindgen_malloc(size: number, alignment: number): number;
  __wbindgen_free(pointer: number, size: number, alignment: number): void;
  /** Moves the stack pointer and returns where it then is. */
  __wbindgen_add_to_stack_pointer(delta: number): number;
}
const instance = (schnorrkel as unknown as { __wasm: SchnorrkelMemory }).__wasm;

/**
 * What the allocator has at hand from the start, in bytes. With nothing at hand it would take new
 * pages from the system after every abort, and those can't be given back.
 */
const POOL = 256 * 1024;
instance.__wbindgen_free(instance.__wbindgen_malloc(POOL, 1), POOL, 1);

const initialMemory = new Uint8Array(instance.memory.buffer).slice();
const initialStackPointer = instance.__wbindgen_add_to_stack_pointer(0);

/** Runs a function of the instance and, if it aborts, makes the instance as new. */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const stackPointer = instance.__wbindgen_add_to_stack_pointer(0);
    instance.__wbindgen_add_to_stack_pointer(initialStackPointer - stackPointer);
    const memory = new Uint8Array(instance.memory.buffer);
    memory.set(initialMemory);
    memory.fill(0, initialMemory.length);
    throw error;
  }
}

/** Order of the group, 2^252 + 27742317777372353535851937790883648493, little endian. */
const GROUP_ORDER = Uint8Array.from(
  { length: 32 },
  (_, i) =>
    Number(((1n << 252n) + 27742317777372353535851937790883648493n) >> BigInt(8 * i) & 255n),
);

/** Public keys seen lately, by hexadecimal text, and whether they are points of the group. */
const publicKeys = new LRUCache<string, boolean>({ max: 10_000 });

function isPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const key = bytesToHex(bytes);
  let valid = publicKeys.get(key);
  if (valid === undefined) {
    try {
      ristretto255.Point.fromBytes(bytes);
      valid = true;
    } catch {
      valid = false;
    }
    publicKeys.set(key, valid);
  }
  return valid;
}

/** Whether 64 bytes have schnorrkel's marker bit and a scalar below the group order. */
function isSignature(bytes: Uint8Array): boolean {
  if (bytes.length !== 64 || (bytes[63]! & 0x80) === 0) return false;
  for (let i = 31; i >= 0; i--) {
    const byte = i === 31 ? bytes[63]! & 0x7f : bytes[32 + i]!;
    if (byte !== GROUP_ORDER[i]) return byte < GROUP_ORDER[i]!;
  }
  return false;
}

/** Whether a 64-byte signature (context `substrate`) of a message holds for a public key. */
export function verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (!isSignature(signature) || !isPublicKey(publicKey)) return false;
  return guard(() => schnorrkel.sr25519_verify(publicKey, message, signature));
}

/** A secret key, 64 bytes, and its public key. */
export interface Sr25519Pair {
  readonly secretKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Derives a key pair from a 32-byte seed along a path. */
export function derive(seed: Uint8Array, path: readonly Junction[]): Sr25519Pair {
  const pair = guard(() =>
    path.reduce(
      (pair, { hard, chainCode }) =>
        hard
          ? schnorrkel.sr25519_derive_keypair_hard(pair, chainCode)
          : schnorrkel.sr25519_derive_keypair_soft(pair, chainCode),
      schnorrkel.sr25519_keypair_from_seed(seed),
    )
  );
  return { secretKey: pair.slice(0, 64), publicKey: pair.slice(64) };
}

/** Signs a message: 64 bytes, randomised. */
export function sign({ publicKey, secretKey }: Sr25519Pair, message: Uint8Array): Uint8Array {
  return guard(() => schnorrkel.sr25519_sign(publicKey, secretKey, message));
}
