/**
 * Knows which of the messages handed to a WebSocket it has not yet given to the kernel, by its
 * `bufferedAmount`. When a socket closes that number is no longer true, so the last one seen counts:
 * call {@linkcode UnsentMessages.settle} often while it is open.
 */
export class UnsentMessages<T> {
  #messages: T[] = [];
  /** Their sizes, by index: cheaper than an object for each message. */
  #sizes: number[] = [];
  #head = 0;
  #bytes = 0;

  /** How many messages were handed over and not yet settled. */
  get length(): number {
    return this.#messages.length - this.#head;
  }

  /** Their bytes together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes note of a message handed to the socket, of `size` bytes. */
  push(message: T, size: number): void {
    this.#messages.push(message);
    this.#sizes.push(size);
    this.#bytes += size;
  }

  /**
   * Lets go of the messages that the kernel has.
   *
   * @param bufferedAmount The socket's: bytes handed to it that the kernel has not taken.
   * @param onSettled Called with each of them, oldest first.
   */
  settle(bufferedAmount: number, onSettled?: (message: T) => void): void {
    while (this.#head < this.#messages.length) {
      const size = this.#sizes[this.#head]!;
      if (this.#bytes - size < bufferedAmount) break;
      this.#bytes -= size;
      const message = this.#messages[this.#head++]!;
      onSettled?.(message);
    }
    if (this.#head === this.#messages.length || this.#head > 1024) {
      this.#messages = this.#messages.slice(this.#head);
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Takes all that is left, oldest first. */
  takeAll(): T[] {
    const left = this.#messages.slice(this.#head);
    this.#messages = [];
    this.#sizes = [];
    this.#head = 0;
    this.#bytes = 0;
    return left;
  }
}
