/**
 * What the programs of this project have in common: options from the environment, logs on stderr, an
 * orderly end. For Deno only.
 *
 * @module
 */
import { configure, getTextFormatter, type LogLevel, type LogRecord } from "@logtape/logtape";
import { type Message, message, optionName, text } from "@optique/core/message";
import type { Parser } from "@optique/core/parser";
import type { Usage } from "@optique/core/usage";
import { run } from "@optique/run";
import { FormatError } from "./errors.ts";

export { pause } from "./pause.ts";

/** A program's command line. */
export interface CommandLine {
  /** Name of the program. */
  readonly name: string;
  /** What it does, in a line. */
  readonly brief: string;
  /** Its version. */
  readonly version: string;
  /** Its options: an Optique parser. */
  readonly parser: object;
  /** The first argument that the options stand behind, of a program that does several things. */
  readonly command?: string;
  /** How it is called, for the help; each a line. Default: all that there is. */
  readonly usage?: readonly string[];
  /** What the names of its environment variables begin with, for example `RMB_RELAY_`. */
  readonly prefix: string;
  /** The options that can come from the environment. */
  readonly environment: readonly EnvironmentOption[];
}

/**
 * Reads a program's options from its arguments and its environment. Answers `--help`, `--version` and
 * `--completion` itself, and ends the process with code 2 for wrong usage.
 *
 * @typeParam T What the parser makes of them: Optique's `InferValue` of it.
 */
export function readOptions<T>(
  { name, brief, version, parser, command, usage, prefix, environment }: CommandLine,
  args: readonly string[],
): T {
  // With a command, what stands behind a value may be an argument of its own.
  const single = command === undefined ? oneByOne(args, environment) : args;
  const given = withEnvironment(single, prefix, environment);
  if (command !== undefined) given.unshift(command);
  return run(discreet(parser as Parser<"sync", T, unknown>), {
    programName: name,
    args: given.length > 0 ? given : ["--"], // Of nothing at all it could not tell what is missing.
    brief: message`${text(brief)}`,
    footer: message`${text(environmentNote(prefix, environment))}`,
    ...usage && { usageLine: usageOf(usage) },
    help: "option",
    version: withCommit(version),
    completion: "option",
    showDefault: { prefix: " Default: ", suffix: "." },
    aboveError: "none",
    stderr: (error) =>
      writeError(`${error}\nSee ${[name, ...command ? [command] : [], "--help"].join(" ")}\n`),
    errorExitCode: 2,
  });
}

/** A version with the commit that a binary was compiled from; anything else can't know. */
function withCommit(version: string): string {
  if (!Deno.build.standalone) return version;
  try {
    return `${version} (${Deno.readTextFileSync(new URL("../bin/commit.txt", import.meta.url))})`;
  } catch {
    return version;
  }
}

function usageOf(lines: readonly string[]): Usage {
  const terms = lines.map((value) => [{ type: "literal", value }] as const);
  return [{ type: "exclusive", terms }];
}

/** Says that options can come from the environment: for the end of a help text. */
export function environmentNote(
  prefix: string,
  [first]: readonly EnvironmentOption[],
): string {
  const variable = `${prefix}${first?.name.toUpperCase().replaceAll("-", "_")}`;
  return `Every option can also come from the environment, such as --${first?.name} from ${variable}.`;
}

/** A parser whose errors quote nothing that may be secret: a value may be a mnemonic, or have a password. */
function discreet<T>(parser: Parser<"sync", T, unknown>): Parser<"sync", T, unknown> {
  return {
    ...parser,
    parse(context) {
      const result = parser.parse(context);
      return result.success ? result : { ...result, error: withoutSecrets(result.error) };
    },
    complete(state, exec) {
      const result = parser.complete(state, exec);
      return result.success ? result : { ...result, error: withoutSecrets(result.error) };
    },
  };
}

function withoutSecrets(error: Message): Message {
  return error.map((term) => {
    switch (term.type) {
      case "value":
        return { ...term, value: hideSecret(term.value) };
      case "values": // An option with its value, as it was given.
        return optionName(nameOf(term.values[0]!));
      case "optionName": // Any argument that was taken for one, as it was given.
        return optionName(nameOf(term.optionName));
      case "text":
        return text(term.text.replace(/"([^"]*)"/g, (_, value) => `"${hideSecret(value)}"`));
      default:
        return term;
    }
  });
}

/** The name of an option without its value; what is no option may be a word of a mnemonic. */
function nameOf(argument: string): string {
  return argument.startsWith("-") ? argument.split("=")[0]! : "…";
}

/** What may be a mnemonic, a seed or a URL with a password becomes "…"; an option's name stays. */
function hideSecret(argument: string): string {
  const [, name = "", value = ""] = /^(--?[a-z-]+=)?(.*)$/is.exec(argument) ?? [];
  return /[\s@]/.test(value) || value.length >= 64 ? `${name}…` : argument;
}

/** A value of an option, as Optique parses it. */
export interface ParsedValue<T> {
  /** It is parsed at once. */
  readonly mode: "sync";
  /** What the help calls it, not empty. */
  // deno-lint-ignore no-explicit-any -- this is how Optique says "not empty"
  readonly metavar: `${any}${string}`;
  /** Any such value. */
  readonly placeholder: T;
  /** Reads it, or says why it can't. */
  parse(input: string):
    | { readonly success: true; readonly value: T }
    | { readonly success: false; readonly error: readonly { type: "text"; text: string }[] };
  /** Writes it. */
  format(value: T): string;
}

/**
 * A value of an option, read by a function that throws if it can't.
 *
 * @param metavar What the help calls it.
 * @param placeholder Any such value.
 * @param parse Reads it; its error's message is what the user is told.
 */
export function parsed<T>(
  metavar: Uppercase<string>,
  placeholder: T,
  parse: (text: string) => T,
): ParsedValue<T> {
  return {
    mode: "sync",
    metavar: metavar as ParsedValue<T>["metavar"],
    placeholder,
    parse(input) {
      try {
        return { success: true, value: parse(input) };
      } catch (error) {
        return { success: false, error: [{ type: "text", text: (error as Error).message }] };
      }
    },
    format: String,
  };
}

/** How the help shows a default: without quotation marks. For Optique's `withDefault()`. */
export function shown(
  value: unknown,
): { readonly message: readonly { readonly type: "text"; readonly text: string }[] } {
  return { message: [{ type: "text", text: String(value) }] };
}

/** Where to listen. */
export interface ListenAddress {
  /** A name or an address. */
  readonly hostname: string;
  /** 0 for a free one. */
  readonly port: number;
  /** As it was written. */
  toString(): string;
}

/**
 * Reads where to listen: `host:port`, or `:port` for all addresses.
 *
 * @throws {FormatError} if it is neither.
 */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new FormatError(`Cannot listen on "${text}": expected host:port, IPv6 in brackets`);
  }
  return { hostname: match[1] ?? (match[2] || "::"), port, toString: () => text };
}

/** An option that can come from the environment. */
export interface EnvironmentOption {
  /** Its long name, without dashes. Its variable is that in capitals, with `_`, behind the prefix. */
  readonly name: string;
  /** Its short name, for example `-m`. */
  readonly short?: string;
  /** What excludes it: when one of these is given, the variable does not count. */
  readonly instead?: readonly string[];
  /**
   * Whether it can be given several times, or once with several values, as the reference's programs
   * take them. The variable's words are its values.
   */
  readonly several?: boolean;
  /** Whether it has several values, one behind the other: then the variable's words are these. */
  readonly values?: boolean;
  /** Whether it has no value: then the variable counts when it is `1` or `true`. */
  readonly flag?: boolean;
}

/**
 * Completes command-line arguments by what the environment has for options that they leave out.
 * Variables that the program may not read are passed over.
 *
 * @param args The arguments.
 * @param prefix What the variables' names begin with, for example `RMB_RELAY_`.
 * @param options The options that can come from the environment.
 */
export function withEnvironment(
  args: readonly string[],
  prefix: string,
  options: readonly EnvironmentOption[],
): string[] {
  const added: string[] = [];
  const own = ownOf(args);
  for (const option of options) {
    const { name, instead = [], several = false, values = false, flag = false } = option;
    if ([...namesOf(option), ...instead].some((name) => isGiven(own, name))) continue;
    const value = readVariable(prefix + name.toUpperCase().replaceAll("-", "_"));
    if (value === undefined || value === "") continue;
    if (flag) {
      if (value === "1" || value === "true") added.push(`--${name}`);
      continue;
    }
    const words = several || values ? value.match(/\S+/g) ?? [] : [value];
    if (!values) added.push(...words.map((word) => `--${name}=${word}`));
    else if (words.length > 0) added.push(`--${name}`, ...words);
  }
  return [...added, ...args];
}

/**
 * Gives each value of an option that can be given several times an option of its own: `-m a b` becomes
 * `-m a -m b`.
 *
 * @param args Command-line arguments.
 * @param options The options that there are.
 */
export function oneByOne(
  args: readonly string[],
  options: readonly EnvironmentOption[],
): string[] {
  const several = new Set(options.filter(({ several }) => several).flatMap(namesOf));
  const end = ownOf(args).length;
  return args.flatMap((arg, i) => {
    if (i >= end) return [arg];
    if (arg.startsWith("-")) return [arg];
    const option = args.findLastIndex((arg, at) => at < i && arg.startsWith("-"));
    const name = args[option] ?? "";
    return option < i - 1 && several.has(name) ? [name, arg] : [arg];
  });
}

/** The arguments before `--`: what stands behind it is another program's. */
function ownOf(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}

function namesOf({ name, short }: EnvironmentOption): string[] {
  return short === undefined ? [`--${name}`] : [`--${name}`, short];
}

function isGiven(args: readonly string[], option: string): boolean {
  return args.some((arg) =>
    option.startsWith("--")
      ? arg === option || arg.startsWith(`${option}=`)
      : arg.startsWith(option) && !arg.startsWith("--")
  );
}

function readVariable(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) : undefined;
}

/**
 * Runs a program until it is done or told to stop, and ends the process: with 0 or the code that it gives,
 * or with 1 and a message on stderr if it fails.
 *
 * @param name Its name, for the message.
 * @param verbosity 0 logs what an operator needs, 1 each message too, 2 all there is, -1 warnings only.
 * @param body The program. The signal is aborted at SIGTERM or SIGINT, and to throw its reason then is
 * no failure; a second one ends the process at once.
 */
export async function runProgram(
  name: string,
  verbosity: number,
  body: (signal: AbortSignal) => Promise<number | void>,
): Promise<never> {
  await configureLogs((["warning", "info", "debug"] as const)[verbosity + 1] ?? "trace");
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (stop.signal.aborted) Deno.exit(1);
      stop.abort(signal);
    });
  }
  let code = 0;
  try {
    code = await body(stop.signal) ?? 0;
  } catch (error) {
    if (stop.signal.aborted && error === stop.signal.reason) Deno.exit(0);
    writeError(`${name}: ${printable(error instanceof Error ? error.message : error)}\n`);
    Deno.exit(1);
  }
  Deno.exit(code);
}

/** Waits until a signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** Logs of this project's packages from a level up, as lines of text on stderr. */
async function configureLogs(lowestLevel: LogLevel): Promise<void> {
  const format = getTextFormatter({ timestamp: "rfc3339", level: "ABBR", value: printable });
  await configure({
    sinks: { stderr: (record: LogRecord) => writeError(format(record)) },
    loggers: [
      { category: ["rmb"], lowestLevel, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["stderr"] },
    ],
  });
}

/** Longest value in a line of the log, in characters; the rest is left out. */
const MAX_VALUE = 1000;

/** Text from anywhere, such that it can't begin a new line, control a terminal, or fill a disk. */
export function printable(value: unknown): string {
  const text = String(value);
  const cut = text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
  return cut.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const utf8 = new TextEncoder();

/** Writes to stderr. Nobody may read it any more: that is no failure. */
export function writeError(text: string): void {
  const bytes = utf8.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // No reason to stop working.
  }
}
