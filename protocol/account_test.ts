import assert from "node:assert/strict";
import fc from "fast-check";
import { base58 } from "@scure/base";
import { formatAccount, formatHex, parseAccount, parseHex } from "./account.ts";
import { FormatError } from "./errors.ts";
import { mutated, randomNumbers, runs, unlessRefused } from "./tests/fuzz.ts";

const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 });

/** `//Alice` of Substrate's documentation. */
const ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const ALICE_KEY = "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

Deno.test("parseAccount() reads an address and hexadecimal digits alike", () => {
  assert.equal(formatHex(parseAccount(ALICE)), ALICE_KEY);
  assert.equal(formatHex(parseAccount(ALICE_KEY)), ALICE_KEY);
  assert.equal(formatHex(parseAccount(`0x${ALICE_KEY.slice(2).toUpperCase()}`)), ALICE_KEY);
  assert.equal(formatAccount(parseAccount(ALICE_KEY)), ALICE);
});

Deno.test("parseAccount() reads what formatAccount() and formatHex() write", () => {
  fc.assert(fc.property(anyKey, (key) => {
    assert.deepEqual(parseAccount(formatAccount(key)), key);
    assert.deepEqual(parseAccount(formatHex(key)), key);
  }));
});

const refused: [name: string, text: string, reason: RegExp][] = [
  ["empty text", "", /not an SS58 address/],
  ["hexadecimal digits of another length", "0x00", /1 bytes, not 32/],
  ["an odd number of hexadecimal digits", ALICE_KEY.slice(0, -1), /hexadecimal digits/],
  ["what is not hexadecimal", ALICE_KEY.slice(0, -1) + "g", /hexadecimal digits/],
  ["hexadecimal digits without 0x", ALICE_KEY.slice(2), /not base58|not an SS58/],
  ["what is not base58", ALICE.slice(0, -1) + "0", /not base58/],
  ["an address with one letter changed", ALICE.replace("rwv", "rww"), /not base58|checksum/],
  ["an address in other case", ALICE.replace("Grw", "GrW"), /checksum/],
  ["an address cut short", ALICE.slice(0, -1), /not an SS58 address/],
  [
    "an address of another network",
    "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
    /prefix 42/,
  ],
  ["white space around an address", ` ${ALICE}`, /not base58/],
];
for (const [name, text, reason] of refused) {
  Deno.test(`parseAccount() rejects ${name}`, () => {
    assert.throws(() => parseAccount(text), (error) => {
      assert.ok(error instanceof FormatError);
      assert.match(error.message, reason);
      return true;
    });
  });
}

Deno.test("parseAccount() rejects an address whose checksum is wrong in its second byte only", () => {
  const bytes = base58.decode(ALICE);
  bytes[34]! ^= 1;
  assert.throws(() => parseAccount(base58.encode(bytes)), /checksum/);
});

Deno.test("parseAccount() reads altered addresses as they were or throws FormatError", () => {
  const random = randomNumbers(42);
  const bytes = new TextEncoder().encode(ALICE);
  for (let i = runs(20_000); i > 0; i--) {
    const text = String.fromCharCode(...mutated(bytes, random));
    const key = unlessRefused(() => parseAccount(text), FormatError);
    // A checksum of 16 bits lets 1 in 65,536 through: those must be addresses all the same.
    if (key !== undefined && !text.startsWith("0x")) assert.equal(formatAccount(key), text);
  }
});

Deno.test("parseAccount() takes bounded time, with a short message, however long the text", () => {
  for (const letter of ["1", "z", "\0", "0x"]) {
    const start = performance.now();
    assert.throws(() => parseAccount(letter.repeat(1_000_000)), (error) => {
      assert.ok(error instanceof FormatError);
      assert.ok(error.message.length < 200);
      return true;
    });
    assert.ok(performance.now() - start < 1000);
  }
});

Deno.test("parseHex() reads what formatHex() writes, and nothing else", () => {
  assert.deepEqual(parseHex("0x"), new Uint8Array());
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    assert.deepEqual(parseHex(formatHex(bytes)), bytes);
  }));
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const bytes = unlessRefused(() => parseHex(text), FormatError);
    if (bytes !== undefined) assert.equal(formatHex(bytes), text.toLowerCase());
  }));
  for (const text of ["", "0X00", "00", "0x0", "0x00\n", " 0x00", "0x٠٠"]) {
    assert.throws(() => parseHex(text), FormatError, text);
  }
});
