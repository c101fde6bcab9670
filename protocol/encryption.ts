import { gcm } from "@noble/ciphers/aes.js";
import { gcm as gcmOfWebCrypto } from "@noble/ciphers/webcrypto.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { LRUCache } from "lru-cache";
import { EncryptionError } from "./errors.ts";
import { parseSecret } from "./secret.ts";

/** Bytes of the random nonce in front of the ciphertext. */
const NONCE_BYTES = 12;
/** Bytes of the AES-GCM tag behind the ciphertext. */
const TAG_BYTES = 16;
/** From this size up, in bytes, WebCrypto is faster than JavaScript (docs/performance.md). */
const WEBCRYPTO_FROM = 2048;

/** The quicker AES-GCM for a payload. Browsers have WebCrypto in pages from https: or localhost only. */
function gcmFor(bytes: number): typeof gcm | typeof gcmOfWebCrypto {
  return bytes < WEBCRYPTO_FROM || !crypto.subtle ? gcm : gcmOfWebCrypto;
}

/** Most shared secrets remembered, 32 bytes each: one for each twin talked to. */
const MAX_SHARED_SECRETS = 10_000;

/**
 * The key pair that a twin encrypts and decrypts payloads with. Its secret can't be read back.
 *
 * @example
 * ```ts
 * import { EncryptionKeypair } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const alice = EncryptionKeypair.fromSecret(`0x${"01".repeat(32)}`)!;
 * const bob = EncryptionKeypair.fromSecret(`0x${"02".repeat(32)}`)!;
 *
 * const plain = new TextEncoder().encode("for Bob alone");
 * const cipher = await alice.encrypt(plain, bob.publicKey);
 * assert.deepEqual(await bob.decrypt(cipher, alice.publicKey), plain);
 *
 * assert.equal(EncryptionKeypair.fromSecret("//Alice"), undefined); // It has a path.
 * ```
 */
export class EncryptionKeypair {
  /** The twin's `pk`: secp256k1, compressed, 33 bytes. */
  readonly publicKey: Uint8Array;
  readonly #secretKey: Uint8Array;
  /** Shared secret by the other's public key in hexadecimal; false for bytes that are no key. */
  readonly #shared = new LRUCache<string, Uint8Array | false>({ max: MAX_SHARED_SECRETS });

  private constructor(secretKey: Uint8Array) {
    this.#secretKey = secretKey;
    this.publicKey = secp256k1.getPublicKey(secretKey);
  }

  /**
   * Makes the encryption key pair of a secret: the mnemonic's seed, or the `0x` seed itself, as
   * secp256k1 secret key.
   *
   * @returns Undefined for a secret with a derivation path or password, for which no encryption
   * key is defined, and for the few seeds that are no secp256k1 key.
   * @throws {SecretError} if the secret can't be read.
   */
  static fromSecret(secret: string): EncryptionKeypair | undefined {
    const { seed, path, hasPassword } = parseSecret(secret);
    if (path.length > 0 || hasPassword || !secp256k1.utils.isValidSecretKey(seed)) return undefined;
    return new EncryptionKeypair(seed);
  }

  /**
   * Whether bytes are a public key that payloads can be encrypted for. A twin's `pk` can be
   * anything.
   */
  accepts(publicKey: Uint8Array): boolean {
    return this.#sharedSecret(publicKey) !== false;
  }

  /**
   * Encrypts a payload for another twin.
   *
   * @param plain The payload.
   * @param publicKey The other twin's `pk`, 33 bytes.
   * @returns 12 random bytes nonce, then the ciphertext with its 16-byte tag.
   * @throws {EncryptionError} if the public key is not one.
   */
  async encrypt(plain: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    const shared = this.#sharedSecret(publicKey);
    if (shared === false) throw new EncryptionError("Cannot encrypt: the receiver's pk is no key");
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const sealed = await gcmFor(plain.length)(shared, nonce).encrypt(plain);
    const cipher = new Uint8Array(NONCE_BYTES + sealed.length);
    cipher.set(nonce);
    cipher.set(sealed, NONCE_BYTES);
    return cipher;
  }

  /**
   * Decrypts a payload from another twin.
   *
   * @param cipher Nonce and ciphertext, as from {@linkcode EncryptionKeypair.encrypt}.
   * @param publicKey The other twin's `pk`, 33 bytes.
   * @throws {EncryptionError} if the public key is not one, or the payload was altered, cut or
   * encrypted for another key.
   */
  async decrypt(cipher: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    const shared = this.#sharedSecret(publicKey);
    if (shared === false) throw new EncryptionError("Cannot decrypt: the sender's pk is no key");
    if (cipher.length < NONCE_BYTES + TAG_BYTES) {
      throw new EncryptionError(
        `Cannot decrypt: ${cipher.length} bytes are too few for nonce and tag`,
      );
    }
    const nonce = cipher.subarray(0, NONCE_BYTES);
    const sealed = cipher.subarray(NONCE_BYTES);
    try {
      return await gcmFor(sealed.length)(shared, nonce).decrypt(sealed);
    } catch (cause) {
      throw new EncryptionError("Cannot decrypt: altered, or encrypted for another key", { cause });
    }
  }

  /** SHA-256 of the x coordinate of the ECDH point; false if the other's key is none. */
  #sharedSecret(publicKey: Uint8Array): Uint8Array | false {
    if (publicKey.length !== 33) return false;
    const text = bytesToHex(publicKey);
    let shared = this.#shared.get(text);
    if (shared === undefined) {
      try {
        shared = sha256(secp256k1.getSharedSecret(this.#secretKey, publicKey).subarray(1));
      } catch {
        shared = false;
      }
      this.#shared.set(text, shared);
    }
    return shared;
  }
}
