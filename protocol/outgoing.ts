import { NotSentError } from "./errors.ts";
import { withResolvers } from "./with_resolvers.ts";

/** The longest time that a timer can have, in milliseconds: 25 days. */
const MAX_TIMER = 2 ** 31 - 1;

/** A message on its way to a relay, whichever it will be. */
export class OutgoingMessage {
  /** The envelope. */
  readonly bytes: Uint8Array;
  /** Resolves when a relay has confirmed it. Rejects with a {@linkcode NotSentError}. */
  readonly confirmed: Promise<void>;
  readonly #resolve: () => void;
  readonly #reject: (error: NotSentError) => void;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #holder: { delete(message: OutgoingMessage): unknown } | undefined;

  /**
   * Makes one that waits nowhere yet.
   *
   * @param bytes The envelope, which must not be changed any more.
   * @param timeout Milliseconds that it may take; undefined for any time.
   * @param explain Says why it was not confirmed in time, for people.
   */
  constructor(bytes: Uint8Array, timeout: number | undefined, explain: () => string) {
    this.bytes = bytes;
    const { promise, resolve, reject } = withResolvers<void>();
    this.confirmed = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    if (timeout === undefined) return;
    const time = Math.min(Math.max(timeout, 0), MAX_TIMER);
    this.#timer = setTimeout(() => this.refuse(explain()), time);
  }

  /** Has it wait somewhere, until it is settled, and no longer where it waited before. */
  moveTo(holder: { delete(message: OutgoingMessage): unknown }): void {
    this.#holder?.delete(this);
    this.#holder = holder;
  }

  /** A relay has it. */
  confirm(): void {
    this.#settle();
    this.#resolve();
  }

  /** No relay has it, or will have it. */
  refuse(reason: string): void {
    this.#settle();
    this.#reject(new NotSentError(`Cannot send: ${reason}`));
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#holder?.delete(this);
    this.#holder = undefined;
  }
}
