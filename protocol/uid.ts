import { bytesToHex } from "@noble/hashes/utils.js";

/** Makes an id that nobody can guess: a UUID, or as much in hexadecimal in pages that can't make one. */
export function newUid(): string {
  return crypto.randomUUID?.() ?? bytesToHex(crypto.getRandomValues(new Uint8Array(16)));
}
