import { base58, hex } from "@scure/base";
import { blake2b } from "@noble/hashes/blake2.js";
import { FormatError } from "./errors.ts";

/** SS58 prefix of TFChain's addresses: 42, generic Substrate. */
const SS58_PREFIX = 42;

/** What an SS58 checksum is computed over, before the address. */
const SS58_PREIMAGE = new TextEncoder().encode("SS58PRE");

/**
 * Writes an account's public key as an SS58 address with prefix 42 (`5F…`).
 *
 * @param publicKey 32 bytes.
 */
export function formatAccount(publicKey: Uint8Array): string {
  const body = Uint8Array.of(SS58_PREFIX, ...publicKey);
  return base58.encode(Uint8Array.of(...body, ...ss58Checksum(body)));
}

/**
 * Reads an account's public key, 32 bytes, from an SS58 address with prefix 42 or from `0x` and
 * 64 hexadecimal digits.
 *
 * @throws {FormatError} if it is neither, or the address has a wrong checksum or prefix.
 *
 * @example
 * ```ts
 * import { formatAccount, parseAccount } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const account = parseAccount("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
 * assert.equal(account.length, 32);
 * assert.equal(formatAccount(account), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
 * ```
 */
export function parseAccount(text: string): Uint8Array {
  if (text.startsWith("0x")) {
    const key = parseHex(text);
    if (key.length !== 32) refuse(text, `it has ${key.length} bytes, not 32`);
    return key;
  }
  let bytes: Uint8Array = new Uint8Array();
  try {
    // An address of 35 bytes has at most 48 digits; decoding takes quadratic time.
    bytes = base58.decode(text.slice(0, 64));
  } catch {
    refuse(text, "it is not base58");
  }
  if (bytes.length !== 35 || bytes[0] !== SS58_PREFIX) {
    refuse(text, `it is not an SS58 address with prefix ${SS58_PREFIX} (one that begins with 5)`);
  }
  const body = bytes.subarray(0, 33);
  const [first, second] = ss58Checksum(body);
  if (bytes[33] !== first || bytes[34] !== second) refuse(text, "its checksum is wrong");
  return body.slice(1);
}

/**
 * Reads bytes from `0x` and hexadecimal digits.
 *
 * @throws {FormatError} if the text is not that.
 */
export function parseHex(text: string): Uint8Array {
  if (!/^0x(?:[0-9a-fA-F]{2})*$/.test(text)) {
    throw new FormatError(
      `Cannot read bytes: expected "0x" and hexadecimal digits, got "${text.slice(0, 80)}"`,
    );
  }
  return hex.decode(text.slice(2).toLowerCase());
}

/** Writes bytes as `0x` and hexadecimal digits. */
export function formatHex(bytes: Uint8Array): string {
  return `0x${hex.encode(bytes)}`;
}

function ss58Checksum(body: Uint8Array): Uint8Array {
  return blake2b(Uint8Array.of(...SS58_PREIMAGE, ...body)).subarray(0, 2);
}

function refuse(text: string, reason: string): never {
  throw new FormatError(`Cannot read account "${text.slice(0, 80)}": ${reason}`);
}
