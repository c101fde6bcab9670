import { getLogger } from "@logtape/logtape";
import { RelayConnection, type RelayState, type RelayTimes } from "../connection.ts";
import { parseRelayUrl } from "../domain.ts";
import { NotSentError, RmbError } from "../errors.ts";
import type { Keypair } from "../keys.ts";
import { OutgoingMessage } from "../outgoing.ts";
import type { Session } from "../session.ts";
import type { OpenSocket } from "../socket.ts";

const logger = getLogger(["rmb", "relays"]);

/** Most relays that a twin has (docs/gateway.md). */
export const MAX_RELAYS = 4;
/** How long a better relay has to answer before messages go through it again, in milliseconds. */
const HEAL_TIME = 2000;
/** Waits between attempts to connect, in milliseconds: requests don't live long. */
const RETRY = [500, 5000] as const;
/** Most reasons logged of one outage, each once: attempts go on for as long as it takes. */
const MAX_TOLD = 5;
/** How often it is asked meanwhile, in milliseconds. */
const HEAL_INTERVAL = 500;

/** What {@linkcode Relays} are made from. */
export interface RelaysOptions {
  /** URLs of the relays, 1 to 4, the best first. */
  readonly urls: readonly string[];
  /** Which session to connect to each. */
  readonly session: Session;
  /** The twin's key pair. */
  readonly keypair: Keypair;
  /** Called with each envelope that arrives, encoded, from whichever relay. It must not throw. */
  readonly onMessage: (bytes: Uint8Array) => void;
  /** Called when one of them is connected, or is not any more. It must not throw. */
  readonly onChange?: () => void;
  /** Opens their WebSockets. Default: as {@linkcode RelayConnection} does. */
  readonly openSocket?: OpenSocket;
  /** How patient the connections are; what is left out has its default. */
  readonly times?: Partial<RelayTimes>;
}

/** How a relay is. */
export interface RelayStatus {
  /** Its URL. */
  readonly url: string;
  /** Whether it is connected. */
  readonly connected: boolean;
  /** Whether it is connected and answers. */
  readonly healthy: boolean;
  /** Whether messages go through it. */
  readonly preferred: boolean;
  /** Milliseconds that its last answer to a ping took. */
  readonly roundTrip: number | undefined;
  /** Milliseconds by which its clock is ahead of this machine's, to within a second or so. */
  readonly clockOffset: number | undefined;
  /** How many messages wait to be confirmed by it. */
  readonly waiting: number;
}

/** One of them. */
interface Relay {
  readonly url: string;
  readonly connection: RelayConnection;
  /** When it became healthy; undefined while it is not. */
  healthySince: number | undefined;
  /** Whether it was healthy, and then not. */
  hasFailed: boolean;
  /** Whether it is connected but does not answer as it did. */
  isSilent: boolean;
  /** Why it is not connected; undefined while it is. */
  reason: string | undefined;
  /** The reasons of this outage that were logged. */
  readonly told: Set<string>;
}

/**
 * The relays of a twin: all connected at once. What arrives comes from all of them; messages go
 * through the best, which is the first of those that answer, in the order given. When it is lost, or
 * does not answer for a second, what it has not confirmed goes through the next one: receivers may get
 * a message twice, and know it by its uid. Messages return to a better one that has answered for 2 s.
 */
export class Relays implements AsyncDisposable {
  readonly #relays: readonly Relay[];
  #preferred: Relay;
  /** Runs while there is a better relay than the preferred one. */
  #healing: ReturnType<typeof setInterval> | undefined;
  readonly #onChange: () => void;
  #closed = false;

  /**
   * Begins to connect at once.
   *
   * @throws {RmbError} if the URLs are not those of 1 to 4 relays.
   */
  constructor({ urls, onChange = () => {}, ...options }: RelaysOptions) {
    checkRelays(urls);
    this.#onChange = onChange;
    this.#relays = urls.map((url) => {
      const relay: Relay = {
        url,
        healthySince: undefined,
        hasFailed: false,
        isSilent: false,
        reason: "not connected yet",
        told: new Set(),
        connection: new RelayConnection({
          ...options,
          url,
          times: { retry: RETRY, ...options.times },
          onState: (state) => {
            this.#noteState(relay, state);
            this.#onChange();
          },
          onHealth: (healthy) => this.#noteHealth(relay, healthy),
        }),
      };
      return relay;
    });
    this.#preferred = this.#relays[0]!;
  }

  /**
   * Sends an encoded envelope through the best relay; waits for one if none is connected. Messages wait
   * in memory, in order; it is for the caller to bound how many.
   *
   * @param bytes The envelope, which must not be changed any more.
   * @param timeout Milliseconds that it may take.
   * @returns When a relay has confirmed that it has it.
   * @throws {NotSentError} if that did not happen in time, or the relays were closed. It says how each of
   * them is. One of them may have it all the same.
   */
  send(bytes: Uint8Array, timeout: number): Promise<void> {
    if (this.#closed) {
      return Promise.reject(new NotSentError("Cannot send: the relay connection is closed"));
    }
    const message = new OutgoingMessage(bytes, timeout, () => this.explain());
    this.#preferred.connection.add(message);
    return message.confirmed;
  }

  /**
   * Stops reading from the relays, so that they have to wait; a few messages may still arrive. Nothing is
   * confirmed meanwhile.
   */
  pause(): void {
    for (const { connection } of this.#relays) connection.pause();
  }

  /** Goes on reading from the relays. */
  resume(): void {
    for (const { connection } of this.#relays) connection.resume();
  }

  /** How each relay is, in the order given. */
  statuses(): readonly RelayStatus[] {
    return this.#relays.map((relay) => {
      const { url, connection } = relay;
      const { connected, healthy, roundTrip, clockOffset, waiting } = connection;
      const preferred = relay === this.#preferred;
      return { url, connected, healthy, preferred, roundTrip, clockOffset, waiting };
    });
  }

  /** Why messages are not confirmed: how each relay is, by its host. */
  explain(): string {
    return this.#relays.map(({ connection, url, reason }) => {
      const { host } = new URL(url);
      if (!connection.connected) return `${host} was not connected in time (${reason})`;
      return `${host} did not ${connection.healthy ? "confirm it in time" : "answer"}`;
    }).join("; ");
  }

  /**
   * Closes the connections for good: waits up to 2 s for what was sent to be confirmed, and up to 2 s
   * for what the relays sent before. What was not confirmed is refused with a {@linkcode NotSentError}.
   */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#healing);
    await Promise.all(this.#relays.map(({ connection }) => connection.close()));
  }

  /** Closes the connections, see {@linkcode Relays.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #noteState(relay: Relay, state: RelayState): void {
    const { url } = relay;
    if (state.connected) {
      relay.reason = undefined;
      return logger.info("relay {url} is connected", { url });
    }
    const { reason, retryIn } = state;
    if (relay.reason === undefined) relay.told.clear();
    if (!relay.told.has(reason) && relay.told.size < MAX_TOLD) {
      relay.told.add(reason);
      logger.warn("relay {url} is not connected: {reason}; next attempt in {retryIn} ms", {
        url,
        reason,
        retryIn,
      });
    }
    relay.reason = reason;
  }

  #noteHealth(relay: Relay, healthy: boolean): void {
    const { url, connection } = relay;
    relay.healthySince = healthy ? performance.now() : undefined;
    if (!healthy) relay.hasFailed = true;
    if (healthy && relay.isSilent) logger.info("relay {url} answers again", { url });
    relay.isSilent = !healthy && connection.connected;
    if (relay.isSilent) logger.warn("relay {url} does not answer", { url });
    this.#choose();
  }

  /** Has messages go through the best relay. */
  #choose(): void {
    if (this.#closed) return;
    const before = this.#preferred;
    const answers = before.healthySince !== undefined;
    // From one that answers only to one that does for good: not to and fro.
    const isBetter = ({ healthySince = Infinity, hasFailed }: Relay) =>
      healthySince + (answers && hasFailed ? HEAL_TIME : 0) <= performance.now();
    const best = this.#relays.find((relay) => relay === before ? answers : isBetter(relay));
    if (best !== undefined && best !== before) {
      this.#preferred = best;
      const messages = before.connection.takeBack();
      for (const message of messages) best.connection.add(message);
      logger.info("messages go through relay {url} now, {count} that waited among them", {
        url: best.url,
        count: messages.length,
      });
    }
    this.#heal();
  }

  /** Asks the relays before the preferred one whether they answer again, while there are any. */
  #heal(): void {
    clearInterval(this.#healing);
    const count = this.#relays.indexOf(this.#preferred);
    if (count === 0) return;
    this.#healing = setInterval(() => {
      for (const { connection } of this.#relays.slice(0, count)) connection.ping();
      this.#choose();
    }, HEAL_INTERVAL);
  }
}

/**
 * Checks the URLs of a twin's relays.
 *
 * @throws {RmbError} if they are not those of 1 to 4 relays, each once.
 * @throws {FormatError} if one is not a relay's.
 */
export function checkRelays(urls: readonly string[]): void {
  urls.forEach(parseRelayUrl); // All, before one of them is connected.
  const count = new Set(urls).size;
  if (count !== urls.length) throw new RmbError("A relay is named twice");
  if (count < 1 || count > MAX_RELAYS) {
    throw new RmbError(`A twin has 1 to ${MAX_RELAYS} relays, not ${count}`);
  }
}
