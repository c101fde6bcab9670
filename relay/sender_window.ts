/** What of one sender may be under way, as messages and as bytes, before nothing more is read from it. */
const PAUSE_MESSAGES = 1000;
const PAUSE_BYTES = 4 * 1024 * 1024;
/** How long nothing is read from it at a stretch, in milliseconds: it has other messages too. */
const PAUSE_TIME = 1000;
/** What of one sender may be under way when it is read from again all the same. */
const MAX_MESSAGES = 10_000;
const MAX_BYTES = 32 * 1024 * 1024;
/** So many messages refused, one after the other, are enough. */
const MAX_REFUSED = 1000;

/**
 * What of one sender is under way: taken, and neither handed to a socket nor stored. A sender that
 * is faster than the store, or than a receiver that keeps reading, is not read from until there is room
 * again: nothing gets lost. If that takes too long, what is too much is refused.
 */
export class SenderWindow {
  #messages = 0;
  #bytes = 0;
  #refused = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether waiting longer was tried in vain. */
  #overrun = false;
  #closed = false;
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
   * @returns Whether there was room for it. If so, {@linkcode SenderWindow.release} it.
   */
  take(size: number): boolean {
    if (this.#messages >= MAX_MESSAGES || this.#bytes >= MAX_BYTES) {
      this.#refused++;
      return false;
    }
    this.#refused = 0;
    this.#messages++;
    this.#bytes += size;
    if (this.#closed || this.#overrun || this.#timer !== undefined) return true;
    if (this.#isFull(1)) {
      this.#socket.pause();
      this.#timer = setTimeout(() => this.#resume(true), PAUSE_TIME);
    }
    return true;
  }

  /** A message of a size in bytes is not under way any more. */
  release(size: number): void {
    this.#messages--;
    this.#bytes -= size;
    if ((this.#timer !== undefined || this.#overrun) && !this.#isFull(0.5)) this.#resume(false);
  }

  /** Reads no more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#closed = true;
  }

  #isFull(share: number): boolean {
    return this.#messages >= share * PAUSE_MESSAGES || this.#bytes >= share * PAUSE_BYTES;
  }

  #resume(overrun: boolean): void {
    this.#overrun = overrun;
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket.resume();
  }
}
