import { RmbError } from "@rmb/protocol";

/** An envelope that waits to go to another relay. */
export interface FederatedEnvelope {
  /** What the queue knows it by. */
  readonly id: number | string;
  /** Its bytes. */
  readonly envelope: Uint8Array;
}

/** What waits to go to other relays, so that it survives this process. */
export interface FederationQueue {
  /**
   * Adds an envelope at the end. The order of calls is the order of the queue, whether they are
   * awaited or not.
   *
   * @param envelope Its bytes, which must not be changed any more.
   * @returns When it is stored so that it survives this process.
   * @throws {FederationQueueFullError} if the queue holds as many envelopes as it may.
   */
  push(envelope: Uint8Array): Promise<void>;

  /**
   * Takes the oldest envelopes that nobody has taken, those included that a process took which has
   * ended since, and waits until there are any.
   *
   * @param count How many at most.
   * @returns Some of them, in order; none only when the signal is aborted.
   */
  take(count: number, signal: AbortSignal): Promise<FederatedEnvelope[]>;

  /** Reads an envelope again that was taken; undefined if it is not there any more. */
  read(id: FederatedEnvelope["id"]): Promise<Uint8Array | undefined>;

  /** Removes envelopes that were taken and are done with. */
  remove(ids: readonly FederatedEnvelope["id"][]): Promise<void>;
}

/** The federation queue holds as many envelopes as it may. */
export class FederationQueueFullError extends RmbError {}

/** Most envelopes that wait to go to other relays, taken or not. */
export const MAX_FEDERATED = 100_000;
