import { nameErrors, RmbError } from "../errors.ts";

/** Error codes of endpoints, as the reference has them. */
export const ErrorCode = {
  /** Of relays and services, and when a request can't be handed to the local side. */
  none: 0,
  /** Only counted: there is nobody to tell. */
  undecodable: 101,
  expired: 102,
  unknownTwin: 103,
  badSignature: 104,
  noPublicKey: 105,
  decryptionFailed: 106,
  other: 500,
} as const;

/** A message is refused, or can't be sent, with a code to tell who asked. */
export class CodedError extends RmbError {
  /** One of {@linkcode ErrorCode}. */
  readonly code: number;

  /** Makes one. */
  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The twin that was asked answers with an error.
 *
 * @example
 * ```ts
 * import { type Client, RemoteError } from "@rmb/protocol";
 *
 * async function quotient(client: Client, a: number, b: number): Promise<number | undefined> {
 *   try {
 *     return await client.call<number>(2, "calculator.divide", [a, b]);
 *   } catch (error) {
 *     if (error instanceof RemoteError && error.code === 1) return undefined; // By zero.
 *     throw error;
 *   }
 * }
 * ```
 */
export class RemoteError extends CodedError {}

nameErrors({ CodedError, RemoteError });
