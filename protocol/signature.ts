import { md5 } from "@noble/hashes/legacy.js";
import type { Address, Envelope } from "./gen/types_pb.ts";
import { type Keypair, verifySignature } from "./keys.ts";

/** A hash that is computed piece by piece. */
interface Hash {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

/** The part of `process` in Deno and Node that is used here. Browsers have none. */
interface Runtime {
  readonly process?: {
    getBuiltinModule?(name: "node:crypto"): { createHash(name: "md5"): Hash };
  };
}

const runtimeCrypto = (globalThis as Runtime).process?.getBuiltinModule?.("node:crypto");

/** MD5 as the runtime has it, which is several times as fast for long payloads, or in JavaScript. */
function createMd5(): Hash {
  return runtimeCrypto?.createHash("md5") ?? md5.create();
}

/**
 * The challenge of an envelope: MD5 over the fields that its signature covers, 16 bytes. The order
 * of the fields, and which of them count, are the existing network's.
 */
export function challenge(envelope: Envelope): Uint8Array {
  const hash = createMd5();
  const text = (value: string) => {
    if (value !== "") hash.update(utf8.encode(value));
  };
  const address = (value: Address | undefined) => {
    text(String(value?.twin ?? 0));
    text(value?.connection ?? "");
  };
  text(envelope.uid);
  text(envelope.tags ?? "");
  text(String(envelope.timestamp));
  text(String(envelope.expiration));
  address(envelope.source);
  address(envelope.destination);
  const { message, payload } = envelope;
  if (message.case === "request") {
    text(message.value.command);
  } else if (message.case === "error") {
    text(String(message.value.code));
    text(message.value.message);
  }
  text(envelope.schema ?? "");
  text(envelope.federation ?? "");
  if (payload.case !== undefined) hash.update(payload.value);
  envelope.relays.forEach(text);
  return new Uint8Array(hash.digest());
}

const utf8 = new TextEncoder();

/**
 * Signs an envelope as it stands: sets its signature over its {@linkcode challenge}.
 *
 * @example
 * ```ts
 * import { createEnvelope, Keypair, signEnvelope } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const envelope = createEnvelope({ uid: "1", source: { twin: 1 }, destination: { twin: 2 } });
 * await signEnvelope(envelope, Keypair.fromSecret("//Alice"));
 * assert.equal(envelope.signature?.length, 65);
 * ```
 */
export async function signEnvelope(envelope: Envelope, keypair: Keypair): Promise<void> {
  envelope.signature = await keypair.sign(challenge(envelope));
}

/**
 * Whether an envelope is signed by an account.
 *
 * @param envelope The envelope as received.
 * @param account Public key of the source twin, 32 bytes.
 *
 * @example
 * ```ts
 * import { decodeEnvelope, type TwinRegistry, verifyEnvelope } from "@rmb/protocol";
 *
 * async function isGenuine(bytes: Uint8Array, registry: TwinRegistry): Promise<boolean> {
 *   const envelope = decodeEnvelope(bytes);
 *   const sender = await registry.twin(envelope.source?.twin ?? 0);
 *   return sender !== undefined && await verifyEnvelope(envelope, sender.account);
 * }
 * ```
 */
export function verifyEnvelope(envelope: Envelope, account: Uint8Array): Promise<boolean> {
  if (envelope.signature === undefined) return Promise.resolve(false);
  return verifySignature(account, challenge(envelope), envelope.signature);
}
