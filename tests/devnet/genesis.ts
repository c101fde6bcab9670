import { FormatError, Keypair, parseAccount, parseHex } from "@rmb/protocol";
import { type Block, makeBlock, stateRoot } from "./block.ts";
import { storeTwin } from "./dispatch.ts";
import { storage as balances } from "./pallets/balances.ts";
import { storage as system } from "./pallets/system.ts";
import { storage as tfgrid } from "./pallets/tfgrid.ts";
import { State } from "./state.ts";

/** Accounts of Substrate's development chains. */
const DEVELOPMENT = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/** What the account of each twin has: 1000 TFT. */
const ENDOWMENT = 1_000n * 10n ** 7n;

/** A twin that a chain begins with. */
interface GenesisTwin {
  readonly id: number;
  readonly account: string;
  readonly relay?: string | null;
  readonly pk?: string | null;
}

/** Who there is at the beginning of a chain. */
export interface Genesis {
  readonly twins: readonly GenesisTwin[];
  /** What accounts have, in units of 10^-7 TFT, if it is not 1000 TFT for a twin's and nothing else. */
  readonly balances?: Readonly<Record<string, string>>;
}

/** Twins 1, 2 and so on: Substrate's development accounts. */
export const development: Genesis = {
  twins: DEVELOPMENT.map((secret, i) => ({
    id: i + 1,
    account: Keypair.fromSecret(secret).address,
  })),
};

/**
 * Reads who there is at the beginning from a twins file.
 *
 * @throws {FormatError} if it has not the form.
 */
export function parseGenesis(json: string): Genesis {
  let genesis: Partial<Genesis> | null;
  try {
    genesis = JSON.parse(json);
  } catch {
    throw new FormatError("it is not JSON");
  }
  if (!Array.isArray(genesis?.twins)) throw new FormatError(`it must have a list "twins"`);
  return genesis as Genesis;
}

/**
 * Makes the first block of a chain.
 *
 * @throws {FormatError} if an account, key or balance is none.
 */
export function genesisBlock({ twins, balances: given = {} }: Genesis): Block {
  const state = new State();
  for (const { id, account, relay, pk } of twins) {
    if (!Number.isInteger(id) || id < 1) throw new FormatError(`"${id}" is no id of a twin`);
    const key = parseHex(pk || "0x");
    const account_id = parseAccount(String(account));
    const taken = tfgrid.twins.get(state, id) ?? tfgrid.twinIdByAccountId.get(state, account_id);
    if (taken !== undefined) throw new FormatError(`twin ${id}, or its account, is there twice`);
    storeTwin(state, {
      id,
      account_id,
      relay: relay ? new TextEncoder().encode(relay) : undefined,
      entities: [],
      pk: key.length > 0 ? key : undefined,
    });
    endow(state, account_id, ENDOWMENT);
  }
  for (const [account, amount] of Object.entries(given)) {
    if (!/^\d{1,30}$/.test(amount)) throw new FormatError(`"${amount}" is no balance`);
    endow(state, parseAccount(account), BigInt(amount));
  }
  return makeBlock(
    {
      parent_hash: new Uint8Array(32),
      number: 0,
      state_root: stateRoot(new Uint8Array(32), state),
      extrinsics_root: new Uint8Array(32),
      digest: { logs: [] },
    },
    [],
    state,
  );
}

function endow(state: State, account: Uint8Array, amount: bigint): void {
  const before = system.account.get(state, account)!;
  const issued = balances.totalIssuance.get(state) - before.data.free + amount;
  balances.totalIssuance.set(state, issued);
  system.account.set(state, account, {
    ...before,
    providers: 1,
    data: { ...before.data, free: amount },
  });
}
