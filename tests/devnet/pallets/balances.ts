import {
  type Codec,
  compactU128,
  fixed,
  list,
  named,
  struct,
  u128,
  type Value,
  variants,
} from "../scale.ts";
import { StorageMap, StorageValue } from "../storage.ts";
import { accountId, multiAddress, simple } from "../types.ts";

/** The least that an account can have, as on the real chain: 500 units of 10^-7 TFT. */
export const EXISTENTIAL_DEPOSIT = 500n;

/** The events of the pallet. */
export const event = variants<{
  Endowed: { account: Uint8Array; free_balance: bigint };
  Transfer: { from: Uint8Array; to: Uint8Array; amount: bigint };
  Deposit: { who: Uint8Array; amount: bigint };
  Withdraw: { who: Uint8Array; amount: bigint };
}>("pallet_balances::pallet::Event", {
  Endowed: [0, named({ account: accountId, free_balance: u128 }), "A new account has a balance."],
  Transfer: [2, named({ from: accountId, to: accountId, amount: u128 }), "A transfer was made."],
  Deposit: [7, named({ who: accountId, amount: u128 }), "An account was given something."],
  Withdraw: [8, named({ who: accountId, amount: u128 }), "Something was taken from an account."],
}, { T: undefined, I: undefined });

/** The calls of the pallet. */
export const call = variants<{
  transfer_keep_alive: { dest: Value<typeof multiAddress>; value: bigint };
}>("pallet_balances::pallet::Call", {
  transfer_keep_alive: [
    3,
    named({ dest: multiAddress, value: compactU128 }),
    "Transfer to another account, unless that would end the own one.",
  ],
}, { T: undefined, I: undefined });

/** The errors of the pallet. */
export const error = simple("pallet_balances::pallet::Error", [
  "VestingBalance",
  "LiquidityRestrictions",
  "InsufficientBalance",
  "ExistentialDeposit",
  "Expendability",
]);

// Nobody has any of these here, but clients ask for them.
const id = fixed(8);
const reasons = simple("pallet_balances::types::Reasons", ["Fee", "Misc", "All"]);
const lock = struct("pallet_balances::types::BalanceLock", named({ id, amount: u128, reasons }), {
  Balance: u128,
});
const reserve = struct("pallet_balances::types::ReserveData", named({ id, amount: u128 }), {
  ReserveIdentifier: id,
  Balance: u128,
});

/** A list of what an account has of something. */
function byAccount<T>(name: string, item: Codec<T>, docs: string) {
  return new StorageMap("Balances", name, "Blake2_128Concat", accountId, list(item), docs, []);
}

/** The storage of the pallet. */
export const storage = {
  totalIssuance: new StorageValue("Balances", "TotalIssuance", u128, 0n, "All there is."),
  locks: byAccount("Locks", lock, "What of a balance cannot be used."),
  reserves: byAccount("Reserves", reserve, "What of a balance is set aside."),
};

/** The constants of the pallet. */
export const constants = [
  { name: "ExistentialDeposit", codec: u128, value: EXISTENTIAL_DEPOSIT },
];
