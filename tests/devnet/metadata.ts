import { formatHex } from "@rmb/protocol";
import {
  bytes,
  type Codec,
  compactU32,
  list,
  named,
  nothing,
  option,
  type Primitive,
  struct,
  text,
  type TypeInfo,
  u32,
  u8,
  unnamed,
  type Value,
  variants,
} from "./scale.ts";
import type { StorageInfo } from "./storage.ts";
import { simple } from "./types.ts";

/** What metadata says of a pallet. */
export interface Pallet {
  readonly name: string;
  readonly index: number;
  readonly storage: readonly StorageInfo[];
  readonly call?: Codec<unknown>;
  readonly event?: Codec<unknown>;
  readonly error?: Codec<unknown>;
  readonly constants: readonly Constant[];
}

/** A constant of a pallet. */
export interface Constant {
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly value: unknown;
}

/** What an extrinsic has besides its call: in itself, and in what is signed. */
export interface SignedExtension {
  readonly identifier: string;
  readonly extra: Codec<unknown>;
  readonly additional: Codec<unknown>;
}

// The layout of metadata, version 14.
function record<M extends Readonly<Record<string, unknown>>>(
  members: { readonly [K in keyof M]: Codec<M[K]> },
): Codec<M> {
  return struct("", named(members));
}
const field = record({
  name: option(text),
  type: compactU32,
  typeName: option(text),
  docs: list(text),
});
const variant = record({ name: text, fields: list(field), index: u8, docs: list(text) });
const primitives = ["Bool", "Char", "Str", "U8", "U16", "U32", "U64", "U128"] as const;
const definition = variants<{
  composite: readonly Value<typeof field>[];
  variant: readonly Value<typeof variant>[];
  sequence: number;
  array: { length: number; item: number };
  tuple: readonly number[];
  primitive: { type: Primitive | "Char"; value: undefined };
  compact: number;
}>("", {
  composite: [0, unnamed(list(field))],
  variant: [1, unnamed(list(variant))],
  sequence: [2, unnamed(compactU32)],
  array: [3, named({ length: u32, item: compactU32 })],
  tuple: [4, unnamed(list(compactU32))],
  primitive: [5, unnamed(simple("", primitives))],
  compact: [6, unnamed(compactU32)],
});
const portableType = record({
  path: list(text),
  params: list(record({ name: text, type: option(compactU32) })),
  definition,
  docs: list(text),
});
const hasher = simple("", [
  "Blake2_128",
  "Blake2_256",
  "Blake2_128Concat",
  "Twox128",
  "Twox256",
  "Twox64Concat",
]);
const storageEntry = record({
  name: text,
  modifier: simple("", ["Optional", "Default"]),
  type: variants<{
    plain: number;
    map: { hashers: readonly Value<typeof hasher>[]; key: number; value: number };
  }>("", {
    plain: [0, unnamed(compactU32)],
    map: [1, named({ hashers: list(hasher), key: compactU32, value: compactU32 })],
  }),
  fallback: bytes,
  docs: list(text),
});
const pallet = record({
  name: text,
  storage: option(record({ prefix: text, entries: list(storageEntry) })),
  calls: option(compactU32),
  event: option(compactU32),
  constants: list(
    record({ name: text, type: compactU32, value: bytes, docs: list(text) }),
  ),
  error: option(compactU32),
  index: u8,
});
const extrinsicInfo = record({
  type: compactU32,
  version: u8,
  signedExtensions: list(
    record({ identifier: text, extra: compactU32, additional: compactU32 }),
  ),
});
const metadataV14 = record({
  magic: u32,
  version: u8,
  types: list(record({ id: compactU32, type: portableType })),
  pallets: list(pallet),
  extrinsic: extrinsicInfo,
  runtime: compactU32,
});

/** "meta" */
const MAGIC = 0x6174656d;

/** The types that metadata refers to by numbers. Equal ones are one. */
class Types {
  readonly all: Value<typeof portableType>[] = [];
  readonly #ids = new Map<string, number>();
  readonly #known = new Map<TypeInfo, number>();

  /** The number of a type, which is added if it is new, with all that it is made of. */
  id(info: TypeInfo): number {
    let id = this.#known.get(info);
    if (id !== undefined) return id;
    const type = {
      path: info.path,
      params: info.params.map(({ name, type }) => ({ name, type: type && this.id(type) })),
      definition: this.#define(info),
      docs: [],
    };
    const encoded = formatHex(portableType.encode(type));
    id = this.#ids.get(encoded);
    if (id === undefined) {
      id = this.all.push(type) - 1;
      this.#ids.set(encoded, id);
    }
    this.#known.set(info, id);
    return id;
  }

  #define({ shape }: TypeInfo): Value<typeof definition> {
    switch (shape.kind) {
      case "composite":
        return { type: "composite", value: this.#fields(shape.fields) };
      case "variant":
        return {
          type: "variant",
          value: shape.variants.map(({ name, index, fields, docs }) => ({
            name,
            fields: this.#fields(fields),
            index,
            docs,
          })),
        };
      case "sequence":
        return { type: "sequence", value: this.id(shape.item) };
      case "array":
        return { type: "array", value: { length: shape.length, item: this.id(shape.item) } };
      case "tuple":
        return { type: "tuple", value: shape.items.map((item) => this.id(item)) };
      case "primitive":
        return { type: "primitive", value: { type: shape.name, value: undefined } };
      case "compact":
        return { type: "compact", value: this.id(shape.of) };
    }
  }

  #fields(fields: readonly { name: string | undefined; type: TypeInfo }[]) {
    return fields.map(({ name, type }) => ({
      name,
      type: this.id(type),
      typeName: undefined,
      docs: [],
    }));
  }
}

/** Metadata of a runtime, version 14, as a node answers it. */
export function encodeMetadata(
  pallets: readonly Pallet[],
  extrinsic: Codec<unknown>,
  extensions: readonly SignedExtension[],
): Uint8Array {
  const types = new Types();
  const runtime = struct("tfchain_runtime::Runtime", nothing);
  const content = {
    pallets: pallets.map((pallet) => describePallet(pallet, types)),
    extrinsic: {
      type: types.id(extrinsic.info),
      version: 4,
      signedExtensions: extensions.map(({ identifier, extra, additional }) => ({
        identifier,
        extra: types.id(extra.info),
        additional: types.id(additional.info),
      })),
    },
    runtime: types.id(runtime.info),
  };
  return metadataV14.encode({
    magic: MAGIC,
    version: 14,
    types: types.all.map((type, id) => ({ id, type })),
    ...content,
  });
}

function describePallet(
  { name, index, storage, call, event, error, constants }: Pallet,
  types: Types,
): Value<typeof pallet> {
  return {
    name,
    storage: storage.length === 0
      ? undefined
      : { prefix: name, entries: storage.map((item) => describeStorage(item, types)) },
    calls: call && types.id(call.info),
    event: event && types.id(event.info),
    constants: constants.map(({ name, codec, value }) => ({
      name,
      type: types.id(codec.info),
      value: codec.encode(value),
      docs: [],
    })),
    error: error && types.id(error.info),
    index,
  };
}

function describeStorage(
  { name, key, value, fallback, docs }: StorageInfo,
  types: Types,
): Value<typeof storageEntry> {
  return {
    name,
    modifier: { type: fallback === undefined ? "Optional" : "Default", value: undefined },
    type: key === undefined ? { type: "plain", value: types.id(value.info) } : {
      type: "map",
      value: {
        hashers: [{ type: key.hasher, value: undefined }],
        key: types.id(key.codec.info),
        value: types.id(value.info),
      },
    },
    fallback: fallback ?? Uint8Array.of(0),
    docs: [docs],
  };
}
