import type { EnvelopeInit } from "../envelope.ts";
import { formatSession, type Session } from "../session.ts";
import { CodedError, ErrorCode } from "./codes.ts";
import type { Identity } from "./identity.ts";
import { Lanes } from "./lanes.ts";

/** Messages, and bytes of them, on their way to a relay; above, no more are taken from local lists. */
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** What an endpoint needs of what connects it to its relays. */
export interface RelayLink {
  /** Sends an encoded envelope within a time, in milliseconds. Resolves when a relay has it. */
  send(bytes: Uint8Array, timeout: number): Promise<void>;
  /** Reads no more from the relays, until {@linkcode RelayLink.resume}. */
  pause(): void;
  /** Goes on reading. */
  resume(): void;
}

/** Seals envelopes and has them sent, in order for each destination. */
export class Sender {
  readonly #identity: Identity;
  readonly #link: Pick<RelayLink, "send">;
  readonly #onSent: (kind: string | undefined) => void;
  readonly #stop: AbortSignal;
  readonly #lanes = new Lanes();
  #waiting = 0;
  #waitingBytes = 0;
  #onRoom: (() => void)[] = [];

  /**
   * Makes one.
   *
   * @param identity Seals what is sent.
   * @param link Sends it.
   * @param stop When it aborts, nobody waits for room any more.
   * @param onSent Called with the kind of each message that a relay has confirmed. It must not throw.
   */
  constructor(
    identity: Identity,
    link: Pick<RelayLink, "send">,
    stop: AbortSignal,
    onSent: (kind: string | undefined) => void = () => {},
  ) {
    this.#identity = identity;
    this.#link = link;
    this.#onSent = onSent;
    this.#stop = stop;
    stop.addEventListener("abort", () => this.#wake());
  }

  /** Messages on their way to a relay. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether so many messages wait that no more should be sent now. */
  get isFull(): boolean {
    return this.#waiting >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES;
  }

  /** Waits until there is room for one more message, or it is to stop. */
  async room(): Promise<void> {
    while (this.isFull && !this.#stop.aborted) {
      await new Promise<void>((resolve) => this.#onRoom.push(resolve));
    }
  }

  /**
   * Does something at once or, if so much waits, when there is room; one after the other, so that what
   * one of them sends counts before the next. When it is to stop, all are done.
   */
  whenRoom(work: () => void): void {
    if (this.isFull) this.#onRoom.push(work);
    else work();
  }

  /**
   * Sends an envelope, after those to the same destination that it was given before.
   *
   * @param fields Its fields, without source and destination.
   * @param isWanted Whether it is to be sent still, asked when it is its turn.
   * @returns When a relay has it.
   * @throws {CodedError} if it can't be sent.
   */
  async send(
    fields: EnvelopeInit,
    destination: Session,
    isWanted: () => boolean = () => true,
  ): Promise<void> {
    const size = fields.payload?.value?.length ?? 0;
    this.#count(1, size);
    try {
      const sealing = this.#identity.seal(fields, destination); // While others wait for their turn.
      sealing.catch(() => {});
      const [sent] = await this.#lanes.run(formatSession(destination), async () => {
        const { bytes, timeLeft } = await sealing;
        if (!isWanted()) throw new CodedError(ErrorCode.other, "it was given up");
        const sent = this.#link.send(bytes, timeLeft * 1000);
        sent.catch(() => {});
        return [sent]; // The next one needs not wait for it.
      });
      await sent;
      this.#onSent(fields.message?.case);
    } catch (cause) {
      if (cause instanceof CodedError) throw cause;
      throw new CodedError(ErrorCode.other, (cause as Error).message, { cause });
    } finally {
      this.#count(-1, -size);
      if (!this.isFull) this.#wake();
    }
  }

  #count(messages: number, bytes: number): void {
    this.#waiting += messages;
    this.#waitingBytes += bytes;
  }

  #wake(): void {
    while (this.#onRoom.length > 0 && (!this.isFull || this.#stop.aborted)) this.#onRoom.shift()!();
  }
}
