import { AbortError, type Client, formatSession, RemoteError, RmbError } from "@rmb/protocol";
import { parsed, pause, printable, shown, writeError } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { unexpectedInput } from "../identity_options.ts";
import { parseSeconds } from "./call.ts";
import { connect, connectEnvironment, connectOptions, destination } from "./connect.ts";
import { formatTime, writeJson, writeLine } from "./output.ts";
import { quantile } from "./quantile.ts";
import { INTERRUPTED, type Tool } from "./tool.ts";

/** What every gateway answers. */
const COMMAND = "rmb.version";
/** Most calls that wait for their answers at once: who is slower is asked less often. */
const MAX_WAITING = 1000;
/** Most round trips that percentiles are taken of: the latest. */
const MAX_TIMES = 100_000;

const parser = object({
  destination,
  count: optional(option("-c", "--count", integer({ metavar: "COUNT", min: 1 }), {
    description: message`How many requests to send. Default: until it is interrupted.`,
  })),
  interval: withDefault(
    option("-i", "--interval", parsed("SECONDS", 1, parseSeconds), {
      description: message`Time between two requests.`,
    }),
    1,
    shown(1),
  ),
  timeout: withDefault(
    option("-W", "--timeout", parsed("SECONDS", 5, parseSeconds), {
      description: message`How long an answer may take.`,
    }),
    5,
    shown(5),
  ),
  command: withDefault(
    option("--command", string({ metavar: "COMMAND" }), {
      description: message`Command to call: gateways answer rmb.version; bots may have another.`,
    }),
    COMMAND,
    shown(COMMAND),
  ),
  json: option("--json", { description: message`Write lines of JSON, the last one a summary.` }),
  ...connectOptions,
}, { errors: { unexpectedInput } });

type Options = InferValue<typeof parser>;

/** Measures round trips to a twin. */
export const pingTool: Tool<Options> = {
  name: "ping",
  brief: message`Measure round trips to a twin.`,
  description:
    message`Sends requests to a twin and tells how long each answer takes, and at the end how many got none.`,
  parser,
  environment: [
    ...connectEnvironment,
    { name: "count", short: "-c" },
    { name: "interval", short: "-i" },
    { name: "timeout", short: "-W" },
    { name: "command" },
    { name: "json", flag: true },
  ],
  footer: [
    "Example: rmb-peer ping -c 5 9",
    "Exit codes: 0 something was answered, 2 wrong usage, 4 nothing was, " +
    `${INTERRUPTED} interrupted before it began, 1 any other failure.`,
  ],
  async run(options, stop) {
    await using connected = await connect(options, stop);
    const pings = new Pings(connected.client, options);
    await pings.run(stop);
    pings.summarize();
    return pings.answered > 0 ? 0 : 4;
  },
};

/** The requests of one run, and what became of them. */
class Pings {
  answered = 0;
  readonly #client: Client;
  readonly #options: Options;
  readonly #to: string;
  readonly #waiting = new Set<Promise<void>>();
  #times: number[] = [];
  #sent = 0;

  constructor(client: Client, options: Options) {
    this.#client = client;
    this.#options = options;
    this.#to = formatSession(options.destination);
  }

  /** Sends one after the other until all are sent or it is to stop, and waits for their answers. */
  async run(stop: AbortSignal): Promise<void> {
    const { count = Infinity, interval, json } = this.#options;
    if (!json) writeLine(`ping ${this.#to} by ${this.#options.command}`);
    while (this.#sent < count && !stop.aborted) {
      if (this.#waiting.size < MAX_WAITING) this.#send(stop);
      if (this.#sent === count) break;
      await pause(interval * 1000, stop);
    }
    await Promise.all(this.#waiting);
  }

  /** Tells of all of them. */
  summarize(): void {
    const [sent, answered] = [this.#sent, this.answered];
    const loss = sent === 0 ? 0 : (sent - answered) / sent;
    const times = this.#times.toSorted((a, b) => a - b);
    const [min, max] = [times[0] ?? 0, times.at(-1) ?? 0];
    const mean = times.reduce((sum, time) => sum + time, 0) / Math.max(times.length, 1);
    const percentiles = [50, 90, 99].map((share) => [share, quantile(times, share / 100)] as const);
    if (this.#options.json) {
      const some = times.length > 0;
      writeJson({
        ...{ sent, answered, loss },
        ...some && { min, mean, max },
        ...some && Object.fromEntries(percentiles.map(([share, time]) => [`p${share}`, time])),
      });
      return;
    }
    writeLine(`\n${sent} sent, ${answered} answered, ${Math.round(loss * 100)} % lost`);
    if (times.length === 0) return;
    writeLine(`min / mean / max: ${[min, mean, max].map(formatTime).join(" / ")}`);
    writeLine(percentiles.map(([share, time]) => `${share} %: ${formatTime(time)}`).join(", "));
  }

  #send(signal: AbortSignal): void {
    const seq = ++this.#sent;
    const done: Promise<void> = this.#ping(seq, signal).finally(() => this.#waiting.delete(done));
    this.#waiting.add(done);
  }

  async #ping(seq: number, signal: AbortSignal): Promise<void> {
    const { destination: { twin, connection: session }, command, timeout, json } = this.#options;
    const start = performance.now();
    let says = "";
    try {
      const how = { session, timeout: timeout * 1000, signal };
      const answer = await this.#client.call(twin, command, null, how);
      if (typeof answer === "string") says = ` (${printable(answer).slice(0, 40)})`;
    } catch (error) {
      if (error instanceof AbortError) return void this.#sent--; // It had no time to be answered.
      if (!(error instanceof RmbError)) throw error;
      // An error of the twin's own is an answer too.
      if (!(error instanceof RemoteError)) {
        if (json) writeJson({ seq, error: { kind: error.name, message: error.message } });
        else writeError(`seq ${seq}: ${printable(error.message)}\n`);
        return;
      }
      says = ` (error ${error.code}: ${printable(error.message).slice(0, 40)})`;
    }
    const time = performance.now() - start;
    this.answered++;
    this.#times.push(time);
    if (this.#times.length > MAX_TIMES) this.#times = this.#times.slice(MAX_TIMES / 10);
    if (json) writeJson({ seq, time });
    else writeLine(`answer of ${this.#to}: seq ${seq}, ${formatTime(time)}${says}`);
  }
}
