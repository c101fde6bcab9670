import { parseRelayUrl } from "./domain.ts";
import { NotSentError } from "./errors.ts";
import type { Keypair } from "./keys.ts";
import { Link } from "./link.ts";
import { OutgoingMessage } from "./outgoing.ts";
import { onAbort, pause } from "./pause.ts";
import { askForDate, explainRefusal } from "./refusal.ts";
import type { Session } from "./session.ts";
import {
  checkPlatform,
  type OpenSocket,
  openWebSocket,
  type Refusal,
  type RelaySocket,
} from "./socket.ts";
import { createToken } from "./token.ts";
import { withResolvers } from "./with_resolvers.ts";

/** Whether a relay is connected and, if not, why and for how long. */
export type RelayState =
  | { readonly connected: true }
  | {
    readonly connected: false;
    /** Why the connection ended or was not made, for people. */
    readonly reason: string;
    /** Milliseconds until the next attempt. */
    readonly retryIn: number;
  };

/** How patient a {@linkcode RelayConnection} is, in milliseconds. */
export interface RelayTimes {
  /** Time for an attempt to connect. Default 10 s. */
  readonly connect: number;
  /** Between pings. Default 20 s, as all clients of the network have it. */
  readonly ping: number;
  /** Without any message, pongs included, the connection is dead. Default 40 s, likewise. */
  readonly silence: number;
  /** Shortest and longest wait before a new attempt; waits double between them. Default 1 to 30 s. */
  readonly retry: readonly [shortest: number, longest: number];
}

/** What a {@linkcode RelayConnection} is made from. */
export interface RelayConnectionOptions {
  /** URL of the relay, for example `wss://relay.grid.tf`. */
  readonly url: string;
  /** Which session to connect. Another connection of the same session is closed by the relay. */
  readonly session: Session;
  /** The twin's key pair, which signs the token of each connect. */
  readonly keypair: Keypair;
  /**
   * Called with each envelope that arrives, encoded, pongs left out. It must not throw. What arrives
   * is not verified.
   */
  readonly onMessage: (bytes: Uint8Array) => void;
  /** Called when the relay is connected, and with the reason when it is not. It must not throw. */
  readonly onState?: (state: RelayState) => void;
  /** Called when {@linkcode RelayConnection.healthy} has changed. It must not throw. */
  readonly onHealth?: (healthy: boolean) => void;
  /**
   * Opens the WebSocket. Default: the one of the platform, which can't stop reading; `openWsSocket` of
   * `@rmb/protocol/ws-socket` can.
   */
  readonly openSocket?: OpenSocket;
  /** How patient it is; what is left out has its default. */
  readonly times?: Partial<RelayTimes>;
}

/** How often it is looked whether the kernel took what was handed to the socket, in milliseconds. */
const FLUSH_INTERVAL = 10;

/** How often it is looked how the relay is, in milliseconds. */
const TICK = 100;

/** How long closing waits for what was sent to be confirmed, in milliseconds. */
const CLOSE_TIME = 2000;

/** How long closing waits for the relay to close the connection too, in milliseconds. */
const END_TIME = 2000;

/**
 * A connection to a relay that stays connected: it connects again when it ends or falls silent, with
 * a fresh token and after a wait that grows from 1 s to 30 s, until it is closed. What the relay has
 * not confirmed by then is sent again, in order: receivers should know messages by their uids.
 *
 * @example
 * ```ts
 * import { Keypair, RelayConnection } from "@rmb/protocol";
 *
 * const connection = new RelayConnection({
 *   url: "wss://relay.grid.tf",
 *   session: { twin: 7 },
 *   keypair: Keypair.fromSecret("//Alice"),
 *   onMessage: (bytes) => console.log(`${bytes.length} bytes`),
 * });
 * await connection.close();
 * ```
 */
export class RelayConnection implements AsyncDisposable {
  readonly #options: RelayConnectionOptions;
  readonly #url: URL;
  readonly #times: RelayTimes;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #link: Link | undefined;
  #healthy = false;
  #paused = false;
  /** When this connection was made, in milliseconds of Unix time. */
  #connectedSince = Infinity;
  #clockOffset: number | undefined;
  /** Pauses and resumes the socket, closes it in order, or at once. */
  #socket: RelaySocket | undefined;
  /** What the socket does not have, oldest first. */
  #waiting = new Set<OutgoingMessage>();
  #flushing = false;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Begins to connect at once, and never throws for a relay that can't be reached.
   *
   * @throws {FormatError} if the URL is not a relay's.
   * @throws {RmbError} if the platform has no WebSocket and none is given.
   */
  constructor(options: RelayConnectionOptions) {
    if (options.openSocket === undefined) checkPlatform();
    this.#options = options;
    this.#url = parseRelayUrl(options.url);
    const defaults = { connect: 10_000, ping: 20_000, silence: 40_000, retry: [1000, 30_000] };
    this.#times = { ...defaults as unknown as RelayTimes, ...options.times };
    this.#running = this.#run();
  }

  /** Whether the relay is connected now. */
  get connected(): boolean {
    return this.#link !== undefined;
  }

  /**
   * Whether the relay is connected and answers pings: while it owes an answer, something was heard
   * from it, or it still took bytes, within the last second, give or take what the network needs.
   */
  get healthy(): boolean {
    return this.#healthy;
  }

  /** Milliseconds that the relay's last answer to a ping took. */
  get roundTrip(): number | undefined {
    return this.#link?.roundTrip;
  }

  /**
   * Milliseconds by which the relay's clock is ahead of this machine's, to within a second or so, as
   * far as the relay has said and the socket shows it.
   */
  get clockOffset(): number | undefined {
    return this.#clockOffset;
  }

  /** How many messages are not confirmed. */
  get waiting(): number {
    return this.#waiting.size + (this.#link?.unconfirmed ?? 0);
  }

  /**
   * Sends an encoded envelope. While the relay is not connected, or takes messages slower than they
   * are sent, messages wait in memory, in order; it is for the caller to bound how many.
   *
   * @param bytes The envelope, which must not be changed any more.
   * @param timeout Milliseconds that it may take. Default: any time.
   * @returns When the relay has confirmed that it has it.
   * @throws {NotSentError} if that did not happen in time, or the connection was closed. The relay may
   * have it all the same, if it was connected.
   */
  send(bytes: Uint8Array, timeout?: number): Promise<void> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new NotSentError("Cannot send: the relay connection is closed"));
    }
    const { host } = this.#url;
    const message = new OutgoingMessage(
      bytes,
      timeout,
      () => `${host} ${this.connected ? "did not confirm it" : "was not connected"} in time`,
    );
    this.add(message);
    return message.confirmed;
  }

  /** Sends a message that may have come back from another connection, behind all others. */
  add(message: OutgoingMessage): void {
    this.#hold(message);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush()); // What is sent in one turn goes out together.
  }

  /** Gives back all that is not confirmed, oldest first: this connection does not send it any more. */
  takeBack(): OutgoingMessage[] {
    return [...this.#link?.takeBack() ?? [], ...this.#waiting];
  }

  /** Asks the relay for a sign of life, if it is connected and owes none. */
  ping(): void {
    this.#link?.ping();
  }

  /**
   * Stops reading from the relay, so that it has to wait; a few messages may still arrive. Neither are
   * messages confirmed meanwhile, nor is it noticed that the relay is gone.
   */
  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  /** Goes on reading from the relay. */
  resume(): void {
    this.#paused = false;
    this.#socket?.resume();
  }

  /**
   * Closes the connection for good: waits up to 2 s for what was sent to be confirmed, then up to 2 s
   * for what the relay sends until it has closed the connection too. What was not confirmed is refused
   * with a {@linkcode NotSentError}.
   */
  async close(): Promise<void> {
    this.resume(); // Or nothing would be confirmed.
    const until = Date.now() + CLOSE_TIME;
    while (this.connected && this.waiting > 0 && Date.now() < until) {
      await pause(FLUSH_INTERVAL, this.#closing.signal);
    }
    this.#closing.abort();
    await this.#running;
    clearTimeout(this.#flushTimer);
    for (const message of this.#waiting) message.refuse("the relay connection was closed");
  }

  /** Closes the connection, see {@linkcode RelayConnection.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const [shortest, longest] = this.#times.retry;
    let wait = shortest;
    while (!this.#closing.signal.aborted) {
      const reason = await this.#connectOnce().catch((error) => describe(error));
      if (this.#closing.signal.aborted) break;
      // One that held for a while was a good one: begin anew. A shorter one may be refused again.
      if (Date.now() - this.#connectedSince > longest) wait = shortest;
      this.#connectedSince = Infinity;
      const retryIn = Math.min(wait * (1 + Math.random()), longest);
      wait = Math.max(shortest, Math.min(wait * 2, longest / 2));
      this.#options.onState?.({ connected: false, reason, retryIn: Math.round(retryIn) });
      await pause(retryIn, this.#closing.signal);
    }
  }

  /** Makes a connection, lives it, and returns why it ended. */
  async #connectOnce(): Promise<string> {
    const url = new URL(this.#url);
    url.search = await createToken(this.#options.keypair, this.#options.session);
    if (this.#closing.signal.aborted) return "closed";
    const { openSocket = openWebSocket } = this.#options;
    const { promise: ended, resolve: end } = withResolvers<End>();
    const { host } = this.#url;
    const { connect, ping, silence } = this.#times;
    const tick = Math.min(TICK, ping, silence / 4);
    const start = Date.now();
    const timers = [
      setTimeout(
        () => this.connected || end({ reason: `no answer from ${host} within ${connect} ms` }),
        connect,
      ),
      setInterval(() => this.#paused ? this.#link?.keepAlive() : this.#link?.ping(), ping),
      setInterval(() => {
        if (this.#link === undefined || this.#paused) return;
        this.#link.tick();
        this.#look();
        if (this.#link.silent <= silence) return;
        end({ reason: `${host} said nothing for ${silence / 1000} s` });
      }, tick),
    ];
    const socket = openSocket(url, {
      onOpen: (date) => {
        this.#connectedSince = Date.now();
        this.#noteClock(date, start);
        this.#socket = socket;
        this.#link = new Link(socket, this.#options.session, tick);
        if (this.#paused) socket.pause();
        this.#options.onState?.({ connected: true });
        this.#flush();
      },
      onMessage: (bytes) => {
        if (this.#link?.hear(bytes) !== false) this.#options.onMessage(bytes);
        if (!this.#healthy) this.#look();
      },
      onEnd: (reason, refusal) => end({ reason, refusal }),
    });
    const close = () => {
      if (!this.connected) return end({ reason: "closed" });
      socket.close();
      timers.push(setTimeout(() => end({ reason: "closed" }), END_TIME));
    };
    onAbort(this.#closing.signal, close);

    const { reason, refusal } = await ended;
    const unconfirmed = this.#link?.takeBack() ?? [];
    this.#link = this.#socket = undefined;
    timers.forEach(clearTimeout);
    this.#closing.signal.removeEventListener("abort", close);
    socket.terminate();
    const waiting = [...unconfirmed, ...this.#waiting];
    this.#waiting = new Set();
    for (const message of waiting) this.#hold(message);
    this.#look();
    if (refusal === undefined) return reason;
    if (refusal.status === 401) {
      this.#noteClock(refusal.date ?? await askForDate(url, this.#closing.signal), start);
    }
    return explainRefusal(refusal, url, this.#options, this.#clockOffset);
  }

  #hold(message: OutgoingMessage): void {
    message.moveTo(this.#waiting);
    this.#waiting.add(message);
  }

  /** Hands waiting messages to the socket while it is connected and keeps up. */
  #flush(): void {
    this.#flushing = false;
    clearTimeout(this.#flushTimer);
    if (this.#link === undefined || this.#link.hand(this.#waiting)) return;
    this.#flushTimer = setTimeout(() => this.#flush(), FLUSH_INTERVAL);
  }

  /** Tells when the relay's health has changed. */
  #look(): void {
    const healthy = this.#link?.answers ?? false;
    if (healthy === this.#healthy) return;
    this.#healthy = healthy;
    this.#options.onHealth?.(healthy);
  }

  /** Notes the relay's clock, by an answer to what was sent at a time. */
  #noteClock(date: string | undefined, sent: number): void {
    // It is cut to seconds, and was read somewhere on the way.
    const offset = Date.parse(date ?? "") + 500 - (sent + Date.now()) / 2;
    if (Number.isFinite(offset)) this.#clockOffset = Math.round(offset);
  }
}

/** Why a connection ended. */
interface End {
  readonly reason: string;
  readonly refusal?: Refusal | undefined;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
