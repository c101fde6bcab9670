import { Batches } from "./batches.ts";

/** What of one sender may be under way, as messages and as bytes, before less is read from it. */
const PAUSE_MESSAGES = 1000;
const PAUSE_BYTES = 4 * 1024 * 1024;
/** How long nothing is read from it at a stretch, in milliseconds: it has messages for others too. */
const PAUSE_TIME = 100;
/** So many messages, or bytes, are read between two such stretches. */
const READ_MESSAGES = 100;
const READ_BYTES = 1024 * 1024;
/** What of one sender may be under way when it goes on all the same. */
const MAX_MESSAGES = 10_000;
const MAX_BYTES = 32 * 1024 * 1024;
/** So many messages refused, one after the other, are enough. */
const MAX_REFUSED = 1000;

/**
 * What of one sender is under way: taken, and neither handed to a socket nor stored, or stored for a
 * receiver that has yet to catch up. Of a sender that is faster than the store, or than a receiver that
 * keeps reading, less is read until there is room again: nothing gets lost. If that does not help, what
 * is too much is refused.
 */
export class SenderWindow {
  #messages = 0;
  #bytes = 0;
  #refused = 0;
  /** Runs while nothing is read. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What may be taken before nothing is read for a while. */
  #readMessages = 0;
  #readBytes = 0;
  #closed = false;
  /** Its messages that are neither handed to a socket nor stored. */
  readonly batches: Batches = new Batches();
  readonly #socket: { pause(): void; resume(): void };

  /** @param socket What the sender is read from. */
  constructor(socket: { pause(): void; resume(): void }) {
    this.#socket = socket;
  }

  /** Whether it was refused so much, one message after the other, that it should go. */
  get exhausted(): boolean {
    return this.#refused >= MAX_REFUSED;
  }

  /**
   * Takes a message of a size in bytes.
   *
   * @returns Whether there was room for it. If so, {@linkcode SenderWindow.releaseBytes} it when it is
   * not in memory any more, and {@linkcode SenderWindow.release} it when it is not under way.
   */
  take(size: number): boolean {
    if (this.#messages >= MAX_MESSAGES || this.#bytes >= MAX_BYTES) {
      this.#refused++;
      return false;
    }
    this.#refused = 0;
    this.#messages++;
    this.#bytes += size;
    this.#readMessages--;
    this.#readBytes -= size;
    const hasRead = this.#readMessages <= 0 || this.#readBytes <= 0;
    if (hasRead && this.#isFull(1) && this.#timer === undefined && !this.#closed) this.#pause();
    return true;
  }

  /** The bytes of a message are not in memory any more. */
  releaseBytes(size: number): void {
    this.#bytes -= size;
    this.#lookForRoom();
  }

  /** A message is not under way any more. */
  release(): void {
    this.#messages--;
    this.#lookForRoom();
  }

  /** Reads no more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#closed = true;
    this.batches.close();
  }

  #isFull(share: number): boolean {
    return this.#messages >= share * PAUSE_MESSAGES || this.#bytes >= share * PAUSE_BYTES;
  }

  #pause(): void {
    this.#socket.pause();
    this.#timer = setTimeout(() => this.#resume(), PAUSE_TIME);
  }

  #resume(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#readMessages = READ_MESSAGES;
    this.#readBytes = READ_BYTES;
    this.#socket.resume();
  }

  #lookForRoom(): void {
    if (this.#timer !== undefined && !this.#isFull(0.5)) this.#resume();
  }
}
