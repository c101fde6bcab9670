import type { Keypair } from "./keys.ts";

/** A twin as its registry knows it. */
export interface Twin {
  /** Twin id, never 0. */
  readonly id: number;
  /** Public key that its signatures are verified with, 32 bytes, sr25519 or ed25519. */
  readonly account: Uint8Array;
  /** Domains of its relays, none when unset. */
  readonly relays: readonly string[];
  /**
   * Public key that payloads for it are encrypted with: compressed secp256k1, 33 bytes. Undefined
   * when unset; any other bytes may stand here.
   */
  readonly pk: Uint8Array | undefined;
}

/** What a twin publishes of itself. */
export type TwinUpdate = Pick<Twin, "relays" | "pk">;

/**
 * Who twins are: where ids, accounts, relays and encryption keys are looked up.
 *
 * @example One of your own
 * ```ts
 * import { type Keypair, RegistryError, relayDomain } from "@rmb/protocol";
 * import type { Twin, TwinRegistry } from "@rmb/protocol";
 *
 * class FixedRegistry implements TwinRegistry {
 *   constructor(readonly twins: readonly Twin[]) {}
 *
 *   twin(id: number): Promise<Twin | undefined> {
 *     return Promise.resolve(this.twins.find((twin) => twin.id === id));
 *   }
 *   twinIdByAccount(account: Uint8Array): Promise<number | undefined> {
 *     const isIt = (twin: Twin) => twin.account.every((byte, i) => byte === account[i]);
 *     return Promise.resolve(this.twins.find(isIt)?.id);
 *   }
 *   updateTwin({ address }: Keypair): Promise<void> {
 *     return Promise.reject(new RegistryError(`Cannot update the twin of ${address}: it is fixed`));
 *   }
 *   relayDomain(url: string): string {
 *     return relayDomain(url);
 *   }
 *   async [Symbol.asyncDispose](): Promise<void> {}
 * }
 * ```
 */
export interface TwinRegistry extends AsyncDisposable {
  /**
   * Looks up a twin. Registries see to it that concurrent look-ups of one twin cost no more than one.
   *
   * @returns The twin, or undefined if there is none with this id.
   * @throws {RegistryError} if the registry can't be asked now.
   */
  twin(id: number): Promise<Twin | undefined>;

  /**
   * Looks up the twin of an account.
   *
   * @param account Public key, 32 bytes.
   * @returns The id, or undefined if the account has no twin.
   * @throws {RegistryError} if the registry can't be asked now.
   */
  twinIdByAccount(account: Uint8Array): Promise<number | undefined>;

  /**
   * Publishes relays and encryption key of the key pair's own twin, replacing both. Once it
   * resolves, `twin()` of this registry gives the new ones.
   *
   * @param keypair The twin's key pair.
   * @param update What to publish.
   * @throws {RegistryError} if its account has no twin, the registry refuses it, or it can't be done
   * in time.
   */
  updateTwin(keypair: Keypair, update: TwinUpdate): Promise<void>;

  /**
   * The relay domain that twins publish here for the relay at a URL.
   *
   * @param url `ws:` or `wss:`, for example `wss://relay.grid.tf`.
   * @returns The domain, or undefined if the relay has no name that can stand here.
   * @throws {FormatError} if it is not the URL of a relay.
   */
  relayDomain(url: string): string | undefined;
}
