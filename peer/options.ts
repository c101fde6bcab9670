import { parsed, parseListen, readOptions, shown } from "@rmb/protocol/program";
import {
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { checkRedisUrl } from "@rmb/protocol/redis-url";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import manifest from "./deno.json" with { type: "json" };
import {
  keyType,
  relays,
  secret,
  secretEnvironment,
  secretMissing,
  unexpectedInput,
  verbosity,
} from "./identity_options.ts";

/** What the names of environment variables begin with. */
export const PREFIX = "RMB_PEER_";

/** The Redis of the gateway. */
export const redis = withDefault(
  option("-r", "--redis", parsed("URL", "redis://localhost:6379", checkRedisUrl), {
    description: message`Redis that local programs use.`,
  }),
  "redis://localhost:6379",
  shown("redis://localhost:6379"),
);

/** The options of the gateway. */
export const gatewayParser = object({
  secret,
  keyType,
  redis,
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  relays,
  uploads: optional(
    option("-u", "--uploads", string({ metavar: "DIR" }), {
      description: message`Folder for files of other twins; without it no files are sent or taken.`,
    }),
  ),
  metricsListen: optional(
    option("--metrics-listen", parsed("ADDRESS", parseListen("127.0.0.1:9464"), parseListen), {
      description:
        message`Address and port for /metrics and /health, which anyone who can connect there may read; such as 127.0.0.1:9464. Default: none.`,
    }),
  ),
  noUpdate: option("--no-update", {
    description: message`Do not publish the twin's relay and encryption key; warn if they differ.`,
  }),
  verbosity,
}, { errors: { unexpectedInput, endOfInput: secretMissing } });

/**
 * Reads the options of the gateway from its arguments and environment.
 *
 * @param parser What to read them with: the gateway's, or one that has more to say in the help.
 */
export function parseOptions(args: readonly string[], parser: object = gatewayParser) {
  return readOptions<InferValue<typeof gatewayParser>>({
    name: "rmb-peer",
    brief: "Gateway of RMB: local programs send and serve requests by plain JSON in Redis.",
    version: manifest.version,
    parser,
    usage: ["[OPTION]...", "TOOL [OPTION]... [ARGUMENT]..."],
    prefix: PREFIX,
    environment: [
      ...secretEnvironment,
      { name: "redis", short: "-r" },
      ...registryEnvironment,
      { name: "relay", several: true },
      { name: "uploads", short: "-u" },
      { name: "metrics-listen" },
      { name: "no-update", flag: true },
      { name: "debug", short: "-d", flag: true },
    ],
  }, args);
}

/** The options as they were given. */
export type Options = ReturnType<typeof parseOptions>;
