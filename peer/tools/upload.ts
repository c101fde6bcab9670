import { RmbError, type Session, unixNow } from "@rmb/protocol";
import { parsed, printable, writeError } from "@rmb/protocol/program";
import { redactUrl } from "@rmb/protocol/redis-url";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { createClient } from "@redis/client";
import { resolve } from "node:path";
import { redis } from "../options.ts";
import { verbosity } from "../identity_options.ts";
import { parseDestination } from "./connect.ts";
import { writeJson, writeLine } from "./output.ts";
import { ProgressBar } from "./progress_bar.ts";
import type { Tool } from "./tool.ts";

/** How long a gateway has to take the request, in seconds. */
const TAKE_TIME = 10;
/** How long the other side has to agree, in seconds. */
const AGREE_TIME = 300;
/** Longest time without a word of the gateway, in seconds: it gives up earlier by itself. */
const SILENCE = 900;

const parser = object({
  file: argument(string({ metavar: "FILE" }), {
    description: message`File to send. The gateway reads it, on its machine and as its user.`,
  }),
  twin: argument(parsed("TWIN", { twin: 1 } as Session, parseDestination), {
    description: message`Id of the twin that gets it.`,
  }),
  command: optional(option("--command", string({ metavar: "COMMAND" }), {
    description: message`Command that is called there when the file is complete.`,
  })),
  redis,
  json: option("--json", { description: message`Write lines of JSON, the last one the result.` }),
  verbosity,
});

/** What a gateway answers about an upload. */
type Answer =
  | string
  | { readonly uploaded: number; readonly size: number }
  | {
    readonly done: true;
    readonly size: number;
    readonly sha256: string;
    readonly verified: boolean;
  };

/** Has the gateway send a file, and shows how far it is. */
export const uploadTool: Tool<InferValue<typeof parser>> = {
  name: "upload",
  brief: message`Send a file through the running gateway.`,
  description:
    message`Has the gateway that uses a Redis send a file to another twin, and shows how far it is. Both gateways need --uploads. The upload goes on when this ends before it, also after restarts.`,
  parser,
  environment: [
    { name: "redis", short: "-r" },
    { name: "debug", short: "-d", flag: true },
  ],
  footer: [
    "Example: rmb-peer upload report.pdf 9 --command reports.new",
    "Exit codes: 0 the file is there, 2 wrong usage, 1 any failure.",
  ],
  async run({ file, twin: { twin }, command, redis: url, json }, stop) {
    await using bus = await UploadBus.connect(url);
    const path = resolve(file);
    const answers = bus.upload({ path, ...command !== undefined && { cmd: command } }, twin, stop);
    const bar = json || !Deno.stdout.isTerminal() ? undefined : new ProgressBar();
    try {
      for await (const answer of answers) {
        if (json) writeJson(typeof answer === "string" ? { upload: answer } : answer);
        else if (typeof answer === "string") writeLine(`upload ${printable(answer)} begins`);
        else if ("done" in answer) {
          bar?.show(answer.size, answer.size);
          bar?.end();
          const { size, sha256, verified } = answer;
          writeLine(
            `${size} bytes are there${verified ? ", verified" : ""}, sha256 ${printable(sha256)}`,
          );
        } else if (bar !== undefined) bar.show(answer.uploaded, answer.size);
        else writeLine(`${answer.uploaded} of ${answer.size} bytes`);
      }
    } catch (error) {
      bar?.end();
      if (stop.aborted) {
        writeError("no longer watched: the gateway goes on with the upload\n");
        return 0;
      }
      throw error;
    }
    return 0;
  },
};

/** The Redis of a gateway, as a program uses it for an upload. */
class UploadBus implements AsyncDisposable {
  readonly #url: string;
  readonly #redis: ReturnType<typeof createClient>;

  private constructor(url: string) {
    this.#url = redactUrl(url);
    this.#redis = createClient({
      url,
      maintNotifications: "disabled",
      socket: { reconnectStrategy: false, connectTimeout: 5000 },
    });
    this.#redis.on("error", () => {}); // What is under way fails with it.
  }

  /** Connects. */
  static async connect(url: string): Promise<UploadBus> {
    const bus = new UploadBus(url);
    try {
      await bus.#redis.connect();
      return bus;
    } catch (cause) {
      const { message } = cause as Error;
      throw new RmbError(`Cannot connect to Redis at ${bus.#url}: ${message}`, { cause });
    }
  }

  /** Asks for an upload, and gives the answers up to the last one. */
  async *upload(body: object, twin: number, stop: AbortSignal): AsyncGenerator<Answer> {
    const ret = `upload.${crypto.randomUUID()}`;
    const request = JSON.stringify({
      ...{ ver: 1, ref: "upload", cmd: "file.upload", exp: AGREE_TIME, dst: [twin], ret },
      dat: new TextEncoder().encode(JSON.stringify(body)).toBase64(),
      ...{ shm: "application/json", now: unixNow() },
    });
    await this.#redis.lPush("msgbus.system.local", request);
    let isTaken = false;
    for (let silence = 0;;) {
      const popped = await this.#redis.brPop(ret, 1);
      stop.throwIfAborted();
      if (popped === null) {
        if (++silence === TAKE_TIME && !isTaken) {
          const removed = await this.#redis.lRem("msgbus.system.local", 1, request);
          if (removed > 0) throw new RmbError(`No gateway reads its requests from ${this.#url}`);
        }
        if (silence >= SILENCE) throw new RmbError(`The gateway said nothing for ${SILENCE} s`);
        continue;
      }
      isTaken = true;
      silence = 0;
      const { err, dat } = JSON.parse(popped.element);
      if (err !== null) throw new RmbError(`${err.message} (error ${err.code})`);
      const answer: Answer = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(dat)));
      yield answer;
      if (typeof answer === "object" && "done" in answer) return;
    }
  }

  /** Disconnects. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#redis.destroy();
    return Promise.resolve();
  }
}
