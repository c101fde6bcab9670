import {
  formatAccount,
  FormatError,
  formatHex,
  NoTwinError,
  parseAccount,
  parseSession,
  RmbError,
  type Twin,
  type TwinRegistry,
} from "@rmb/protocol";
import { parsed, writeError } from "@rmb/protocol/program";
import {
  openRegistry,
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import {
  type Keys,
  keyType,
  NO_SECRET,
  readKeys,
  relays,
  secret,
  secretEnvironment,
  unexpectedInput,
  verbosity,
} from "../identity_options.ts";
import { writeJson, writeLine, writeTable } from "./output.ts";
import { INTERRUPTED, type Tool } from "./tool.ts";

const parser = object({
  who: optional(argument(parsed("TWIN", 1 as number | Uint8Array, parseWho), {
    description:
      message`Id of the twin, or address of its account. Default: the own, of the secret.`,
  })),
  update: option("--update", {
    description:
      message`Publish the relays of --relay and the encryption key of the secret for the own twin, whatever was there. On TFChain that is a transaction, which the account pays for.`,
  }),
  secret: optional(secret),
  keyType,
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  relays,
  json: option("--json", { description: message`Write a line of JSON.` }),
  verbosity,
}, { errors: { unexpectedInput } });

type Options = InferValue<typeof parser>;

/** Reads the id of a twin, or an account. */
function parseWho(text: string): number | Uint8Array {
  if (/^(?:5|0x)./.test(text) && !/^\d+$/.test(text)) return parseAccount(text);
  // Not quoted: it may be a word of a mnemonic.
  if (!/^\d+$/.test(text)) {
    throw new FormatError("Cannot read a twin: expected its id, such as 9, or an address");
  }
  const { twin } = parseSession(text);
  if (twin === 0) throw new FormatError("Twin 0 is none: expected an id such as 9");
  return twin;
}

/** Looks twins up, and publishes the own. */
export const twinTool: Tool<Options> = {
  name: "twin",
  brief: message`Look a twin up, or publish the own one's relays and key.`,
  description:
    message`Shows what a twin publishes: its account, relays and encryption key. With --update it publishes what others need to reach the own twin, as the gateway does when it starts.`,
  parser,
  environment: [
    ...secretEnvironment,
    ...registryEnvironment,
    { name: "relay", several: true },
    { name: "json", flag: true },
    { name: "debug", short: "-d", flag: true },
  ],
  footer: [
    "Example: rmb-peer twin 9",
    "Example: rmb-peer twin --update --relay wss://relay.example.org",
    `Exit codes: 0 done, 2 wrong usage, 6 no such twin, ${INTERRUPTED} interrupted, ` +
    "1 any other failure.",
  ],
  async run(options, stop) {
    const { who, update, json } = options;
    if (update && who !== undefined) {
      writeError("Error: Only the own twin can be updated: leave TWIN out\n");
      return 2;
    }
    if (who === undefined && options.secret === undefined) {
      writeError(
        `Error: ${update ? "" : "Neither a twin nor the own one is named. "}${NO_SECRET}\n`,
      );
      return 2;
    }
    const own = who === undefined
      ? await readKeys({ ...options, secret: options.secret! })
      : undefined;
    await using registry = await openRegistry(options.registry, stop);
    try {
      const twin = await find(registry, who ?? own!.keypair.publicKey);
      if (update) await publish(registry, own!, twin, options);
      else if (json) writeJson(jsonOf(twin));
      else show(twin);
      return 0;
    } catch (error) {
      if (!(error instanceof NoTwinError)) throw error;
      if (json) writeJson({ error: { kind: error.name, message: error.message } });
      else writeError(`rmb-peer twin: ${error.message}\n`);
      return 6;
    }
  },
};

async function publish(
  registry: TwinRegistry,
  { keypair, encryption }: Keys,
  before: Twin,
  { relays, json }: Options,
): Promise<void> {
  const names = relays.map((url) => {
    const domain = registry.relayDomain(url);
    if (domain !== undefined) return domain;
    throw new RmbError(`Relay "${url}" has no name that a twin can publish here`);
  });
  await registry.updateTwin(keypair, { relays: names, pk: encryption?.publicKey });
  const after = await find(registry, before.id);
  if (json) writeJson({ before: jsonOf(before), after: jsonOf(after) });
  else writeChanges(before, after);
}

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

function show({ id, account, relays, pk }: Twin): void {
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
  const change = (name: string, old: string, now: string) =>
    [name, `${now || "none"} (${old === now ? "as before" : `was ${old || "none"}`})`] as const;
  writeLine(`twin ${after.id} now publishes`);
  writeTable([
    change("relays", old.relays.join(", "), now.relays.join(", ")),
    change("encryption key (pk)", old.pk ?? "", now.pk ?? ""),
  ]);
}
