import type { TwinRegistry } from "@rmb/protocol";
import { candidates } from "./candidates.ts";
import type { FederationMetrics } from "./metrics.ts";
import { Places } from "./places.ts";
import { Poster } from "./post.ts";
import { Ranker } from "./ranker.ts";
import { type RemoteRelay, RemoteRelays, type Sent } from "./remote_relay.ts";
import { jittered, type Waits } from "./waits.ts";

/** Most bytes read again from the queue at once. */
const MAX_READ_BYTES = 32 * 1024 * 1024;

/** How often a try goes over all candidates. */
const ROUNDS = 3;

/** How patient a federation is, in milliseconds. */
export interface FederationTimes {
  /** Time for a request. */
  readonly request: number;
  /** Between two rounds over all candidates, about. */
  readonly round: number;
  /** Between two tries, and between two probes of a relay that fails, about. */
  readonly retry: number;
}

/** What a sender is made from. */
export interface SenderOptions {
  /** Says which relays a twin has. */
  readonly registry: Pick<TwinRegistry, "twin">;
  /** Domains of this relay, as twins name it. */
  readonly domains: readonly string[];
  /** How other relays are reached. */
  readonly scheme: "https" | "http";
  /** How long a relay's failures count when the best is looked for, in seconds. */
  readonly rankerPeriod: number;
  /** Where is counted what was taken, and what was not. */
  readonly metrics: FederationMetrics;
  /** How patient it is. */
  readonly times: FederationTimes;
}

/** A message to be sent, which need not be in memory. */
export interface Sendable {
  /** Its length in bytes. */
  readonly size: number;
  /** Its bytes, while they are in memory. */
  readonly bytes: Uint8Array | undefined;
}

/** Reads a message from where it is kept; undefined if it is not there any more. */
type ReadQueued = () => Promise<Uint8Array | undefined>;

/** What came of a try to send a message. */
export type Outcome =
  | Exclude<Sent, { result: "failed" | "full" }>
  /** There is no relay to send it to. */
  | { readonly result: "undeliverable"; readonly reason: string }
  /** This relay is one of its destination's. */
  | { readonly result: "here" }
  | Failed;

/** A try failed; another one may not. */
export interface Failed {
  /** It did. */
  readonly result: "failed";
  /** Whether any relay was asked. If not, all were paused, or the destination can't be looked up. */
  readonly asked: boolean;
  /** The relays that can be asked. */
  readonly relays: readonly RemoteRelay[];
}

/** Sends messages to the relays of their destinations. */
export class Sender implements Disposable {
  readonly #options: SenderOptions;
  readonly #ranker: Ranker;
  readonly #relays: RemoteRelays;
  readonly #poster: Poster;
  readonly #waits: Waits;
  readonly #readBytes = new Places(MAX_READ_BYTES);

  /**
   * Makes one that knows nothing of any relay.
   *
   * @param waits What its waits end with; after that it begins no request.
   */
  constructor(options: SenderOptions, waits: Waits) {
    this.#options = options;
    this.#waits = waits;
    const { rankerPeriod, scheme, times } = options;
    this.#ranker = new Ranker(rankerPeriod);
    this.#relays = new RemoteRelays(times.retry);
    this.#poster = new Poster(scheme, times.request);
  }

  /**
   * Tries to send a message: in a few rounds over all relays of its destination.
   *
   * @param destination Id of the twin it is for.
   * @param read Reads the message, if it is not in memory when it is its turn.
   * @throws if the message can't be read, or the destination can't be looked up.
   */
  async try(destination: number, message: Sendable, read: ReadQueued): Promise<Outcome> {
    const { registry, domains, metrics, times } = this.#options;
    const twin = await registry.twin(destination);
    if (twin === undefined) return undeliverable("unknown twin destination");
    if (twin.relays.length === 0) return undeliverable("relay info is not set for this twin");
    if (twin.relays.some((domain) => domains.includes(domain))) return { result: "here" };
    const reachable = candidates(twin.relays);
    if (reachable.length === 0) return undeliverable("relays of the destination are no hosts");

    const failed = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      let asked = false;
      for (const domain of this.#ranker.order(reachable)) {
        if (this.#waits.stopped) break;
        const sent = await this.#ask(domain, message, read);
        if (sent === undefined) continue;
        if (sent.result === "taken") metrics.succeeded(domain);
        if (sent.result !== "failed" && sent.result !== "full") return sent;
        asked = true;
        if (sent.result === "failed") this.#ranker.failed(domain);
        failed.add(domain);
      }
      if (!asked) break; // All are paused.
      if (round < ROUNDS - 1) await this.#waits.wait(jittered(times.round, 0.5));
    }
    for (const domain of failed) metrics.failed(domain);
    const relays = reachable.map((domain) => this.#relays.get(domain));
    return { result: "failed", asked: failed.size > 0, relays };
  }

  /** Ends what is under way. */
  [Symbol.dispose](): void {
    this.#poster[Symbol.dispose]();
  }

  /** Sends a message to a relay; undefined if that is paused. */
  async #ask(
    domain: string,
    message: Sendable,
    read: ReadQueued,
  ): Promise<Sent | undefined> {
    return await this.#relays.get(domain).ask(async () => {
      if (this.#waits.stopped) return { result: "not sent" };
      const { bytes } = message;
      if (bytes !== undefined) return await this.#poster.post(domain, bytes);
      return await this.#readBytes.within(async () => {
        const bytes = await read();
        if (bytes === undefined) return { result: "not sent" };
        return await this.#poster.post(domain, bytes);
      }, message.size);
    });
  }
}

function undeliverable(reason: string): Outcome {
  return { result: "undeliverable", reason };
}
