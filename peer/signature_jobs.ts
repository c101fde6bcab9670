/** What is asked of a worker: to sign a message or, with an account, to verify its signature. */
export interface SignatureJob {
  readonly message: Uint8Array;
  /** Public key of who signed it, and the signature; to sign, neither. */
  readonly account?: Uint8Array;
  readonly signature?: Uint8Array;
}

/** What became of a job: the signature, or whether the one given holds. */
export type SignatureResult = Uint8Array | boolean;

/** What a worker is told: first who signs, then jobs. */
export type ToSignatureWorker =
  | { readonly secret: string; readonly type: "sr25519" | "ed25519" }
  | { readonly jobs: readonly SignatureJob[] };
