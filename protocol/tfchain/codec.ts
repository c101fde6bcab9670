import type { ApiPromise } from "@polkadot/api";
import { blake2b } from "@noble/hashes/blake2.js";
import { formatHex } from "../account.ts";
import { formatRelayDomains, parseRelayDomains } from "../domain.ts";
import { FormatError } from "../errors.ts";
import type { Keypair } from "../keys.ts";
import type { Twin, TwinUpdate } from "../twin.ts";
import { describe } from "./node.ts";
import { HASH, openApi, PALLET, type Runtime, TWIN_EVENTS } from "./runtime.ts";

/** Blocks after the one it was made for that a signed update is good for. */
const ERA = 64;

/** A payload longer than this, in bytes, is hashed before it is signed. */
const MAX_SIGNED = 256;

/** What a MultiSignature begins with, by key type. */
const SIGNATURE_INDEX = { ed25519: 0, sr25519: 1 };

/** A relay domain as registries hold it: a host, with its port if it has one. */
const DOMAIN = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/** A block, and which one it follows. */
export interface Head {
  readonly number: number;
  readonly hash: string;
  readonly parentHash: string;
}

/** Something that happened in a block. */
export interface ChainEvent {
  /** Index of the extrinsic in which it happened, if it was in one. */
  readonly extrinsic: number | undefined;
  /** Its name, for example `tfgridModule.TwinUpdated`. */
  readonly name: string;
  /** What else it says. */
  readonly values: readonly Value[];
}

/** A decoded value, as far as it is used here. */
interface Value {
  /** Its bytes; bare ones are without a length, or what says that it is there. */
  toU8a(bare?: boolean): Uint8Array;
  toString(): string;
}

/** A decoded header, with its hash, which is computed. */
interface Header {
  readonly hash: { toHex(): string };
}

/** A decoded event with the phase of its block that it belongs to. */
interface EventRecord {
  readonly phase: {
    readonly isApplyExtrinsic: boolean;
    readonly asApplyExtrinsic: { toNumber(): number };
  };
  readonly event: { readonly section: string; readonly method: string; readonly data: Value[] };
}

/** Why a call failed: an error of a module, which metadata explains, or another. */
interface DispatchError extends Value {
  readonly isModule: boolean;
  readonly asModule: never;
}

const utf8 = new TextDecoder();

/**
 * Reads what a chain stores and tells about twins, and writes updates of them, by the names in its
 * metadata: places and numbers differ between runtimes.
 */
export class Codec {
  /** The runtime whose metadata it goes by. */
  readonly runtime: Runtime;
  /** Where a block's events are stored. */
  readonly eventsKey: string;
  /** Where the chain's time is stored, if it keeps it. */
  readonly timeKey: string | undefined;
  readonly #api: ApiPromise;
  readonly #eventsType: string;
  readonly #twinType: string;

  private constructor(runtime: Runtime, api: ApiPromise) {
    const { query, registry } = api;
    const typeOf = (entry: StorageEntry | undefined) => entry!.creator.meta.type;
    this.runtime = runtime;
    this.eventsKey = query["system"]!["events"]!.key();
    this.timeKey = query["timestamp"]?.["now"]?.key();
    this.#api = api;
    this.#eventsType = registry.createLookupType(typeOf(query["system"]!["events"]).asPlain);
    this.#twinType = registry.createLookupType(typeOf(query[PALLET]!["twins"]).asMap.value);
  }

  /**
   * Makes one for a runtime, see {@linkcode openApi}.
   *
   * @throws {RegistryError} if such a chain does not say who twins are.
   */
  static async open(runtime: Runtime, metadata: string): Promise<Codec> {
    return new Codec(runtime, await openApi(runtime, metadata));
  }

  /** Where a twin is stored. */
  twinKey(id: number): string {
    return this.#api.query[PALLET]!["twins"]!.key(id);
  }

  /** Where the id of an account's twin is stored. */
  twinIdKey(account: Uint8Array): string {
    return this.#api.query[PALLET]!["twinIdByAccountID"]!.key(account);
  }

  /**
   * Reads a stored twin. A relay text that names no domains is as none, for its twin may write what
   * it likes there.
   *
   * @throws {FormatError} if it is no twin.
   */
  readTwin(bytes: string): Twin {
    return toTwin(this.#read(this.#twinType, bytes));
  }

  /**
   * Reads a stored number: a twin id, or the chain's time in milliseconds.
   *
   * @throws {FormatError} if it is none, or larger than can be told exactly.
   */
  readNumber(bytes: string): number {
    const digits = /^0x((?:[0-9a-f]{8}){1,2})$/i.exec(bytes)?.[1]?.match(/../g) ?? [];
    const number = Number(`0x${digits.reverse().join("")}`);
    if (Number.isSafeInteger(number)) return number;
    throw new FormatError("Cannot read what the chain stores: it is not a number");
  }

  /**
   * Reads a block's events.
   *
   * @throws {FormatError} if one of them can't be read: what the others are is unknown then.
   */
  readEvents(bytes: string): ChainEvent[] {
    const records = this.#read(this.#eventsType, bytes) as unknown as readonly EventRecord[];
    return records.map(({ phase, event }) => ({
      extrinsic: phase.isApplyExtrinsic ? phase.asApplyExtrinsic.toNumber() : undefined,
      name: `${event.section}.${event.method}`,
      values: event.data,
    }));
  }

  /**
   * Reads a header as nodes announce it.
   *
   * @throws {FormatError} if it is none.
   */
  readHead(header: unknown): Head {
    const { number, parentHash, stateRoot, extrinsicsRoot } = Object(header);
    // What is missing would be read as zeros.
    const hashes = [parentHash, stateRoot, extrinsicsRoot];
    if (!/^0x[0-9a-f]{1,8}$/i.test(number) || !hashes.every((hash) => HASH.test(hash))) {
      throw new FormatError("Cannot read a block's header: number or hashes are not there");
    }
    try {
      const { hash } = this.#api.registry.createType("Header", header) as unknown as Header;
      return { number: Number(number), hash: hash.toHex(), parentHash };
    } catch (cause) {
      throw new FormatError(`Cannot read a block's header: ${describe(cause).slice(0, 200)}`);
    }
  }

  /** Why an extrinsic failed, as its event says. */
  readFailure({ values }: ChainEvent): string {
    const error = values[0] as DispatchError;
    if (!error.isModule) return error.toString();
    const { docs, name } = this.#api.registry.findMetaError(error.asModule);
    return [name, ...docs].join(": ");
  }

  /**
   * Makes an update of a key pair's own twin, signed, as `0x` and hexadecimal digits.
   *
   * @param keypair Who signs it.
   * @param update What it publishes.
   * @param nonce The account's next nonce.
   * @param head The block from which on it is valid.
   */
  async signUpdate(
    keypair: Keypair,
    { relays, pk }: TwinUpdate,
    nonce: number,
    head: Head,
  ): Promise<string> {
    const { genesisHash, registry, tx } = this.#api;
    const relay = formatHex(new TextEncoder().encode(formatRelayDomains(relays)));
    const extrinsic = tx[PALLET]!["updateTwin"]!(
      relay === "0x" ? null : relay,
      pk === undefined ? null : formatHex(pk),
    );
    const { specVersion, transactionVersion } = this.runtime.version;
    const options = {
      blockHash: head.hash,
      era: registry.createType("ExtrinsicEra", { current: head.number, period: ERA }),
      genesisHash,
      method: extrinsic.method.toHex(),
      nonce,
      specVersion,
      tip: 0,
      transactionVersion,
    };
    const payload = registry.createType("ExtrinsicPayload", options, { version: 4 });
    const message = payload.toU8a({ method: true });
    const signature = await keypair.sign(
      message.length > MAX_SIGNED ? blake2b(message, { dkLen: 32 }) : message,
    );
    signature[0] = SIGNATURE_INDEX[keypair.type];
    extrinsic.addSignature(keypair.address, signature, payload.toHex());
    return extrinsic.toHex();
  }

  #read(type: string, bytes: string): Value {
    try {
      const value = this.#api.registry.createType(type, bytes);
      // What is cut off would be read as zeros.
      if (value.encodedLength * 2 + 2 === bytes.length) return value as unknown as Value;
    } catch (cause) {
      throw new FormatError(`Cannot read what the chain stores: ${describe(cause).slice(0, 200)}`);
    }
    throw new FormatError(`Cannot read what the chain stores: its length is wrong`);
  }
}

type StorageEntry = ApiPromise["query"][string][string];

/**
 * The id of the twin that an event is about, if it says that one is new, has changed or is gone.
 *
 * @throws {FormatError} if it says no id.
 */
export function twinOf({ name, values }: ChainEvent): number | undefined {
  if (name === `${PALLET}.TwinDeleted`) return Number(values[0]);
  if (!TWIN_EVENTS.some((event) => name === `${PALLET}.${event}`)) return undefined;
  return toTwin(values[0]!).id;
}

function toTwin(value: Value): Twin {
  const field = (name: string) => {
    const field = (value as unknown as Map<string, Value>).get(name);
    if (field === undefined) throw new FormatError(`Cannot read a twin: it has no "${name}"`);
    return field;
  };
  // Copies: these are of a class of their own, and views of all that was read.
  const relay = field("relay").toU8a(true);
  const pk = new Uint8Array(field("pk").toU8a(true));
  return {
    id: Number(field("id")),
    account: new Uint8Array(field("accountId").toU8a()),
    relays: parseRelayDomains(utf8.decode(relay)).filter((domain) => DOMAIN.test(domain)),
    pk: pk.length > 0 ? pk : undefined,
  };
}
