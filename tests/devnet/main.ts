/**
 * A stand-in for TFChain: its JSON-RPC, twins, signed transactions and blocks, and faults on demand.
 *
 *     deno task devnet --help
 */
import { setTimeout as delay } from "node:timers/promises";
import { RmbError } from "@rmb/protocol";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import type { Block } from "./block.ts";
import { Chain } from "./chain.ts";
import { serveControl } from "./control.ts";
import { development, genesisBlock, parseGenesis } from "./genesis.ts";
import { Node } from "./node.ts";
import { type Options, readArguments } from "./options.ts";
import { Pool } from "./pool.ts";
import { Producer } from "./producer.ts";
import { openChain } from "./store.ts";

async function makeGenesis(file: string | undefined): Promise<Block> {
  if (file === undefined) return genesisBlock(development);
  try {
    return genesisBlock(parseGenesis(await Deno.readTextFile(file)));
  } catch (cause) {
    throw new RmbError(`Cannot read twins file "${file}": ${(cause as Error).message}`, { cause });
  }
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const begin = () => makeGenesis(options.twins);
  const chain = options.data === undefined
    ? new Chain(await begin())
    : await openChain(options.data, begin);
  const pool = new Pool(chain);
  const producer = new Producer(chain, pool);
  const { hostname, port } = options.listen;
  const nodes = Array.from(
    { length: options.nodes },
    (_, i) => new Node(chain, pool, { hostname, port: port === 0 ? 0 : port + i }),
  );
  const control = serveControl({ chain, pool, producer, nodes }, hostname);
  for (const { url } of nodes) console.log(`node ${url}`);
  console.log(`control http://${hostname}:${control.addr.port}`);
  console.log(`ready at block ${chain.best.number}, ${chain.best.hash}`);
  await (options.blockTime > 0
    ? produceBlocks(producer, options.blockTime, signal)
    : untilAborted(signal));
}

async function produceBlocks(
  producer: Producer,
  every: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(every, undefined, { signal }).catch(() => {});
    if (!signal.aborted) await producer.produce();
  }
}

if (import.meta.main) {
  const options = readArguments(Deno.args);
  await runProgram("devnet", 0, (signal) => run(options, signal));
}
