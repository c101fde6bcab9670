import * as ed25519 from "./_ed25519.ts";
import * as sr25519 from "./_sr25519.ts";
import { formatAccount } from "./account.ts";
import { parseSecret } from "./secret.ts";

/** The kinds of account keys. The chain does not say which one an account is. */
export type KeyType = "sr25519" | "ed25519";

/** First byte of a signature: which kind of key made it. */
const SR25519_TAG = 0x73; // "s"
const ED25519_TAG = 0x65; // "e"

/**
 * The key pair that a twin signs envelopes and tokens with. Its secret can't be read back.
 *
 * @example
 * ```ts
 * import { Keypair, verifySignature } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const keypair = Keypair.fromSecret("//Alice");
 * assert.equal(keypair.address, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
 *
 * const message = new TextEncoder().encode("hello");
 * const signature = await keypair.sign(message);
 * assert.ok(await verifySignature(keypair.publicKey, message, signature));
 * ```
 */
export class Keypair {
  /** Which kind of key it is. */
  readonly type: KeyType;
  /** The account: 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #sign: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>;

  private constructor(
    type: KeyType,
    publicKey: Uint8Array,
    sign: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>,
  ) {
    this.type = type;
    this.publicKey = publicKey;
    this.#sign = sign;
  }

  /**
   * Makes the key pair of a Substrate secret: a mnemonic, `0x` and a 32-byte seed, or either with a
   * derivation path.
   *
   * @param secret The secret, see {@linkcode parseSecret}.
   * @param type The kind of key.
   * @throws {SecretError} if the secret can't be read, or has a soft step and the type is ed25519.
   */
  static fromSecret(secret: string, type: KeyType = "sr25519"): Keypair {
    const { seed, path } = parseSecret(secret);
    if (type === "sr25519") {
      const pair = sr25519.derive(seed, path);
      return new Keypair(type, pair.publicKey, (message) => sr25519.sign(pair, message));
    }
    const pair = ed25519.derive(seed, path);
    return new Keypair(type, pair.publicKey, (message) => ed25519.sign(pair, message));
  }

  /** The account as an SS58 address with prefix 42. */
  get address(): string {
    return formatAccount(this.publicKey);
  }

  /**
   * Signs a message.
   *
   * @param message Any bytes; of an envelope, its challenge.
   * @returns 65 bytes: `s` or `e` for the kind of key, then the signature.
   */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    const signature = new Uint8Array(65);
    signature[0] = this.type === "sr25519" ? SR25519_TAG : ED25519_TAG;
    signature.set(await this.#sign(message), 1);
    return signature;
  }
}

/**
 * Whether a signature of a message holds for an account. Malformed keys and signatures verify
 * nothing and do no harm.
 *
 * @param publicKey The account, 32 bytes.
 * @param message The bytes that were signed.
 * @param signature 65 bytes: `s` or `e` for the kind of key, then the signature.
 */
export function verifySignature(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const untagged = signature.subarray(1);
  switch (signature[0]) {
    case SR25519_TAG:
      return Promise.resolve(sr25519.verify(publicKey, message, untagged));
    case ED25519_TAG:
      return ed25519.verify(publicKey, message, untagged);
    default:
      return Promise.resolve(false);
  }
}
