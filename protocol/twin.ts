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

/** Who twins are: where ids, accounts, relays and encryption keys are looked up. */
export interface TwinRegistry extends AsyncDisposable {
  /**
   * Looks up a twin.
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
   * Publishes a twin's relays and encryption key, replacing both.
   *
   * @throws {RegistryError} if that can't be done.
   */
  updateTwin(id: number, update: TwinUpdate): Promise<void>;
}
