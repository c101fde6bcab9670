import {
  EncryptionKeypair,
  Keypair,
  type KeyType,
  parseRelayUrl,
  SecretError,
} from "@rmb/protocol";
import { parsed, readOptions, shown } from "@rmb/protocol/program";
import { checkRedisUrl } from "@rmb/protocol/redis-url";
import { object, or } from "@optique/core/constructs";
import { message, optionName } from "@optique/core/message";
import { map, multiple, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { flag, option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";
import manifest from "./deno.json" with { type: "json" };

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
  twins: option("--twins", string({ metavar: "FILE" }), {
    description: message`JSON file that says who twins are.`,
    errors: { missing: message`--twins is missing: name the file that says who twins are.` },
  }),
  relays: multiple(
    option("--relay", parsed("URL", "ws://localhost:8080", checkRelayUrl), {
      description:
        message`Relay to connect to, for example ws://localhost:8080. Can be given up to four times, the best first: messages go through the first that answers.`,
    }),
    {
      min: 1,
      errors: {
        tooFew: message`--relay is missing: name the relay to connect to.`,
      },
    },
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
      { name: "key-type", instead: ["-k"] },
      { name: "redis", instead: ["-r"] },
      { name: "twins" },
      { name: "relay", several: true },
      { name: "no-update", flag: true },
      { name: "debug", instead: ["-d"], flag: true },
    ],
  }, args);
}

/** The options as they were given. */
export type Options = ReturnType<typeof parseOptions>;

/** Makes the key pairs of the secret that the options name. */
export async function readKeys(
  { secret, keyType }: Pick<Options, "secret" | "keyType">,
): Promise<{ keypair: Keypair; encryption: EncryptionKeypair | undefined }> {
  const text = "mnemonic" in secret
    ? secret.mnemonic
    : "seed" in secret
    ? `0x${secret.seed.replace(/^0x/, "")}`
    : await readMnemonicFile(secret.mnemonicFile);
  // An empty secret would be a valid one: the phrase that everybody develops with.
  if (text.trim() === "") throw new SecretError("Cannot use the secret: it is empty");
  return {
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
