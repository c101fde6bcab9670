import type { Session } from "@rmb/protocol";
import manifest from "./deno.json" with { type: "json" };

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
