import { RmbError } from "@rmb/protocol";
import type { Block } from "./block.ts";

/** How many blocks' states are kept, as by a real node that keeps no archive. */
const KEPT_STATES = 256;

/** By how many blocks finality follows. */
const FINALITY_LAG = 2;

/** What a chain tells when a block was added to it. */
export interface Import {
  readonly block: Block;
  /** Whether it is the best one now. */
  readonly isBest: boolean;
  /** Blocks that are not part of the best chain any more, the latest first. */
  readonly retracted: readonly Block[];
  /** Blocks that are part of it now, the latest last. */
  readonly enacted: readonly Block[];
}

/** Who wants to know what happens to a chain. */
export interface ChainListener {
  imported?(event: Import): unknown;
  /** The chain is final up to this block. */
  finalized?(block: Block): void;
}

/** Blocks: the best chain, the branches that lost, what is final. */
export class Chain {
  /** Whether finality follows. */
  finalizes = true;
  readonly #blocks = new Map<string, Block>();
  /** Hashes of the best chain's blocks by number. */
  readonly #best: string[];
  #finalized = 0;
  /** The blocks whose states are kept, and the first of them in the best chain. */
  readonly #withState = new Set<Block>();
  #first: Block;
  readonly #listeners = new Set<ChainListener>();

  constructor(genesis: Block) {
    this.#blocks.set(genesis.hash, genesis);
    this.#best = [genesis.hash];
    this.#withState.add(genesis);
    this.#first = genesis;
  }

  /** The first block. */
  get genesis(): Block {
    return this.at(0)!;
  }

  /** The best block. */
  get best(): Block {
    return this.at(this.#best.length - 1)!;
  }

  /** The last block that is final. */
  get finalized(): Block {
    return this.at(this.#finalized)!;
  }

  /** A block by hash. */
  block(hash: string): Block | undefined {
    return this.#blocks.get(hash);
  }

  /** A block of the best chain by number. */
  at(number: number): Block | undefined {
    const hash = this.#best[number];
    return hash === undefined ? undefined : this.#blocks.get(hash);
  }

  /** Has a listener told what happens, until the function that this returns is called. */
  listen(listener: ChainListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Adds a block, whose parent is there. The longest branch is the best; of equals, the first. */
  import(block: Block): void {
    const isBest = block.number > this.best.number;
    this.#blocks.set(block.hash, block);
    this.#withState.add(block);
    const change = isBest ? this.#follow(block) : { retracted: [], enacted: [] };
    for (const { imported } of this.#listeners) imported?.({ block, isBest, ...change });
    this.finalize();
    this.#discardStates();
  }

  /** Has finality follow the best block as far as it does. */
  finalize(): void {
    const number = this.best.number - FINALITY_LAG;
    if (!this.finalizes || number <= this.#finalized) return;
    this.#finalized = number;
    for (const { finalized } of this.#listeners) finalized?.(this.finalized);
  }

  /**
   * The block that a branch must begin at that gets rid of the last blocks.
   *
   * @throws {RmbError} if some of them are final, or the states are not there any more.
   */
  forkPoint(depth: number): Block {
    const number = this.best.number - depth;
    if (number < this.#finalized) {
      throw new RmbError(
        `Cannot fork ${depth} blocks away: of ${this.best.number}, ${this.#finalized} are final`,
      );
    }
    const block = this.at(number);
    if (block?.state === undefined) {
      throw new RmbError(`Cannot fork ${depth} blocks away: at most ${KEPT_STATES - 1}`);
    }
    return block;
  }

  #follow(block: Block): Pick<Import, "retracted" | "enacted"> {
    const enacted: Block[] = [];
    let ancestor = block;
    for (; this.#best[ancestor.number] !== ancestor.hash; ancestor = this.block(ancestor.parent)!) {
      enacted.unshift(ancestor);
    }
    const retracted = this.#best.splice(ancestor.number + 1).reverse();
    this.#best.push(...enacted.map(({ hash }) => hash));
    return { retracted: retracted.map((hash) => this.block(hash)!), enacted };
  }

  /** Keeps the states of the last blocks only, and of the branches that lost none that is older. */
  #discardStates(): void {
    while (this.best.number - this.#first.number >= KEPT_STATES) {
      const next = this.at(this.#first.number + 1)!;
      for (const child of this.#children(this.#first)) if (child !== next) this.#forget(child);
      next.state!.fold(this.#children(next).map(({ state }) => state!));
      this.#first.state = undefined;
      this.#withState.delete(this.#first);
      this.#first = next;
    }
  }

  #forget(block: Block): void {
    this.#children(block).forEach((child) => this.#forget(child));
    this.#withState.delete(block);
    this.#blocks.delete(block.hash);
  }

  #children({ hash }: Block): Block[] {
    return [...this.#withState].filter(({ parent }) => parent === hash);
  }
}
