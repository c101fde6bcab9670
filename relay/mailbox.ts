import { RmbError } from "@rmb/protocol";

/** An envelope to be put back. */
export interface QueuedAgain {
  /** Its bytes. */
  readonly envelope: Uint8Array;
  /** Unix time in seconds from which on it need not be delivered. */
  readonly expires: number;
}

/** An envelope that waits in a {@linkcode Mailbox}. */
export interface QueuedEnvelope extends QueuedAgain {
  /** What the mailbox knows it by. */
  readonly id: number | string;
}

/**
 * What waits for sessions that are not connected, or read too slowly. Sessions are named as in
 * `formatSession`. The order of calls is the order of the queue, whether they are awaited or not.
 */
export interface Mailbox {
  /**
   * Adds an envelope at the end of a session's queue.
   *
   * @param session The session.
   * @param envelope Its bytes, which must not be changed any more.
   * @param expires Unix time in seconds from which on it need not be delivered; after
   * {@linkcode MAX_QUEUED_TIME} it need not be in any case.
   * @returns When it is stored so that it survives this process.
   * @throws {MailboxFullError} if the session's queue holds as many envelopes as it may.
   */
  append(session: string, envelope: Uint8Array, expires: number): Promise<void>;

  /**
   * Puts envelopes that could not be delivered back to the front of a session's queue, in order,
   * whether or not it is full, and removes others: all of that, or nothing.
   *
   * @param removed Ids of envelopes that were delivered, or come back among `envelopes`.
   */
  putBack(
    session: string,
    envelopes: readonly QueuedAgain[],
    removed?: readonly QueuedEnvelope["id"][],
  ): Promise<void>;

  /**
   * Reads the oldest envelopes of a session's queue that have not expired, without removing them. All
   * that was appended before the call counts.
   *
   * @param after Reads those behind the envelope with this id only; what was put back to the front
   * since it was read is before it.
   * @returns Some of them, in order; none only if there are none.
   */
  read(session: string, after?: QueuedEnvelope["id"]): Promise<QueuedEnvelope[]>;

  /** Removes envelopes that were delivered. */
  remove(session: string, ids: readonly QueuedEnvelope["id"][]): Promise<void>;

  /**
   * Waits for what other processes append to a session's queue.
   *
   * @param after Id of the last envelope that was read; undefined if there was none.
   * @param onAppended Called once, without delay, when there is something behind that envelope. To
   * hear of more, watch again.
   * @returns Stops watching.
   */
  watch(
    session: string,
    after: QueuedEnvelope["id"] | undefined,
    onAppended: () => void,
  ): () => void;

  /** How many envelopes wait, for all sessions together; about, where others share the store. */
  depth(): Promise<number>;
}

/** A session's queue holds as many envelopes as it may. */
export class MailboxFullError extends RmbError {}

/** Most envelopes that wait for one session; the reference keeps about as many. */
export const MAX_QUEUED = 10_000;

/** Longest time that an envelope waits, in seconds, whatever its own expiration; as the reference. */
export const MAX_QUEUED_TIME = 3600;
