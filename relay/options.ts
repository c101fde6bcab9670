import { FormatError } from "@rmb/protocol";
import { parsed, readOptions } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { map, multiple, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { flag, option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import manifest from "./deno.json" with { type: "json" };
import { MAX_MESSAGE } from "./relay.ts";

/** Where to listen. */
interface ListenAddress {
  readonly hostname: string;
  readonly port: number;
  /** As it was written. */
  toString(): string;
}

function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new FormatError(`Cannot listen on "${text}": expected host:port, IPv6 in brackets`);
  }
  return { hostname: match[1] ?? (match[2] || "::"), port, toString: () => text };
}

/** The options of `rmb-relay`. */
const parser = object({
  domains: multiple(
    option("-m", "--domain", string({ metavar: "DOMAIN" }), {
      description: message`Domain of this relay, exactly as twins name it. Can be repeated.`,
    }),
    { min: 1, errors: { tooFew: message`--domain is missing: name at least one domain.` } },
  ),
  twins: option("--twins", string({ metavar: "FILE" }), {
    description: message`JSON file that says who twins are.`,
    errors: { missing: message`--twins is missing: name the file that says who twins are.` },
  }),
  listen: withDefault(
    option("-l", "--listen", parsed("ADDRESS", parseListen("[::]:8080"), parseListen), {
      description: message`Address and port to listen on; port 0 takes a free one.`,
    }),
    parseListen("[::]:8080"),
  ),
  store: withDefault(
    option("--data", string({ metavar: "FILE" }), {
      description: message`SQLite file for the messages of those who are away.`,
    }),
    "rmb-relay.db",
  ),
  maxMessage: withDefault(
    option("--max-message", integer({ metavar: "BYTES", min: 1, max: MAX_MESSAGE }), {
      description: message`Longest message taken; its sender's session is closed above.`,
    }),
    MAX_MESSAGE,
  ),
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
      { name: "domain", instead: ["-m"], several: true },
      { name: "twins" },
      { name: "listen", instead: ["-l"] },
      { name: "data" },
      { name: "max-message" },
      { name: "debug", instead: ["-d"], flag: true },
    ],
  }, args);
}
