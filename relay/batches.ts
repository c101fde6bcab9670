/**
 * How long something waits at most for what came before it, in milliseconds: clients with a choice of
 * relays leave one that does not answer for a second.
 */
const PATIENCE = 500;
/** So many things wait at most; more of them don't. */
const MAX_WAITING = 100;

/** Messages that came one after the other. */
export interface Batch {
  /** How many of them are under way. */
  underWay: number;
  /** What waits for these messages, and all before them. */
  next: (() => void) | undefined;
}

/** Messages under way, and what waits for those that came before it: not for ever, and not for more. */
export class Batches {
  /** Oldest first; what comes now belongs to the last one. */
  readonly #batches: Batch[] = [{ underWay: 0, next: undefined }];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  /** A message is under way; {@linkcode Batches.leave} its batch once, when it is not any more. */
  enter(): Batch {
    const batch = this.#batches.at(-1)!;
    batch.underWay++;
    return batch;
  }

  /** A message of a batch is under way no longer. */
  leave(batch: Batch): void {
    batch.underWay--;
    while (this.#batches[0]!.underWay === 0 && this.#batches.length > 1) {
      this.#batches.shift()!.next?.();
    }
  }

  /** Does something when all messages that came until now are under way no longer. */
  afterAll(next: () => void): void {
    if (this.#batches[0]!.underWay === 0 || this.#timers.size >= MAX_WAITING) return next();
    const once = () => {
      clearTimeout(timer);
      if (this.#timers.delete(timer)) next();
    };
    const timer = setTimeout(once, PATIENCE);
    this.#timers.add(timer);
    this.#batches.at(-1)!.next = once;
    this.#batches.push({ underWay: 0, next: undefined });
  }

  /** Does nothing more of what waits. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
