import { isTfchainDomain } from "@rmb/protocol";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { openRegistry } from "@rmb/protocol/program-registry";
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
    const { store: place, listen, workers, userPerWorker, catchUpThreshold } = options;
    const tlsFiles = options.tls && await TlsFiles.read(options.tls);
    if ("substrate" in options.registry) warnOfDomains(options.domains);
    const registry = await openRegistry(options.registry, stop, catchUpThreshold);
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
      statusPage: !options.noStatusPage,
    });
    using _watching = tlsFiles?.watch((keys) => relay.renewTls(keys));
    await untilAborted(stop);
    const stopped = relay[Symbol.asyncDispose]()
      .then(() => store[Symbol.asyncDispose]())
      .then(() => registry[Symbol.asyncDispose]());
    const late = new Promise<"late">((resolve) => setTimeout(() => resolve("late"), STOP_TIME));
    if (await Promise.race([stopped, late]) === "late") {
      logger.error("stopping took more than {seconds} s: what was not stored by now is lost", {
        seconds: STOP_TIME / 1000,
      });
    }
  });
}

/** Says which domains no twin can have there. */
function warnOfDomains(domains: readonly string[]): void {
  for (const domain of domains.filter((domain) => !isTfchainDomain(domain))) {
    logger.warn(
      "no twin can name {domain} as its relay on TFChain, which has neither ports nor IPv6 addresses",
      { domain },
    );
  }
}
