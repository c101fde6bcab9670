/** The relay's status page, and what it shows. */
import { getLogger } from "@logtape/logtape";
import { unixNow } from "@rmb/protocol";
import type { Answer } from "../server.ts";
import { History, INTERVAL, type Reading } from "./history.ts";
import { CONTENT_SECURITY_POLICY, PAGE } from "./page.ts";

export type { Reading } from "./history.ts";

const logger = getLogger(["rmb", "relay", "status"]);

const headers = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };

/**
 * What the public may see of a relay: numbers of the last hour, in memory, and a page that shows them. No
 * twins, sessions or addresses are in it.
 */
export class StatusPage implements Disposable {
  readonly #read: () => Promise<Reading>;
  readonly #history = new History(unixNow());
  readonly #timer: ReturnType<typeof setInterval>;
  /** Answers by the count of samples in them, until the next sample. */
  readonly #kept = new Map<number, string>();
  #sampling = false;

  /** Begins to take samples of what a function reads. */
  constructor(read: () => Promise<Reading>) {
    this.#read = read;
    this.#timer = setInterval(() => void this.#sample(), INTERVAL * 1000);
    void this.#sample();
  }

  /** Answers a path, with its query; undefined if it is none of the page's. */
  answer(path: string, query: string): Answer | undefined {
    // A token without an upgrade is a mistake, and told as such.
    if (path === "/" && query === "") {
      return {
        status: 200,
        body: PAGE,
        type: "text/html; charset=utf-8",
        headers: { ...headers, "content-security-policy": CONTENT_SECURITY_POLICY },
      };
    }
    if (path !== "/status.json") return undefined;
    return {
      status: 200,
      body: this.#json(Number(new URLSearchParams(query).get("since"))),
      type: "application/json",
      headers: { ...headers, "cache-control": "no-store" },
    };
  }

  /** Takes no more samples. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #json(since: number): string {
    const count = this.#history.countNew(since);
    let json = this.#kept.get(count);
    if (json === undefined) {
      json = JSON.stringify(this.#history.report(count));
      this.#kept.set(count, json);
    }
    return json;
  }

  async #sample(): Promise<void> {
    if (this.#sampling) return; // The store is slow: what is missing shows as a gap.
    this.#sampling = true;
    try {
      this.#history.add(await this.#read(), unixNow());
    } catch (error) {
      logger.warn("no sample for the status page: {error}", { error: String(error) });
    }
    this.#sampling = false;
    this.#kept.clear();
  }
}
