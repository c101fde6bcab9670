import {
  EncryptionKeypair,
  Keypair,
  type KeyType,
  parseRelayUrl,
  SecretError,
} from "@rmb/protocol";
import { MAX_RELAYS } from "@rmb/protocol/endpoint";
import { type EnvironmentOption, parsed, shown } from "@rmb/protocol/program";
import { object, or } from "@optique/core/constructs";
import { message, optionName, text } from "@optique/core/message";
import { map, multiple, withDefault } from "@optique/core/modifiers";
import { flag, option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";

/** The public relay of the network. */
const PUBLIC_RELAY = "wss://relay.grid.tf";

/** Largest file that a mnemonic is read from, in bytes. */
const MAX_MNEMONIC_FILE = 4096;

/** Said when there is none. */
export const NO_SECRET =
  "The twin's secret is missing: give --mnemonic-file or, in the environment, RMB_PEER_MNEMONIC.";

/** The same as a message of the command line. */
export const secretMissing = message`${text(NO_SECRET)}`;

/** The secret, in one of its ways. */
export const secret = or(
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

/** The kind of the twin's key. */
export const keyType = withDefault(
  option("-k", "--key-type", choice(["sr25519", "ed25519"]), {
    description: message`Kind of the twin's key.`,
  }),
  "sr25519" as KeyType,
  shown("sr25519"),
);

/** The twin's relays. */
export const relays = withDefault(
  multiple(
    option("--relay", parsed("URL", PUBLIC_RELAY, checkRelayUrl), {
      description:
        message`Relay to connect to. Can be given up to four times, the best first: messages go through the first that answers.`,
    }),
    { min: 1, max: MAX_RELAYS },
  ),
  [PUBLIC_RELAY],
  shown(PUBLIC_RELAY),
);

/** How much is logged. */
export const verbosity = map(
  multiple(flag("-d", "--debug", { description: message`Log every message; twice: and all.` })),
  (flags) => flags.length,
);

const secretOptions = ["-m", "--mnemonic", "--mnemonics", "--mnemonic-file", "--seed"];

/** The secret and the kind of key in the environment. */
export const secretEnvironment: readonly EnvironmentOption[] = [
  { name: "mnemonic", instead: secretOptions },
  { name: "mnemonic-file", instead: secretOptions },
  { name: "seed", instead: secretOptions },
  { name: "key-type", short: "-k" },
];

/** An argument is not quoted: it may be a word of a mnemonic without quotation marks. */
export function unexpectedInput(token: string) {
  const name = /^(?:--[a-z-]+|-[a-z])(?==|$)/i.exec(token)?.[0];
  return name === undefined
    ? message`Unexpected argument: a value with spaces must stand in quotation marks.`
    : message`Unexpected option: ${optionName(name)}.`;
}

function checkRelayUrl(text: string): string {
  parseRelayUrl(text);
  return text;
}

/** A secret as it was given. */
export type SecretOption =
  | { readonly mnemonic: string }
  | { readonly mnemonicFile: string }
  | { readonly seed: string };

/** A secret, and the key pairs made from it. */
export interface Keys {
  readonly secret: string;
  readonly keypair: Keypair;
  readonly encryption: EncryptionKeypair | undefined;
}

/** Makes the key pairs of the secret that the options name. */
export async function readKeys(
  options: { readonly secret: SecretOption; readonly keyType: KeyType },
): Promise<Keys> {
  const secret = await readSecret(options.secret);
  return {
    secret,
    keypair: Keypair.fromSecret(secret, options.keyType),
    encryption: EncryptionKeypair.fromSecret(secret),
  };
}

/** Reads the secret that an option names. */
export async function readSecret(secret: SecretOption): Promise<string> {
  const text = "mnemonic" in secret
    ? secret.mnemonic
    : "seed" in secret
    ? `0x${secret.seed.replace(/^0x/, "")}`
    : await readMnemonicFile(secret.mnemonicFile);
  // An empty secret would be a valid one: the phrase that everybody develops with.
  if (text.trim() === "") throw new SecretError("Cannot use the secret: it is empty");
  return text;
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
