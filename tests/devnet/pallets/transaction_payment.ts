import { named, struct, u128, u8, unnamed, variants } from "../scale.ts";
import { StorageValue } from "../storage.ts";
import { accountId } from "../types.ts";

/** What a transaction costs, and each of its bytes besides, in units of 10^-7 TFT. */
const BASE_FEE = 10_000n;
const BYTE_FEE = 10n;

/** The fee of a transaction of so many bytes, its tip left out. */
export function feeOf(length: number): bigint {
  return BASE_FEE + BYTE_FEE * BigInt(length);
}

/** The events of the pallet. */
export const event = variants<{
  TransactionFeePaid: { who: Uint8Array; actual_fee: bigint; tip: bigint };
}>("pallet_transaction_payment::pallet::Event", {
  TransactionFeePaid: [
    0,
    named({ who: accountId, actual_fee: u128, tip: u128 }),
    "A fee was paid, a tip within it.",
  ],
}, { T: undefined });

const multiplier = struct("sp_arithmetic::fixed_point::FixedU128", unnamed(u128));

/** The storage of the pallet. */
export const storage = {
  nextFeeMultiplier: new StorageValue(
    "TransactionPayment",
    "NextFeeMultiplier",
    multiplier,
    10n ** 18n,
    "What fees are multiplied with: 1.",
  ),
};

/** The constants of the pallet. */
export const constants = [{ name: "OperationalFeeMultiplier", codec: u8, value: 5 }];
