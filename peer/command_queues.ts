import { LRUCache } from "lru-cache";

/** Most requests that wait for one command, and bytes of them from which on no more are taken. */
export const MAX_COMMAND_ENTRIES = 10_000;
const MAX_COMMAND_BYTES = 256 * 1024 * 1024;
/** What one twin may have of it while it is more than half full: a quarter. */
const SHARE = 4;
/** Most commands of which it is known who waits for them. */
const MAX_COMMANDS = 10_000;

/** Some requests. */
interface Amount {
  count: number;
  bytes: number;
}

/** A request that was pushed, or is about to be. */
export interface Place {
  readonly twin: number;
  readonly bytes: number;
}

/**
 * Who has how much in a command's list, without reading it: what this process pushed, less what its
 * length says was popped since, the oldest first. What was there before is nobody's.
 */
export class CommandQueue {
  /** Pushed, the oldest first, from the head on. */
  #places: Place[] = [];
  #head = 0;
  /** Of others, and older than all places. */
  readonly #others: Amount;
  /** All places, those about to be pushed too. */
  readonly #all: Amount = { count: 0, bytes: 0 };
  readonly #twins = new Map<number, Amount>();

  /** Makes one of a list as it is. */
  constructor({ length, bytes }: { readonly length: number; readonly bytes: number }) {
    this.#others = { count: length, bytes };
  }

  /** Why a twin's request can't be pushed; undefined if it can. */
  refusal(twin: number): string | undefined {
    const count = this.#all.count + this.#others.count;
    const bytes = this.#all.bytes + this.#others.bytes;
    const isAbove = (amount: Amount, part: number) =>
      amount.count >= MAX_COMMAND_ENTRIES / part || amount.bytes >= MAX_COMMAND_BYTES / part;
    if (isAbove({ count, bytes }, 1)) return "too many wait";
    const own = this.#twins.get(twin);
    if (own !== undefined && isAbove({ count, bytes }, 2) && isAbove(own, SHARE)) {
      return `too many of twin ${twin} wait`;
    }
    return undefined;
  }

  /** Keeps a place for a request that is about to be pushed. */
  reserve(place: Place): void {
    this.#change(place, 1);
  }

  /**
   * Tells what became of a request that had a place.
   *
   * @param length Entries that the list has now.
   */
  settle(place: Place, pushed: boolean, length?: number): void {
    if (pushed) this.#places.push(place);
    else this.#change(place, -1);
    if (length === undefined) return;
    const known = this.#places.length - this.#head;
    let gone = this.#others.count + known - length;
    const { count, bytes } = this.#others;
    if (gone < count) {
      // Fewer: the older ones were popped. More: someone else pushes too.
      const left = count - gone;
      if (count > 0 && left < count) this.#others.bytes = bytes * left / count;
      this.#others.count = left;
      return;
    }
    gone -= count;
    Object.assign(this.#others, { count: 0, bytes: 0 });
    while (gone-- > 0) this.#change(this.#places[this.#head++]!, -1);
    if (this.#head * 2 > this.#places.length) {
      this.#places = this.#places.slice(this.#head);
      this.#head = 0;
    }
  }

  #change({ twin, bytes }: Place, sign: 1 | -1): void {
    const own = this.#twins.get(twin) ?? { count: 0, bytes: 0 };
    for (const amount of [this.#all, own]) {
      amount.count += sign;
      amount.bytes += sign * bytes;
    }
    if (own.count === 0) this.#twins.delete(twin);
    else this.#twins.set(twin, own);
  }
}

/** The queues of all commands that anybody asked for lately. */
export class CommandQueues {
  readonly #queues = new LRUCache<string, Promise<CommandQueue>>({ max: MAX_COMMANDS });
  readonly #look: (command: string) => Promise<{ length: number; bytes: number }>;

  /** @param look Looks at a command's list as it is. */
  constructor(look: (command: string) => Promise<{ length: number; bytes: number }>) {
    this.#look = look;
  }

  /** The queue of a command. */
  async get(command: string): Promise<CommandQueue> {
    const known = this.#queues.get(command);
    if (known !== undefined) return await known;
    const queue = this.#look(command).then((list) => new CommandQueue(list));
    this.#queues.set(command, queue);
    queue.catch(() => this.#queues.delete(command));
    return await queue;
  }

  /** Names of the commands that were asked for last. */
  latest(most: number): string[] {
    return this.#queues.keys().take(most).toArray();
  }
}
