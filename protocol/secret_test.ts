import assert from "node:assert/strict";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { hex } from "@scure/base";
import fc from "fast-check";
import { SecretError } from "./errors.ts";
import { EncryptionKeypair } from "./encryption.ts";
import { Keypair } from "./keys.ts";
import { parseSecret, scaleText } from "./secret.ts";
import { mutated, randomNumbers, runs, unlessRefused } from "./tests/fuzz.ts";

const MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const SEED = `0x${"0123456789abcdef".repeat(4)}`;

/** The chain codes of a path, in hexadecimal without the zeros at the end; `h` before hard ones. */
function path(secret: string): string[] {
  return parseSecret(secret).path.map(({ hard, chainCode }) => {
    assert.equal(chainCode.length, 32);
    return (hard ? "h" : "s") + hex.encode(chainCode).replace(/(00)+$/, "");
  });
}

Deno.test("parseSecret() reads a seed in lower and upper case", () => {
  const { seed, path, hasPassword } = parseSecret(SEED);
  assert.equal(`0x${hex.encode(seed)}`, SEED);
  assert.deepEqual(path, []);
  assert.equal(hasPassword, false);
  assert.deepEqual(parseSecret(`0x${SEED.slice(2).toUpperCase()}`).seed, seed);
});

Deno.test("parseSecret() reads a mnemonic however its words are spaced", () => {
  const { seed } = parseSecret(MNEMONIC);
  for (const space of ["  ", "\n", "\t", "\u3000", "\r\n"]) {
    const spaced = `${space}${MNEMONIC.replaceAll(" ", space)}${space}`;
    assert.deepEqual(parseSecret(spaced).seed, seed);
  }
});

Deno.test("parseSecret() stands a bare path, and nothing at all, on the development phrase", () => {
  const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
  assert.deepEqual(parseSecret("//Alice").seed, parseSecret(phrase).seed);
  assert.deepEqual(parseSecret("").seed, parseSecret(phrase).seed);
  assert.deepEqual(parseSecret("//Alice"), parseSecret(`${phrase}//Alice`));
});

Deno.test("parseSecret() reads hard and soft steps, in order", () => {
  assert.deepEqual(path(`${SEED}//a/b//c`), ["h0461", "s0462", "h0463"]);
  assert.deepEqual(path(`${MNEMONIC}/a///password`), ["s0461"]);
});

Deno.test("parseSecret() takes steps that are numbers as numbers, up to u64", () => {
  assert.deepEqual(path(`${SEED}//1//256//+3//007`), ["h01", "h0001", "h03", "h07"]);
  assert.deepEqual(path(`${SEED}//18446744073709551615`), ["hffffffffffffffff"]);
  assert.deepEqual(path(`${SEED}//18446744073709551616`), [
    `h50${hex.encode(new TextEncoder().encode("18446744073709551616"))}`,
  ]);
  assert.deepEqual(path(`${SEED}//-1//1.0//0x1`), ["h082d31", "h0c312e30", "h0c307831"]);
});

Deno.test("parseSecret() hashes steps of more than 31 bytes", () => {
  const [kept, hashed, multibyte] = path(
    `${SEED}//${"a".repeat(31)}//${"a".repeat(32)}//${"é".repeat(16)}`,
  );
  assert.equal(kept, `h7c${"61".repeat(31)}`);
  assert.doesNotMatch(hashed!, /6161/);
  assert.doesNotMatch(multibyte!, /c3a9/);
});

Deno.test("parseSecret() has the password count for mnemonics only", () => {
  const plain = parseSecret(MNEMONIC);
  const locked = parseSecret(`${MNEMONIC}///correct horse`);
  assert.equal(locked.hasPassword, true);
  assert.notDeepEqual(locked.seed, plain.seed);
  assert.notDeepEqual(parseSecret(`${MNEMONIC}///correct`).seed, locked.seed);
  assert.deepEqual(parseSecret(`${SEED}///password`).seed, parseSecret(SEED).seed);
  assert.equal(parseSecret(`${MNEMONIC}///`).hasPassword, false);
});

Deno.test("parseSecret() lets a password have slashes and line ends", () => {
  const { path, hasPassword } = parseSecret(`${MNEMONIC}//a///b//c\n/d`);
  assert.equal(path.length, 1);
  assert.equal(hasPassword, true);
});

Deno.test("scaleText() writes lengths in SCALE's compact form", () => {
  assert.deepEqual([...scaleText("")], [0]);
  assert.deepEqual([...scaleText("a")], [4, 0x61]);
  assert.deepEqual([...scaleText("a".repeat(63)).subarray(0, 2)], [252, 0x61]);
  assert.deepEqual([...scaleText("a".repeat(64)).subarray(0, 3)], [1, 1, 0x61]);
  assert.deepEqual([...scaleText("é".repeat(512)).subarray(0, 3)], [1, 16, 0xc3]);
});

const refused: [name: string, secret: string, reason: RegExp][] = [
  ["a mnemonic of 11 words", MNEMONIC.split(" ").slice(1).join(" "), /has 11 words/],
  ["a mnemonic with an unknown word", MNEMONIC.replace("year", "yaer"), /word 4 is not in/],
  ["a mnemonic in upper case", MNEMONIC.toUpperCase(), /word 1 is not in/],
  ["a mnemonic with a wrong checksum", MNEMONIC.replace(/yellow$/, "year"), /checksum is wrong/],
  ["a seed that is too short", SEED.slice(0, -1), /got 63 characters after "0x"/],
  ["a seed that is too long", `${SEED}0`, /got 65 characters/],
  ["a seed that is not hexadecimal", SEED.replace("f", "g"), /got 64 characters/],
  ["a seed without 0x", SEED.slice(2), /has 1 words/],
  ["a path that ends with a slash", `${SEED}//a/`, /not of the form/],
  ["a path with an empty step", `${SEED}//`, /not of the form/],
  ["what is too long", "a".repeat(1025), /too long/],
];
for (const [name, secret, reason] of refused) {
  Deno.test(`parseSecret() rejects ${name}`, () => {
    assert.throws(() => parseSecret(secret), (error) => {
      assert.ok(error instanceof SecretError);
      assert.match(error.message, reason);
      return true;
    });
  });
}

Deno.test("Keypair.fromSecret() rejects a soft step for ed25519", () => {
  assert.throws(() => Keypair.fromSecret(`${SEED}//a/b`, "ed25519"), SecretError);
  assert.equal(Keypair.fromSecret(`${SEED}//a//b`, "ed25519").type, "ed25519");
});

/** Parts of secrets that no message of ours has by chance. */
const anyPart = fc.string({ unit: fc.constantFrom(..."QXZ0179"), minLength: 5, maxLength: 40 });
const anyWords = fc.array(fc.oneof(fc.constantFrom(...wordlist), anyPart), { maxLength: 25 });
const anySecret = fc.oneof(
  fc.tuple(anyWords, anyPart).map(([words, part]) => [...words, part].join(" ")),
  anyPart.map((part) => `0x${part}`),
  anyPart.map((part) => `0x${"0123456789abcdef".repeat(4)}//${part}/`),
  fc.tuple(anyPart, anyPart).map(([a, b]) => `${SEED}//${a}/${b}`),
  fc.tuple(anyPart, anyPart).map(([a, b]) => `${MNEMONIC} ${a}//${b}///${b}`),
);

Deno.test("errors never contain any part of the secret, nor do key pairs show it", () => {
  const uses = [
    (secret: string) => Keypair.fromSecret(secret, "sr25519"),
    (secret: string) => Keypair.fromSecret(secret, "ed25519"),
    (secret: string) => EncryptionKeypair.fromSecret(secret),
  ];
  fc.assert(
    fc.property(anySecret, fc.constantFrom(...uses), (secret, use) => {
      let shown: unknown;
      try {
        shown = use(secret);
      } catch (error) {
        assert.ok(error instanceof SecretError);
        shown = [error, error.message, error.stack, error.cause];
      }
      const text = Deno.inspect(shown, { showHidden: true, depth: 10 }) + JSON.stringify(shown);
      for (const [part] of secret.matchAll(/[QXZ0179]{5,}|0123456789abcdef|legal/g)) {
        assert.ok(!text.includes(part), `${part} in ${text}`);
      }
    }),
    { numRuns: runs(200) },
  );
});

Deno.test("mnemonics with a mistake are refused by count and position, without their words", () => {
  const expected = new RegExp(
    "^Cannot read the mnemonic: (it has \\d+ words, expected 12, 15, 18, 21 or 24|" +
      "word \\d+ is not in the English BIP-39 word list|its checksum is wrong, check the words)$",
  );
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...wordlist, "oops"), { minLength: 10 }), (words) => {
      try {
        parseSecret(words.join(" "));
      } catch (error) {
        assert.ok(error instanceof SecretError);
        assert.match(error.message, expected);
        assert.equal(error.cause, undefined);
      }
    }),
  );
});

Deno.test("parseSecret() reads altered secrets or throws SecretError", () => {
  const random = randomNumbers(7);
  const secrets = [SEED, `${SEED}//hard/soft`, `${MNEMONIC}//hard///password`]
    .map((secret) => new TextEncoder().encode(secret));
  for (let i = runs(2000); i > 0; i--) {
    const altered = mutated(secrets[random(secrets.length)]!, random);
    const secret = unlessRefused(
      () => parseSecret(new TextDecoder().decode(altered)),
      SecretError,
    );
    if (secret !== undefined) assert.equal(secret.seed.length, 32);
  }
});

Deno.test("parseSecret() takes bounded time for any slashes", () => {
  for (const text of ["/", "//", "///", "a/", "/a", "//a/", "\n/", " "]) {
    const start = performance.now();
    unlessRefused(() => parseSecret(text.repeat(1024 / text.length)), SecretError);
    assert.ok(performance.now() - start < 1000, text);
  }
});
