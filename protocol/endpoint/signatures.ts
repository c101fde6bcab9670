import { type Keypair, verifySignature } from "../keys.ts";

/** Signs for a twin, and verifies what others have signed. */
export interface Signatures {
  /** Signs a message, see {@linkcode Keypair.sign}. */
  sign(message: Uint8Array): Promise<Uint8Array>;
  /** Whether a signature holds, see {@linkcode verifySignature}. */
  verify(account: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** Signatures made and verified where they are asked for. */
export function directSignatures(keypair: Pick<Keypair, "sign">): Signatures {
  return { sign: (message) => keypair.sign(message), verify: verifySignature };
}
