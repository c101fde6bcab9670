import { parseHex } from "@rmb/protocol";
import type { Block } from "./block.ts";
import type { Chain } from "./chain.ts";
import { Execution, type TwinChange } from "./execution.ts";
import { storage as system } from "./pallets/system.ts";
import type { Pool } from "./pool.ts";
import { checkTransaction, InvalidTransaction } from "./validity.ts";

/** Most transactions in a block. */
const MAX_TRANSACTIONS = 1000;

/** Makes the blocks of a chain, one after the other. */
export class Producer {
  /** By how much the clock that blocks are dated with is ahead, in milliseconds. */
  clockOffset = 0;
  readonly #chain: Chain;
  readonly #pool: Pool;
  #changes: TwinChange[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(chain: Chain, pool: Pool) {
    this.#chain = chain;
    this.#pool = pool;
  }

  /** Sets a twin in the next block. */
  setTwin(change: TwinChange): void {
    this.#changes.push(change);
  }

  /** Adds a block to the best chain. */
  produce(): Promise<Block> {
    return this.#inTurn(() => this.#add(this.#chain.best, true));
  }

  /**
   * Has another branch win: the last blocks are not part of the best chain any more, and one more block is.
   * What changes of twins wait are in its first block; transactions go back to those that wait.
   *
   * @param depth How many blocks are lost.
   * @throws {RmbError} if they cannot be.
   */
  fork(depth: number): Promise<Block> {
    return this.#inTurn(async () => {
      let block = this.#chain.forkPoint(depth);
      for (let i = 0; i <= depth; i++) block = await this.#add(block, false);
      return block;
    });
  }

  #inTurn<T>(make: () => Promise<T>): Promise<T> {
    const made = this.#turn.then(make);
    this.#turn = made.catch(() => {});
    return made;
  }

  async #add(parent: Block, withTransactions: boolean): Promise<Block> {
    const execution = new Execution(parent, Date.now() + this.clockOffset);
    this.#changes.splice(0).forEach((change) => execution.setTwin(change));
    execution.setTime();
    if (withTransactions && !this.#pool.withholds) await this.#fill(execution);
    const block = await execution.finish();
    this.#chain.import(block);
    await this.#pool.update();
    return block;
  }

  async #fill(execution: Execution): Promise<void> {
    const genesis = parseHex(this.#chain.genesis.hash);
    for (const transaction of this.#pool.ready.slice(0, MAX_TRANSACTIONS)) {
      try {
        await checkTransaction(transaction, execution.state, genesis);
      } catch (error) {
        if (error instanceof InvalidTransaction) continue; // For example: too little is left for it.
        throw error;
      }
      const { signer, nonce } = transaction.signed;
      if (nonce === system.account.get(execution.state, signer)!.nonce) {
        execution.apply(transaction);
      }
    }
  }
}
