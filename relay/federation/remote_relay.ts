import { getLogger } from "@logtape/logtape";
import { LRUCache } from "lru-cache";
import { Places } from "./places.ts";
import type { Reply } from "./post.ts";
import { jittered } from "./waits.ts";

const logger = getLogger(["rmb", "relay", "federation"]);

/** Most requests to one relay at once: one that hangs must not take all places. */
const MAX_REQUESTS = 16;

/** Failures in a row after which a relay is proven no more, and only probed every so often. */
const MAX_FAILURES = 3;

/** Most requests at once to all proven relays; to all new ones; and to all that have failed. */
const MAX_PROVEN_REQUESTS = 64;
const MAX_UNPROVEN_REQUESTS = 16;

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
 * Places for requests that relays share: anyone can name relays that never answer, as many as they
 * like. So those that are not proven have places of their own, and of these the new ones.
 */
class SharedPlaces {
  readonly proven = new Places(MAX_PROVEN_REQUESTS);
  readonly fresh = new Places(MAX_UNPROVEN_REQUESTS);
  readonly failing = new Places(MAX_UNPROVEN_REQUESTS);
}

/**
 * Another relay, as all know it who send to it. Until it has answered it is not proven, and gets one
 * request at a time; when it has failed several times in a row, only every so often.
 */
export class RemoteRelay {
  /** Its domain. */
  readonly domain: string;
  readonly #pause: number;
  readonly #shared: SharedPlaces;
  readonly #places = new Places(MAX_REQUESTS);
  #proven = false;
  #failures = 0;
  /** Whether there is a request, while it is not proven. */
  #probing = false;
  /** When it may be probed, by `performance.now()`. */
  #probeAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #waiting = new Set<() => void>();

  /**
   * Makes one that is new.
   *
   * @param domain Its domain.
   * @param pause Time between two probes, in milliseconds.
   * @param shared Places shared with the others.
   */
  constructor(domain: string, pause: number, shared: SharedPlaces) {
    this.domain = domain;
    this.#pause = pause;
    this.#shared = shared;
  }

  /** Whether nothing is to be sent to it now. */
  get paused(): boolean {
    return !this.#proven && (this.#probing || performance.now() < this.#probeAt);
  }

  /**
   * Sends something to it when there is a place free.
   *
   * @param send Sends it.
   * @returns What `send` returned; undefined if it was not called, for nothing is to be sent now.
   */
  async ask(send: () => Promise<Sent>): Promise<Sent | undefined> {
    if (this.paused) return undefined;
    const { proven, fresh, failing } = this.#shared;
    if (this.#proven) {
      return await this.#places.within(() =>
        proven.within(async () => this.#proven ? await this.#ask(send) : undefined)
      );
    }
    this.#probing = true;
    try {
      return await (this.#failures === 0 ? fresh : failing).within(() => this.#ask(send));
    } finally {
      this.#probing = false;
    }
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

  async #ask(send: () => Promise<Sent>): Promise<Sent> {
    const sent = await send();
    if (sent.result === "failed") this.#failed(sent.reason);
    else if (sent.result !== "not sent") this.#worked();
    return sent;
  }

  #failed(reason: string): void {
    if (++this.#failures < MAX_FAILURES) return;
    this.#proven = false;
    this.#probeAt = performance.now() + jittered(this.#pause, 0.1);
    if (this.#failures !== MAX_FAILURES) return;
    logger.warn("relay {relay} fails: {reason}", { relay: this.domain, reason });
  }

  #worked(): void {
    if (this.#failures >= MAX_FAILURES) {
      logger.info("relay {relay} works again", { relay: this.domain });
    }
    this.#failures = 0;
    this.#proven = true;
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
  readonly #shared = new SharedPlaces();
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
      relay = new RemoteRelay(domain, this.#pause, this.#shared);
      this.#relays.set(domain, relay);
    }
    return relay;
  }
}
