import { getLogger } from "@logtape/logtape";

const logger = getLogger(["rmb", "relay", "redis"]);

/** Whether Redis can be used: one log line when it is lost, and one when it is back. */
export class Outage {
  readonly #server: string;
  /** Why it can't be used, by who says so. */
  readonly #reasons = new Map<unknown, string>();

  /** @param server What it is called in log lines. */
  constructor(server: string) {
    this.#server = server;
  }

  /** Why Redis can't be used now; undefined while it can. */
  get reason(): string | undefined {
    const [reason] = this.#reasons.values();
    return reason;
  }

  /** Someone can't use Redis. */
  begin(who: unknown, reason: string): void {
    if (this.#reasons.size === 0) {
      logger.error("Redis at {server} can't be used: {reason}", { server: this.#server, reason });
    }
    this.#reasons.set(who, reason);
  }

  /** Someone can use it again. */
  end(who: unknown): void {
    if (this.#reasons.delete(who) && this.#reasons.size === 0) {
      logger.info("Redis at {server} can be used again", { server: this.#server });
    }
  }

  /** Someone uses it no more, whether it can or not. */
  forget(who: unknown): void {
    this.#reasons.delete(who);
  }
}
