import { blake2b } from "@noble/hashes/blake2.js";
import {
  bytes,
  type Codec,
  compactU128,
  compactU32,
  list,
  nothing,
  struct,
  tuple,
  u32,
  unnamed,
  type Value,
  variants,
} from "./scale.ts";
import { encodeMetadata, type Pallet, type SignedExtension } from "./metadata.ts";
import * as balances from "./pallets/balances.ts";
import * as system from "./pallets/system.ts";
import * as tfgrid from "./pallets/tfgrid.ts";
import * as timestamp from "./pallets/timestamp.ts";
import * as transactionPayment from "./pallets/transaction_payment.ts";
import { StorageValue } from "./storage.ts";
import { era, h256, multiAddress, multiSignature } from "./types.ts";

/**
 * Which index each pallet has. They are not those of the real chain, and neither are those of
 * TfgridModule's calls, events and errors: a client must take them from the metadata.
 */
const INDEX = {
  System: 2,
  Balances: 5,
  Timestamp: 7,
  TfgridModule: 11,
  TransactionPayment: 30,
} as const;

/** All events. */
export const runtimeEvent = variants<{
  System: Value<typeof system.event>;
  Balances: Value<typeof balances.event>;
  TransactionPayment: Value<typeof transactionPayment.event>;
  TfgridModule: Value<typeof tfgrid.event>;
}>("tfchain_runtime::RuntimeEvent", {
  System: [INDEX.System, unnamed(system.event)],
  Balances: [INDEX.Balances, unnamed(balances.event)],
  TransactionPayment: [INDEX.TransactionPayment, unnamed(transactionPayment.event)],
  TfgridModule: [INDEX.TfgridModule, unnamed(tfgrid.event)],
});
/** An event. */
export type RuntimeEvent = Value<typeof runtimeEvent>;

/** All calls. */
export const runtimeCall = variants<{
  System: Value<typeof system.call>;
  Balances: Value<typeof balances.call>;
  Timestamp: Value<typeof timestamp.call>;
  TfgridModule: Value<typeof tfgrid.call>;
}>("tfchain_runtime::RuntimeCall", {
  System: [INDEX.System, unnamed(system.call)],
  Balances: [INDEX.Balances, unnamed(balances.call)],
  Timestamp: [INDEX.Timestamp, unnamed(timestamp.call)],
  TfgridModule: [INDEX.TfgridModule, unnamed(tfgrid.call)],
});
/** A call. */
export type RuntimeCall = Value<typeof runtimeCall>;

const eventRecord = system.eventRecord(runtimeEvent);
/** An event, and what caused it. */
export type EventRecord = Value<typeof eventRecord>;

/** The events of the block. */
export const events = new StorageValue(
  "System",
  "Events",
  list(eventRecord),
  [],
  "The events of the block.",
);

/** The first 8 bytes of the hash of a runtime API's name stand for it. */
function api(name: string, version: number): [Uint8Array, number] {
  return [blake2b(new TextEncoder().encode(name), { dkLen: 8 }), version];
}

/** The version that the runtime says it has: the real chain's, with what is there of its APIs. */
export const version: Value<typeof system.runtimeVersion> = {
  spec_name: "substrate-threefold",
  impl_name: "substrate-threefold",
  authoring_version: 1,
  spec_version: 149,
  impl_version: 1,
  apis: [
    api("Core", 4),
    api("Metadata", 2),
    api("AccountNonceApi", 1),
    api("TransactionPaymentApi", 4),
  ],
  transaction_version: 2,
  state_version: 0,
};

const pallets: readonly Pallet[] = [
  {
    name: "System",
    index: INDEX.System,
    storage: [...Object.values(system.storage), events],
    call: system.call,
    event: system.event,
    error: system.error,
    constants: [
      ...system.constants,
      { name: "Version", codec: system.runtimeVersion, value: version },
    ],
  },
  {
    name: "Timestamp",
    index: INDEX.Timestamp,
    storage: Object.values(timestamp.storage),
    call: timestamp.call,
    constants: timestamp.constants,
  },
  {
    name: "Balances",
    index: INDEX.Balances,
    storage: Object.values(balances.storage),
    call: balances.call,
    event: balances.event,
    error: balances.error,
    constants: balances.constants,
  },
  {
    name: "TransactionPayment",
    index: INDEX.TransactionPayment,
    storage: Object.values(transactionPayment.storage),
    event: transactionPayment.event,
    constants: transactionPayment.constants,
  },
  {
    name: "TfgridModule",
    index: INDEX.TfgridModule,
    storage: Object.values(tfgrid.storage),
    call: tfgrid.call,
    event: tfgrid.event,
    error: tfgrid.error,
    constants: [],
  },
];

/** The index that a pallet's errors are told with. */
export function palletIndex(name: keyof typeof INDEX): number {
  return INDEX[name];
}

const unit = tuple<[]>();

function extension<T>(
  identifier: string,
  path: string,
  additional: Codec<unknown>,
  extra?: Codec<T>,
): SignedExtension {
  const fields = extra === undefined ? nothing : unnamed(extra);
  return {
    identifier,
    extra: struct(path, fields as typeof nothing, { T: undefined }),
    additional,
  };
}

const extensions = [
  extension(
    "CheckNonZeroSender",
    "frame_system::extensions::check_non_zero_sender::CheckNonZeroSender",
    unit,
  ),
  extension(
    "CheckSpecVersion",
    "frame_system::extensions::check_spec_version::CheckSpecVersion",
    u32,
  ),
  extension("CheckTxVersion", "frame_system::extensions::check_tx_version::CheckTxVersion", u32),
  extension("CheckGenesis", "frame_system::extensions::check_genesis::CheckGenesis", h256),
  extension(
    "CheckMortality",
    "frame_system::extensions::check_mortality::CheckMortality",
    h256,
    era,
  ),
  extension("CheckNonce", "frame_system::extensions::check_nonce::CheckNonce", unit, compactU32),
  extension("CheckWeight", "frame_system::extensions::check_weight::CheckWeight", unit),
  extension(
    "ChargeTransactionPayment",
    "pallet_transaction_payment::ChargeTransactionPayment",
    unit,
    compactU128,
  ),
];

const extrinsic = struct(
  "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic",
  unnamed(bytes),
  {
    Address: multiAddress,
    Call: runtimeCall,
    Signature: multiSignature,
    Extra: tuple(...extensions.map(({ extra }) => extra)),
  },
);

/** The metadata of the runtime. */
export const metadata: Uint8Array = encodeMetadata(pallets, extrinsic, extensions);
