import { FormatError } from "@rmb/protocol";
import { concat } from "./bytes.ts";

/** What a chain's metadata says of a type. */
export interface TypeInfo {
  readonly path: readonly string[];
  readonly params: readonly { readonly name: string; readonly type: TypeInfo | undefined }[];
  readonly shape: Shape;
}

/** The form of a type. */
export type Shape =
  | { readonly kind: "composite"; readonly fields: readonly FieldInfo[] }
  | { readonly kind: "variant"; readonly variants: readonly VariantInfo[] }
  | { readonly kind: "sequence"; readonly item: TypeInfo }
  | { readonly kind: "array"; readonly length: number; readonly item: TypeInfo }
  | { readonly kind: "tuple"; readonly items: readonly TypeInfo[] }
  | { readonly kind: "primitive"; readonly name: Primitive }
  | { readonly kind: "compact"; readonly of: TypeInfo };

/** A field of a composite or variant; in Rust's tuple structs it has no name. */
export interface FieldInfo {
  readonly name: string | undefined;
  readonly type: TypeInfo;
}

/** A variant of a type, with the index that it is encoded as. */
export interface VariantInfo {
  readonly name: string;
  readonly index: number;
  readonly fields: readonly FieldInfo[];
  readonly docs: readonly string[];
}

/** The primitive types that the chain uses, as metadata names them. */
export type Primitive = "Bool" | "Str" | "U8" | "U16" | "U32" | "U64" | "U128";

/** Encodes and decodes values of a type in SCALE, and describes the type. */
export interface Codec<T> {
  readonly info: TypeInfo;
  encode(value: T): Uint8Array;
  /** @throws {FormatError} if the input does not begin with such a value. */
  decode(input: Input): T;
}

/** The values that a codec is for. */
export type Value<C> = C extends Codec<infer T> ? T : never;

/** Bytes that values are decoded from, one behind the other. */
export class Input {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** How many bytes were taken. */
  get position(): number {
    return this.#at;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** @throws {FormatError} if there are not so many. */
  take(length: number): Uint8Array {
    if (length > this.left) {
      throw new FormatError(`Cannot decode: ${length} bytes expected, ${this.left} are left`);
    }
    return this.#bytes.subarray(this.#at, this.#at += length);
  }
}

/**
 * Decodes a value that takes up all bytes.
 *
 * @throws {FormatError} if the bytes are not exactly such a value.
 */
export function decodeAll<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const input = new Input(bytes);
  const value = codec.decode(input);
  if (input.left > 0) throw new FormatError(`Cannot decode: ${input.left} bytes too many`);
  return value;
}

function plain(shape: Shape): TypeInfo {
  return { path: [], params: [], shape };
}

function littleEndian(name: Primitive, length: number) {
  return {
    info: plain({ kind: "primitive", name }),
    encode: (value: bigint) => {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
      return bytes;
    },
    decode: (input: Input) =>
      input.take(length).reduceRight((value, byte) => value << 8n | BigInt(byte), 0n),
  };
}

function small({ info, encode, decode }: Codec<bigint>): Codec<number> {
  return {
    info,
    encode: (value) => encode(BigInt(value)),
    decode: (input) => Number(decode(input)),
  };
}

/** 1 byte. */
export const u8: Codec<number> = small(littleEndian("U8", 1));
/** 2 bytes. */
export const u16: Codec<number> = small(littleEndian("U16", 2));
/** 4 bytes. */
export const u32: Codec<number> = small(littleEndian("U32", 4));
/** 8 bytes. */
export const u64: Codec<bigint> = littleEndian("U64", 8);
/** 16 bytes. */
export const u128: Codec<bigint> = littleEndian("U128", 16);

/** A byte that is 0 or 1. */
export const bool: Codec<boolean> = {
  info: plain({ kind: "primitive", name: "Bool" }),
  encode: (value) => Uint8Array.of(value ? 1 : 0),
  decode: (input) => u8.decode(input) === 1,
};

/** A number in as few bytes as it needs. */
function compact(of: Codec<unknown>): Codec<bigint> {
  return {
    info: plain({ kind: "compact", of: of.info }),
    encode(value) {
      if (value < 1n << 6n) return u8.encode(Number(value << 2n));
      if (value < 1n << 14n) return u16.encode(Number(value << 2n | 1n));
      if (value < 1n << 30n) return u32.encode(Number(value << 2n | 2n));
      const length = Math.ceil(value.toString(16).length / 2);
      return concat([
        u8.encode((length - 4) << 2 | 3),
        littleEndian("U128", length).encode(value),
      ]);
    },
    decode(input) {
      const first = u8.decode(input);
      if ((first & 3) === 3) return littleEndian("U128", (first >> 2) + 4).decode(input);
      const more = littleEndian("U128", (1 << (first & 3)) - 1).decode(input);
      return (more << 8n | BigInt(first)) >> 2n;
    },
  };
}

/** A u32 in as few bytes as it needs. */
export const compactU32: Codec<number> = small(compact(u32));
/** A u64 in as few bytes as it needs. */
export const compactU64: Codec<bigint> = compact(u64);
/** A u128 in as few bytes as it needs. */
export const compactU128: Codec<bigint> = compact(u128);

/** A list of values. */
export function list<T>(item: Codec<T>): Codec<readonly T[]> {
  return {
    info: plain({ kind: "sequence", item: item.info }),
    encode: (values) => concat([compactU32.encode(values.length), ...values.map(item.encode)]),
    decode(input) {
      const length = compactU32.decode(input);
      // Every item has a byte at least, but for those that nobody has lists of.
      if (length > input.left) throw new FormatError(`Cannot decode a list of ${length} items`);
      return Array.from({ length }, () => item.decode(input));
    },
  };
}

/** Any number of bytes. */
export const bytes: Codec<Uint8Array> = {
  info: plain({ kind: "sequence", item: u8.info }),
  encode: (value) => concat([compactU32.encode(value.length), value]),
  decode: (input) => input.take(compactU32.decode(input)),
};

/** UTF-8. */
export const text: Codec<string> = {
  info: plain({ kind: "primitive", name: "Str" }),
  encode: (value) => bytes.encode(new TextEncoder().encode(value)),
  decode: (input) => new TextDecoder().decode(bytes.decode(input)),
};

/** As many bytes as said. */
export function fixed(length: number): Codec<Uint8Array> {
  return {
    info: plain({ kind: "array", length, item: u8.info }),
    encode: (value) => value,
    decode: (input) => input.take(length),
  };
}

/** Several values, one behind the other. */
export function tuple<T extends readonly unknown[]>(
  ...items: { readonly [I in keyof T]: Codec<T[I]> }
): Codec<T> {
  const codecs: readonly Codec<unknown>[] = items;
  return {
    info: plain({ kind: "tuple", items: codecs.map(({ info }) => info) }),
    encode: (values) => concat(codecs.map((codec, i) => codec.encode(values[i]))),
    decode: (input) => codecs.map((codec) => codec.decode(input)) as unknown as T,
  };
}

/** What a struct or a variant has in it. */
export interface Fields<T> {
  readonly fields: readonly FieldInfo[];
  encode(value: T): Uint8Array;
  decode(input: Input): T;
}

/** Fields with names. */
export function named<M extends Readonly<Record<string, unknown>>>(
  members: { readonly [K in keyof M]: Codec<M[K]> },
): Fields<M> {
  const entries = Object.entries<Codec<unknown>>(members);
  return {
    fields: entries.map(([name, { info }]) => ({ name, type: info })),
    encode: (value) => concat(entries.map(([name, codec]) => codec.encode(value[name]))),
    decode: (input) =>
      Object.fromEntries(entries.map(([name, codec]) => [name, codec.decode(input)])) as M,
  };
}

/** One field without a name. */
export function unnamed<T>({ info, encode, decode }: Codec<T>): Fields<T> {
  return { fields: [{ name: undefined, type: info }], encode, decode };
}

/** Several fields without names. */
export function several<T extends readonly unknown[]>(
  ...items: { readonly [I in keyof T]: Codec<T[I]> }
): Fields<T> {
  const { encode, decode } = tuple<T>(...items);
  const codecs: readonly Codec<unknown>[] = items;
  return { fields: codecs.map(({ info }) => ({ name: undefined, type: info })), encode, decode };
}

/** No field. */
export const nothing: Fields<undefined> = {
  fields: [],
  encode: () => new Uint8Array(),
  decode: () => undefined,
};

/** Type parameters, by name: clients tell some types by these. */
export type Params = Readonly<Record<string, Codec<unknown> | undefined>>;

function describe(path: string, params: Params, shape: Shape): TypeInfo {
  return {
    path: path.split("::"),
    params: Object.entries(params).map(([name, codec]) => ({ name, type: codec?.info })),
    shape,
  };
}

/** A struct. Its path has `::` between the parts, as in Rust. */
export function struct<T>(path: string, content: Fields<T>, params: Params = {}): Codec<T> {
  const { fields, encode, decode } = content;
  return { info: describe(path, params, { kind: "composite", fields }), encode, decode };
}

/** A variant as {@linkcode variants} takes it: its index, its fields, what the metadata says of it. */
export type Case<T> = readonly [index: number, fields: Fields<T>, docs?: string];

/** A value of a type with variants. */
export type Tagged<M> = { [K in keyof M & string]: { type: K; value: M[K] } }[keyof M & string];

/** A Rust enum. */
export function variants<M extends Readonly<Record<string, unknown>>>(
  path: string,
  cases: { readonly [K in keyof M]: Case<M[K]> },
  params: Params = {},
): Codec<Tagged<M>> {
  const entries = Object.entries<Case<unknown>>(cases);
  const byIndex = new Map(entries.map(([type, [index, fields]]) => [index, { type, fields }]));
  return {
    info: describe(path, params, {
      kind: "variant",
      variants: entries.map(([name, [index, { fields }, docs]]) => ({
        name,
        index,
        fields,
        docs: docs === undefined ? [] : [docs],
      })),
    }),
    encode({ type, value }) {
      const [index, fields] = cases[type] as Case<unknown>;
      return concat([u8.encode(index), fields.encode(value)]);
    },
    decode(input) {
      const index = u8.decode(input);
      const found = byIndex.get(index);
      if (found === undefined) throw new FormatError(`Cannot decode: no ${path} ${index}`);
      return { type: found.type, value: found.fields.decode(input) } as Tagged<M>;
    },
  };
}

/** A value or none. */
export function option<T>(some: Codec<T>): Codec<T | undefined> {
  const either = variants<{ None: undefined; Some: T }>(
    "Option",
    { None: [0, nothing], Some: [1, unnamed(some)] },
    { T: some },
  );
  return {
    info: either.info,
    encode: (value) =>
      either.encode(
        value === undefined ? { type: "None", value: undefined } : { type: "Some", value },
      ),
    decode: (input) => either.decode(input).value,
  };
}
