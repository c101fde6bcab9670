import { FormatError, RmbError } from "@rmb/protocol";
import { parsed, shown } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { verbosity } from "../identity_options.ts";
import { parseSeconds } from "./call.ts";
import { type Sample, scrape, Span } from "./metrics_text.ts";
import { write, writeJson, writeLine } from "./output.ts";
import type { Tool } from "./tool.ts";
import { jsonOfView, renderView, type View, viewOf } from "./top_view.ts";

/** How long a program has to tell its metrics, in milliseconds. */
const SCRAPE_TIME = 5000;

/** Where a gateway has its metrics when it is started as the documentation shows. */
const DEFAULT_URL = "http://127.0.0.1:9464";

const parser = object({
  url: withDefault(
    argument(parsed("URL", new URL(DEFAULT_URL), parseUrl), {
      description:
        message`Where it tells its metrics: a relay's address, or that of --metrics-listen of a gateway. Default: http://127.0.0.1:9464.`,
    }),
    parseUrl(DEFAULT_URL),
    shown(DEFAULT_URL),
  ),
  interval: withDefault(
    option("-i", "--interval", parsed("SECONDS", 1, parseSeconds), {
      description: message`Time between two looks.`,
    }),
    1,
    shown(1),
  ),
  once: option("--once", { description: message`Look once, print it, and end.` }),
  json: option("--json", { description: message`Write lines of JSON, one for each look.` }),
  verbosity,
});

function parseUrl(text: string): URL {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new FormatError("Cannot use the URL of metrics: expected http://host:port");
  }
  if (url.pathname === "/") url.pathname = "/metrics";
  return url;
}

/** Shows how a gateway or relay is doing. */
export const topTool: Tool<InferValue<typeof parser>> = {
  name: "top",
  brief: message`Watch a gateway or a relay.`,
  description:
    message`Shows what a gateway or a relay is doing, from its metrics, until q or Ctrl-C is pressed.`,
  parser,
  environment: [{ name: "debug", short: "-d", flag: true }],
  footer: [
    "Example: rmb-peer top http://localhost:8080",
    "Exit codes: 0 done, 2 wrong usage, 1 it can't be watched.",
  ],
  async run({ url, interval, once, json }, stop) {
    const quit = new AbortController();
    stop.addEventListener("abort", () => quit.abort());
    const isLive = !once && !json && Deno.stdout.isTerminal();
    using screen = isLive ? new Screen(() => quit.abort()) : undefined;
    let before = await look(url, quit.signal);
    do {
      await pause(once ? Math.min(interval, 1) : interval, quit.signal);
      if (quit.signal.aborted) break;
      let view: View | undefined;
      let trouble = "";
      try {
        const now = await look(url, quit.signal);
        view = viewOf(new Span(before, now));
        before = now;
        if (view === undefined) throw new RmbError(`${url.host} is neither a relay nor a gateway`);
      } catch (error) {
        if (quit.signal.aborted) break;
        if (!isLive) throw error;
        trouble = (error as Error).message;
      }
      if (view !== undefined && json) writeJson(jsonOfView(view, url.host));
      else if (screen !== undefined) {
        const lines = (size: Size) => view ? renderView(view, url.host, size) : [trouble];
        screen.show(lines);
      } else if (view !== undefined) {
        renderView(view, url.host, { columns: 100, rows: 1000 }).forEach(writeLine);
      }
    } while (!once && !quit.signal.aborted);
    return 0;
  },
};

async function look(url: URL, quit: AbortSignal): Promise<Sample> {
  try {
    return await scrape(url, AbortSignal.any([quit, AbortSignal.timeout(SCRAPE_TIME)]));
  } catch (cause) {
    throw new RmbError(`Cannot watch ${url.host}: ${(cause as Error).message}`, { cause });
  }
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** The terminal as a screen of one's own, given back at the end. */
class Screen implements Disposable {
  constructor(onQuit: () => void) {
    write("\x1b[?1049h\x1b[?25l");
    if (!Deno.stdin.isTerminal()) return;
    Deno.stdin.setRaw(true);
    void this.#listen(onQuit);
  }

  show(lines: (size: Size) => readonly string[]): void {
    const text = lines(Deno.consoleSize()).map((line) => `${line}\x1b[K`).join("\r\n");
    write(`\x1b[H${text}\x1b[J`);
  }

  [Symbol.dispose](): void {
    if (Deno.stdin.isTerminal()) Deno.stdin.setRaw(false);
    write("\x1b[?25h\x1b[?1049l");
  }

  async #listen(onQuit: () => void): Promise<void> {
    for await (const keys of Deno.stdin.readable) {
      if (keys.some((key) => key === 3 || key === 113)) onQuit(); // Ctrl-C, q
    }
  }
}
