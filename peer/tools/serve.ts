import {
  CommandError,
  type CommandRequest,
  Commands,
  formatSession,
  RmbError,
} from "@rmb/protocol";
import { parsed, printable, shown, untilAborted, writeError } from "@rmb/protocol/program";
import { object, or } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { map, multiple, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, flag, option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { readKeys, unexpectedInput } from "../identity_options.ts";
import { parseSeconds } from "./call.ts";
import { connect, connectEnvironment, connectOptions } from "./connect.ts";
import { runBounded } from "./run_bounded.ts";
import type { Tool } from "./tool.ts";

/** Session that it is reached at by default. */
const SESSION = "serve";
/** Requests that wait for a program to end; more are refused. */
const MAX_WAITING = 1000;
/** How a program that fails is told of, unless it is by its own exit code: that is added. */
const FAILED = 500;

/** What the program gets to see of variables that may have a secret in them. */
const WITHOUT_SECRETS = {
  RMB_PEER_MNEMONIC: "",
  RMB_PEER_SEED: "",
  RMB_PEER_REDIS: "",
  RMB_PEER_SUBSTRATE: "",
};

const parser = object({
  command: argument(string({ metavar: "COMMAND" }), {
    description: message`Command to answer, such as system.uptime.`,
  }),
  program: multiple(
    argument(string({ metavar: "PROGRAM" }), {
      description: message`Program that answers, with its arguments, behind "--".`,
    }),
    {
      min: 1,
      errors: { tooFew: message`The program is missing: expected COMMAND -- PROGRAM ARGUMENT….` },
    },
  ),
  session: withDefault(
    or(
      option("--session", string({ metavar: "NAME" }), {
        description: message`Session that it is reached at: others call TWIN:NAME. Default: serve.`,
      }),
      map(
        flag("--no-session", {
          description:
            message`Answer for the twin itself. No gateway may run for it: they would disconnect each other.`,
        }),
        () => null,
      ),
    ),
    SESSION as string | null,
  ),
  bytes: option("--bytes", {
    description:
      message`Answer with the output as it is. Default: JSON as such, other text as a string.`,
  }),
  timeout: withDefault(
    option("-t", "--timeout", parsed("SECONDS", 30, parseSeconds), {
      description: message`How long the program may take; it is killed then.`,
    }),
    30,
    shown(30),
  ),
  jobs: withDefault(
    option("-j", "--jobs", integer({ metavar: "COUNT", min: 1, max: 1000 }), {
      description: message`How many may run at once; other requests wait.`,
    }),
    4,
    shown(4),
  ),
  ...connectOptions,
}, { errors: { unexpectedInput } });

type Options = InferValue<typeof parser>;

/** Answers a command with a program's output. */
export const serveTool: Tool<Options> = {
  name: "serve",
  brief: message`Answer a command with a program's output.`,
  description:
    message`Answers a command with a program's output. The program gets the data on standard input, and who asks in the environment: RMB_CALLER_TWIN, RMB_CALLER_SESSION, RMB_COMMAND. When it fails, the caller gets an error with the last line of its standard error.`,
  parser,
  environment: [
    ...connectEnvironment,
    { name: "session", instead: ["--no-session"] },
    { name: "no-session", instead: ["--session"], flag: true },
    { name: "bytes", flag: true },
    { name: "timeout", short: "-t" },
    { name: "jobs", short: "-j" },
  ],
  footer: [
    "Example: rmb-peer serve system.uptime -- uptime --pretty",
    "Needs the permission to run the program: deno run -P=serve, or --allow-run=PROGRAM.",
    "Exit codes: 0 stopped, 2 wrong usage, 1 any other failure.",
  ],
  async run(options, stop) {
    const { command, session, program: [program] } = options;
    await readKeys(options); // Before the program is named: it may be a word of a mnemonic.
    const { state } = await Deno.permissions.query({ name: "run", command: program! });
    if (state !== "granted") {
      throw new RmbError(
        `Cannot run "${program}": start with --allow-run=${program} (deno run -P=serve has it)`,
      );
    }
    const jobs = new Jobs(options);
    const commands = new Commands().handleBytes(
      command,
      (payload, request) => jobs.run(payload, request),
    );
    await using connected = await connect(options, stop, { session, commands }).catch((error) => {
      if (stop.aborted && error === stop.reason) return undefined;
      throw error;
    });
    if (connected === undefined) return 0;
    writeError(`answering ${command} at ${formatSession(connected.client.session)}\n`);
    await untilAborted(stop);
    return 0;
  },
};

/** The runs of the program, so many at once. */
class Jobs {
  readonly #options: Options;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Runs the program for a request, when it is its turn; gives what to answer. */
  async run(payload: Uint8Array, request: CommandRequest): Promise<unknown> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new CommandError(FAILED, "too many requests wait");
    }
    if (this.#running >= this.#options.jobs) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      if (request.signal.aborted) throw new CommandError(FAILED, "nobody waits for it any more");
      return await this.#run(payload, request);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  async #run(payload: Uint8Array, request: CommandRequest): Promise<unknown> {
    const { program: [program, ...args], bytes, timeout } = this.#options;
    const { caller: { twin, connection = "" }, command } = request;
    const { code, stdout, stderr, reason } = await runBounded(program!, args, {
      input: payload,
      env: {
        ...WITHOUT_SECRETS,
        RMB_CALLER_TWIN: `${twin}`,
        RMB_CALLER_SESSION: environmentText(connection),
        RMB_COMMAND: command,
      },
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeout * 1000)]),
    });
    if (reason !== undefined) throw new CommandError(FAILED, `${command} failed: ${reason}`);
    if (code !== 0) {
      const line = stderr.trim().split("\n").at(-1);
      throw new CommandError(code, printable(line || `${command} failed with exit code ${code}`));
    }
    return bytes ? stdout : readOutput(stdout);
  }
}

/** Text of others such that it can be in an environment: it has no NUL. */
function environmentText(text: string): string {
  return text.replaceAll("\0", "");
}

/** Output as JSON, or else as text without the line break at its end. */
function readOutput(output: Uint8Array): unknown {
  const text = new TextDecoder().decode(output);
  try {
    return JSON.parse(text);
  } catch {
    return text.replace(/\r?\n$/, "");
  }
}
