import type { QueuedEnvelope } from "./mailbox.ts";

/** An envelope handed to a socket: out of the mailbox, with its id there, or straight from its sender. */
export interface Handed {
  /** Its bytes. */
  readonly envelope: Uint8Array;
  /** Unix time in seconds from which on it need not be delivered. */
  readonly expires: number;
  /** Id in the mailbox; undefined if it is not there. */
  readonly id: QueuedEnvelope["id"] | undefined;
}

/**
 * Bytes given to the socket and not yet written above which more waits here: so few because nobody can
 * tell how many of them got through when a connection breaks. They are written with one system call.
 */
const MAX_IN_FLIGHT = 16 * 1024;

/** Of so many messages the time is taken of one. */
const SAMPLE = 64;

/** What writes to a socket, in order. */
type Write = (envelope: Uint8Array, onWritten: (error?: Error | null) => void) => void;

/**
 * What was handed to a socket and the kernel does not have yet, in order. Only some of it is given to
 * the socket at once: when a connection breaks, nobody can tell how much of that got through.
 */
export class Outbox {
  /** Parts of the messages, by index: cheaper than an object for each. */
  #envelopes: Uint8Array[] = [];
  #expires: number[] = [];
  #ids: (QueuedEnvelope["id"] | undefined)[] = [];
  /** The oldest message that is not written, and the oldest that the socket has not been given. */
  #head = 0;
  #next = 0;
  #bytes = 0;
  #inFlight = 0;
  #closed = false;
  /** Counts messages, up to the one whose time is taken, and says when that was handed over. */
  #pushed = 0;
  #taken = 0;
  #sampled = -1;
  #sampledAt = 0;
  readonly #write: Write;
  readonly #onWritten: (id: QueuedEnvelope["id"] | undefined, size: number) => void;
  readonly #onSample: (seconds: number) => void;
  /** The same for all messages: they are written in order. */
  readonly #written = (error?: Error | null) => this.#take(error);

  /**
   * @param write Writes to the socket.
   * @param onWritten Called for each message that the kernel has, oldest first, with its id and
   * its size in bytes.
   * @param onSample Called for some of them with the time that it took.
   */
  constructor(
    write: Write,
    onWritten: (id: QueuedEnvelope["id"] | undefined, size: number) => void,
    onSample: (seconds: number) => void,
  ) {
    this.#write = write;
    this.#onWritten = onWritten;
    this.#onSample = onSample;
  }

  /** How many messages were handed over that the kernel does not have. */
  get length(): number {
    return this.#envelopes.length - this.#head;
  }

  /** Their bytes together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Hands a message over. */
  push(envelope: Uint8Array, expires: number, id: QueuedEnvelope["id"] | undefined): void {
    this.#envelopes.push(envelope);
    this.#expires.push(expires);
    this.#ids.push(id);
    this.#bytes += envelope.length;
    if (++this.#pushed % SAMPLE === 0 && this.#sampled < this.#taken) {
      this.#sampled = this.#pushed;
      this.#sampledAt = performance.now();
    }
    if (this.#inFlight < MAX_IN_FLIGHT && !this.#closed) this.#writeNext();
    // What waits must not keep the whole read from its sender in memory.
    else this.#envelopes[this.#envelopes.length - 1] = compact(envelope);
  }

  /** Gives the socket no more. What it has may still be written. */
  close(): void {
    this.#closed = true;
  }

  /** Takes what the kernel does not have, oldest first. */
  takeAll(): Handed[] {
    this.#closed = true;
    const left: Handed[] = [];
    for (let i = this.#head; i < this.#envelopes.length; i++) {
      left.push({ envelope: this.#envelopes[i]!, expires: this.#expires[i]!, id: this.#ids[i] });
    }
    this.#envelopes = [];
    this.#expires = [];
    this.#ids = [];
    this.#head = this.#next = this.#bytes = 0;
    return left;
  }

  #writeNext(): void {
    const envelope = this.#envelopes[this.#next++]!;
    this.#inFlight += envelope.length;
    this.#write(envelope, this.#written);
  }

  /** The oldest message was written, or could not be. */
  #take(error?: Error | null): void {
    // After an error nothing more is written, and after the end there is nothing here to take.
    if (error) this.#closed = true;
    if (this.#head === this.#next || error) return;
    const id = this.#ids[this.#head];
    const size = this.#envelopes[this.#head]!.length;
    this.#head++;
    this.#bytes -= size;
    this.#inFlight -= size;
    this.#forget();
    if (++this.#taken === this.#sampled) {
      this.#onSample((performance.now() - this.#sampledAt) / 1000);
    }
    while (
      this.#inFlight < MAX_IN_FLIGHT && this.#next < this.#envelopes.length && !this.#closed
    ) this.#writeNext();
    this.#onWritten(id, size);
  }

  /** Lets go of what is written, seldom enough to cost little. */
  #forget(): void {
    if (this.#head < this.#envelopes.length && this.#head <= 1024) return;
    this.#envelopes = this.#envelopes.slice(this.#head);
    this.#expires = this.#expires.slice(this.#head);
    this.#ids = this.#ids.slice(this.#head);
    this.#next -= this.#head;
    this.#head = 0;
  }
}

/** The same bytes without much memory behind them that is not theirs. */
export function compact(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > 2 * bytes.length + 64 ? new Uint8Array(bytes) : bytes;
}
