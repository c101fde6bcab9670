import { RmbError, type Session } from "@rmb/protocol";
import { parsed, printable, shown, writeError } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { resolve } from "node:path";
import { redis } from "../options.ts";
import { verbosity } from "../identity_options.ts";
import { parseSeconds } from "./call.ts";
import { parseDestination } from "./connect.ts";
import { writeJson, writeLine } from "./output.ts";
import { formatBytes, Pace, ProgressBar, progressText, timeLeft } from "./progress_bar.ts";
import { INTERRUPTED, type Tool } from "./tool.ts";
import { NoGatewayError, type UploadAnswer, UploadBus, UploadError } from "./upload_bus.ts";

/** Exit codes by what went wrong; 1 for all else. */
const CODES = [
  [UploadError, 3],
  [NoGatewayError, 4],
] as const;

/** Least time between two lines about progress, in milliseconds, where there is no terminal. */
const LINE_INTERVAL = 5000;

const parser = object({
  file: argument(string({ metavar: "FILE" }), {
    description: message`File to send. The gateway reads it, on its machine and as its user.`,
  }),
  destination: argument(parsed("TWIN", { twin: 1 } as Session, parseDestination), {
    description: message`Id of the twin that gets it, or its session as in 9:bot.`,
  }),
  command: optional(option("--command", string({ metavar: "COMMAND" }), {
    description: message`Command that is called there when the file is complete.`,
  })),
  timeout: withDefault(
    option("-t", "--timeout", parsed("SECONDS", 300, parseSeconds), {
      description: message`How long the other side may take to agree.`,
    }),
    300,
    shown(300),
  ),
  redis,
  json: option("--json", { description: message`Write lines of JSON, the last one the result.` }),
  verbosity,
});

/** Has the gateway send a file, and shows how far it is. */
export const uploadTool: Tool<InferValue<typeof parser>> = {
  name: "upload",
  brief: message`Send a file through the running gateway.`,
  description:
    message`Has the gateway that uses a Redis send a file to another twin, and shows how far it is. Both gateways need --uploads. The gateways go on after restarts and outages, also when this tool ends before.`,
  parser,
  environment: [
    { name: "redis", short: "-r" },
    { name: "command" },
    { name: "timeout", short: "-t" },
    { name: "json", flag: true },
    { name: "debug", short: "-d", flag: true },
  ],
  footer: [
    "Example: rmb-peer upload report.pdf 9 --command reports.new",
    "Exit codes: 0 the file is there, 2 wrong usage, 3 the upload failed, 4 no gateway takes it, " +
    `${INTERRUPTED} interrupted: the gateway goes on, 1 any other failure.`,
  ],
  async run({ file, redis: url, json, ...order }, stop) {
    const report = json ? jsonReport() : Deno.stdout.isTerminal() ? barReport() : lineReport();
    try {
      await using bus = await UploadBus.connect(url);
      for await (const answer of bus.upload({ ...order, path: resolve(file) }, stop)) {
        report.take(answer);
        if (typeof answer === "object" && "done" in answer) return 0;
      }
      report.end();
      writeError("rmb-peer upload: no longer watched: the gateway goes on with the upload\n");
      return INTERRUPTED;
    } catch (error) {
      report.end();
      if (!(error instanceof RmbError)) throw error;
      if (json) writeJson({ error: { kind: error.name, message: error.message } });
      else writeError(`rmb-peer upload: ${printable(error.message)}\n`);
      return CODES.find(([kind]) => error instanceof kind)?.[1] ?? 1;
    }
  },
};

/** Tells how an upload goes. */
interface Report {
  /** There is an answer, or none for a moment. */
  take(answer: UploadAnswer | undefined): void;
  /** There will be none any more. */
  end(): void;
}

/** For scripts. */
function jsonReport(): Report {
  const pace = new Pace();
  return {
    take(answer) {
      if (answer === undefined) return;
      if (typeof answer === "string") return writeJson({ upload: answer });
      if ("done" in answer) return writeJson(answer);
      const { uploaded, size } = answer;
      const rate = pace.note(uploaded, performance.now() / 1000);
      writeJson({ uploaded, size, rate, left: timeLeft(uploaded, size, rate) });
    },
    end() {},
  };
}

/** For people, on a terminal. */
function barReport(): Report {
  const pace = new Pace();
  const bar = new ProgressBar();
  let last: { readonly uploaded: number; readonly size: number } | undefined;
  let shown = -Infinity;
  return {
    take(answer) {
      if (typeof answer === "string") return writeBegin(answer);
      if (answer !== undefined && "done" in answer) {
        bar.end();
        return writeEnd(answer);
      }
      const now = performance.now();
      // Also when nothing comes: it gets slower then.
      if (answer === undefined && now - shown < 1000) return;
      last = answer ?? last;
      if (last === undefined) return;
      shown = now;
      bar.show(last.uploaded, last.size, pace.note(last.uploaded, now / 1000));
    },
    end: () => bar.end(),
  };
}

/** For logs. */
function lineReport(): Report {
  const pace = new Pace();
  let written = -Infinity;
  return {
    take(answer) {
      if (answer === undefined) return;
      if (typeof answer === "string") return writeBegin(answer);
      if ("done" in answer) return writeEnd(answer);
      const now = performance.now();
      const rate = pace.note(answer.uploaded, now / 1000);
      if (now - written < LINE_INTERVAL) return;
      written = now;
      writeLine(progressText(answer.uploaded, answer.size, rate));
    },
    end() {},
  };
}

function writeBegin(id: string): void {
  writeLine(`upload ${printable(id)} begins`);
}

function writeEnd({ size, sha256, verified }: Extract<UploadAnswer, { done: true }>): void {
  const checked = verified ? "verified" : "not verified: the other side can't say";
  writeLine(`the file is there: ${formatBytes(size)}, ${checked}\nSHA-256 ${printable(sha256)}`);
}
