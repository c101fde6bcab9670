import {
  bytes,
  type Codec,
  fixed,
  list,
  named,
  nothing,
  struct,
  text,
  tuple,
  u128,
  u16,
  u32,
  u8,
  unnamed,
  type Value,
  variants,
} from "../scale.ts";
import { StorageMap, StorageValue } from "../storage.ts";
import { accountId, digest, dispatchError, dispatchInfo, h256, simple } from "../types.ts";

/** How many blocks back a chain knows hashes, and so how old the birth of a transaction can be. */
export const BLOCK_HASH_COUNT = 2400;

const extraFlags = struct("pallet_balances::types::ExtraFlags", unnamed(u128));
const accountData = struct(
  "pallet_balances::types::AccountData",
  named({ free: u128, reserved: u128, frozen: u128, flags: extraFlags }),
  { Balance: u128 },
);
const accountInfo = struct(
  "frame_system::AccountInfo",
  named({ nonce: u32, consumers: u32, providers: u32, sufficients: u32, data: accountData }),
  { Nonce: u32, AccountData: accountData },
);
/** What a runtime says of its version. */
export const runtimeVersion = struct(
  "sp_version::RuntimeVersion",
  named({
    spec_name: text,
    impl_name: text,
    authoring_version: u32,
    spec_version: u32,
    impl_version: u32,
    apis: struct("Cow", unnamed(list(tuple<[Uint8Array, number]>(fixed(8), u32)))),
    transaction_version: u32,
    state_version: u8,
  }),
);

/** The events of the pallet. */
export const event = variants<{
  ExtrinsicSuccess: { dispatch_info: Value<typeof dispatchInfo> };
  ExtrinsicFailed: {
    dispatch_error: Value<typeof dispatchError>;
    dispatch_info: Value<typeof dispatchInfo>;
  };
  NewAccount: { account: Uint8Array };
  Remarked: { sender: Uint8Array; hash: Uint8Array };
}>("frame_system::pallet::Event", {
  ExtrinsicSuccess: [0, named({ dispatch_info: dispatchInfo }), "An extrinsic did what it says."],
  ExtrinsicFailed: [
    1,
    named({ dispatch_error: dispatchError, dispatch_info: dispatchInfo }),
    "An extrinsic failed, and did nothing but cost its fee.",
  ],
  NewAccount: [3, named({ account: accountId }), "An account came into being."],
  Remarked: [5, named({ sender: accountId, hash: h256 }), "A remark was made."],
}, { T: undefined });

/** The calls of the pallet. */
export const call = variants<{
  remark: { remark: Uint8Array };
  remark_with_event: { remark: Uint8Array };
}>("frame_system::pallet::Call", {
  remark: [0, named({ remark: bytes }), "Make a remark."],
  remark_with_event: [7, named({ remark: bytes }), "Make a remark and tell of it."],
}, { T: undefined });

/** The errors of the pallet. */
export const error = simple("frame_system::pallet::Error", ["InvalidSpecName", "CallFiltered"]);

/** What caused an event. */
export const phase = variants<{
  ApplyExtrinsic: number;
  Finalization: undefined;
  Initialization: undefined;
}>("frame_system::Phase", {
  ApplyExtrinsic: [0, unnamed(u32)],
  Finalization: [1, nothing],
  Initialization: [2, nothing],
});
/** A value of it. */
export type Phase = Value<typeof phase>;

/** The type of an event with what caused it. */
export function eventRecord<E>(event: Codec<E>) {
  return struct(
    "frame_system::EventRecord",
    named({ phase, event, topics: list(h256) }),
    { E: event as Codec<unknown>, T: h256 },
  );
}

const none = new Uint8Array(32);

/** The storage of the pallet but for its events, whose type is the whole runtime's. */
export const storage = {
  account: new StorageMap(
    "System",
    "Account",
    "Blake2_128Concat",
    accountId,
    accountInfo,
    "What is known of an account.",
    {
      nonce: 0,
      consumers: 0,
      providers: 0,
      sufficients: 0,
      data: { free: 0n, reserved: 0n, frozen: 0n, flags: 1n << 127n },
    },
  ),
  blockHash: new StorageMap(
    "System",
    "BlockHash",
    "Twox64Concat",
    u32,
    h256,
    "Hashes of the latest blocks.",
    none,
  ),
  number: new StorageValue("System", "Number", u32, 0, "The number of the block."),
  parentHash: new StorageValue("System", "ParentHash", h256, none, "The hash of its parent."),
  digest: new StorageValue("System", "Digest", digest, { logs: [] }, "The digest of the block."),
  eventCount: new StorageValue("System", "EventCount", u32, 0, "How many events it has."),
};

/** The constants of the pallet, but for the version. */
export const constants = [
  { name: "BlockHashCount", codec: u32, value: BLOCK_HASH_COUNT },
  { name: "SS58Prefix", codec: u16, value: 42 },
];
