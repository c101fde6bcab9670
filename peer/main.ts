import { FileRegistry } from "@rmb/protocol/file-registry";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { getLogger } from "@logtape/logtape";
import { Gateway } from "./gateway.ts";
import { parseOptions, readKeys } from "./options.ts";
import { SignaturePool } from "./signatures.ts";

/** Longest time that stopping may take, in milliseconds. */
const STOP_TIME = 10_000;

/** The program `rmb-peer`. */
export function main(args: readonly string[]): Promise<never> {
  const options = parseOptions(args);
  return runProgram("rmb-peer", options.verbosity, async (stop) => {
    const { secret, keypair, encryption } = await readKeys(options);
    if (encryption === undefined) {
      getLogger(["rmb", "peer"]).warn(
        "this secret has no encryption key (a derivation path or a password): " +
          "what is sent to this twin, and by it, is signed but not encrypted",
      );
    }
    await using registry = await FileRegistry.open(options.twins);
    using signatures = new SignaturePool(keypair, secret);
    const update = !options.noUpdate;
    const gateway = await Promise.race([
      Gateway.start({ ...options, keypair, encryption, signatures, registry, update }),
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
