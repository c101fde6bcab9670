import assert from "node:assert/strict";
import { FormatError } from "@rmb/protocol";
import { TypeRegistry } from "@polkadot/types";
import fc from "fast-check";
import {
  bool,
  bytes,
  type Codec,
  compactU128,
  compactU32,
  compactU64,
  decodeAll,
  fixed,
  list,
  named,
  nothing,
  option,
  struct,
  text,
  tuple,
  u128,
  u16,
  u32,
  u64,
  u8,
  unnamed,
  variants,
} from "./scale.ts";

const registry = new TypeRegistry();
const number = (bits: number) => fc.bigInt(0n, (1n << BigInt(bits)) - 1n);
const some = fc.uint8Array({ maxLength: 200 });

// deno-lint-ignore no-explicit-any -- codecs of all kinds
const kinds: Record<string, [Codec<any>, fc.Arbitrary<any>]> = {
  "u8": [u8, fc.nat(255)],
  "u16": [u16, fc.nat(65535)],
  "u32": [u32, fc.nat(2 ** 32 - 1)],
  "u64": [u64, number(64)],
  "u128": [u128, number(128)],
  "bool": [bool, fc.boolean()],
  "Compact<u32>": [compactU32, fc.nat(2 ** 32 - 1)],
  "Compact<u64>": [compactU64, fc.oneof(number(64), number(30), number(14), number(6))],
  "Compact<u128>": [compactU128, fc.oneof(number(128), number(64))],
  "Bytes": [bytes, some],
  "Text": [text, fc.string({ unit: "binary" })],
  "[u8; 4]": [fixed(4), fc.uint8Array({ minLength: 4, maxLength: 4 })],
  "Vec<u32>": [list(u32), fc.array(fc.nat(2 ** 32 - 1))],
  "(u8,u16)": [tuple<[number, number]>(u8, u16), fc.tuple(fc.nat(255), fc.nat(65535))],
  "Option<Bytes>": [option(bytes), fc.option(some, { nil: undefined })],
  '{"a":"u8","b":"Bytes"}': [
    struct("A", named({ a: u8, b: bytes })),
    fc.record({ a: fc.nat(255), b: some }, { noNullPrototype: true }),
  ],
};
for (const [name, [codec, values]] of Object.entries(kinds)) {
  Deno.test(`${name} is encoded as @polkadot/types does it, and decoded again`, () => {
    fc.assert(fc.property(values, (value) => {
      const encoded = codec.encode(value);
      const theirs = registry.createType(name, encoded);
      assert.deepEqual(theirs.toU8a(), encoded);
      if (/^(Compact<)?u\d+>?$/.test(name)) assert.equal(theirs.toString(), value.toString());
      assert.deepEqual(decodeAll(codec, encoded), value);
    }));
  });
}

const either = variants<{ None: undefined; One: number }>("Either", {
  None: [3, nothing],
  One: [9, unnamed(u32)],
});

Deno.test("variants are encoded by their indices", () => {
  assert.deepEqual(either.encode({ type: "One", value: 1 }), Uint8Array.of(9, 1, 0, 0, 0));
  assert.deepEqual(decodeAll(either, Uint8Array.of(3)), { type: "None", value: undefined });
  assert.throws(() => decodeAll(either, Uint8Array.of(0)), FormatError);
});

Deno.test("any bytes are decoded, or refused with a FormatError", () => {
  const all = [...Object.values(kinds).map(([codec]) => codec), either, list(list(either))];
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (input) => {
    for (const codec of all) {
      try {
        decodeAll(codec, input);
      } catch (error) {
        assert.ok(error instanceof FormatError);
      }
    }
  }));
});
