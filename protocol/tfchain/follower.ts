import { getLogger } from "@logtape/logtape";
import { FormatError, RmbError } from "../errors.ts";
import type { TwinCache } from "./cache.ts";
import { type Codec, type Head, twinOf } from "./codec.ts";
import type { Link } from "./link.ts";
import { describe, NodeLostError } from "./node.ts";
import { withResolvers } from "../with_resolvers.ts";

const logger = getLogger(["rmb", "registry"]);

/** Blocks remembered, so that it is seen where another branch begins: as far as nodes keep state. */
const MAX_RECENT = 256;

/** Blocks of a gap whose events are asked for at once. */
const AT_ONCE = 8;

/** Best blocks in a row that a node can't be followed to before it is left: others may be sound. */
const MAX_FAILED = 3;

/** A block whose events were seen. */
interface Block {
  readonly number: number;
  readonly hash: string;
  /** The twins that they were about. */
  readonly twins: readonly number[];
}

/**
 * Follows the best blocks of a chain, and has a cache forget the twins that they change. What is in
 * the cache is true in the last block that was seen: on another branch, what the blocks that are left
 * have changed is forgotten too.
 */
export class Follower {
  /** Blocks with events that could not be read. */
  decodeErrors = 0;
  /** Times that the events of a block could not be had. */
  cacheErrors = 0;
  /** Events seen that say that a twin is new, and that one has changed. */
  twinsStored = 0;
  twinsUpdated = 0;
  readonly #cache: TwinCache;
  readonly #threshold: number;
  #codec: Codec | undefined;
  /** The last blocks seen, oldest first. */
  #recent: Block[] = [];
  #following: Promise<void> = Promise.resolve();
  #busyWith: Link | undefined;
  /** Settles when another block is the last one seen. */
  #moved = withResolvers<void>();
  #complaint = "";
  /** Best blocks in a row that the node in use could not be followed to. */
  #failed = 0;

  /**
   * @param cache The cache.
   * @param threshold Blocks of a gap above which the cache is flushed instead.
   */
  constructor(cache: TwinCache, threshold: number) {
    this.#cache = cache;
    this.#threshold = threshold;
  }

  /** What is known of the chain, once it is. */
  get codec(): Codec | undefined {
    return this.#codec;
  }

  /** Number of the last block seen, 0 before the first. */
  get lastBlock(): number {
    return this.#recent.at(-1)?.number ?? 0;
  }

  /** Whether a block is the last one that was seen. */
  isAt({ hash }: Head): boolean {
    return this.#recent.at(-1)?.hash === hash;
  }

  /** Follows a node's blocks from now on, instead of another's. */
  follow(link: Link): void {
    if (this.#codec !== undefined && this.#codec !== link.codec) {
      this.#restart(link.head, "the chain has a new runtime");
    }
    this.#codec = link.codec;
    this.#failed = 0;
    if (this.#recent.length === 0) this.#see(link.head, []); // There is nothing to forget yet.
    link.onHead = () => this.#catchUp(link);
    this.#catchUp(link);
  }

  /** Waits until a block with this number, or a later one, was seen. */
  async reach(number: number): Promise<void> {
    while (this.lastBlock < number) await this.#moved.promise;
  }

  #catchUp(link: Link): void {
    if (this.#busyWith === link) return;
    this.#busyWith = link;
    this.#following = this.#following.then(() => this.#run(link));
  }

  async #run(link: Link): Promise<void> {
    while (!link.node.isLost && !this.isAt(link.head)) {
      const { head } = link;
      if (!await this.#goTo(head, link) && head === link.head) break;
    }
    if (this.#busyWith === link) this.#busyWith = undefined;
  }

  /** Sees all blocks up to one; returns false if it can't be got to any more. */
  async #goTo(head: Head, link: Link): Promise<boolean> {
    try {
      const path = await this.#path(head, link);
      if (path === undefined) {
        this.#fail(link, "its best blocks do not follow each other");
        return false;
      }
      for (const { twins } of this.#recent.splice(path.from)) {
        twins.forEach((id) => this.#cache.forget(id));
      }
      for (let i = 0; i < path.blocks.length; i += AT_ONCE) {
        const blocks = path.blocks.slice(i, i + AT_ONCE);
        const changes = await Promise.all(blocks.map(({ hash }) => this.#changes(hash, link)));
        blocks.forEach((block, i) => this.#see(block, changes[i]!));
      }
      this.#complaint = "";
      this.#failed = 0;
    } catch (error) {
      if (error instanceof NodeLostError) return false;
      this.#restart(head, describe(error));
      if (error instanceof FormatError) this.decodeErrors++;
      else if (!(error instanceof GapError)) {
        this.cacheErrors++;
        this.#fail(link, describe(error));
      }
    }
    return true;
  }

  /**
   * The way to a block from those that were seen: from which of them on they are left, and the blocks
   * then. Undefined if the block is not of the best branch any more: another is being announced.
   *
   * @throws {GapError} if there is none, or it is too far.
   */
  async #path(
    head: Head,
    link: Link,
  ): Promise<{ from: number; blocks: Omit<Head, "parentHash">[] } | undefined> {
    const [first, last] = [this.#recent[0]!, this.#recent.at(-1)!];
    if (head.parentHash === last.hash) return { from: this.#recent.length, blocks: [head] };
    if (head.number - last.number > this.#threshold) {
      throw new GapError(`${head.number - last.number} blocks were missed`);
    }
    const numbers = Array.from(
      { length: Math.max(head.number - first.number + 1, 0) },
      (_, i) => first.number + i,
    );
    const hashes = numbers.length > 0
      ? await link.node.call<unknown[]>("chain_getBlockHash", [numbers])
      : [];
    if (numbers.length > 0 && hashes.at(-1) !== head.hash) return undefined;
    const common = this.#recent.findLastIndex(({ hash }, i) => hashes[i] === hash);
    if (common < 0) throw new GapError("the chain has gone back, or is another one");
    const blocks = numbers.map((number, i) => ({ number, hash: `${hashes[i]}` }));
    return { from: common + 1, blocks: blocks.slice(common + 1) };
  }

  /** What a block's events say. */
  async #changes(hash: string, link: Link): Promise<{ id: number; name: string }[]> {
    const bytes = await link.read(link.codec.eventsKey, hash);
    // Setting the time is one in every block.
    if (bytes === null) throw new RmbError("it has a block without events");
    return link.codec.readEvents(bytes).flatMap((event) => {
      const id = twinOf(event);
      return id === undefined ? [] : { id, name: event.name };
    });
  }

  #see({ number, hash }: Omit<Head, "parentHash">, changes: { id: number; name: string }[]): void {
    for (const { id, name } of changes) {
      this.#cache.forget(id);
      if (name.endsWith(".TwinStored")) this.twinsStored++;
      if (name.endsWith(".TwinUpdated")) this.twinsUpdated++;
    }
    this.#recent.push({ number, hash, twins: changes.map(({ id }) => id) });
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
    this.#move();
  }

  /** Begins anew at a block, with nothing in the cache. */
  #restart(head: Head, complaint: string): void {
    if (complaint !== this.#complaint) {
      logger.warn("all twins are looked up anew: {complaint}", { complaint });
    }
    this.#complaint = complaint;
    this.#cache.flush();
    this.#recent = [{ number: head.number, hash: head.hash, twins: [] }];
    this.#move();
  }

  /** A node that can't say what its own best blocks changed is of no use, but knows no better. */
  #fail(link: Link, reason: string): void {
    if (++this.#failed === MAX_FAILED) link.node.leave(`it can't be followed: ${reason}`);
  }

  #move(): void {
    this.#moved.resolve();
    this.#moved = withResolvers();
  }
}

/** The blocks between the last one seen and a new one can't be seen, or are too many. */
class GapError extends RmbError {}
