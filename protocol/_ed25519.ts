/**
 * ed25519 on WebCrypto, several times as fast as JavaScript; in JavaScript where that is missing: older
 * browsers do not know it, and pages from http: have no WebCrypto at all.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { blake2b } from "@noble/hashes/blake2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { LRUCache } from "lru-cache";
import { SecretError } from "./errors.ts";
import { type Junction, scaleText } from "./secret.ts";

/** What precedes the seed in the PKCS #8 form of an ed25519 private key (RFC 8410, section 7). */
const PKCS8_PREFIX = Uint8Array.of(
  ...[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22],
  ...[0x04, 0x20],
);

/** A key of WebCrypto or, where that does not know ed25519, its 32 bytes. */
type Key = CryptoKey | Uint8Array;

/** Public keys seen lately, by hexadecimal text. */
const publicKeys = new LRUCache<string, Promise<Key>>({ max: 10_000 });

async function importKey(
  format: "raw" | "pkcs8",
  encoded: Uint8Array<ArrayBuffer>,
  usage: "sign" | "verify",
): Promise<Key> {
  try {
    if (crypto.subtle) {
      return await crypto.subtle.importKey(format, encoded, "Ed25519", false, [usage]);
    }
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "NotSupportedError")) throw error;
  }
  return encoded.subarray(-32);
}

/** Whether a 64-byte signature of a message holds for a public key. */
export async function verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  const text = bytesToHex(publicKey);
  let key = publicKeys.get(text);
  if (key === undefined) {
    key = importKey("raw", publicKey.slice(), "verify");
    publicKeys.set(text, key);
  }
  try {
    const imported = await key;
    return imported instanceof Uint8Array
      ? ed25519.verify(signature, message, imported, { zip215: false })
      : await crypto.subtle.verify("Ed25519", imported, signature.slice(), message.slice());
  } catch (error) {
    // Bytes that are not a key, or not a signature, verify nothing; anything else is a fault.
    if (error instanceof DOMException && error.name !== "NotSupportedError") return false;
    throw error;
  }
}

/** A secret key, not extractable where WebCrypto has it, and its public key, 32 bytes. */
export interface Ed25519Pair {
  readonly secretKey: Promise<Key>;
  readonly publicKey: Uint8Array;
}

/**
 * Derives a key pair from a 32-byte seed along a path, as Substrate does.
 *
 * @throws {SecretError} if the path has a soft step: ed25519 has none.
 */
export function derive(seed: Uint8Array, path: readonly Junction[]): Ed25519Pair {
  const derived = path.reduce((seed, { hard, chainCode }) => {
    if (!hard) {
      throw new SecretError("Cannot derive an ed25519 key: a soft step (/name) is not supported");
    }
    return blake2b(Uint8Array.of(...scaleText("Ed25519HDKD"), ...seed, ...chainCode), {
      dkLen: 32,
    });
  }, seed);
  const pkcs8 = Uint8Array.of(...PKCS8_PREFIX, ...derived);
  const secretKey = importKey("pkcs8", pkcs8, "sign");
  secretKey.catch(() => {}); // Told to whoever signs.
  return { secretKey, publicKey: ed25519.getPublicKey(derived) };
}

/** Signs a message: 64 bytes. */
export async function sign(pair: Ed25519Pair, message: Uint8Array): Promise<Uint8Array> {
  const key = await pair.secretKey;
  if (key instanceof Uint8Array) return ed25519.sign(message, key);
  return new Uint8Array(await crypto.subtle.sign("Ed25519", key, message.slice()));
}
