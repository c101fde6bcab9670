import {
  bytes,
  list,
  named,
  option,
  struct,
  u32,
  unnamed,
  type Value,
  variants,
} from "../scale.ts";
import { StorageMap, StorageValue } from "../storage.ts";
import { accountId, simple } from "../types.ts";

/** Most bytes that a twin's relays can have. */
export const MAX_RELAY = 1024;
/** Most bytes that its key can have. */
export const MAX_PK = 128;

const entityProof = struct(
  "pallet_tfgrid::types::EntityProof",
  named({ entity_id: u32, signature: bytes }),
);

/** A list of bytes whose length has a bound. */
const bounded = struct("bounded_collections::bounded_vec::BoundedVec", unnamed(bytes), {
  T: undefined,
  S: undefined,
});

const twin = struct(
  "pallet_tfgrid::types::Twin",
  named({
    id: u32,
    account_id: accountId,
    relay: option(bounded),
    entities: list(entityProof),
    pk: option(bounded),
  }),
  { AccountId: accountId },
);
/** A twin as the chain has it. */
export type ChainTwin = Value<typeof twin>;

/** The events of the pallet. */
export const event = variants<{ TwinStored: ChainTwin; TwinUpdated: ChainTwin }>(
  "pallet_tfgrid::pallet::Event",
  { TwinStored: [3, unnamed(twin)], TwinUpdated: [4, unnamed(twin)] },
  { T: undefined },
);

const published = named({ relay: option(bounded), pk: option(bounded) });
type Published = { relay: Uint8Array | undefined; pk: Uint8Array | undefined };

/** The calls of the pallet. */
export const call = variants<{ create_twin: Published; update_twin: Published }>(
  "pallet_tfgrid::pallet::Call",
  {
    create_twin: [5, published, "Become a twin."],
    update_twin: [6, published, "Replace what the own twin publishes."],
  },
  { T: undefined },
);

/** The errors of the pallet that have to do with twins, as the real chain names them. */
export const errors = [
  "TwinExists",
  "TwinNotExists",
  "TwinWithPubkeyExists",
  "CannotCreateTwin",
  "UnauthorizedToUpdateTwin",
  "RelayTooShort",
  "RelayTooLong",
  "InvalidRelay",
] as const;
/** The name of such an error. */
export type TfgridError = typeof errors[number];
/** The same as a type. */
export const error = simple("pallet_tfgrid::pallet::Error", errors);

/** The storage of the pallet. */
export const storage = {
  twins: new StorageMap("TfgridModule", "Twins", "Blake2_128Concat", u32, twin, "Twins by id."),
  twinIdByAccountId: new StorageMap(
    "TfgridModule",
    "TwinIdByAccountID",
    "Blake2_128Concat",
    accountId,
    u32,
    "Ids of twins by their accounts.",
  ),
  twinId: new StorageValue("TfgridModule", "TwinID", u32, 0, "The latest id given."),
};
