import {
  AbortError,
  CallTimeoutError,
  formatSession,
  OfflineError,
  RemoteError,
  RmbError,
  UnknownTwinError,
} from "@rmb/protocol";
import { parsed, printable, shown, untilAborted, writeError } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { unexpectedInput } from "../identity_options.ts";
import { connect, connectEnvironment, connectOptions, destination } from "./connect.ts";
import { formatJson, formatText, write, writeJson, writeLine } from "./output.ts";
import { INTERRUPTED, type Tool } from "./tool.ts";

/** Longest data read from stdin, in bytes: relays take no longer messages. */
const MAX_DATA = 64 * 1024 * 1024;

/** Exit codes by what went wrong; 1 for all else. */
const CODES = [
  [RemoteError, 3],
  [CallTimeoutError, 4],
  [OfflineError, 5],
  [UnknownTwinError, 6],
] as const;

const parser = object({
  destination,
  command: argument(string({ metavar: "COMMAND" }), {
    description: message`Command to call, such as calculator.add.`,
  }),
  data: optional(argument(string({ metavar: "DATA" }), {
    description:
      message`What it is given: JSON, or bytes with --bytes; "-" reads it from standard input. Default: null.`,
  })),
  timeout: withDefault(
    option("-t", "--timeout", parsed("SECONDS", 60, parseSeconds), {
      description: message`How long the answer may take.`,
    }),
    60,
    shown(60),
  ),
  failFast: option("--fail-fast", {
    description: message`Fail at once if the twin is not connected, instead of waiting for it.`,
  }),
  bytes: option("--bytes", {
    description: message`Send data as it is, and write the answer as it is.`,
  }),
  json: option("--json", {
    description:
      message`Write a line of JSON: {"answer": …} or {"error": {"kind", "message", "code"}}.`,
  }),
  ...connectOptions,
}, { errors: { unexpectedInput } });

/** Reads seconds: more than none, an hour at most. */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= 3600) return seconds;
  throw new TypeError(`Cannot wait "${text}": expected seconds, up to 3600`);
}

/** Calls a command and prints the answer. */
export const callTool: Tool<InferValue<typeof parser>> = {
  name: "call",
  brief: message`Call a command of a twin.`,
  description:
    message`Calls a command of a twin and prints what it answers. Needs no gateway: it connects to the relays itself, beside one that runs.`,
  parser,
  environment: [
    ...connectEnvironment,
    { name: "timeout", short: "-t" },
    { name: "fail-fast", flag: true },
    { name: "bytes", flag: true },
    { name: "json", flag: true },
  ],
  footer: [
    "Example: rmb-peer call 9 calculator.add '[19, 23]'",
    "Exit codes: 0 answered, 2 wrong usage, 3 the twin answered with an error, 4 no answer in time, " +
    `5 not connected (with --fail-fast), 6 no such twin, ${INTERRUPTED} interrupted, ` +
    "1 any other failure.",
  ],
  async run(options, stop) {
    const { destination: { twin, connection: session }, command, bytes, json } = options;
    const { timeout, failFast } = options;
    const interrupted = untilAborted(stop).then((): never => {
      throw stop.reason;
    });
    const data = await Promise.race([readData(options.data), interrupted]);
    const value = bytes ? { data: null } : parseData(data);
    if (value === undefined) return 2;
    try {
      await using connected = await connect(options, stop);
      const { client } = connected;
      const how = { timeout: timeout * 1000, session, failFast, signal: stop };
      if (bytes) {
        const answer = await client.callBytes(twin, command, data ?? new Uint8Array(), how);
        if (json) writeJson({ answer: answer.toBase64() });
        else write(answer);
        return 0;
      }
      const answer = await client.call(twin, command, value.data, how);
      if (json) writeJson({ answer });
      else if (!Deno.stdout.isTerminal()) writeJson(answer);
      else writeLine(typeof answer === "string" ? formatText(answer) : formatJson(answer, 2));
      return 0;
    } catch (error) {
      if (error instanceof AbortError) throw stop.reason;
      if (!(error instanceof RmbError)) throw error;
      const code = error instanceof RemoteError ? { code: error.code } : {};
      if (json) writeJson({ error: { kind: error.name, message: error.message, ...code } });
      else writeError(`${explain(error, options)}\n`);
      return CODES.find(([kind]) => error instanceof kind)?.[1] ?? 1;
    }
  },
};

function explain(error: RmbError, { destination, command }: InferValue<typeof parser>): string {
  const text = printable(error.message);
  return error instanceof RemoteError
    ? `twin ${formatSession(destination)} answers ${command} with error ${error.code}: ${text}`
    : `rmb-peer call: ${text}`;
}

async function readData(data: string | undefined): Promise<Uint8Array | undefined> {
  if (data !== "-") return data === undefined ? undefined : new TextEncoder().encode(data);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of Deno.stdin.readable) {
    length += chunk.length;
    if (length > MAX_DATA) throw new RmbError(`Cannot send more than ${MAX_DATA} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

/** The data as JSON; undefined, and a message, if it is not. */
function parseData(data: Uint8Array | undefined): { readonly data: unknown } | undefined {
  if (data === undefined) return { data: null };
  try {
    return { data: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) };
  } catch (error) {
    const reason = printable((error as Error).message);
    writeError(
      `rmb-peer call: DATA is not JSON: ${reason}\n` +
        `Text is JSON in quotation marks, such as '"text"'; other data wants --bytes.\n`,
    );
    return undefined;
  }
}
