import { formatHex, Keypair, parseHex } from "@rmb/protocol";
import { blake2b } from "@noble/hashes/blake2.js";
import { concat } from "./bytes.ts";
import { hashHex } from "./extrinsic.ts";
import { bytes, compactU32, list, named, struct, u64, type Value } from "./scale.ts";
import type { State } from "./state.ts";
import { digest, type digestItem, h256 } from "./types.ts";

/** The layout of a block's header. */
export const headerCodec = struct(
  "sp_runtime::generic::header::Header",
  named({
    parent_hash: h256,
    number: compactU32,
    state_root: h256,
    extrinsics_root: h256,
    digest,
  }),
);
/** A block's header. */
export type Header = Value<typeof headerCodec>;

/** A block of a chain. */
export interface Block {
  readonly number: number;
  /** BLAKE2b-256 of its header, in hexadecimal. */
  readonly hash: string;
  /** Hash of the block before it. */
  readonly parent: string;
  readonly header: Header;
  readonly extrinsics: readonly Uint8Array[];
  /** What is stored at it; undefined once that is discarded. */
  state: State | undefined;
}

/** Makes a block of its parts. */
export function makeBlock(
  fields: Header,
  extrinsics: readonly Uint8Array[],
  state: State | undefined,
): Block {
  return {
    number: fields.number,
    hash: hashHex(headerCodec.encode(fields)),
    parent: formatHex(fields.parent_hash),
    header: fields,
    extrinsics,
    state,
  };
}

const AURA = new TextEncoder().encode("aura");

/** How long the chain's slots are, in milliseconds, as on the real chain. */
const SLOT = 6000n;

/** Who makes the blocks: as in Substrate's development chains. */
const author = Keypair.fromSecret("//Alice");

/** What a block says before it is run: the slot that it is made in. */
export function slotDigest(time: bigint): Value<typeof digestItem> {
  return { type: "PreRuntime", value: [AURA, u64.encode(time / SLOT)] };
}

/**
 * Finishes a block: hashes what it stored and has, and has its author sign it.
 *
 * @param parent The block before it.
 * @param logs Its digest as far as it is known before.
 */
export async function sealBlock(
  parent: Block,
  extrinsics: readonly Uint8Array[],
  state: State,
  logs: readonly Value<typeof digestItem>[],
): Promise<Block> {
  const unsealed: Header = {
    parent_hash: parseHex(parent.hash),
    number: parent.number + 1,
    state_root: stateRoot(parent.header.state_root, state),
    extrinsics_root: blake2b(list(bytes).encode(extrinsics), { dkLen: 32 }),
    digest: { logs },
  };
  const hash = blake2b(headerCodec.encode(unsealed), { dkLen: 32 });
  const signature = (await author.sign(hash)).subarray(1);
  const sealed = [...logs, { type: "Seal", value: [AURA, signature] } as const];
  return makeBlock({ ...unsealed, digest: { logs: sealed } }, extrinsics, state);
}

/**
 * A hash of all that is stored, by what was stored before and what changed. (A real chain's is the root of a
 * trie, which nobody can tell who asks for no proof.)
 */
export function stateRoot(before: Uint8Array, { changes }: State): Uint8Array {
  const entries = [...changes].sort(([a], [b]) => a < b ? -1 : 1);
  const changed = entries.map(([key, value]) =>
    concat([parseHex(key), bytes.encode(value ?? new Uint8Array())])
  );
  return blake2b(concat([before, ...changed]), { dkLen: 32 });
}
