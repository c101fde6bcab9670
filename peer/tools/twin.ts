import {
  EncryptionKeypair,
  formatAccount,
  FormatError,
  formatHex,
  Keypair,
  NoTwinError,
  parseAccount,
  parseSession,
  RmbError,
  type Twin,
  type TwinRegistry,
} from "@rmb/protocol";
import { type EnvironmentOption, parsed, writeError } from "@rmb/protocol/program";
import {
  openRegistry,
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { object, or } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import type { InferValue, Parser } from "@optique/core/parser";
import { argument, command, constant, option } from "@optique/core/primitives";
import {
  keyType,
  readSecret,
  relays,
  secret,
  secretEnvironment,
  secretMissing,
  unexpectedInput,
  verbosity,
} from "../identity_options.ts";
import { writeJson, writeLine, writeTable } from "./output.ts";
import type { Tool } from "./tool.ts";

const common = {
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  json: option("--json", { description: message`Write a line of JSON.` }),
  verbosity,
};

const parser = or(
  command(
    "show",
    object({
      does: constant("show"),
      who: argument(parsed("TWIN", 1 as number | Uint8Array, parseWho), {
        description: message`Id of the twin, or the address of its account.`,
      }),
      ...common,
    }),
    { brief: message`Look a twin up.`, description: message`Looks a twin up, by id or address.` },
  ),
  command(
    "update",
    object({ does: constant("update"), secret, keyType, relays, ...common }, {
      errors: { unexpectedInput, endOfInput: secretMissing },
    }),
    {
      brief: message`Publish the own twin's relays and encryption key.`,
      description:
        message`Publishes the relays of --relay and the encryption key of the secret for its twin, whatever was there. On TFChain this is a transaction that the account pays for.`,
    },
  ),
  { errors: { unexpectedInput } },
);

/** Reads the id of a twin, or an account. */
function parseWho(text: string): number | Uint8Array {
  if (!/^\d+$/.test(text)) return parseAccount(text);
  const { twin } = parseSession(text);
  if (twin === 0) throw new FormatError("Twin 0 is none: expected an id such as 9");
  return twin;
}

const ownEnvironment: readonly EnvironmentOption[] = [
  ...secretEnvironment,
  { name: "relay", several: true },
];

const commonEnvironment: readonly EnvironmentOption[] = [
  ...registryEnvironment,
  { name: "json", flag: true },
  { name: "debug", short: "-d", flag: true },
];

/** Looks twins up, and publishes the own. */
export const twinTool: Tool<InferValue<typeof parser>> = {
  name: "twin",
  brief: message`Look a twin up, or publish the own one's relays and key.`,
  description: message`Looks a twin up, or publishes the own one's relays and encryption key.`,
  parser,
  environment: [...ownEnvironment, ...commonEnvironment],
  subcommands: {
    show: commonEnvironment,
    update: [...ownEnvironment, ...commonEnvironment],
  },
  footer: [
    "Example: rmb-peer twin show 9",
    "Exit codes: 0 done, 2 wrong usage, 6 no such twin, 1 any other failure.",
  ],
  async run(options, stop) {
    await using registry = await openRegistry(options.registry, stop);
    try {
      if (options.does === "show") {
        show(await find(registry, options.who), options.json);
        return 0;
      }
      const text = await readSecret(options.secret);
      const keypair = Keypair.fromSecret(text, options.keyType);
      const before = await find(registry, keypair.publicKey);
      const names = options.relays.map((url) => {
        const domain = registry.relayDomain(url);
        if (domain !== undefined) return domain;
        throw new RmbError(`Relay "${url}" has no name that a twin can publish here`);
      });
      const pk = EncryptionKeypair.fromSecret(text)?.publicKey;
      await registry.updateTwin(keypair, { relays: names, pk });
      const after = await find(registry, before.id);
      if (!options.json) writeChanges(before, after);
      else writeJson({ before: jsonOf(before), after: jsonOf(after) });
      return 0;
    } catch (error) {
      if (!(error instanceof NoTwinError)) throw error;
      if (options.json) writeJson({ error: { kind: error.name, message: error.message } });
      else writeError(`rmb-peer twin: ${error.message}\n`);
      return 6;
    }
  },
};

async function find(registry: TwinRegistry, who: number | Uint8Array): Promise<Twin> {
  const id = typeof who === "number" ? who : await registry.twinIdByAccount(who);
  const twin = id === undefined ? undefined : await registry.twin(id);
  if (twin !== undefined) return twin;
  throw new NoTwinError(
    typeof who === "number"
      ? `There is no twin ${who}`
      : `No twin has the account ${formatAccount(who)}`,
  );
}

function jsonOf({ id, account, relays, pk }: Twin) {
  return { id, account: formatAccount(account), relays, pk: pk ? formatHex(pk) : null };
}

function show(twin: Twin, json: boolean): void {
  if (json) return writeJson(jsonOf(twin));
  const { id, account, relays, pk } = twin;
  writeTable([
    ["twin", String(id)],
    ["address", formatAccount(account)],
    ["public key", formatHex(account)],
    ["relays", relays.join(", ") || "none: nobody can reach it"],
    ["encryption key (pk)", pk ? formatHex(pk) : "none: what it gets is not encrypted"],
  ]);
}

function writeChanges(before: Twin, after: Twin): void {
  const [old, now] = [jsonOf(before), jsonOf(after)];
  const rows = ([["relays", old.relays.join(", "), now.relays.join(", ")], [
    "encryption key (pk)",
    old.pk,
    now.pk,
  ]] as const).map(([name, old, now]) =>
    [
      name,
      old === now ? `${now || "none"} (as before)` : `${now || "none"} (was ${old || "none"})`,
    ] as const
  );
  writeLine(`twin ${after.id} now publishes`);
  writeTable(rows);
}
