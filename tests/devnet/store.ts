import { RmbError } from "@rmb/protocol";
import { DatabaseSync } from "node:sqlite";
import { type Block, headerCodec, makeBlock } from "./block.ts";
import { Chain } from "./chain.ts";
import { bytes, decodeAll, list, option, text, tuple } from "./scale.ts";
import { State } from "./state.ts";

/** The blocks' bodies, and what they changed: keys in hexadecimal; no value where one was removed. */
const body = list(bytes);
const changeList = list(
  tuple<readonly [key: string, value: Uint8Array | undefined]>(text, option(bytes)),
);

/**
 * Opens the file that a chain is kept in, and has it take up the chain's blocks. What there is beside blocks
 * follows from them.
 *
 * @param file An SQLite file, which is made if it is not there.
 * @param makeGenesis Makes the first block of a new chain.
 * @returns The chain, which goes on from the file's blocks.
 * @throws {RmbError} if the file can't be used.
 */
export async function openChain(file: string, makeGenesis: () => Promise<Block>): Promise<Chain> {
  try {
    const database = new DatabaseSync(file);
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS devnet_block (
        id INTEGER PRIMARY KEY,
        header BLOB NOT NULL,
        body BLOB NOT NULL,
        changes BLOB NOT NULL
      ) STRICT;
    `);
    const insert = database.prepare(
      "INSERT INTO devnet_block (header, body, changes) VALUES (?, ?, ?)",
    );
    const add = (block: Block) => {
      const changes = changeList.encode([...block.state!.changes]);
      insert.run(headerCodec.encode(block.header), body.encode(block.extrinsics), changes);
    };
    let chain = readChain(database);
    if (chain === undefined) {
      chain = new Chain(await makeGenesis());
      add(chain.genesis);
    }
    chain.listen({ imported: ({ block }) => add(block) });
    return chain;
  } catch (cause) {
    if (cause instanceof RmbError) throw cause;
    throw new RmbError(`Cannot use "${file}": ${(cause as Error).message}`, { cause });
  }
}

/** The chain that is there, which goes through all that has happened to it once more. */
function readChain(database: DatabaseSync): Chain | undefined {
  let chain: Chain | undefined;
  for (const row of database.prepare("SELECT * FROM devnet_block ORDER BY id").iterate()) {
    const changes = decodeAll(changeList, row.changes as Uint8Array);
    const block = makeBlock(
      decodeAll(headerCodec, row.header as Uint8Array),
      decodeAll(body, row.body as Uint8Array),
      undefined,
    );
    block.state = new State(chain?.block(block.parent)?.state, changes);
    if (chain === undefined) chain = new Chain(block);
    else chain.import(block);
  }
  return chain;
}
