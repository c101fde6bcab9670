import { FileRegistry } from "@rmb/protocol/file-registry";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { getLogger } from "@logtape/logtape";
import { FilePlugin } from "./files/mod.ts";
import { Gateway } from "./gateway.ts";
import { parseOptions, readKeys } from "./options.ts";

/** Longest time that stopping may take, in milliseconds. */
const STOP_TIME = 10_000;

/** The program `rmb-peer`. */
export function main(args: readonly string[]): Promise<never> {
  const options = parseOptions(args);
  return runProgram("rmb-peer", options.verbosity, async (stop) => {
    const { keypair, encryption } = await readKeys(options);
    if (encryption === undefined) {
      getLogger(["rmb", "peer"]).warn(
        "this secret has no encryption key (a derivation path or a password): " +
          "what is sent to this twin, and by it, is signed but not encrypted",
      );
    }
    await using registry = await FileRegistry.open(options.twins);
    const update = !options.noUpdate;
    const plugins = [new FilePlugin(options.uploads)];
    const gateway = await Promise.race([
      Gateway.start({ ...options, keypair, encryption, registry, update, plugins }),
      untilAborted(stop),
    ]);
    if (gateway === undefined) return; // Told to stop while it waited for Redis.
    await untilAborted(stop);
    await Promise.race([
      gateway[Symbol.asyncDispose](),
      new Promise((resolve) => setTimeout(resolve, STOP_TIME)),
    ]);
  });
}
