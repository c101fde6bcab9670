import { FileRegistry } from "@rmb/protocol/file-registry";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { parseOptions } from "./options.ts";
import { Relay } from "./relay.ts";
import { SqliteMailbox } from "./sqlite_mailbox.ts";

/** Longest time that stopping may take, in milliseconds. */
const STOP_TIME = 10_000;

/** The program `rmb-relay`. */
export function main(args: readonly string[]): Promise<never> {
  const options = parseOptions(args);
  return runProgram("rmb-relay", options.verbosity, async (stop) => {
    await using registry = await FileRegistry.open(options.twins);
    await using mailbox = new SqliteMailbox(options.store);
    const relay = new Relay({ ...options, ...options.listen, registry, mailbox });
    await untilAborted(stop);
    await Promise.race([
      relay[Symbol.asyncDispose](),
      new Promise((resolve) => setTimeout(resolve, STOP_TIME)),
    ]);
  });
}
