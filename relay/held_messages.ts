import { readRouting, type Routing } from "@rmb/protocol";
import type { Batch } from "./batches.ts";
import type { ConnectedSession } from "./connected_session.ts";
import { compact } from "./outbox.ts";

/** Bytes of messages that wait for a look-up or for the store, in all; above, there is no room for new ones. */
const MAX_BYTES = 256 * 1024 * 1024;

/** What a message that waits takes in memory beside its bytes, about, in bytes. */
const OVERHEAD = 1024;

/** A message on its way. */
export interface Message {
  readonly sender: ConnectedSession;
  readonly routing: Routing;
  readonly bytes: Uint8Array;
  /** Among which of its sender's messages it is held. */
  readonly batch: Batch;
}

/** A message that waits, without much memory behind its bytes that is not theirs. */
export function kept(sender: ConnectedSession, bytes: Uint8Array, batch: Batch): Message {
  const own = compact(bytes);
  return { sender, routing: readRouting(own), bytes: own, batch };
}

/** The messages that wait in memory, of all senders together and of each. */
export class HeldMessages {
  #bytes = 0;

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Holds a message, if there is room for it.
   *
   * @returns Among which messages, if there is. Then {@linkcode HeldMessages.release} it.
   */
  hold({ window }: ConnectedSession, { length }: Uint8Array): Batch | undefined {
    const size = length + OVERHEAD;
    if (this.#bytes + size > MAX_BYTES || !window.take(size)) return undefined;
    this.#bytes += size;
    return window.batches.enter();
  }

  /** Holds a message no longer; its place in its sender's window until a pause is over. */
  release({ sender: { window }, bytes: { length }, batch }: Message, pause?: Promise<void>): void {
    const size = length + OVERHEAD;
    window.batches.leave(batch);
    this.#bytes -= size;
    window.releaseBytes(size);
    if (pause === undefined) window.release();
    else pause.then(() => window.release());
  }

  /** Holds an answer of the relay's own until a promise, which never rejects, settles. */
  holdUntil(settled: Promise<void>, { length }: Uint8Array): void {
    const size = length + OVERHEAD;
    this.#bytes += size;
    settled.then(() => this.#bytes -= size);
  }
}
