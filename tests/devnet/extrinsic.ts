import { FormatError, formatHex, verifySignature } from "@rmb/protocol";
import { blake2b } from "@noble/hashes/blake2.js";
import { concat } from "./bytes.ts";
import { type RuntimeCall, runtimeCall, version } from "./runtime.ts";
import { bytes, compactU128, compactU32, Input, u32, u8 } from "./scale.ts";
import { era, multiAddress, multiSignature } from "./types.ts";

/** An extrinsic, decoded. */
export interface Extrinsic {
  /** As blocks have it, with its length in front. */
  readonly bytes: Uint8Array;
  /** BLAKE2b-256 of these bytes, in hexadecimal. */
  readonly hash: string;
  readonly call: RuntimeCall;
  /** Absent if it is not signed. */
  readonly signed?: Signed;
}

/** What a signed extrinsic has besides its call. */
export interface Signed {
  readonly signer: Uint8Array;
  /** Undefined if the chain knows no such signatures. */
  readonly signature: Uint8Array | undefined;
  readonly nonce: number;
  readonly tip: bigint;
  readonly mortality: Mortality | undefined;
  /** What is signed, but for what the signer has to know of the chain. */
  readonly payload: Uint8Array;
}

/** From which block on, of each `period` blocks, an extrinsic is valid for as many. */
export interface Mortality {
  readonly period: number;
  readonly phase: number;
}

const SIGNED_V4 = 0x84;
const UNSIGNED_V4 = 0x04;

/** BLAKE2b-256, in hexadecimal. */
export function hashHex(data: Uint8Array): string {
  return formatHex(blake2b(data, { dkLen: 32 }));
}

/**
 * Decodes an extrinsic, version 4.
 *
 * @throws {FormatError} if it is not one, or its call is none of this chain.
 */
export function decodeExtrinsic(encoded: Uint8Array): Extrinsic {
  const outer = new Input(encoded);
  const input = new Input(bytes.decode(outer));
  if (outer.left > 0) throw new FormatError("Cannot decode an extrinsic: bytes behind it");
  const kind = u8.decode(input);
  const signed = kind === SIGNED_V4 ? decodeSigned(input) : undefined;
  if (signed === undefined && kind !== UNSIGNED_V4) {
    throw new FormatError(`Cannot decode an extrinsic: it begins with ${kind}`);
  }
  const rest = input.take(input.left);
  const callInput = new Input(rest);
  const call = runtimeCall.decode(callInput);
  if (callInput.left > 0) {
    throw new FormatError("Cannot decode an extrinsic: bytes behind its call");
  }
  return {
    bytes: encoded.slice(),
    hash: hashHex(encoded),
    call,
    ...(signed && { signed: { ...signed, payload: concat([rest, signed.payload]) } }),
  };
}

function decodeSigned(input: Input): Signed {
  const address = multiAddress.decode(input);
  const signature = multiSignature.decode(input);
  const start = era.decode(input);
  const nonce = compactU32.decode(input);
  const tip = compactU128.decode(input);
  if (address.type !== "Id") throw new FormatError("Cannot look up an address that is no account");
  return {
    signer: address.value,
    signature: tagged(signature.type, signature.value),
    nonce,
    tip,
    mortality: mortality(era.encode(start)),
    payload: concat([era.encode(start), compactU32.encode(nonce), compactU128.encode(tip)]),
  };
}

/** A signature as `verifySignature()` takes it. */
function tagged(type: string, signature: Uint8Array): Uint8Array | undefined {
  const tag = { Ed25519: "e", Sr25519: "s" }[type]?.charCodeAt(0);
  return tag === undefined ? undefined : concat([Uint8Array.of(tag), signature]);
}

function mortality([low = 0, high = 0]: Uint8Array): Mortality | undefined {
  if (low === 0) return undefined;
  const encoded = low | high << 8;
  const period = 2 << (encoded & 15);
  return { period, phase: (encoded >> 4) * Math.max(period >> 12, 1) };
}

/** The block that a mortal extrinsic is valid from, seen from another block. */
export function birth({ period, phase }: Mortality, number: number): number {
  return Math.floor((Math.max(number, phase) - phase) / period) * period + phase;
}

/**
 * Whether the signature holds: for this chain, its present version, and the block that the extrinsic is
 * valid from.
 *
 * @param genesis Hash of the chain's first block.
 * @param birth Hash of the block that it is valid from; the first block's for those that do not end.
 */
export async function isSignedRight(
  { signer, signature, payload }: Signed,
  genesis: Uint8Array,
  birth: Uint8Array,
): Promise<boolean> {
  if (signature === undefined) return false;
  const { spec_version, transaction_version } = version;
  const versions = [u32.encode(spec_version), u32.encode(transaction_version)];
  const signed = concat([payload, ...versions, genesis, birth]);
  return await verifySignature(
    signer,
    signed.length > 256 ? blake2b(signed, { dkLen: 32 }) : signed,
    signature,
  );
}
