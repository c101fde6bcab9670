import {
  EncryptionKeypair,
  Keypair,
  type KeyType,
  parseRelayUrl,
  SecretError,
} from "@rmb/protocol";
import { MAX_RELAYS } from "@rmb/protocol/endpoint";
import { parsed, parseListen, readOptions, shown } from "@rmb/protocol/program";
import {
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { checkRedisUrl } from "@rmb/protocol/redis-url";
import { object, or } from "@optique/core/constructs";
import { message, optionName } from "@optique/core/message";
import { map, multiple, optional, withDefault } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import { flag, option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";
import manifest from "./deno.json" with { type: "json" };

/** The public relay of the network. */
const PUBLIC_RELAY = "wss://relay.grid.tf";

/** Largest file that a mnemonic is read from, in bytes. */
const MAX_MNEMONIC_FILE = 4096;

const secretMissing =
  message`The twin's secret is missing: give --mnemonic-file or, in the environment, RMB_PEER_MNEMONIC.`;

/** The secret, in one of its ways. */
const secret = or(
  object({
    mnemonic: option("-m", "--mnemonic", "--mnemonics", string({ metavar: "WORDS" }), {
      description:
        message`Secret of the twin: a mnemonic, or any other Substrate secret. Others on this machine can see it in the list of processes: rather use a file or the environment.`,
    }),
  }),
  object({
    mnemonicFile: option("--mnemonic-file", string({ metavar: "FILE" }), {
      description: message`File with the mnemonic.`,
    }),
  }),
  object({
    seed: option("--seed", string({ metavar: "HEX" }), {
      description:
        message`Secret of the twin as 32 bytes in hexadecimal, for which the same holds.`,
    }),
  }),
  { errors: { noMatch: secretMissing } },
);

/** The options of `rmb-peer`. */
const parser = object({
  secret,
  keyType: withDefault(
    option("-k", "--key-type", choice(["sr25519", "ed25519"]), {
      description: message`Kind of the twin's key.`,
    }),
    "sr25519" as KeyType,
    shown("sr25519"),
  ),
  redis: withDefault(
    option("-r", "--redis", parsed("URL", "redis://localhost:6379", checkRedisUrl), {
      description: message`Redis that local programs use.`,
    }),
    "redis://localhost:6379",
    shown("redis://localhost:6379"),
  ),
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  relays: withDefault(
    multiple(
      option("--relay", parsed("URL", PUBLIC_RELAY, checkRelayUrl), {
        description:
          message`Relay to connect to. Can be given up to four times, the best first: messages go through the first that answers.`,
      }),
      { min: 1, max: MAX_RELAYS },
    ),
    [PUBLIC_RELAY],
    shown(PUBLIC_RELAY),
  ),
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
  verbosity: map(
    multiple(flag("-d", "--debug", { description: message`Log every message; twice: and all.` })),
    (flags) => flags.length,
  ),
}, { errors: { unexpectedInput, endOfInput: secretMissing } });

/** An argument is not quoted: it may be a word of a mnemonic without quotation marks. */
function unexpectedInput(token: string) {
  const name = /^(?:--[a-z-]+|-[a-z])(?==|$)/i.exec(token)?.[0];
  return name === undefined
    ? message`Unexpected argument: a value with spaces must stand in quotation marks.`
    : message`Unexpected option: ${optionName(name)}.`;
}

function checkRelayUrl(text: string): string {
  parseRelayUrl(text);
  return text;
}

/** Reads the options of `rmb-peer` from its arguments and environment. */
export function parseOptions(args: readonly string[]) {
  const secretOptions = ["-m", "--mnemonic", "--mnemonics", "--mnemonic-file", "--seed"];
  return readOptions<InferValue<typeof parser>>({
    name: "rmb-peer",
    brief: "Gateway of RMB: local programs send and serve requests by plain JSON in Redis.",
    version: manifest.version,
    parser,
    prefix: "RMB_PEER_",
    environment: [
      { name: "mnemonic", instead: secretOptions },
      { name: "mnemonic-file", instead: secretOptions },
      { name: "seed", instead: secretOptions },
      { name: "key-type", short: "-k" },
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

/** A secret, and the key pairs made from it. */
export interface Keys {
  readonly secret: string;
  readonly keypair: Keypair;
  readonly encryption: EncryptionKeypair | undefined;
}

/** Makes the key pairs of the secret that the options name. */
export async function readKeys(
  { secret, keyType }: Pick<Options, "secret" | "keyType">,
): Promise<Keys> {
  const text = "mnemonic" in secret
    ? secret.mnemonic
    : "seed" in secret
    ? `0x${secret.seed.replace(/^0x/, "")}`
    : await readMnemonicFile(secret.mnemonicFile);
  // An empty secret would be a valid one: the phrase that everybody develops with.
  if (text.trim() === "") throw new SecretError("Cannot use the secret: it is empty");
  return {
    secret: text,
    keypair: Keypair.fromSecret(text, keyType),
    encryption: EncryptionKeypair.fromSecret(text),
  };
}

async function readMnemonicFile(path: string): Promise<string> {
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_MNEMONIC_FILE) throw new SecretError(`it has ${size} bytes`);
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new SecretError(`Cannot read mnemonic file "${path}": ${(cause as Error).message}`, {
      cause,
    });
  }
}
