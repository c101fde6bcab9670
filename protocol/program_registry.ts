/**
 * Where the programs of this project look twins up: on TFChain, or in a file. For Deno only.
 *
 * @module
 */
import { object, or } from "@optique/core/constructs";
import { message, text } from "@optique/core/message";
import { multiple, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { FormatError } from "./errors.ts";
import { FileRegistry } from "./file_registry.ts";
import { type EnvironmentOption, parsed } from "./program.ts";
import type { TwinRegistry } from "./twin.ts";

/** Public nodes of TFChain. */
const PUBLIC_NODES = [
  "wss://tfchain.grid.tf:443",
  "wss://02.tfchain.grid.tf:443",
  "wss://03.tfchain.grid.tf:443",
];

/** How many missed blocks are caught up with one by one by default: what the reference does. */
export const CATCH_UP_THRESHOLD = 600;

/** Where twins are looked up: by nodes of the chain at these URLs, or in this file. */
export type RegistryPlace =
  | { readonly substrate: readonly string[] }
  | { readonly twins: string };

/**
 * The options that say where twins are looked up, an Optique parser of {@linkcode RegistryPlace}.
 * Default: the public nodes.
 */
export const registryPlace: object = withDefault(
  or(
    object({
      substrate: multiple(
        option("-s", "--substrate", parsed("URL", PUBLIC_NODES[0]!, checkNodeUrl), {
          description:
            message`Node of TFChain, which says who twins are. Several can be given: one is used at a time, the next when it fails. Default: ${
              text(PUBLIC_NODES.join(" "))
            }, without --twins.`,
        }),
        { min: 1 },
      ),
    }),
    object({
      twins: option("--twins", string({ metavar: "FILE" }), {
        description: message`JSON file that says who twins are, for networks of one's own.`,
      }),
    }),
  ),
  { substrate: PUBLIC_NODES },
);

/** The same options in the environment. */
export const registryEnvironment: readonly EnvironmentOption[] = [
  { name: "substrate", short: "-s", instead: ["--twins"], several: true },
  { name: "twins", instead: ["-s", "--substrate"] },
];

/**
 * Checks that text is the URL of a node.
 *
 * @throws {FormatError} if not. Its message does not quote the text, which may have a password.
 */
function checkNodeUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^wss?:$/.test(url.protocol) && url.hostname !== "") return text;
  throw new FormatError("Cannot use the URL of a node: expected wss://host:port or ws://host:port");
}

/**
 * Opens the registry that options name. What belongs to the chain is loaded only when it is asked.
 *
 * @param place Where twins are looked up.
 * @param stop Ends the attempt to reach the chain.
 * @param catchUpThreshold How many missed blocks are caught up with one by one.
 * @throws {RegistryError} if the file can't be read, or no node reached.
 * @throws The signal's reason, if it aborts before.
 */
export async function openRegistry(
  place: RegistryPlace,
  stop: AbortSignal,
  catchUpThreshold: number = CATCH_UP_THRESHOLD,
): Promise<TwinRegistry> {
  if ("twins" in place) return await FileRegistry.open(place.twins);
  const { TfchainRegistry } = await import("./tfchain/mod.ts");
  return await TfchainRegistry.connect({ urls: place.substrate, catchUpThreshold, signal: stop });
}
