import { FormatError, parseAccount, parseHex } from "@rmb/protocol";
import type { Block } from "./block.ts";
import type { Chain } from "./chain.ts";
import { RpcError } from "./rpc_error.ts";
import type { State } from "./state.ts";

/** Parameters of a call, which come from anyone. All methods throw an {@linkcode RpcError} for wrong ones. */
export class Params {
  readonly #values: readonly unknown[];

  /** @param values An array, or nothing at all. */
  constructor(values: unknown) {
    if (values !== undefined && values !== null && !Array.isArray(values)) {
      throw wrong("expected an array");
    }
    this.#values = values ?? [];
  }

  /** Any value; undefined if it is left out, or null. */
  get(index: number): unknown {
    return this.#values[index] ?? undefined;
  }

  text(index: number): string {
    const value = this.get(index);
    if (typeof value !== "string") throw wrong(`expected a string as parameter ${index + 1}`);
    return value;
  }

  /** Bytes, of 0x and hexadecimal digits. */
  bytes(index: number): Uint8Array {
    return read(() => parseHex(this.text(index)));
  }

  /** An account, of an address. */
  account(index: number): Uint8Array {
    return read(() => parseAccount(this.text(index)));
  }

  number(index: number): number {
    const value = this.get(index);
    if (!Number.isInteger(value) || Number(value) < 0) {
      throw wrong(`expected a number as parameter ${index + 1}`);
    }
    return Number(value);
  }

  /** A storage key, in hexadecimal with small letters. */
  key(index: number): string {
    this.bytes(index);
    return this.text(index).toLowerCase();
  }

  /** Several storage keys. */
  keys(index: number): string[] {
    const value = this.get(index);
    if (!Array.isArray(value)) throw wrong(`expected an array as parameter ${index + 1}`);
    return value.map((_, i) => new Params(value).key(i));
  }

  /** A hash of a block; undefined if it is left out. */
  hash(index: number): string | undefined {
    if (this.get(index) === undefined) return undefined;
    const bytes = this.bytes(index);
    if (bytes.length !== 32) throw wrong(`invalid length ${bytes.length}, expected 32 bytes`);
    return this.text(index).toLowerCase();
  }

  /** A block by hash; the best one if it is left out; undefined if there is none. */
  block(index: number, chain: Chain): Block | undefined {
    const hash = this.hash(index);
    return hash === undefined ? chain.best : chain.block(hash);
  }

  /** What is stored at a block; at the best one if it is left out. */
  state(index: number, chain: Chain): State {
    const hash = this.hash(index);
    const block = hash === undefined ? chain.best : chain.block(hash);
    if (block === undefined) {
      throw new RpcError(
        4003,
        `Client error: UnknownBlock: Header was not found in the database: ${hash}`,
      );
    }
    if (block.state === undefined) {
      throw new RpcError(4003, `Client error: UnknownBlock: State already discarded for ${hash}`);
    }
    return block.state;
  }
}

function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof FormatError) throw wrong(error.message);
    throw error;
  }
}

function wrong(why: string): RpcError {
  return new RpcError(-32602, "Invalid params", why);
}
