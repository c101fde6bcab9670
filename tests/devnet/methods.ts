import { FormatError, formatHex } from "@rmb/protocol";
import { blake2b } from "@noble/hashes/blake2.js";
import type { Block } from "./block.ts";
import { concat } from "./bytes.ts";
import type { Chain } from "./chain.ts";
import { WEIGHT } from "./execution.ts";
import { runtimeVersion, storage as system } from "./pallets/system.ts";
import { feeOf } from "./pallets/transaction_payment.ts";
import type { Params } from "./params.ts";
import type { Pool } from "./pool.ts";
import { RpcError } from "./rpc_error.ts";
import { metadata, version } from "./runtime.ts";
import { bytes, decodeAll, list, option, u128, u32, u8 } from "./scale.ts";
import type { State } from "./state.ts";
import { accountId, digestItem, weight } from "./types.ts";

/** What is asked about. */
export interface Subject {
  readonly chain: Chain;
  readonly pool: Pool;
}

/** A method of the RPC. */
type Method = (params: Params, subject: Subject) => unknown;

/** Most keys that are given at once, as by a real node. */
const MAX_KEYS = 1000;

/** A header as JSON. */
export function headerJson({ header: { number, digest, ...hashes } }: Block): object {
  return {
    parentHash: formatHex(hashes.parent_hash),
    number: `0x${number.toString(16)}`,
    stateRoot: formatHex(hashes.state_root),
    extrinsicsRoot: formatHex(hashes.extrinsics_root),
    digest: { logs: digest.logs.map((item) => formatHex(digestItem.encode(item))) },
  };
}

/** The runtime's version as JSON. */
export function versionJson(): object {
  return {
    specName: version.spec_name,
    implName: version.impl_name,
    authoringVersion: version.authoring_version,
    specVersion: version.spec_version,
    implVersion: version.impl_version,
    apis: version.apis.map(([id, number]) => [formatHex(id), number]),
    transactionVersion: version.transaction_version,
    stateVersion: version.state_version,
  };
}

function hashAt(number: unknown, chain: Chain): string | null {
  if (number === undefined || number === null) return chain.best.hash;
  const value = typeof number === "string" && /^0x[0-9a-f]{1,8}$/i.test(number)
    ? Number(number)
    : number;
  if (!Number.isInteger(value) || Number(value) < 0) {
    throw new RpcError(-32602, "Invalid params", "expected the number of a block");
  }
  return chain.at(Number(value))?.hash ?? null;
}

/** Bytes in hexadecimal, or what JSON has for nothing. */
export function hexOrNull(value: Uint8Array | undefined): string | null {
  return value === undefined ? null : formatHex(value);
}

const chainMethods: Readonly<Record<string, Method>> = {
  chain_getBlockHash(params, { chain }) {
    const numbers = params.get(0);
    return Array.isArray(numbers)
      ? numbers.map((number) => hashAt(number, chain))
      : hashAt(numbers, chain);
  },
  chain_getFinalizedHead: (_, { chain }) => chain.finalized.hash,
  chain_getHeader(params, { chain }) {
    const block = params.block(0, chain);
    return block === undefined ? null : headerJson(block);
  },
  chain_getBlock(params, { chain }) {
    const block = params.block(0, chain);
    if (block === undefined) return null;
    const extrinsics = block.extrinsics.map(formatHex);
    return { block: { header: headerJson(block), extrinsics }, justifications: null };
  },
};

const stateMethods: Readonly<Record<string, Method>> = {
  state_getRuntimeVersion: (params, { chain }) => (params.state(0, chain), versionJson()),
  state_getMetadata: (params, { chain }) => (params.state(0, chain), formatHex(metadata)),
  state_getStorage: (params, { chain }) => hexOrNull(params.state(1, chain).get(params.key(0))),
  state_getStorageHash(params, { chain }) {
    const value = params.state(1, chain).get(params.key(0));
    return hexOrNull(value && blake2b(value, { dkLen: 32 }));
  },
  state_getStorageSize(params, { chain }) {
    return params.state(1, chain).get(params.key(0))?.length ?? null;
  },
  state_queryStorageAt(params, { chain }) {
    const state = params.state(1, chain);
    const changes = params.keys(0).map((key) => [key, hexOrNull(state.get(key))]);
    return [{ block: params.hash(1) ?? chain.best.hash, changes }];
  },
  state_getKeysPaged(params, { chain }) {
    const count = params.number(1);
    if (count > MAX_KEYS) {
      throw new RpcError(4002, `count exceeds maximum value. value: ${count}, max: ${MAX_KEYS}`);
    }
    const prefix = params.get(0) === undefined ? "0x" : params.key(0);
    const after = params.get(2) === undefined ? "" : params.key(2);
    const keys = params.state(3, chain).keys(prefix);
    return keys.filter((key) => key > after).slice(0, count);
  },
  state_call(params, { chain, pool }) {
    const name = params.text(0);
    const state = params.state(2, chain);
    const run = runtimeCalls[name];
    if (run === undefined) {
      throw new RpcError(
        4003,
        `Client error: Execution failed: Runtime panicked: Exported method ${name} is not found`,
      );
    }
    try {
      return formatHex(run(params.bytes(1), { chain, pool }, state));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new RpcError(4003, `Client error: Execution failed: Bad input data: ${error.message}`);
    }
  },
};

/** What of the runtime can be called, by its own names. */
const runtimeCalls: Readonly<
  Record<
    string,
    (data: Uint8Array, subject: Subject, state: State) => Uint8Array
  >
> = {
  Core_version: () => runtimeVersion.encode(version),
  Metadata_metadata: () => bytes.encode(metadata),
  Metadata_metadata_at_version: (data) =>
    option(bytes).encode(decodeAll(u32, data) === 14 ? metadata : undefined),
  Metadata_metadata_versions: () => list(u32).encode([14]),
  AccountNonceApi_account_nonce: (data, _, state) =>
    u32.encode(system.account.get(state, decodeAll(accountId, data))!.nonce),
  TransactionPaymentApi_query_info(data) {
    if (data.length < 4) throw new FormatError("no length behind the extrinsic");
    const fee = feeOf(decodeAll(u32, data.subarray(-4)));
    return concat([weight.encode(WEIGHT), u8.encode(0), u128.encode(fee)]);
  },
};

const NAME = "TFChain Development";

const systemMethods: Readonly<Record<string, Method>> = {
  system_chain: () => NAME,
  system_name: () => "TFChain stand-in",
  system_version: () => "1.0.0",
  system_chainType: () => "Development",
  system_nodeRoles: () => ["Full"],
  system_localPeerId: () => "12D3KooWLmrYDLoNTyTYtRdDyZLWDe1paxzxTw5RgjmHLfzW96SX",
  system_properties: () => ({ ss58Format: 42, tokenDecimals: 7, tokenSymbol: "TFT" }),
  system_health: () => ({ peers: 1, isSyncing: false, shouldHavePeers: false }),
  system_syncState: (_, { chain }) => ({
    startingBlock: 0,
    currentBlock: chain.best.number,
    highestBlock: chain.best.number,
  }),
  system_accountNextIndex: (params, { pool }) => pool.nextNonce(params.account(0)),
};

const otherMethods: Readonly<Record<string, Method>> = {
  author_submitExtrinsic: (params, { pool }) => pool.submit(params.bytes(0)),
  author_pendingExtrinsics: (_, { pool }) => pool.ready.map(({ bytes }) => formatHex(bytes)),
  payment_queryInfo: (params) => ({
    weight: { ref_time: Number(WEIGHT.ref_time), proof_size: Number(WEIGHT.proof_size) },
    class: "normal",
    partialFee: String(feeOf(params.bytes(0).length)),
  }),
};

/** The methods of the RPC that give one answer, by name. */
export const methods: Readonly<Record<string, Method>> = {
  ...chainMethods,
  ...stateMethods,
  ...systemMethods,
  ...otherMethods,
};
