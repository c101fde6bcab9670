import { parseHex } from "@rmb/protocol";
import { type Block, sealBlock, slotDigest } from "./block.ts";
import { concat } from "./bytes.ts";
import { changeFree, type Context, dispatch, DispatchFailure, storeTwin } from "./dispatch.ts";
import { storage as balances } from "./pallets/balances.ts";
import { BLOCK_HASH_COUNT, type Phase, storage as system } from "./pallets/system.ts";
import { type ChainTwin, storage as tfgrid } from "./pallets/tfgrid.ts";
import { storage as timestamp } from "./pallets/timestamp.ts";
import { type EventRecord, events, runtimeCall, type RuntimeEvent } from "./runtime.ts";
import { bytes, u8 } from "./scale.ts";
import { State } from "./state.ts";
import type { DispatchError, DispatchInfo } from "./types.ts";
import { costOf, type Transaction } from "./validity.ts";

/** How heavy a transaction is said to be, in picoseconds of computing and bytes of proof. */
export const WEIGHT = { ref_time: 200_000_000n, proof_size: 4_000n };

/** A twin set without a transaction: what is left out stays, or is unset in a new twin. */
export interface TwinChange {
  readonly id: number;
  readonly account?: Uint8Array;
  readonly relay?: Uint8Array | undefined;
  readonly pk?: Uint8Array | undefined;
}

/** What is stored when the block after another begins. */
export function beginBlock(parent: Block): State {
  const state = new State(parent.state);
  const number = parent.number + 1;
  system.number.set(state, number);
  system.parentHash.set(state, parseHex(parent.hash));
  system.blockHash.set(state, parent.number, parseHex(parent.hash));
  const forgotten = parent.number - BLOCK_HASH_COUNT;
  if (forgotten >= 0) system.blockHash.set(state, forgotten, undefined);
  return state;
}

/** A block in the making. */
export class Execution {
  readonly #parent: Block;
  /** What is stored so far. */
  readonly state: State;
  readonly #time: bigint;
  readonly #extrinsics: Uint8Array[] = [];
  readonly #events: EventRecord[] = [];

  /**
   * @param parent The block before it, whose state is there.
   * @param now The time, Unix milliseconds; the block's is later than its parent's in any case.
   */
  constructor(parent: Block, now: number) {
    this.#parent = parent;
    this.state = beginBlock(parent);
    const last = timestamp.now.get(this.state);
    this.#time = BigInt(now) > last ? BigInt(now) : last + 1n;
    system.digest.set(this.state, { logs: [slotDigest(this.#time)] });
  }

  /** Sets a twin, before there is any extrinsic, or does nothing if it would have no account. */
  setTwin({ id, ...change }: TwinChange): void {
    const before = tfgrid.twins.get(this.state, id);
    const account = change.account ?? before?.account_id;
    if (account === undefined) return;
    const twin: ChainTwin = {
      id,
      account_id: account,
      relay: "relay" in change ? change.relay : before?.relay,
      entities: before?.entities ?? [],
      pk: "pk" in change ? change.pk : before?.pk,
    };
    storeTwin(this.state, twin);
    const value = {
      type: before === undefined ? "TwinStored" : "TwinUpdated",
      value: twin,
    } as const;
    this.#emit({ type: "Initialization", value: undefined }, { type: "TfgridModule", value });
  }

  /** Sets the time: the first extrinsic of every block. */
  setTime(): void {
    timestamp.now.set(this.state, this.#time);
    const call = { type: "set", value: { now: this.#time } } as const;
    const unsigned = concat([u8.encode(4), runtimeCall.encode({ type: "Timestamp", value: call })]);
    const value = { dispatch_info: dispatchInfo("Mandatory") };
    this.#emit(this.#nextPhase(), { type: "System", value: { type: "ExtrinsicSuccess", value } });
    this.#extrinsics.push(bytes.encode(unsigned));
  }

  /** Carries out a transaction that was found valid. */
  apply(transaction: Transaction): void {
    const { signer, tip } = transaction.signed;
    const phase = this.#nextPhase();
    const emit = (event: RuntimeEvent) => this.#emit(phase, event);
    const fee = costOf(transaction);
    const account = system.account.get(this.state, signer)!;
    const paid = { ...changeFree(account, -fee), nonce: account.nonce + 1 };
    system.account.set(this.state, signer, paid);
    balances.totalIssuance.set(this.state, balances.totalIssuance.get(this.state) - fee);
    const withdrawn = { who: signer, amount: fee };
    emit({ type: "Balances", value: { type: "Withdraw", value: withdrawn } });
    const error = this.#dispatch(transaction, emit);
    const feePaid = { who: signer, actual_fee: fee, tip };
    emit({ type: "TransactionPayment", value: { type: "TransactionFeePaid", value: feePaid } });
    const dispatch_info = dispatchInfo("Normal");
    emit({
      type: "System",
      value: error === undefined
        ? { type: "ExtrinsicSuccess", value: { dispatch_info } }
        : { type: "ExtrinsicFailed", value: { dispatch_error: error, dispatch_info } },
    });
    this.#extrinsics.push(transaction.bytes);
  }

  /** The block, done. */
  async finish(): Promise<Block> {
    events.set(this.state, this.#events);
    system.eventCount.set(this.state, this.#events.length);
    const { logs } = system.digest.get(this.state);
    return await sealBlock(this.#parent, this.#extrinsics, this.state, logs);
  }

  #dispatch({ call, signed }: Transaction, emit: Context["emit"]): DispatchError | undefined {
    const state = new State(this.state);
    const emitted: RuntimeEvent[] = [];
    try {
      dispatch(call, { state, signer: signed.signer, emit: (event) => emitted.push(event) });
    } catch (failure) {
      if (failure instanceof DispatchFailure) return failure.error;
      throw failure;
    }
    state.commit();
    emitted.forEach(emit);
    return undefined;
  }

  #nextPhase(): Phase {
    return { type: "ApplyExtrinsic", value: this.#extrinsics.length };
  }

  #emit(phase: Phase, event: RuntimeEvent): void {
    this.#events.push({ phase, event, topics: [] });
  }
}

function dispatchInfo(type: "Normal" | "Mandatory"): DispatchInfo {
  return {
    weight: WEIGHT,
    class: { type, value: undefined },
    pays_fee: { type: type === "Normal" ? "Yes" : "No", value: undefined },
  };
}
