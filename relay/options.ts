import { FormatError } from "@rmb/protocol";
import { parsed, parseListen, readOptions, shown } from "@rmb/protocol/program";
import {
  CATCH_UP_THRESHOLD,
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { checkRedisUrl } from "@rmb/protocol/redis-url";
import { object, or, seq } from "@optique/core/constructs";
import { message, text } from "@optique/core/message";
import { map, multiple, optional, withDefault } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import { argument, flag, option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import manifest from "./deno.json" with { type: "json" };
import { MAX_MESSAGE } from "./relay.ts";

function checkDomain(text: string): string {
  const match = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(text);
  if (match !== null && Number(match[1] ?? 0) <= 65535) return text;
  const reason = text.includes("_")
    ? `"_" divides a twin's domains, none has one`
    : "expected host or host:port, IPv6 in brackets";
  throw new FormatError(`Cannot use "${text}" as domain: ${reason}`);
}

/** The file of messages when nothing else is said. */
const DATA = "rmb-relay.db";

/** The options of `rmb-relay`. */
const parser = object({
  domains: multiple(
    option("-m", "--domain", parsed("DOMAIN", "localhost", checkDomain), {
      description: message`Domain of this relay, exactly as twins name it. Can be repeated.`,
    }),
    { min: 1, errors: { tooFew: message`--domain is missing: name at least one domain.` } },
  ),
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  catchUpThreshold: withDefault(
    option("--catchup-threshold", integer({ metavar: "BLOCKS", min: 0 }), {
      description:
        message`How many blocks of the chain, missed while it was away, are read one by one; when more were missed, all twins are looked up anew.`,
    }),
    CATCH_UP_THRESHOLD,
    shown(CATCH_UP_THRESHOLD),
  ),
  listen: withDefault(
    option("-l", "--listen", parsed("ADDRESS", parseListen("[::]:8080"), parseListen), {
      description: message`Address and port to listen on; port 0 takes a free one.`,
    }),
    parseListen("[::]:8080"),
    shown(parseListen("[::]:8080")),
  ),
  store: withDefault(
    or(
      object({
        redis: option("-r", "--redis", parsed("URL", "redis://localhost:6379", checkRedisUrl), {
          description:
            message`Redis for the messages of those who are away: several relays can share it.`,
        }),
      }),
      object({
        data: option("--data", string({ metavar: "FILE" }), {
          description: message`SQLite file for them, for one relay. Default: ${
            text(DATA)
          }, without --redis.`,
        }),
      }),
    ),
    { data: DATA },
  ),
  rateLimit: optional(map(
    seq(
      flag("--limit", {
        description:
          message`Most messages (COUNT), and bytes of them (SIZE), that a twin may send in a minute. Default: any.`,
      }),
      argument(integer({ metavar: "COUNT", min: 1 }), { hidden: "doc" }),
      argument(integer({ metavar: "SIZE", min: 1 }), { hidden: "doc" }),
    ),
    ([, count, size]) => ({ count, size }),
  )),
  rankerPeriod: withDefault(
    option("-p", "--ranker-period", integer({ metavar: "SECONDS", min: 1 }), {
      description:
        message`How long a failure of another relay counts against it when one is chosen.`,
    }),
    3600,
    shown(3600),
  ),
  workers: withDefault(
    option("-w", "--workers", integer({ metavar: "COUNT", min: 1 }), {
      description:
        message`With --user-per-worker: their product is how many sessions can be connected at once.`,
    }),
    100,
    shown(100),
  ),
  userPerWorker: withDefault(
    option("-u", "--user-per-worker", integer({ metavar: "COUNT", min: 1 }), {
      description: message`See --workers.`,
    }),
    1000,
    shown(1000),
  ),
  maxMessage: withDefault(
    option("--max-message", integer({ metavar: "BYTES", min: 1, max: MAX_MESSAGE }), {
      description: message`Longest message taken; its sender's session is closed above.`,
    }),
    MAX_MESSAGE,
    shown(MAX_MESSAGE),
  ),
  tls: optional(object({
    cert: option("--tls-cert", string({ metavar: "FILE" }), {
      description: message`Certificates to serve TLS with, as PEM. Read again when they change.`,
    }),
    key: option("--tls-key", string({ metavar: "FILE" }), {
      description: message`Their private key, as PEM.`,
    }),
  })),
  federationScheme: withDefault(
    option("--federation-scheme", choice(["https", "http"]), {
      description: message`How other relays are reached: http is for networks without TLS.`,
    }),
    "https" as const,
    shown("https"),
  ),
  noStatusPage: option("--no-status-page", {
    description:
      message`Show no page with numbers of the last hour at /, which anyone who can connect may see.`,
  }),
  verbosity: map(
    multiple(flag("-d", "--debug", {
      description: message`Log every message; twice: with the beginning of its ciphertext.`,
    })),
    (flags) => flags.length,
  ),
});

/** Reads the options of `rmb-relay` from its arguments and environment. */
export function parseOptions(args: readonly string[]) {
  return readOptions<InferValue<typeof parser>>({
    name: "rmb-relay",
    brief: "Relay of RMB: passes on what twins send each other, or keeps it for who is away.",
    version: manifest.version,
    parser,
    prefix: "RMB_RELAY_",
    environment: [
      { name: "domain", short: "-m", several: true },
      ...registryEnvironment,
      { name: "catchup-threshold" },
      { name: "listen", short: "-l" },
      { name: "redis", short: "-r", instead: ["--data"] },
      { name: "data", instead: ["-r", "--redis"] },
      { name: "limit", values: true },
      { name: "ranker-period", short: "-p" },
      { name: "workers", short: "-w" },
      { name: "user-per-worker", short: "-u" },
      { name: "max-message" },
      { name: "tls-cert" },
      { name: "tls-key" },
      { name: "federation-scheme" },
      { name: "no-status-page", flag: true },
      { name: "debug", short: "-d", flag: true },
    ],
  }, args);
}
