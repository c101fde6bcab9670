import { EncryptionKeypair, formatHex, Keypair } from "@rmb/protocol";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { shown, writeError } from "@rmb/protocol/program";
import { generateMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import {
  NO_SECRET,
  readSecret,
  secret,
  secretEnvironment,
  unexpectedInput,
  verbosity,
} from "../identity_options.ts";
import { writeJson, writeTable } from "./output.ts";
import type { Tool } from "./tool.ts";

const parser = object({
  new: option("--new", { description: message`Make a new mnemonic, and print it too.` }),
  words: withDefault(
    option("--words", choice(["12", "24"], { metavar: "COUNT" }), {
      description: message`How many words a new one has.`,
    }),
    "12",
    shown(12),
  ),
  json: option("--json", { description: message`Write a line of JSON.` }),
  secret: optional(secret),
  verbosity,
}, { errors: { unexpectedInput } });

/** Makes secrets, and shows what is public of them. */
export const keysTool: Tool<InferValue<typeof parser>> = {
  name: "keys",
  brief: message`Make a mnemonic, or print the public keys of a secret.`,
  description:
    message`Prints the addresses, the public keys and the encryption key of a secret, which itself is not shown; or makes a new one. Keep that: it is shown this once, and whoever has it is the twin.`,
  parser,
  environment: [
    ...secretEnvironment
      .filter(({ name }) => name !== "key-type")
      .map(({ instead = [], ...option }) => ({ ...option, instead: [...instead, "--new"] })),
    { name: "words" },
    { name: "json", flag: true },
    { name: "debug", short: "-d", flag: true },
  ],
  footer: [
    "Example: rmb-peer keys --new",
    "Example: rmb-peer keys --mnemonic-file twin.txt",
    "Exit codes: 0 done, 2 wrong usage, 1 any other failure.",
  ],
  async run(options) {
    const isNew = options.new;
    if (isNew === (options.secret !== undefined)) {
      writeError(`Error: ${isNew ? "A new mnemonic is made of no secret" : NO_SECRET}\n`);
      return 2;
    }
    const text = isNew
      ? generateMnemonic(wordlist, options.words === "24" ? 256 : 128)
      : await readSecret(options.secret!);
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
