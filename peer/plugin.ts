import type { Session } from "@rmb/protocol";
import type { LocalError, LocalRequest } from "./local.ts";

/** What a plugin answers, or is answered: a result, of which the schema says what it is. */
export interface PluginAnswer {
  /** The result. */
  readonly payload: Uint8Array;
  /** What it is, for example `application/json`. */
  readonly schema: string;
}

/** A request from another twin, verified and decrypted. */
export interface PluginRequest {
  /** As the sender made it: anything at all. Several requests may have the same. */
  readonly uid: string;
  /** What the command is given. */
  readonly payload: Uint8Array;
  /** Who asks. */
  readonly source: Session;
}

/**
 * Commands that the gateway itself answers: those that begin with the plugin's name and a dot.
 *
 * @example
 * ```ts
 * import { Gateway, type GatewayOptions, type Plugin } from "@rmb/peer";
 *
 * const clock: Plugin = {
 *   name: "clock",
 *   answer(command) {
 *     if (command !== "now") return undefined;
 *     const payload = new TextEncoder().encode(JSON.stringify(new Date()));
 *     return { payload, schema: "application/json" };
 *   },
 * };
 *
 * async function start(options: GatewayOptions): Promise<Gateway> {
 *   return await Gateway.start({ ...options, plugins: [clock] }); // Answers clock.now.
 * }
 * ```
 */
export interface Plugin {
  /** The name, for example `rmb`. */
  readonly name: string;
  /**
   * Answers a request. It is called in the order of arrival for each source, whatever the command,
   * without waiting for the answers before. Copies of an envelope are the plugin's to deal with:
   * requests with a known uid are not dropped as they are for local programs. Until it has answered,
   * a request counts as waiting, so that slow plugins slow down reading from relays.
   *
   * @param command The command behind the dot.
   * @returns Undefined if there is no such command, null if nothing is to be answered.
   * @throws {CodedError} if an error is to be answered.
   */
  answer(
    command: string,
    request: PluginRequest,
  ): PluginAnswer | undefined | null | Promise<PluginAnswer | undefined | null>;
  /**
   * Takes a local program's request. The gateway forgets it when this has resolved: then it must be
   * where a restart finds it, or be answered.
   *
   * @param command The command behind the dot.
   * @param uid A UUID that the gateway made for it: the same when it is given again after a crash.
   * @returns False if it should go out like any other.
   */
  take?(command: string, request: LocalRequest, uid: string): boolean | Promise<boolean>;
  /** Starts it, before messages flow; resumes what the last stop interrupted. */
  start?(host: PluginHost): void | Promise<void>;
  /** Stops it: it calls its host no more when this has resolved. */
  stop?(): Promise<void>;
}

/** How a plugin's request is sent. */
export interface PluginCallOptions {
  /** Seconds that it lives: to be sent, and answered. */
  readonly timeout: number;
  /** Its uid. Default: a new one. */
  readonly uid?: string;
  /** What its payload is. Default `application/json`. */
  readonly schema?: string;
  /** Gives it up. */
  readonly signal?: AbortSignal;
}

/** What a gateway does for its plugins. Requests are sent in the order in which it is told to. */
export interface PluginHost {
  /**
   * Sends a request of the gateway's own, and waits for its answer. Only one call at a time may wait
   * for answers to a uid.
   *
   * @throws {RemoteError} if the destination answers with an error.
   * @throws {CodedError} if a relay does, or it is not sent or not answered in time.
   */
  call(
    destination: Session,
    command: string,
    payload: Uint8Array,
    options: PluginCallOptions,
  ): Promise<PluginAnswer>;
  /**
   * Sends a request that is not answered. Resolves when a relay has confirmed it.
   *
   * @throws {CodedError} if it is not sent in time.
   */
  send(
    destination: Session,
    command: string,
    payload: Uint8Array,
    options: PluginCallOptions,
  ): Promise<void>;
  /** Puts an answer on a local program's reply list; does nothing if it named none. */
  reply(
    to: Pick<LocalRequest, "replyTo" | "reference">,
    answer: PluginAnswer & { readonly source?: Session; readonly error?: LocalError },
  ): Promise<void>;
  /**
   * Pushes a request to a local command's list, as if it had come from `source`; nothing if it was
   * pushed before, for as long as uids are remembered.
   *
   * @throws {CodedError} if the command is reserved, or its list is full.
   */
  deliver(command: string, request: PluginRequest & { readonly schema: string }): Promise<void>;
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
