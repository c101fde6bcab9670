import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "./gen/types_pb.ts";
import { readRouting } from "./routing.ts";
import type { Session } from "./session.ts";

/** What an envelope is made from: any of its fields, the rest at protobuf's defaults. */
export interface EnvelopeInit
  extends Partial<Omit<Envelope, "$typeName" | "source" | "destination" | "message">> {
  /** Who sends it. */
  source?: Session | undefined;
  /** Who it is for. */
  destination?: Session | undefined;
  /** What it is. */
  message?: MessageInit;
}

/** The `message` that an envelope is made from. */
export type MessageInit =
  | { case: "request"; value: { command: string } }
  | { case: "response" | "ping" | "pong"; value: Record<never, never> }
  | { case: "error"; value: { code: number; message: string } }
  | { case: undefined; value?: undefined };

/**
 * Makes an envelope; fields that are undefined are absent.
 *
 * @example Make a request, sign it, and verify it where it arrives
 * ```ts
 * import {
 *   createEnvelope,
 *   decodeEnvelope,
 *   encodeEnvelope,
 *   Keypair,
 *   signEnvelope,
 *   stampEnvelope,
 *   verifyEnvelope,
 * } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const keypair = Keypair.fromSecret("//Alice");
 * const envelope = createEnvelope({
 *   uid: crypto.randomUUID(),
 *   expiration: 60n,
 *   source: { twin: 1 },
 *   destination: { twin: 2, connection: "calculator" },
 *   message: { case: "request", value: { command: "calculator.add" } },
 *   payload: { case: "plain", value: new TextEncoder().encode("[19, 23]") },
 *   schema: "application/json",
 * });
 * stampEnvelope(envelope);
 * await signEnvelope(envelope, keypair);
 *
 * const received = decodeEnvelope(encodeEnvelope(envelope));
 * assert.ok(await verifyEnvelope(received, keypair.publicKey));
 * ```
 */
export function createEnvelope(fields: EnvelopeInit | Envelope = {}): Envelope {
  return create(EnvelopeSchema, fields as MessageInitShape<typeof EnvelopeSchema>);
}

/** Encodes an envelope as protobuf. */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  return toBinary(EnvelopeSchema, envelope, { writeUnknownFields: false });
}

/**
 * Decodes an envelope in full, as strictly as {@linkcode readRouting}. Its byte fields are views of
 * `bytes`; fields that the protocol does not know are left out.
 *
 * @throws {FormatError} if the bytes are not an envelope.
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  readRouting(bytes);
  return fromBinary(EnvelopeSchema, bytes, { readUnknownFields: false });
}

/** The present as Unix time in whole seconds, as envelopes and tokens count it. */
export function unixNow(): number {
  return Math.floor(Date.now() / 1000);
}

/**
 * Seconds that an envelope has left to live: timestamp + expiration − now. At or below 0 it is
 * expired.
 *
 * @param envelope An envelope, or its routing fields.
 * @param now Unix time in seconds.
 */
export function timeLeft(
  envelope: { readonly timestamp: bigint | number; readonly expiration: bigint | number },
  now: number = unixNow(),
): number {
  return Number(envelope.timestamp) + Number(envelope.expiration) - now;
}

/**
 * Stamps an envelope with the present, before it is signed. A timestamp that is 0 or in the future
 * becomes now; otherwise the expiration shrinks by the time passed, not below 0, so that the
 * deadline never moves.
 *
 * @param envelope The envelope, changed in place.
 * @param now Unix time in seconds.
 */
export function stampEnvelope(envelope: Envelope, now: number = unixNow()): void {
  const present = BigInt(now);
  if (envelope.timestamp !== 0n && envelope.timestamp < present) {
    const left = envelope.expiration - (present - envelope.timestamp);
    envelope.expiration = left > 0n ? left : 0n;
  }
  envelope.timestamp = present;
}
