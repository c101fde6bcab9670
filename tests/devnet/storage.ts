import { formatHex } from "@rmb/protocol";
import { blake2b } from "@noble/hashes/blake2.js";
import { concat } from "./bytes.ts";
import { type Codec, decodeAll } from "./scale.ts";
import type { State } from "./state.ts";
import { xxh64 } from "./xxhash.ts";

/** How a map's keys are hashed, both with the key itself behind. */
export type Hasher = "Blake2_128Concat" | "Twox64Concat";

/** What metadata says of a storage item. */
export interface StorageInfo {
  readonly name: string;
  readonly key?: { readonly hasher: Hasher; readonly codec: Codec<unknown> };
  readonly value: Codec<unknown>;
  /** What is encoded there when nothing is; none for what is optional. */
  readonly fallback: Uint8Array | undefined;
  readonly docs: string;
}

const utf8 = new TextEncoder();

function twox128(text: string): Uint8Array {
  return concat([xxh64(utf8.encode(text), 0n), xxh64(utf8.encode(text), 1n)]);
}

/** What the keys of a pallet's storage item begin with. */
function prefix(pallet: string, name: string): string {
  return formatHex(concat([twox128(pallet), twox128(name)]));
}

/** A storage item with one value. */
export class StorageValue<T> implements StorageInfo {
  readonly name: string;
  readonly value: Codec<T>;
  readonly fallback: Uint8Array;
  readonly docs: string;
  /** Its key, in hexadecimal. */
  readonly at: string;

  constructor(pallet: string, name: string, value: Codec<T>, fallback: T, docs: string) {
    this.name = name;
    this.value = value;
    this.fallback = value.encode(fallback);
    this.docs = docs;
    this.at = prefix(pallet, name);
  }

  get(state: State): T {
    return decodeAll(this.value, state.get(this.at) ?? this.fallback);
  }

  set(state: State, value: T): void {
    state.set(this.at, this.value.encode(value));
  }
}

/** A storage item with a value for each key. */
export class StorageMap<K, T> implements StorageInfo {
  readonly name: string;
  readonly key: { readonly hasher: Hasher; readonly codec: Codec<K> };
  readonly value: Codec<T>;
  readonly fallback: Uint8Array | undefined;
  readonly docs: string;
  readonly #prefix: string;

  constructor(
    pallet: string,
    name: string,
    hasher: Hasher,
    key: Codec<K>,
    value: Codec<T>,
    docs: string,
    fallback?: T,
  ) {
    this.name = name;
    this.key = { hasher, codec: key };
    this.value = value;
    this.docs = docs;
    this.fallback = fallback === undefined ? undefined : value.encode(fallback);
    this.#prefix = prefix(pallet, name);
  }

  /** The key of an entry, in hexadecimal. */
  at(key: K): string {
    const encoded = this.key.codec.encode(key);
    const hash = this.key.hasher === "Twox64Concat"
      ? xxh64(encoded, 0n)
      : blake2b(encoded, { dkLen: 16 });
    return this.#prefix + formatHex(concat([hash, encoded])).slice(2);
  }

  get(state: State, key: K): T | undefined {
    const encoded = state.get(this.at(key)) ?? this.fallback;
    return encoded && decodeAll(this.value, encoded);
  }

  set(state: State, key: K, value: T | undefined): void {
    state.set(this.at(key), value === undefined ? undefined : this.value.encode(value));
  }
}
