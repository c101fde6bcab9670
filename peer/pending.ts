import { getLogger } from "@logtape/logtape";
import { unixNow } from "@rmb/protocol";
import { ErrorCode } from "@rmb/protocol/endpoint";
import { type Bus, ReplyListError } from "./bus.ts";
import { formatOwnError } from "./local.ts";
import type { PeerMetrics } from "./metrics.ts";
import { unlessAborted } from "./unless_aborted.ts";

const logger = getLogger(["rmb", "peer", "pending"]);

/** How often it is looked for requests whose time is up, in milliseconds. */
const LOOK_INTERVAL = 1000;
/** Seconds beyond a request's deadline in which who knows more may say why it was not answered. */
const GRACE = 2;

/** Answers local programs whose requests were not answered in time. */
export class Pending {
  readonly #bus: Bus;
  readonly #metrics: PeerMetrics;
  readonly #stop: AbortSignal;
  #isShared = false;

  /** Makes one, which does nothing before {@linkcode Pending.run}. */
  constructor(bus: Bus, metrics: PeerMetrics, stop: AbortSignal) {
    this.#bus = bus;
    this.#metrics = metrics;
    this.#stop = stop;
  }

  /** Works until it is told to stop. Never rejects. */
  async run(): Promise<void> {
    while (!this.#stop.aborted) {
      const looked = this.#look().catch((error) => {
        if (!this.#stop.aborted) {
          logger.error("requests can't be timed out: {error}", { error: String(error) });
        }
      });
      await unlessAborted(looked, this.#stop); // It may wait for Redis.
      await this.#pause();
    }
  }

  async #look(): Promise<void> {
    const isShared = await this.#bus.claim();
    // The first time it may be a gateway that has ended.
    if (isShared && this.#isShared) {
      logger.error("another gateway uses this Redis too: each takes what is for the other");
    }
    this.#isShared = true;
    for (;;) {
      const overdue = await this.#bus.overdue(unixNow() - GRACE);
      await Promise.all(overdue.map(async (request) => {
        const answers = request.twins.map((twin) => ({
          twin,
          answer: formatOwnError(request, {
            code: ErrorCode.other,
            message: `twin ${twin} did not answer in time`,
          }),
        }));
        try {
          this.#metrics.timeouts += await this.#bus.answer(request, answers, true);
        } catch (error) {
          if (!(error instanceof ReplyListError)) throw error;
          logger.warn("{uid} was not answered, and that can't be said: {error}", {
            uid: request.uid,
            error: error.message,
          });
        }
      }));
      if (overdue.length === 0) return;
    }
  }

  #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LOOK_INTERVAL);
    return unlessAborted(promise, this.#stop).finally(() => clearTimeout(timer));
  }
}
