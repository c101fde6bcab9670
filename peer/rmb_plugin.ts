import manifest from "./deno.json" with { type: "json" };
import type { LocalRequest } from "./local.ts";
import type { Plugin, PluginAnswer, PluginHost, PluginRequest } from "./plugin.ts";

/**
 * What every gateway answers: `rmb.version`, which version it is, and to its own twin `rmb.status`, how
 * it is. That a local program gets here and now, also while no relay is there.
 */
export class RmbPlugin implements Plugin {
  /** Its name. */
  readonly name = "rmb";
  readonly #twin: number;
  readonly #status: () => Promise<string>;
  #host: PluginHost | undefined;

  /**
   * Makes one.
   *
   * @param twin Id of the gateway's twin.
   * @param status How the gateway is, as JSON.
   */
  constructor(twin: number, status: () => Promise<string>) {
    this.#twin = twin;
    this.#status = status;
  }

  /** See {@linkcode Plugin.start}. */
  start(host: PluginHost): void {
    this.#host = host;
  }

  /** See {@linkcode Plugin.answer}. */
  async answer(command: string, { source }: PluginRequest): Promise<PluginAnswer | undefined> {
    if (command === "version") return answerOf(JSON.stringify(manifest.version));
    if (command === "status" && source.twin === this.#twin) return answerOf(await this.#status());
    return undefined;
  }

  /** See {@linkcode Plugin.take}: only the status of this gateway is taken. */
  async take(command: string, request: LocalRequest): Promise<boolean> {
    const { destinations: [twin, ...others], connection } = request;
    const isOwn = twin === this.#twin && others.length === 0 && connection === undefined;
    if (command !== "status" || !isOwn) return false;
    const source = { twin: this.#twin };
    await this.#host!.reply(request, { ...answerOf(await this.#status()), source });
    return true;
  }
}

function answerOf(json: string): PluginAnswer {
  return { payload: new TextEncoder().encode(json), schema: "application/json" };
}
