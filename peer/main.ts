import { group, or } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { gatewayParser, parseOptions } from "./options.ts";
import { runGateway } from "./run_gateway.ts";
import { findTool, toolCommands } from "./tools/mod.ts";

/** Does not quote the argument: it may be a word of a mnemonic without its option. */
const NO_TOOL = message`The first argument is neither an option nor the name of a tool.`;

/** The program `rmb-peer`: the gateway, or the tool that its first argument names. */
export function main(args: readonly string[]): Promise<never> {
  const tool = findTool(args[0]);
  if (tool !== undefined) return tool(args.slice(1));
  // Help and completion are of all; wrong usage of the gateway is told without the tools'.
  const isGeneral = args.some((arg) => /^--(help|completion)\b/.test(arg)) ||
    (args[0] !== undefined && !args[0].startsWith("-"));
  const sections = [
    group("Tools, each with its own --help", or(...toolCommands)),
    group("Options of the gateway", gatewayParser),
  ] as const;
  const all = or(...sections, { errors: { unexpectedInput: NO_TOOL } });
  return runGateway(parseOptions(args, isGeneral ? all : undefined));
}
