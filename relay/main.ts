import { FileRegistry } from "@rmb/protocol/file-registry";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { getLogger } from "@logtape/logtape";
import { parseOptions } from "./options.ts";
import { RedisStore } from "./redis/store.ts";
import { Relay } from "./relay.ts";
import { SqliteStore } from "./sqlite/store.ts";
import { TlsFiles } from "./tls_files.ts";

const logger = getLogger(["rmb", "relay"]);

/** Longest time that stopping may take, in milliseconds. */
const STOP_TIME = 10_000;

/** The program `rmb-relay`. */
export function main(args: readonly string[]): Promise<never> {
  const options = parseOptions(args);
  return runProgram("rmb-relay", options.verbosity, async (stop) => {
    const { store: place, listen, workers, userPerWorker } = options;
    const tlsFiles = options.tls && await TlsFiles.read(options.tls);
    await using registry = await FileRegistry.open(options.twins);
    const store = "redis" in place
      ? await RedisStore.open(place.redis)
      : new SqliteStore(place.data);
    const relay = await Relay.start({
      ...options,
      ...listen,
      registry,
      store,
      tls: tlsFiles?.keys,
      maxSessions: workers * userPerWorker,
    });
    using _watching = tlsFiles?.watch((keys) => relay.renewTls(keys));
    await untilAborted(stop);
    const stopped = relay[Symbol.asyncDispose]().then(() => store[Symbol.asyncDispose]());
    const late = new Promise<"late">((resolve) => setTimeout(() => resolve("late"), STOP_TIME));
    if (await Promise.race([stopped, late]) === "late") {
      logger.error("stopping took more than {seconds} s: what was not stored by now is lost", {
        seconds: STOP_TIME / 1000,
      });
    }
  });
}
