import { EncryptionKeypair, formatHex, Keypair } from "@rmb/protocol";
import { object, or } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { command, constant, option } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { type EnvironmentOption, shown } from "@rmb/protocol/program";
import { generateMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import {
  readSecret,
  secret,
  secretEnvironment,
  secretMissing,
  unexpectedInput,
  verbosity,
} from "../identity_options.ts";
import { writeJson, writeTable } from "./output.ts";
import type { Tool } from "./tool.ts";

const json = option("--json", { description: message`Write a line of JSON.` });

const errors = { unexpectedInput, endOfInput: secretMissing };

const parser = or(
  command(
    "new",
    object({
      does: constant("new"),
      words: withDefault(
        option("--words", choice(["12", "24"], { metavar: "COUNT" }), {
          description: message`How many words it has.`,
        }),
        "12",
        shown(12),
      ),
      json,
      verbosity,
    }, { errors: { unexpectedInput } }),
    {
      brief: message`Make a new mnemonic.`,
      description:
        message`Makes a new mnemonic and prints it, with its keys. Keep it: it is shown this once, and whoever has it is the twin.`,
    },
  ),
  command("show", object({ does: constant("show"), secret, json, verbosity }, { errors }), {
    brief: message`Print the keys of a secret.`,
    description:
      message`Prints the addresses, public keys and encryption key of a secret, which is not shown.`,
  }),
  { errors: { unexpectedInput } },
);

const secretOnly = secretEnvironment.filter(({ name }) => name !== "key-type");

const ofBoth: readonly EnvironmentOption[] = [
  { name: "json", flag: true },
  { name: "debug", short: "-d", flag: true },
];

/** Makes secrets, and shows what is public of them. */
export const keysTool: Tool<InferValue<typeof parser>> = {
  name: "keys",
  brief: message`Make a mnemonic, or print the public keys of a secret.`,
  description: message`Makes a mnemonic, or prints the public keys of a secret.`,
  parser,
  environment: [...secretOnly, ...ofBoth],
  subcommands: {
    new: [{ name: "words" }, ...ofBoth],
    show: [...secretOnly, ...ofBoth],
  },
  footer: [
    "Example: rmb-peer keys new",
    "Example: rmb-peer keys show --mnemonic-file twin.txt",
    "Exit codes: 0 done, 2 wrong usage, 1 any other failure.",
  ],
  async run(options) {
    const isNew = options.does === "new";
    const text = isNew
      ? generateMnemonic(wordlist, options.words === "24" ? 256 : 128)
      : await readSecret(options.secret);
    const pair = (type: "sr25519" | "ed25519") => {
      const { address, publicKey } = Keypair.fromSecret(text, type);
      return { address, publicKey: formatHex(publicKey) };
    };
    const sr25519 = pair("sr25519");
    const ed25519 = hasSoftStep(text) ? undefined : pair("ed25519");
    const encryption = EncryptionKeypair.fromSecret(text);
    const pk = encryption && formatHex(encryption.publicKey);
    if (options.json) {
      writeJson({
        ...isNew && { mnemonic: text },
        sr25519,
        ...ed25519 && { ed25519 },
        pk: pk ?? null,
      });
      return 0;
    }
    writeTable([
      ...isNew ? [["mnemonic", text]] as const : [],
      ["sr25519 address", sr25519.address],
      ["sr25519 public key", sr25519.publicKey],
      ["ed25519 address", ed25519?.address ?? "none: the path has a soft step"],
      ["ed25519 public key", ed25519?.publicKey ?? "none"],
      ["encryption key (pk)", pk ?? "none: the secret has a path or a password"],
    ]);
    return 0;
  },
};

function hasSoftStep(secret: string): boolean {
  try {
    Keypair.fromSecret(secret, "ed25519");
    return false;
  } catch {
    return true;
  }
}
