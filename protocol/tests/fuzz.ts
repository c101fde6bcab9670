/** What the property tests of this package share: how often to run, and what to run on. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { EnvelopeInit } from "../envelope.ts";

/**
 * How many times to run something that runs `count` times by default: the environment variable
 * `RMB_FUZZ` multiplies it, where it may be read.
 */
export function runs(count: number): number {
  const env = { name: "env", variable: "RMB_FUZZ" } as const;
  const granted = Deno.permissions.querySync(env).state === "granted";
  const factor = Number(granted && Deno.env.get("RMB_FUZZ") || 1);
  assert.ok(factor > 0, "RMB_FUZZ must be a positive number");
  return Math.ceil(count * factor);
}

/** What a function returns, or undefined if it refuses with an error of the class given. */
export function unlessRefused<T>(
  call: () => T,
  expected: new (message: string) => Error,
): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof expected) return undefined;
    throw error;
  }
}

/** Numbers that look random and depend on the seed only: integers from 0 up to below `limit`. */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed | 0;
  return (limit) => {
    state = state + 0x9e3779b9 | 0;
    let mixed = Math.imul(state ^ state >>> 16, 0x21f0aaad);
    mixed = Math.imul(mixed ^ mixed >>> 15, 0x735a2d97);
    return ((mixed ^ mixed >>> 15) >>> 0) % limit;
  };
}

/** Bytes altered in one to four places: bits flipped, bytes set, put in, taken out, repeated. */
export function mutated(bytes: Uint8Array, random: (limit: number) => number): Uint8Array {
  const altered = [...bytes];
  const boundaries = [0, 1, 0x7f, 0x80, 0xff];
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(altered.length + 1);
    switch (random(5)) {
      case 0:
        if (at < altered.length) altered[at]! ^= 1 << random(8);
        break;
      case 1:
        if (at < altered.length) altered[at] = boundaries[random(boundaries.length)]!;
        break;
      case 2:
        altered.splice(at, 0, random(256));
        break;
      case 3:
        altered.splice(at, 1 + random(4));
        break;
      default:
        altered.splice(at, 0, ...altered.slice(at, at + 1 + random(16)));
    }
  }
  return Uint8Array.from(altered);
}

/** Any text that is well-formed Unicode. */
export const anyText: fc.Arbitrary<string> = fc.string({ unit: "binary", maxLength: 80 });

/** Any twin id, none included. */
export const anyTwin: fc.Arbitrary<number> = fc.integer({ min: 0, max: 0xffff_ffff });

const anyAddress = fc.record({ twin: anyTwin, connection: anyText }, { requiredKeys: ["twin"] });
const anyBytes = fc.uint8Array({ maxLength: 100 });
const anyUint64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });

const anyMessage = fc.oneof(
  fc.record({ case: fc.constant("request" as const), value: fc.record({ command: anyText }) }),
  fc.record({
    case: fc.constant("error" as const),
    value: fc.record({ code: anyTwin, message: anyText }),
  }),
  fc.record({
    case: fc.constantFrom("response" as const, "ping" as const, "pong" as const),
    value: fc.constant({}),
  }),
);

const anyPayload = fc.record({
  case: fc.constantFrom("plain" as const, "cipher" as const),
  value: anyBytes,
});

/** Any envelope: each field present or not. */
export const anyEnvelope: fc.Arbitrary<EnvelopeInit> = fc.record({
  uid: anyText,
  tags: anyText,
  timestamp: anyUint64,
  expiration: anyUint64,
  source: anyAddress,
  destination: anyAddress,
  message: anyMessage,
  signature: anyBytes,
  schema: anyText,
  federation: anyText,
  payload: anyPayload,
  relays: fc.array(anyText, { maxLength: 4 }),
}, { requiredKeys: [] });
