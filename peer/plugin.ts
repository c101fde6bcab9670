import type { Session } from "@rmb/protocol";
import manifest from "./deno.json" with { type: "json" };
import type { LocalError, LocalRequest } from "./local.ts";

/** What a plugin answers: a result, of which the schema says what it is. */
export interface PluginAnswer {
  readonly payload: Uint8Array;
  readonly schema: string;
}

/** Commands that the gateway itself answers: those that begin with the plugin's name and a dot. */
export interface Plugin {
  /** The name, for example `rmb`. */
  readonly name: string;
  /**
   * Answers a request.
   *
   * @param command The command behind the dot.
   * @param payload The request's payload, decrypted.
   * @param source Who asks.
   * @returns Undefined if there is no such command.
   */
  answer(
    command: string,
    payload: Uint8Array,
    source: Session,
  ): PluginAnswer | undefined | Promise<PluginAnswer | undefined>;
  /**
   * Takes a local program's request, which then does not go out. It resolves when the request is safe
   * with the plugin: then the gateway forgets it; until then it may come again, after a crash.
   *
   * @param command The command behind the dot.
   * @param uid Names the request, each time it comes.
   * @returns False if it is not the plugin's: then it goes out like any other.
   */
  take?(command: string, request: LocalRequest, uid: string): boolean | Promise<boolean>;
  /** Called once, before messages flow. */
  start?(host: PluginHost): void | Promise<void>;
  /** Called once, at the end. */
  stop?(): Promise<void>;
}

/** How a {@linkcode PluginHost.call} is made. */
export interface CallOptions {
  /** Seconds that the answer may take. */
  readonly timeout: number;
  /** Uid of the request; one is made if it is left out. */
  readonly uid?: string;
  /** What the payload is. Default `application/json`. */
  readonly schema?: string;
  /** Gives up waiting when it aborts. */
  readonly signal?: AbortSignal;
}

/** What the gateway does for its plugins. */
export interface PluginHost {
  /**
   * Sends a request of the gateway's own and waits for its answer.
   *
   * @throws {CodedError} if the answer is an error, or it was not sent or answered in time.
   */
  call(
    destination: Session,
    command: string,
    payload: Uint8Array,
    options: CallOptions,
  ): Promise<PluginAnswer>;
  /** Puts an answer on a local program's reply list. */
  reply(
    to: Pick<LocalRequest, "replyTo" | "reference">,
    answer: PluginAnswer & { readonly source?: Session; readonly error?: LocalError },
  ): Promise<void>;
  /**
   * Pushes a request to a local command's list, as if `source` had sent it.
   *
   * @throws {CodedError} if it is not taken.
   */
  deliver(command: string, payload: Uint8Array, source: Session, schema: string): Promise<void>;
}

/** The plugin that a command belongs to, and what stands behind the dot; undefined for none. */
export function findPlugin(
  plugins: readonly Plugin[],
  command: string,
): [plugin: Plugin, command: string] | undefined {
  const dot = command.indexOf(".");
  if (dot < 0) return undefined;
  const plugin = plugins.find(({ name }) => name === command.slice(0, dot));
  return plugin && [plugin, command.slice(dot + 1)];
}

/** `rmb.version`: which version of the gateway this is. */
export const rmbPlugin: Plugin = {
  name: "rmb",
  answer(command) {
    if (command !== "version") return undefined;
    const payload = new TextEncoder().encode(JSON.stringify(manifest.version));
    return { payload, schema: "application/json" };
  },
};
