import { compactU64, named, u64, variants } from "../scale.ts";
import { StorageValue } from "../storage.ts";

/** Half of the time between blocks that clients are told, in milliseconds, as on the real chain. */
export const MINIMUM_PERIOD = 3000n;

/** The calls of the pallet. */
export const call = variants<{ set: { now: bigint } }>("pallet_timestamp::pallet::Call", {
  set: [0, named({ now: compactU64 }), "Set the time of the block; only its author can."],
}, { T: undefined });

/** The storage of the pallet. */
export const storage = {
  now: new StorageValue("Timestamp", "Now", u64, 0n, "The time of the block, Unix milliseconds."),
};

/** The constants of the pallet. */
export const constants = [{ name: "MinimumPeriod", codec: u64, value: MINIMUM_PERIOD }];
