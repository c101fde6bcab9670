import { RmbError } from "@rmb/protocol";
import { blake2b } from "@noble/hashes/blake2.js";
import { EXISTENTIAL_DEPOSIT } from "./pallets/balances.ts";
import { storage as system } from "./pallets/system.ts";
import {
  type ChainTwin,
  errors,
  MAX_PK,
  MAX_RELAY,
  storage as tfgrid,
  type TfgridError,
} from "./pallets/tfgrid.ts";
import { palletIndex, type RuntimeCall, type RuntimeEvent } from "./runtime.ts";
import type { State } from "./state.ts";
import type { DispatchError } from "./types.ts";

/** A call failed, as the chain says it. */
export class DispatchFailure extends RmbError {
  readonly error: DispatchError;

  constructor(error: DispatchError) {
    super(`The call failed: ${error.type}`);
    this.error = error;
  }
}

/** Where a call is carried out. */
export interface Context {
  readonly state: State;
  readonly signer: Uint8Array;
  emit(event: RuntimeEvent): void;
}

/**
 * Carries out a call.
 *
 * @throws {DispatchFailure} if it fails; what it has changed until then must be undone.
 */
export function dispatch(call: RuntimeCall, context: Context): void {
  switch (call.type) {
    case "System":
      if (call.value.type === "remark_with_event") {
        const hash = blake2b(call.value.value.remark, { dkLen: 32 });
        const value = { sender: context.signer, hash };
        context.emit({ type: "System", value: { type: "Remarked", value } });
      }
      break;
    case "Timestamp":
      throw new DispatchFailure({ type: "BadOrigin", value: undefined });
    case "Balances": {
      const { dest, value } = call.value.value;
      if (dest.type !== "Id") throw new DispatchFailure({ type: "CannotLookup", value: undefined });
      transfer(dest.value, value, context);
      break;
    }
    case "TfgridModule":
      if (call.value.type === "create_twin") createTwin(call.value.value, context);
      else updateTwin(call.value.value, context);
  }
}

function token(type: "FundsUnavailable" | "BelowMinimum" | "NotExpendable"): DispatchFailure {
  return new DispatchFailure({ type: "Token", value: { type, value: undefined } });
}

function transfer(to: Uint8Array, amount: bigint, { state, signer, emit }: Context): void {
  const from = system.account.get(state, signer)!;
  if (from.data.free < amount) throw token("FundsUnavailable");
  if (from.data.free - amount < EXISTENTIAL_DEPOSIT) throw token("NotExpendable");
  system.account.set(state, signer, changeFree(from, -amount));
  const receiver = system.account.get(state, to)!;
  const isNew = receiver.providers === 0;
  if (isNew && amount < EXISTENTIAL_DEPOSIT) throw token("BelowMinimum");
  system.account.set(state, to, { ...changeFree(receiver, amount), providers: 1 });
  if (isNew) {
    emit({ type: "System", value: { type: "NewAccount", value: { account: to } } });
    const endowed = { account: to, free_balance: amount };
    emit({ type: "Balances", value: { type: "Endowed", value: endowed } });
  }
  const value = { from: signer, to, amount };
  emit({ type: "Balances", value: { type: "Transfer", value } });
}

/** An account with more, or less, on it. */
export function changeFree<A extends { readonly data: { readonly free: bigint } }>(
  account: A,
  by: bigint,
): A {
  return { ...account, data: { ...account.data, free: account.data.free + by } };
}

function failed(error: TfgridError): DispatchFailure {
  const value = {
    index: palletIndex("TfgridModule"),
    error: Uint8Array.of(errors.indexOf(error), 0, 0, 0),
  };
  return new DispatchFailure({ type: "Module", value });
}

/** What a twin publishes. */
type Published = Pick<ChainTwin, "relay" | "pk">;

function createTwin(published: Published, { state, signer, emit }: Context): void {
  if (tfgrid.twinIdByAccountId.get(state, signer) !== undefined) {
    throw failed("TwinWithPubkeyExists");
  }
  checkPublished(published);
  const id = tfgrid.twinId.get(state) + 1;
  const twin: ChainTwin = { id, account_id: signer, ...published, entities: [] };
  storeTwin(state, twin);
  emit({ type: "TfgridModule", value: { type: "TwinStored", value: twin } });
}

function updateTwin(published: Published, { state, signer, emit }: Context): void {
  const id = tfgrid.twinIdByAccountId.get(state, signer);
  const twin = id === undefined ? undefined : tfgrid.twins.get(state, id);
  if (twin === undefined) throw failed("TwinNotExists");
  checkPublished(published);
  const updated = { ...twin, ...published };
  storeTwin(state, updated);
  emit({ type: "TfgridModule", value: { type: "TwinUpdated", value: updated } });
}

function checkPublished({ relay, pk }: Published): void {
  if (relay !== undefined) {
    if (relay.length < 3) throw failed("RelayTooShort");
    if (relay.length > MAX_RELAY) throw failed("RelayTooLong");
    if (!/^[\w.-]+$/.test(new TextDecoder().decode(relay))) throw failed("InvalidRelay");
  }
  if (pk !== undefined && pk.length > MAX_PK) throw failed("CannotCreateTwin");
}

/** Stores a twin where it is looked up: by its id and by its account. */
export function storeTwin(state: State, twin: ChainTwin): void {
  const before = tfgrid.twins.get(state, twin.id);
  if (before !== undefined) tfgrid.twinIdByAccountId.set(state, before.account_id, undefined);
  tfgrid.twins.set(state, twin.id, twin);
  tfgrid.twinIdByAccountId.set(state, twin.account_id, twin.id);
  tfgrid.twinId.set(state, Math.max(twin.id, tfgrid.twinId.get(state)));
}
