import {
  environmentNote,
  type EnvironmentOption,
  readOptions,
  runProgram,
} from "@rmb/protocol/program";
import { lineBreak, type Message, text } from "@optique/core/message";
import type { Parser } from "@optique/core/parser";
import { command } from "@optique/core/primitives";
import type { Usage, UsageTerm } from "@optique/core/usage";
import manifest from "../deno.json" with { type: "json" };
import { PREFIX } from "../options.ts";

/** Exit code of what is interrupted and not done, as shells have it. */
export const INTERRUPTED = 130;

/** A tool of `rmb-peer`. */
export interface Tool<T> {
  /** The argument that it is called by. */
  readonly name: string;
  /** What it does, in a few words, for the list of tools. */
  readonly brief: Message;
  /** What it does. */
  readonly description: Message;
  /** Its options and arguments. */
  readonly parser: Parser<"sync", T, unknown>;
  /** Those that can come from the environment. */
  readonly environment: readonly EnvironmentOption[];
  /** What its exit codes mean, beside 2 for wrong usage; and examples. */
  readonly footer: readonly string[];
  /** Runs it, until it is done or told to stop; gives its exit code. To throw the signal's reason is 130. */
  run(options: T, stop: AbortSignal): Promise<number>;
}

/** What all tools have. */
export interface CommonOptions {
  readonly verbosity: number;
}

/** A tool, ready to be listed and run. */
export interface ReadyTool {
  readonly name: string;
  /** For help and completion. */
  readonly command: Parser<"sync", unknown, unknown>;
  /** Runs it with its arguments, and ends the process. */
  run(args: readonly string[]): Promise<never>;
}

/** Makes a tool ready. */
export function ready<T extends CommonOptions>(tool: Tool<T>): ReadyTool {
  const { name, brief, description, environment } = tool;
  const lines = [...tool.footer, environmentNote(PREFIX, environment)];
  const footer = lines.flatMap((line, i) => [...i === 0 ? [] : [lineBreak()], text(line)]);
  const parser = command(name, tool.parser, { brief, description, footer, usageLine });
  return {
    name,
    command: parser as Parser<"sync", unknown, unknown>,
    run(args) {
      const options = readOptions<T>({
        ...{ name: "rmb-peer", brief: "", version: manifest.version },
        ...{ parser, command: name, prefix: PREFIX, environment },
      }, args);
      return runProgram(
        `rmb-peer ${name}`,
        options.verbosity - 1,
        (stop) =>
          tool.run(options, stop).catch((error) => {
            if (stop.aborted && error === stop.reason) return INTERRUPTED;
            throw error;
          }),
      );
    },
  };
}

/** The arguments of a tool; its options are listed below in any case. */
function usageLine(usage: Usage): Usage {
  const terms = usage.filter(isArgument);
  return terms.length === 0 ? usage : [{ type: "literal", value: "[OPTION]..." }, ...terms];
}

function isArgument(term: UsageTerm): boolean {
  return term.type === "argument" || ("terms" in term && term.terms.flat().every(isArgument));
}
