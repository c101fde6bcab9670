import { FormatError, formatHex, parseHex } from "@rmb/protocol";
import { LRUCache } from "lru-cache";
import type { Block } from "./block.ts";
import type { Chain, Import } from "./chain.ts";
import { beginBlock } from "./execution.ts";
import { decodeExtrinsic, type Extrinsic, hashHex } from "./extrinsic.ts";
import { storage as system } from "./pallets/system.ts";
import { RpcError } from "./rpc_error.ts";
import { checkTransaction, InvalidTransaction, type Transaction } from "./validity.ts";

/** Most transactions that wait. */
const MAX_WAITING = 8192;

/** How long what was in a block, or will never be, is refused; in milliseconds, and how many such. */
const BAN = 30 * 60_000;
const MAX_BANNED = 2 * MAX_WAITING;

/** Whom a node says to have told of a transaction. */
const PEER = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

/** What happens to a transaction, as a node tells it. */
export type TransactionStatus =
  | "future"
  | "ready"
  | { readonly broadcast: readonly string[] }
  | { readonly inBlock: string }
  | { readonly retracted: string }
  | { readonly finalized: string }
  | { readonly usurped: string }
  | "dropped"
  | "invalid";

/** Told what happens to a transaction. */
export type Watcher = (status: TransactionStatus) => void;

interface Entry {
  readonly transaction: Transaction;
  readonly watcher: Watcher | undefined;
  ready: boolean;
}

/** Transactions on their way into blocks, and those in blocks that are not final. */
export class Pool {
  /** Why all transactions are refused, if they are. */
  refusal: string | undefined;
  /** Whether no transaction gets into a block. */
  withholds = false;
  readonly #chain: Chain;
  readonly #waiting = new Map<string, Entry>();
  /** By hash of the block. */
  readonly #included = new Map<string, Entry[]>();
  readonly #banned = new LRUCache<string, true>({ max: MAX_BANNED, ttl: BAN });

  constructor(chain: Chain) {
    this.#chain = chain;
    chain.listen({
      imported: (event) => this.#imported(event),
      finalized: (block) => this.#finalized(block),
    });
  }

  /** The transactions that can be in the next block, in order. */
  get ready(): Transaction[] {
    const entries = [...this.#waiting.values()].filter(({ ready }) => ready);
    return entries
      .sort((a, b) => a.transaction.signed.nonce - b.transaction.signed.nonce)
      .map(({ transaction }) => transaction);
  }

  /** How many transactions wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** The nonce of an account's next transaction. */
  nextNonce(account: Uint8Array): number {
    const id = formatHex(account);
    const own = this.ready.filter(({ signed }) => formatHex(signed.signer) === id);
    return system.account.get(this.#chain.best.state!, account)!.nonce + own.length;
  }

  /**
   * Takes a transaction.
   *
   * @param encoded The extrinsic.
   * @param watcher Told what happens to it.
   * @returns Its hash.
   * @throws {RpcError} if it is refused.
   */
  async submit(encoded: Uint8Array, watcher?: Watcher): Promise<string> {
    const hash = hashHex(encoded);
    this.#refuseKnown(hash);
    const transaction = asTransaction(encoded);
    if (this.refusal !== undefined) throw invalid(this.refusal);
    try {
      await checkTransaction(transaction, beginBlock(this.#chain.best), this.#genesis);
    } catch (error) {
      if (error instanceof InvalidTransaction) throw invalid(error.message);
      throw error;
    }
    this.#refuseKnown(hash);
    this.#replace(transaction);
    if (this.#waiting.size >= MAX_WAITING) {
      const reason = "The transaction couldn't enter the pool because of the limit";
      throw new RpcError(1016, "Immediately Dropped", reason);
    }
    const entry = { transaction, watcher, ready: false };
    this.#waiting.set(hash, entry);
    this.#sortOut();
    if (!entry.ready) watcher?.("future");
    return hash;
  }

  /** Removes what has become invalid by the latest block, and sees what has become ready. */
  async update(): Promise<void> {
    const state = beginBlock(this.#chain.best);
    for (const { transaction } of [...this.#waiting.values()]) {
      try {
        await checkTransaction(transaction, state, this.#genesis);
      } catch (error) {
        if (!(error instanceof InvalidTransaction)) throw error;
        this.#remove(transaction.hash, "invalid");
      }
    }
    this.#sortOut();
  }

  /** Removes all transactions, and tells that of them. */
  clear(status: "dropped" | "invalid"): void {
    for (const hash of [...this.#waiting.keys()]) this.#remove(hash, status);
  }

  get #genesis(): Uint8Array {
    return parseHex(this.#chain.genesis.hash);
  }

  #refuseKnown(hash: string): void {
    if (this.#banned.has(hash)) throw new RpcError(1012, "Transaction is temporarily banned");
    if (this.#waiting.has(hash)) {
      throw new RpcError(1013, "Transaction Already Imported", `[${hash}]`);
    }
  }

  /** Takes a waiting transaction with the same signer and nonce away, if the new one pays more. */
  #replace({ hash, signed }: Transaction): void {
    for (const { transaction: { hash: old, signed: other } } of this.#waiting.values()) {
      if (other.nonce !== signed.nonce || formatHex(other.signer) !== formatHex(signed.signer)) {
        continue;
      }
      if (signed.tip <= other.tip) {
        throw new RpcError(
          1014,
          `Priority is too low: (${other.tip} vs ${signed.tip})`,
          "The transaction has too low priority to replace another transaction already in the pool.",
        );
      }
      this.#remove(old, { usurped: hash });
      return;
    }
  }

  #remove(hash: string, status: TransactionStatus): void {
    const entry = this.#waiting.get(hash);
    this.#waiting.delete(hash);
    if (status === "invalid") this.#banned.set(hash, true);
    entry?.watcher?.(status);
  }

  /** Sees which transactions' turn it is: those whose nonces follow on the account's. */
  #sortOut(): void {
    const next = new Map<string, number>();
    const entries = [...this.#waiting.values()];
    entries.sort((a, b) => a.transaction.signed.nonce - b.transaction.signed.nonce);
    for (const entry of entries) {
      const { signer, nonce } = entry.transaction.signed;
      const id = formatHex(signer);
      const due = next.get(id) ?? system.account.get(this.#chain.best.state!, signer)!.nonce;
      const ready = nonce === due;
      next.set(id, ready ? due + 1 : due);
      if (ready && !entry.ready) {
        entry.watcher?.("ready");
        entry.watcher?.({ broadcast: [PEER] });
      }
      entry.ready = ready;
    }
  }

  #imported({ retracted, enacted }: Import): void {
    for (const { hash } of retracted) {
      for (const entry of this.#included.get(hash) ?? []) {
        this.#banned.delete(entry.transaction.hash);
        this.#waiting.set(entry.transaction.hash, { ...entry, ready: false });
        entry.watcher?.({ retracted: hash });
      }
      this.#included.delete(hash);
    }
    for (const { hash, extrinsics } of enacted) {
      const included = extrinsics.flatMap((extrinsic) =>
        this.#waiting.get(hashHex(extrinsic)) ?? []
      );
      this.#included.set(hash, included);
      for (const { transaction, watcher } of included) {
        this.#waiting.delete(transaction.hash);
        this.#banned.set(transaction.hash, true);
        watcher?.({ inBlock: hash });
      }
    }
  }

  #finalized(block: Block): void {
    for (const [hash, entries] of this.#included) {
      if (this.#chain.block(hash)!.number > block.number) continue;
      this.#included.delete(hash);
      for (const { watcher } of entries) watcher?.({ finalized: hash });
    }
  }
}

function invalid(reason: string): RpcError {
  return new RpcError(1010, "Invalid Transaction", reason);
}

function asTransaction(encoded: Uint8Array): Transaction {
  let extrinsic: Extrinsic;
  try {
    extrinsic = decodeExtrinsic(encoded);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new RpcError(
      1002,
      "Verification Error: Runtime error: Execution failed: Execution aborted due to trap: " +
        "wasm trap: wasm `unreachable` instruction executed",
      error.message,
    );
  }
  const { signed } = extrinsic;
  if (signed === undefined) {
    throw new RpcError(
      1011,
      "Unknown Transaction Validity",
      "Could not find an unsigned validator for the unsigned transaction",
    );
  }
  return { ...extrinsic, signed };
}
