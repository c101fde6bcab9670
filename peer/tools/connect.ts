import {
  Client,
  type Commands,
  FormatError,
  type KeyType,
  parseSession,
  type Session,
} from "@rmb/protocol";
import { parsed } from "@rmb/protocol/program";
import {
  openRegistry,
  registryEnvironment,
  type RegistryPlace,
  registryPlace,
} from "@rmb/protocol/program-registry";
import { openWsSocket } from "@rmb/protocol/ws-socket";
import { message } from "@optique/core/message";
import type { Parser } from "@optique/core/parser";
import { argument } from "@optique/core/primitives";
import {
  keyType,
  readSecret,
  relays,
  secret,
  secretEnvironment,
  type SecretOption,
  verbosity,
} from "../identity_options.ts";

/** The options of tools that connect as a twin. */
export const connectOptions = {
  secret,
  keyType,
  registry: registryPlace as Parser<"sync", RegistryPlace, unknown>,
  relays,
  verbosity,
};

/** The same in the environment. */
export const connectEnvironment = [
  ...secretEnvironment,
  ...registryEnvironment,
  { name: "relay", several: true },
  { name: "debug", short: "-d", flag: true },
];

/** What they are. */
export interface ConnectOptions {
  readonly secret: SecretOption;
  readonly keyType: KeyType;
  readonly registry: RegistryPlace;
  readonly relays: readonly string[];
  readonly verbosity: number;
}

/** A twin, or a session of it, that is called: `9` or `9:session`. */
export const destination = argument(
  parsed("TWIN", { twin: 1 } as Session, parseDestination),
  { description: message`Id of the twin, or its session as in 9:bot.` },
);

/** Reads a twin, or a session of it; does not quote what may be a word of a mnemonic. */
export function parseDestination(text: string): Session {
  try {
    const session = parseSession(text);
    if (session.twin !== 0) return session;
  } catch {
    // Said below.
  }
  throw new FormatError(
    "Cannot read a twin: expected its id, such as 9, or a session, as in 9:bot",
  );
}

/** A client, and the registry that it has for itself. */
export interface Connected extends AsyncDisposable {
  readonly client: Client;
}

/** Connects as the twin of the options, with a session and what it answers. */
export async function connect(
  options: ConnectOptions,
  stop: AbortSignal,
  { session, commands }: { readonly session?: string | null; readonly commands?: Commands } = {},
): Promise<Connected> {
  const { keyType, relays } = options;
  const secret = await readSecret(options.secret);
  const registry = await openRegistry(options.registry, stop);
  try {
    const client = await Client.connect({
      ...{ secret, keyType, registry, relays, signal: stop, openSocket: openWsSocket },
      ...session !== undefined && { session },
      ...commands && { commands },
    });
    return {
      client,
      async [Symbol.asyncDispose]() {
        await client.close();
        await registry[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await registry[Symbol.asyncDispose]();
    throw stop.aborted ? stop.reason : error;
  }
}
