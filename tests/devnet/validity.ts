import { RmbError } from "@rmb/protocol";
import { birth, type Extrinsic, isSignedRight, type Signed } from "./extrinsic.ts";
import { BLOCK_HASH_COUNT, storage } from "./pallets/system.ts";
import { EXISTENTIAL_DEPOSIT } from "./pallets/balances.ts";
import { feeOf } from "./pallets/transaction_payment.ts";
import type { State } from "./state.ts";

/** Why extrinsics are refused, in the words of a real node. */
const REASONS = {
  badProof: "Transaction has a bad signature",
  badSigner: "Invalid signing address",
  stale: "Transaction is outdated",
  ancientBirthBlock: "Transaction has an ancient birth block",
  payment: "Inability to pay some fees (e.g. account balance too low)",
} as const;

/** An extrinsic cannot be in a block. */
export class InvalidTransaction extends RmbError {
  constructor(reason: keyof typeof REASONS) {
    super(REASONS[reason]);
  }
}

/** A signed extrinsic. */
export type Transaction = Extrinsic & { readonly signed: Signed };

/** What a transaction costs its signer. */
export function costOf({ bytes, signed }: Transaction): bigint {
  return feeOf(bytes.length) + signed.tip;
}

/**
 * Checks a transaction against what is stored. A nonce that is not yet due is none of its business.
 *
 * @param state What is stored when the block begins that it would be in.
 * @param genesis Hash of the chain's first block.
 * @throws {InvalidTransaction} if it can't be in that block.
 */
export async function checkTransaction(
  transaction: Transaction,
  state: State,
  genesis: Uint8Array,
): Promise<void> {
  const { signed } = transaction;
  const { signer, nonce, mortality } = signed;
  if (signer.every((byte) => byte === 0)) throw new InvalidTransaction("badSigner");
  let born = genesis;
  if (mortality !== undefined) {
    const number = storage.number.get(state);
    const from = birth(mortality, number);
    if (from >= number || from < number - BLOCK_HASH_COUNT) {
      throw new InvalidTransaction("ancientBirthBlock");
    }
    born = storage.blockHash.get(state, from)!;
  }
  if (!await isSignedRight(signed, genesis, born)) throw new InvalidTransaction("badProof");
  const account = storage.account.get(state, signer)!;
  if (nonce < account.nonce) throw new InvalidTransaction("stale");
  if (account.data.free < costOf(transaction) + EXISTENTIAL_DEPOSIT) {
    throw new InvalidTransaction("payment");
  }
}
