import { CodedError, ErrorCode } from "@rmb/protocol/endpoint";
/** Files from twin to twin: the commands that begin with `file.`. */
import type { LocalRequest } from "../local.ts";
import type { Plugin, PluginAnswer, PluginHost, PluginRequest } from "../plugin.ts";
import { Incoming } from "./incoming.ts";
import { FILE_LIMITS, type FileLimits } from "./limits.ts";
import { Outgoing } from "./outgoing.ts";
import { failure } from "./progress.ts";

const OFF = "uploads are off here: the gateway has no --uploads folder";

/**
 * Sends files to other twins and takes theirs, if it has a folder.
 *
 * @example
 * ```ts
 * import { FilePlugin, Gateway, type GatewayOptions } from "@rmb/peer";
 *
 * async function start(options: GatewayOptions): Promise<Gateway> {
 *   return await Gateway.start({ ...options, plugins: [new FilePlugin("/var/lib/rmb/uploads")] });
 * }
 * ```
 */
export class FilePlugin implements Plugin {
  /** What its commands begin with. */
  readonly name = "file";
  readonly #folder: string | undefined;
  readonly #limits: FileLimits;
  #host: PluginHost | undefined;
  #incoming: Incoming | undefined;
  #outgoing: Outgoing | undefined;

  /**
   * Makes one.
   *
   * @param folder Where files of others go, and records of what is under way in both directions.
   * Undefined: all its commands are refused.
   */
  constructor(folder: string | undefined, limits: FileLimits = FILE_LIMITS) {
    this.#folder = folder;
    this.#limits = limits;
  }

  /**
   * Begins, and goes on with what was under way at the last stop.
   *
   * @throws {RmbError} if the folder can't be used.
   */
  async start(host: PluginHost): Promise<void> {
    this.#host = host;
    if (this.#folder === undefined) return;
    this.#incoming = await Incoming.open(this.#folder, host, this.#limits);
    this.#outgoing = await Outgoing.open(`${this.#folder}/outgoing`, host);
  }

  /** Answers another twin's request. */
  async answer(command: string, request: PluginRequest): Promise<PluginAnswer | undefined | null> {
    const incoming = this.#incoming;
    if (incoming === undefined) throw new CodedError(ErrorCode.none, OFF);
    switch (command) {
      case "negotiate":
        return await incoming.negotiate(request);
      case "write":
        return await incoming.write(request);
      case "close":
        return await incoming.close(request);
      default:
        return undefined;
    }
  }

  /** Takes a local program's request: `file.upload`; the others are for gateways alone. */
  async take(command: string, request: LocalRequest, uid: string): Promise<boolean> {
    const why = command !== "upload"
      ? `no such command: file.${command}`
      : this.#outgoing === undefined
      ? OFF
      : undefined;
    if (why === undefined) await this.#outgoing!.take(request, uid);
    else await this.#host!.reply(request, failure(why));
    return true;
  }

  /** Interrupts what is under way: it goes on at the next start. */
  async stop(): Promise<void> {
    await this.#outgoing?.stop();
    await this.#incoming?.stop();
  }
}
