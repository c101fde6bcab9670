import { ApiPromise } from "@polkadot/api";
import { FormatError, RegistryError } from "../errors.ts";
import { describe } from "./node.ts";

/** What @polkadot/api makes of the name of the pallet that has the twins, `TfgridModule`. */
export const PALLET = "tfgridModule";

/** The events that say that a twin is new or has changed. */
export const TWIN_EVENTS: readonly string[] = ["TwinStored", "TwinUpdated"];

/** What metadata begins with: "meta". */
const MAGIC = "0x6d657461";

/** Which runtime a chain has. */
export interface Runtime {
  /** The chain's name. */
  readonly chain: string;
  /** Hash of the chain's first block. */
  readonly genesisHash: string;
  /** The runtime's version. */
  readonly version: RuntimeVersion;
}

/** What `state_getRuntimeVersion` answers, as far as it is used here. */
export interface RuntimeVersion {
  readonly specName: string;
  readonly specVersion: number;
  readonly transactionVersion: number;
}

/** A hash as nodes write it. */
export const HASH: RegExp = /^0x[0-9a-f]{64}$/i;

/** Longest name of a chain that is taken. */
const MAX_NAME = 100;

/**
 * Reads which runtime a chain has from what its node answers, which may be anything: @polkadot/api
 * prints what it can't read.
 *
 * @throws {FormatError} if it is something else.
 */
export function readRuntime(chain: unknown, genesisHash: unknown, version: unknown): Runtime {
  const { specName, specVersion, transactionVersion } = Object(version) as RuntimeVersion;
  const isName = (name: unknown) =>
    typeof name === "string" && name !== "" && name.length <= MAX_NAME;
  const isNumber = (value: number) => Number.isInteger(value) && value >= 0 && value < 2 ** 32;
  if (!isName(chain)) throw new FormatError("Cannot read the chain's name");
  if (typeof genesisHash !== "string" || !HASH.test(genesisHash)) {
    throw new FormatError("Cannot read the hash of the chain's first block");
  }
  if (!isName(specName) || !isNumber(specVersion) || !isNumber(transactionVersion)) {
    throw new FormatError("Cannot read the version of the chain's runtime");
  }
  return {
    chain: chain as string,
    genesisHash: genesisHash.toLowerCase(),
    version: { specName, specVersion, transactionVersion },
  };
}

/** Whether two runtimes are the same: then so is their metadata. */
export function sameRuntime(a: Runtime, b: Runtime): boolean {
  return a.genesisHash === b.genesisHash && a.version.specName === b.version.specName &&
    a.version.specVersion === b.version.specVersion;
}

/**
 * Opens @polkadot/api on a runtime's metadata. It gets all that it asks for when it starts, and has no
 * connection: so it keeps no timer, does not try again by itself, and has no mishaps to print.
 *
 * @param runtime The runtime.
 * @param metadata `0x` and hexadecimal digits, as `state_getMetadata` answers.
 * @throws {RegistryError} if the metadata can't be read, or such a chain does not say who twins are.
 */
export async function openApi(runtime: Runtime, metadata: string): Promise<ApiPromise> {
  const { chain, genesisHash, version } = runtime;
  checkMetadata(metadata, chain);
  const api = await ApiPromise.create({
    ...QUIET,
    throwOnConnect: true,
    provider: answering({
      chain_getBlockHash: genesisHash,
      rpc_methods: { methods: [] },
      state_getRuntimeVersion: version,
      system_chain: chain,
      system_properties: { ss58Format: 42 },
    }),
    metadata: { [`${genesisHash}-${version.specVersion}`]: metadata as `0x${string}` },
  });
  const lacks = missing(api);
  if (lacks !== undefined) {
    throw new RegistryError(`it is ${chain}: it has no ${lacks}, so it can't say who twins are`);
  }
  return api;
}

/** No runtime's wasm is needed, and nobody is there to be warned. */
const QUIET = { initWasm: false, noInitWarn: true };

type Provider = NonNullable<NonNullable<ConstructorParameters<typeof ApiPromise>[0]>["provider"]>;

/** Answers what is asked from what is known, or is not connected at all. */
function answering(answers?: Record<string, unknown>): Provider {
  const unused = () => Promise.reject(new Error("not used"));
  const provider: Provider = {
    hasSubscriptions: false,
    isClonable: false,
    isConnected: answers !== undefined,
    clone: () => provider,
    connect: unused,
    disconnect: unused,
    on: () => () => {},
    send: (method) => Promise.resolve(answers?.[method] as never),
    subscribe: unused,
    unsubscribe: unused,
  };
  return provider;
}

/** Reads metadata to see whether that works: when it starts, the API would print that it does not. */
function checkMetadata(metadata: string, chain: string): void {
  try {
    const { registry } = new ApiPromise({ ...QUIET, provider: answering() });
    if (!metadata.startsWith(MAGIC)) throw new Error("it begins with something else");
    registry.createType("MetadataAll", `0x${metadata.slice(MAGIC.length)}`);
  } catch (cause) {
    const reason = describe(cause).slice(0, 200);
    throw new RegistryError(`it is ${chain}: its metadata can't be read: ${reason}`, { cause });
  }
}

/** What of the things that are used here a runtime does not have, by the name that a chain gives it. */
function missing({ events, query, registry, tx }: ApiPromise): string | undefined {
  const { twins, twinIdByAccountID } = query[PALLET] ?? {};
  if (query[PALLET] === undefined) return "TfgridModule";
  if (twins === undefined) return "TfgridModule.Twins";
  if (twinIdByAccountID === undefined) return "TfgridModule.TwinIdByAccountID";
  const event = TWIN_EVENTS.find((name) => events[PALLET]?.[name] === undefined);
  if (event !== undefined) return `event TfgridModule.${event}`;
  const call = tx[PALLET]?.["updateTwin"];
  if (call?.meta.args.map(({ name }) => `${name}`).join() !== "relay,pk") {
    return "call TfgridModule.update_twin(relay, pk)";
  }
  const { sub } = registry.lookup.getTypeDef(twins.creator.meta.type.asMap.value);
  const fields = [sub ?? []].flat().map(({ name }) => name);
  const field = ["id", "accountId", "relay", "pk"].find((name) => !fields.includes(name));
  return field && `field "${field}" in its TfgridModule.Twins`;
}
