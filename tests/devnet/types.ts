import {
  bytes,
  type Case,
  type Codec,
  compactU32,
  compactU64,
  fixed,
  list,
  named,
  nothing,
  several,
  struct,
  u32,
  u8,
  unnamed,
  type Value,
  variants,
} from "./scale.ts";

// What pallets have in common, as Substrate's crates name it.

/** An account: its public key. */
export const accountId = struct("sp_core::crypto::AccountId32", unnamed(fixed(32)));
/** A hash. */
export const h256 = struct("primitive_types::H256", unnamed(fixed(32)));

/** Whom a transaction is from, or for. */
export const multiAddress = variants<{
  Id: Uint8Array;
  Index: number;
  Raw: Uint8Array;
  Address32: Uint8Array;
  Address20: Uint8Array;
}>("sp_runtime::multiaddress::MultiAddress", {
  Id: [0, unnamed(accountId)],
  Index: [1, unnamed(compactU32)],
  Raw: [2, unnamed(bytes)],
  Address32: [3, unnamed(fixed(32))],
  Address20: [4, unnamed(fixed(20))],
}, { AccountId: accountId, AccountIndex: u32 });

function signature(path: string, length: number): Codec<Uint8Array> {
  return struct(path, unnamed(fixed(length)));
}

/** A signature by a key of any kind. */
export const multiSignature = variants<{
  Ed25519: Uint8Array;
  Sr25519: Uint8Array;
  Ecdsa: Uint8Array;
}>("sp_runtime::MultiSignature", {
  Ed25519: [0, unnamed(signature("sp_core::ed25519::Signature", 64))],
  Sr25519: [1, unnamed(signature("sp_core::sr25519::Signature", 64))],
  Ecdsa: [2, unnamed(signature("sp_core::ecdsa::Signature", 65))],
});

const mortal = Object.fromEntries(
  Array.from({ length: 255 }, (_, i) => [`Mortal${i + 1}`, [i + 1, unnamed(u8)] as Case<number>]),
);

/** How long an extrinsic is valid. A mortal one's two bytes are the variant's index and its field. */
export const era = variants<Record<string, number | undefined>>(
  "sp_runtime::generic::era::Era",
  { Immortal: [0, nothing as Case<number | undefined>[1]], ...mortal },
);

/** How heavy a call is: picoseconds of computing, bytes of proof. */
export const weight = struct(
  "sp_weights::weight_v2::Weight",
  named({ ref_time: compactU64, proof_size: compactU64 }),
);

const dispatchClass = variants<{ Normal: undefined; Operational: undefined; Mandatory: undefined }>(
  "frame_support::dispatch::DispatchClass",
  { Normal: [0, nothing], Operational: [1, nothing], Mandatory: [2, nothing] },
);

const pays = variants<{ Yes: undefined; No: undefined }>(
  "frame_support::dispatch::Pays",
  { Yes: [0, nothing], No: [1, nothing] },
);

/** How a call is dealt with. */
export const dispatchInfo = struct(
  "frame_support::dispatch::DispatchInfo",
  named({ weight, class: dispatchClass, pays_fee: pays }),
);
/** A value of it. */
export type DispatchInfo = Value<typeof dispatchInfo>;

const tokenError = simple("sp_runtime::TokenError", [
  "FundsUnavailable",
  "OnlyProvider",
  "BelowMinimum",
  "CannotCreate",
  "UnknownAsset",
  "Frozen",
  "Unsupported",
  "CannotCreateHold",
  "NotExpendable",
  "Blocked",
]);
const arithmeticError = simple("sp_arithmetic::ArithmeticError", [
  "Underflow",
  "Overflow",
  "DivisionByZero",
]);
const transactionalError = simple("sp_runtime::TransactionalError", ["LimitReached", "NoLayer"]);
const moduleError = struct("sp_runtime::ModuleError", named({ index: u8, error: fixed(4) }));

/** Why a call failed. */
export const dispatchError = variants<{
  Other: undefined;
  CannotLookup: undefined;
  BadOrigin: undefined;
  Module: Value<typeof moduleError>;
  ConsumerRemaining: undefined;
  NoProviders: undefined;
  TooManyConsumers: undefined;
  Token: Value<typeof tokenError>;
  Arithmetic: Value<typeof arithmeticError>;
  Transactional: Value<typeof transactionalError>;
  Exhausted: undefined;
  Corruption: undefined;
  Unavailable: undefined;
  RootNotAllowed: undefined;
}>("sp_runtime::DispatchError", {
  Other: [0, nothing],
  CannotLookup: [1, nothing],
  BadOrigin: [2, nothing],
  Module: [3, unnamed(moduleError)],
  ConsumerRemaining: [4, nothing],
  NoProviders: [5, nothing],
  TooManyConsumers: [6, nothing],
  Token: [7, unnamed(tokenError)],
  Arithmetic: [8, unnamed(arithmeticError)],
  Transactional: [9, unnamed(transactionalError)],
  Exhausted: [10, nothing],
  Corruption: [11, nothing],
  Unavailable: [12, nothing],
  RootNotAllowed: [13, nothing],
});
/** A value of it. */
export type DispatchError = Value<typeof dispatchError>;

const engineItem = several<readonly [Uint8Array, Uint8Array]>(fixed(4), bytes);

/** What a header says besides. */
export const digestItem = variants<{
  Other: Uint8Array;
  Consensus: readonly [Uint8Array, Uint8Array];
  Seal: readonly [Uint8Array, Uint8Array];
  PreRuntime: readonly [Uint8Array, Uint8Array];
  RuntimeEnvironmentUpdated: undefined;
}>("sp_runtime::generic::digest::DigestItem", {
  Other: [0, unnamed(bytes)],
  Consensus: [4, engineItem],
  Seal: [5, engineItem],
  PreRuntime: [6, engineItem],
  RuntimeEnvironmentUpdated: [8, nothing],
});
/** All that a header says besides. */
export const digest = struct(
  "sp_runtime::generic::digest::Digest",
  named({ logs: list(digestItem) }),
);

/** An enum whose variants have no fields. */
export function simple<N extends string>(
  path: string,
  names: readonly N[],
): Codec<{ type: N; value: undefined }> {
  const cases = Object.fromEntries(names.map((name, i) => [name, [i, nothing] as Case<undefined>]));
  return variants(path, cases) as Codec<{ type: N; value: undefined }>;
}
