import { FormatError, RmbError } from "@rmb/protocol";
import { parsed, pause, printable, shown } from "@rmb/protocol/program";
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

/** Where there is no terminal, nothing is left out. */
const PAGE = { columns: 80, rows: Infinity };

const parser = object({
  url: withDefault(
    argument(parsed("URL", new URL(DEFAULT_URL), parseUrl), {
      description:
        message`Where it tells its metrics: a relay's address, or that of --metrics-listen of a gateway.`,
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

/** Reads where metrics are; does not quote what may have a password. */
export function parseUrl(text: string): URL {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new FormatError("Cannot use the URL of metrics: expected http://host:port");
  }
  if (url.username !== "" || url.password !== "") {
    throw new FormatError("Cannot use the URL of metrics: it must not have a password");
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
  environment: [
    { name: "interval", short: "-i" },
    { name: "once", flag: true },
    { name: "json", flag: true },
    { name: "debug", short: "-d", flag: true },
  ],
  footer: [
    "Example: rmb-peer top http://localhost:8080",
    "Without a terminal it looks once.",
    "Exit codes: 0 done, 2 wrong usage, 1 it can't be watched.",
  ],
  async run({ url, interval, once, json }, stop) {
    const quit = new AbortController();
    stop.addEventListener("abort", () => quit.abort());
    const { signal } = quit;
    const isLive = !once && !json && Deno.stdout.isTerminal();
    let before = await look(url, signal);
    checkKind(before, url);
    using screen = isLive ? new Screen(() => quit.abort()) : undefined;
    screen?.show(() => [`${url.host}: the first numbers come in ${interval} s`]);
    let view: View | undefined;
    do {
      await pause(interval * 1000, signal);
      if (signal.aborted) break;
      let trouble: string | undefined;
      try {
        const now = await look(url, signal);
        view = viewOf(new Span(before, now)) ?? view;
        before = now;
      } catch (error) {
        if (signal.aborted) break;
        if (!isLive) throw error;
        trouble = (error as Error).message;
      }
      if (screen !== undefined) screen.show((size) => liveLines(view, url.host, size, trouble));
      else if (view !== undefined && json) writeJson(jsonOfView(view, url.host));
      else if (view !== undefined) renderView(view, url.host, PAGE).forEach(writeLine);
      // Whoever reads this wants one look, unless it is on a terminal.
    } while ((isLive || json) && !once);
    return 0;
  },
};

/** The view, and a last line that says what is wrong, or how to end. */
function liveLines(view: View | undefined, host: string, size: Size, trouble?: string): string[] {
  const lines = view ? renderView(view, host, { ...size, rows: size.rows - 1 }) : [];
  const last = trouble === undefined ? "q quits" : `these are old: ${printable(trouble)}`;
  while (lines.length < size.rows - 1) lines.push("");
  return [...lines, last.slice(0, size.columns)];
}

function checkKind(sample: Sample, { host }: URL): void {
  if (viewOf(new Span(sample, sample)) === undefined) {
    throw new RmbError(`Cannot watch ${host}: it has metrics of neither a relay nor a gateway`);
  }
}

async function look(url: URL, quit: AbortSignal): Promise<Sample> {
  try {
    return await scrape(url, AbortSignal.any([quit, AbortSignal.timeout(SCRAPE_TIME)]));
  } catch (cause) {
    throw new RmbError(`Cannot watch ${url.host}: ${reasonOf(cause as Error)}`, { cause });
  }
}

/** Why something failed: what is beneath it, for "fetch failed" tells nothing, without the URL. */
function reasonOf({ message, cause }: Error): string {
  if (cause instanceof Error) return reasonOf(cause);
  return message.replace(/^error sending request for url \(.*?\): /, "");
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
