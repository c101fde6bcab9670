/** The metadata of a node of TFChain, and a codec that goes by it. */
import { formatHex } from "../../account.ts";
import { Codec } from "../codec.ts";
import type { Runtime } from "../runtime.ts";

export const runtime: Runtime = {
  chain: "TFChain",
  genesisHash: `0x${"ab".repeat(32)}`,
  version: { specName: "substrate-threefold", specVersion: 150, transactionVersion: 2 },
};

/** Its metadata, as `state_getMetadata` answers it. */
export async function tfchainMetadata(): Promise<string> {
  const url = new URL("../../../tests/vectors/tfchain_metadata.scale.gz", import.meta.url);
  const file = await Deno.open(url);
  const bytes = file.readable.pipeThrough(new DecompressionStream("gzip"));
  return formatHex(await new Response(bytes).bytes());
}

/** Reads and writes as that metadata says. */
export async function tfchainCodec(): Promise<Codec> {
  return await Codec.open(runtime, await tfchainMetadata());
}

/** A number in SCALE's compact form, at most two bytes of it. */
export function compact(value: number): number[] {
  return value < 64 ? [value << 2] : [(value << 2 | 1) & 0xff, value >> 6];
}

/** A number as four bytes. */
export function u32(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => value >>> shift & 0xff);
}

/** Bytes that may be unset, with their length. */
export function optional(bytes: Uint8Array | undefined): number[] {
  return bytes === undefined ? [0] : [1, ...compact(bytes.length), ...bytes];
}

/** A twin as TFChain stores it: with an entity, which is of no concern here. */
export function twinBytes(
  { id = 7, account = new Uint8Array(32).fill(3), relay, pk }: {
    id?: number;
    account?: Uint8Array;
    relay?: Uint8Array | undefined;
    pk?: Uint8Array | undefined;
  },
): number[] {
  const entities = [...compact(1), ...u32(5), ...compact(2), 8, 9];
  return [...u32(id), ...account, ...optional(relay), ...entities, ...optional(pk)];
}

/** Bytes as nodes write them. */
export function toHex(...bytes: number[]): string {
  return formatHex(Uint8Array.from(bytes));
}
