import { blake2b } from "@noble/hashes/blake2.js";
import { pbkdf2 } from "@noble/hashes/pbkdf2.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { hex } from "@scure/base";
import { mnemonicToEntropy } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { SecretError } from "./errors.ts";

/** One step of a derivation path. */
export interface Junction {
  /** `//name` is hard, `/name` is soft. */
  readonly hard: boolean;
  /** 32 bytes. */
  readonly chainCode: Uint8Array;
}

/** A Substrate secret, read. */
export interface Secret {
  /** The seed that the path starts from, 32 bytes. */
  readonly seed: Uint8Array;
  /** The derivation path, empty for none. */
  readonly path: readonly Junction[];
  /** Whether the secret has a password (`///password`). */
  readonly hasPassword: boolean;
}

/** The phrase that a secret without one stands on, as in Substrate (`sp_core::crypto::DEV_PHRASE`). */
const DEVELOPMENT_PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

/** Longest secret read, in characters: 24 words take at most 215. */
const MAX_SECRET = 1024;

const WORD_COUNTS = [12, 15, 18, 21, 24];

const utf8 = new TextEncoder();
const words = new Set(wordlist);

/**
 * Reads a Substrate secret: a BIP-39 mnemonic or `0x` and a 32-byte seed, either with a derivation
 * path `//hard/soft///password`; a bare path stands on Substrate's development phrase. As in
 * Substrate, a password counts for mnemonics only.
 *
 * @throws {SecretError} if it is none of these; the message never contains any of the secret.
 *
 * @example
 * ```ts
 * import { parseSecret } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const { seed, path, hasPassword } = parseSecret(`0x${"01".repeat(32)}//polkadot/0`);
 * assert.equal(seed.length, 32);
 * assert.deepEqual(path.map(({ hard }) => hard), [true, false]);
 * assert.equal(hasPassword, false);
 * ```
 */
export function parseSecret(text: string): Secret {
  if (text.length > MAX_SECRET) throw new SecretError("Cannot read the secret: it is too long");
  const match = /^([^/]*)((?:\/\/?[^/]+)*)(?:\/\/\/(.*))?$/s.exec(text.trim());
  if (match === null) {
    throw new SecretError(
      "Cannot read the secret: its derivation path is not of the form //hard/soft///password",
    );
  }
  const [, phrase = "", path = "", password = ""] = match;
  return {
    seed: phrase.startsWith("0x") ? parseSeed(phrase) : seedOfMnemonic(phrase, password),
    path: [...path.matchAll(/(\/\/?)([^/]+)/g)].map(([, slashes, name]) => ({
      hard: slashes === "//",
      chainCode: chainCode(name!),
    })),
    hasPassword: password !== "",
  };
}

function parseSeed(text: string): Uint8Array {
  if (!/^0x[0-9a-f]{64}$/i.test(text)) {
    throw new SecretError(
      'Cannot read the seed: expected "0x" and 64 hexadecimal digits, ' +
        `got ${text.length - 2} characters after "0x"`,
    );
  }
  return hex.decode(text.slice(2).toLowerCase());
}

/** Substrate's way: PBKDF2 over the entropy of the mnemonic, not over its text as in BIP-39. */
function seedOfMnemonic(phrase: string, password: string): Uint8Array {
  const mnemonic = (phrase.trim() === "" ? DEVELOPMENT_PHRASE : phrase).normalize("NFKD")
    .trim().split(/\s+/);
  if (!WORD_COUNTS.includes(mnemonic.length)) {
    throw new SecretError(
      `Cannot read the mnemonic: it has ${mnemonic.length} words, expected 12, 15, 18, 21 or 24`,
    );
  }
  const unknown = mnemonic.findIndex((word) => !words.has(word));
  if (unknown >= 0) {
    throw new SecretError(
      `Cannot read the mnemonic: word ${unknown + 1} is not in the English BIP-39 word list`,
    );
  }
  let entropy: Uint8Array;
  try {
    entropy = mnemonicToEntropy(mnemonic.join(" "), wordlist);
  } catch {
    // The library's error is not kept as the cause: it may quote the mnemonic.
    throw new SecretError("Cannot read the mnemonic: its checksum is wrong, check the words");
  }
  const salt = utf8.encode(`mnemonic${password}`);
  return pbkdf2(sha512, entropy, salt, { c: 2048, dkLen: 64 }).slice(0, 32);
}

/** Largest number that a path step can be; larger ones are names (u64, as in Substrate). */
const MAX_INDEX = 0xffff_ffff_ffff_ffffn;

/**
 * The chain code of a path step, as in Substrate's `DeriveJunction`: a number as 8 bytes little
 * endian, a name SCALE-encoded, each padded with zeros to 32 bytes, or hashed when longer.
 */
function chainCode(name: string): Uint8Array {
  const code = new Uint8Array(32);
  if (/^\+?\d+$/.test(name) && BigInt(name.replace("+", "")) <= MAX_INDEX) {
    new DataView(code.buffer).setBigUint64(0, BigInt(name.replace("+", "")), true);
    return code;
  }
  const encoded = scaleText(name);
  if (encoded.length > 32) return blake2b(encoded, { dkLen: 32 });
  code.set(encoded);
  return code;
}

/** SCALE: the length in compact form, then UTF-8. Secrets are short: two forms are enough. */
export function scaleText(text: string): Uint8Array {
  const bytes = utf8.encode(text);
  const length = bytes.length < 64
    ? [bytes.length << 2]
    : [(bytes.length << 2 & 0xff) | 1, bytes.length >> 6];
  return Uint8Array.of(...length, ...bytes);
}
