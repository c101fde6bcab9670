import { getLogger } from "@logtape/logtape";
import { LRUCache } from "lru-cache";
import { Places } from "./places.ts";
import type { Reply } from "./post.ts";
import { jittered } from "./waits.ts";

const logger = getLogger(["rmb", "relay", "federation"]);

/** Most requests to one relay at once: one that hangs must not take all places. */
const MAX_REQUESTS = 16;

/** Failures in a row after which a relay is only probed. */
const MAX_FAILURES = 3;

/** Until another one is let probe if the one before does not, in milliseconds: it may have expired. */
const PASS_ON = 100;

/** Most relays remembered. */
const MAX_RELAYS = 1000;

/** What came of sending a message to a relay. */
export type Sent =
  | Reply
  /** It is not in the queue any more, or this relay is shutting down. */
  | { readonly result: "not sent" };

/**
 * Another relay, as all know it who send to it. When it has failed several times in a row it is
 * paused: only one request every so often goes to it, until one succeeds.
 */
export class RemoteRelay {
  /** Its domain. */
  readonly domain: string;
  readonly #pause: number;
  readonly #places = new Places(MAX_REQUESTS);
  #failures = 0;
  #probing = false;
  /** When it may be probed, by `performance.now()`. */
  #probeAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #waiting = new Set<() => void>();

  /**
   * Makes one that has not failed.
   *
   * @param domain Its domain.
   * @param pause Time between two probes, in milliseconds.
   */
  constructor(domain: string, pause: number) {
    this.domain = domain;
    this.#pause = pause;
  }

  /** Whether nothing is to be sent to it now. */
  get paused(): boolean {
    return this.#failing && (this.#probing || performance.now() < this.#probeAt);
  }

  get #failing(): boolean {
    return this.#failures >= MAX_FAILURES;
  }

  /**
   * Sends something to it when there is a place free.
   *
   * @param send Sends it.
   * @param shared Places shared with other relays.
   * @returns What `send` returned; undefined if it was not called, for nothing is to be sent now.
   */
  ask(send: () => Promise<Sent>, shared: Places): Promise<Sent | undefined> {
    return this.#places.within(() =>
      shared.within(async () => {
        if (this.paused) return undefined;
        const probing = this.#probing = this.#failing;
        let sent: Sent;
        try {
          sent = await send();
        } finally {
          if (probing) this.#probing = false;
        }
        if (sent.result === "failed") this.#failed(sent.reason);
        else if (sent.result !== "not sent") this.#worked();
        return sent;
      })
    );
  }

  /**
   * Waits while it is paused.
   *
   * @param onReady Called once: when it works again, or when it is this one's turn to probe it.
   * @returns Stops waiting.
   */
  wait(onReady: () => void): () => void {
    this.#waiting.add(onReady);
    this.#timer ??= this.#setTimer(this.#probeAt - performance.now());
    return () => {
      this.#waiting.delete(onReady);
      if (this.#waiting.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  #failed(reason: string): void {
    this.#failures++;
    this.#probeAt = performance.now() + jittered(this.#pause, 0.1);
    if (this.#failures !== MAX_FAILURES) return;
    logger.warn("relay {relay} fails: {reason}", { relay: this.domain, reason });
  }

  #worked(): void {
    if (this.#failing) logger.info("relay {relay} works again", { relay: this.domain });
    this.#failures = 0;
    for (const onReady of [...this.#waiting]) onReady();
  }

  #setTimer(delay: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#letOneProbe(), Math.max(delay, 0));
  }

  #letOneProbe(): void {
    this.#timer = undefined;
    const [first] = this.#waiting;
    if (first === undefined) return;
    if (this.paused) {
      this.#timer = this.#setTimer(Math.max(this.#probeAt - performance.now(), PASS_ON));
      return;
    }
    this.#waiting.delete(first);
    this.#timer = this.#setTimer(PASS_ON);
    first();
  }
}

/** The other relays, by domain; those not used for longest are forgotten. */
export class RemoteRelays {
  readonly #pause: number;
  readonly #relays = new LRUCache<string, RemoteRelay>({ max: MAX_RELAYS });

  /**
   * Knows none yet.
   *
   * @param pause Time between two probes of one that fails, in milliseconds.
   */
  constructor(pause: number) {
    this.#pause = pause;
  }

  /** The one with a domain. */
  get(domain: string): RemoteRelay {
    let relay = this.#relays.get(domain);
    if (relay === undefined) {
      relay = new RemoteRelay(domain, this.#pause);
      this.#relays.set(domain, relay);
    }
    return relay;
  }
}
