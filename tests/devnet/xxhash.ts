const MASK = (1n << 64n) - 1n;
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

const multiply = (a: bigint, b: bigint) => (a * b) & MASK;
const add = (a: bigint, b: bigint) => (a + b) & MASK;
const rotate = (a: bigint, bits: bigint) => ((a << bits) & MASK) | (a >> (64n - bits));
const round = (lane: bigint, word: bigint) =>
  multiply(rotate(add(lane, multiply(word, P2)), 31n), P1);

/**
 * XXH64 of bytes, 8 bytes, little-endian: Substrate's names of pallets and storage items are hashed with
 * it. Slow: for short input.
 */
export function xxh64(data: Uint8Array, seed: bigint): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  let hash = add(seed, P5);
  if (data.length >= 32) {
    const lanes = [add(seed, add(P1, P2)), add(seed, P2), seed, (seed - P1) & MASK];
    for (; at + 32 <= data.length; at += 32) {
      lanes.forEach((lane, i) => lanes[i] = round(lane, view.getBigUint64(at + 8 * i, true)));
    }
    hash = [1n, 7n, 12n, 18n].reduce((sum, bits, i) => add(sum, rotate(lanes[i]!, bits)), 0n);
    for (const lane of lanes) hash = add(multiply(hash ^ round(0n, lane), P1), P4);
  }
  hash = add(hash, BigInt(data.length));
  for (; at + 8 <= data.length; at += 8) {
    hash ^= round(0n, view.getBigUint64(at, true));
    hash = add(multiply(rotate(hash, 27n), P1), P4);
  }
  if (at + 4 <= data.length) {
    hash ^= multiply(BigInt(view.getUint32(at, true)), P1);
    hash = add(multiply(rotate(hash, 23n), P2), P3);
    at += 4;
  }
  for (; at < data.length; at++) {
    hash ^= multiply(BigInt(data[at]!), P5);
    hash = multiply(rotate(hash, 11n), P1);
  }
  hash = multiply(hash ^ hash >> 33n, P2);
  hash = multiply(hash ^ hash >> 29n, P3);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, hash ^ hash >> 32n, true);
  return bytes;
}
