import { parseRelayUrl } from "./domain.ts";
import { createEnvelope, encodeEnvelope, unixNow } from "./envelope.ts";
import { NotSentError } from "./errors.ts";
import type { Keypair } from "./keys.ts";
import { readRouting } from "./routing.ts";
import type { Session } from "./session.ts";
import { createToken } from "./token.ts";
import { UnsentMessages } from "./unsent.ts";

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
  /** How patient it is; what is left out has its default. */
  readonly times?: Partial<RelayTimes>;
}

/** Bytes handed to the socket and not taken by the kernel above which further messages wait here. */
const MAX_BUFFERED = 1024 * 1024;

/** How often it is looked whether the kernel took what was handed to the socket, in milliseconds. */
const FLUSH_INTERVAL = 10;

/** How long closing waits for what was handed to the socket, in milliseconds. */
const CLOSE_TIME = 2000;

/** From this difference of clocks on, in seconds, a refused token is put down to it. */
const NOTICEABLE_SKEW = 30;

/** The longest time that a timer can have, in milliseconds: 25 days. */
const MAX_TIMER = 2 ** 31 - 1;

/** A message on its way out. */
interface Outgoing {
  readonly bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: NotSentError) => void;
  timer?: ReturnType<typeof setTimeout>;
  /** Whether its time ran out while the socket had it. */
  late?: boolean;
}

/**
 * A connection to a relay that stays connected: it connects again when it ends or falls silent, with
 * a fresh token and after a wait that grows from 1 s to 30 s, until it is closed.
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
  readonly #ping: Uint8Array;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #socket: WebSocket | undefined;
  /** When the relay was connected, in milliseconds of Unix time. */
  #connectedSince = Infinity;
  #waiting: Outgoing[] = [];
  readonly #unsent = new UnsentMessages<Outgoing>();
  #flushTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Begins to connect at once, and never throws for a relay that can't be reached.
   *
   * @throws {FormatError} if the URL is not a relay's.
   */
  constructor(options: RelayConnectionOptions) {
    this.#options = options;
    this.#url = parseRelayUrl(options.url);
    const defaults = { connect: 10_000, ping: 20_000, silence: 40_000, retry: [1000, 30_000] };
    this.#times = { ...defaults as unknown as RelayTimes, ...options.times };
    this.#ping = encodeEnvelope(createEnvelope({
      uid: "ping",
      source: options.session,
      destination: options.session,
      message: { case: "ping", value: {} },
    }));
    this.#running = this.#run();
  }

  /** Whether the relay is connected now. */
  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /**
   * Sends an encoded envelope. While the relay is not connected, or takes messages slower than they
   * are sent, messages wait in memory, in order; it is for the caller to bound how many.
   *
   * @param bytes The envelope, which must not be changed any more.
   * @param timeout Milliseconds that it may wait. Default: for ever.
   * @returns When the operating system has taken it.
   * @throws {NotSentError} if that did not happen in time, or the connection was closed.
   */
  send(bytes: Uint8Array, timeout?: number): Promise<void> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new NotSentError("Cannot send: the relay connection is closed"));
    }
    return new Promise((resolve, reject) => {
      const message: Outgoing = { bytes, resolve, reject };
      if (timeout !== undefined) {
        message.timer = setTimeout(
          () => this.#expire(message),
          Math.min(Math.max(timeout, 0), MAX_TIMER),
        );
      }
      this.#waiting.push(message);
      this.#flush();
    });
  }

  /**
   * Closes the connection for good, after what it holds was sent if that takes no longer than 2 s.
   * What was not sent by then is refused with a {@linkcode NotSentError}.
   */
  async close(): Promise<void> {
    const until = Date.now() + CLOSE_TIME;
    while (this.#socket !== undefined && Date.now() < until) {
      this.#flush();
      if (this.#waiting.length + this.#unsent.length === 0) break;
      await pause(FLUSH_INTERVAL, this.#closing.signal);
    }
    this.#closing.abort();
    await this.#running;
    clearTimeout(this.#flushTimer);
    for (const message of [...this.#unsent.takeAll(), ...this.#waiting.splice(0)]) {
      clearTimeout(message.timer);
      message.reject(new NotSentError("Cannot send: the relay connection was closed"));
    }
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
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const { promise: ended, resolve: end } = Promise.withResolvers<string>();
    const { host } = this.#url;
    const { connect, ping, silence } = this.#times;
    let heard = Date.now();
    const timers = [
      setTimeout(
        () => this.connected || end(`no answer from ${host} within ${connect} ms`),
        connect,
      ),
      setInterval(() => this.connected && socket.send(this.#ping), ping),
      setInterval(() => {
        if (this.connected && Date.now() - heard > silence) {
          end(`${host} said nothing for ${silence / 1000} s`);
        }
      }, Math.min(ping, silence) / 4),
    ];
    const abort = () => end("closed");
    onAbort(this.#closing.signal, abort);

    socket.onopen = () => {
      heard = this.#connectedSince = Date.now();
      this.#socket = socket;
      this.#options.onState?.({ connected: true });
      socket.send(this.#ping);
      this.#flush();
    };
    socket.onmessage = ({ data }) => {
      heard = Date.now();
      if (!(data instanceof ArrayBuffer)) {
        return end(`${host} sent text, which is not of this protocol`);
      }
      const bytes = new Uint8Array(data);
      if (!isPong(bytes)) this.#options.onMessage(bytes);
    };
    socket.onerror = (event) => end((event as ErrorEvent).message || "connection failed");
    socket.onclose = ({ code, reason }) =>
      end(`${host} closed the connection (${code}${reason && `: ${reason}`})`);

    const reason = await ended;
    const refused = !this.connected && reason.endsWith("status code: 401");
    this.#socket = undefined;
    timers.forEach(clearTimeout);
    this.#closing.signal.removeEventListener("abort", abort);
    letGo(socket);
    this.#waiting = [...this.#unsent.takeAll(), ...this.#waiting];
    for (const message of this.#waiting.filter(({ late }) => late)) this.#expire(message);
    return refused ? await this.#explainRefusedToken() : reason;
  }

  /** Hands waiting messages to the socket while it is connected and keeps up. */
  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const socket = this.#socket;
    if (socket === undefined || socket.readyState !== WebSocket.OPEN) return;
    let handed = 0;
    while (handed < this.#waiting.length && socket.bufferedAmount < MAX_BUFFERED) {
      const message = this.#waiting[handed++]!;
      socket.send(message.bytes as Uint8Array<ArrayBuffer>);
      this.#unsent.push(message, message.bytes.length);
    }
    if (handed > 0) this.#waiting.splice(0, handed);
    this.#unsent.settle(socket.bufferedAmount, (message) => {
      clearTimeout(message.timer);
      message.resolve();
    });
    if (this.#waiting.length + this.#unsent.length > 0) {
      this.#flushTimer = setTimeout(() => this.#flush(), FLUSH_INTERVAL);
    }
  }

  #expire(message: Outgoing): void {
    const at = this.#waiting.indexOf(message);
    message.late = true;
    if (at < 0) return; // With the socket: it may yet go out, or comes back here.
    this.#waiting.splice(at, 1);
    message.reject(new NotSentError(`Cannot send: ${this.#url.host} was not connected in time`));
  }

  /** Why a relay may have refused a token: asks it for the time. Browsers can't see the 401. */
  async #explainRefusedToken(): Promise<string> {
    const url = new URL(this.#url);
    url.protocol = url.protocol === "wss:" ? "https:" : "http:";
    const refused = `${this.#url.host} refused the token (401)`;
    const { twin } = this.#options.session;
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(5000), this.#closing.signal]);
      const response = await fetch(url, { method: "HEAD", redirect: "manual", signal });
      await response.body?.cancel();
      const skew = unixNow() - Date.parse(response.headers.get("date") ?? "") / 1000;
      if (Math.abs(skew) >= NOTICEABLE_SKEW) {
        const side = skew > 0 ? "ahead of" : "behind";
        return `${refused}: this machine's clock is ${
          Math.round(Math.abs(skew))
        } s ${side} the relay's`;
      }
    } catch {
      // The relay's clock is a hint only.
    }
    return `${refused}: twin ${twin} is unknown to the relay, or its account is not the ` +
      `${this.#options.keypair.type} key ${this.#options.keypair.address} (twin id, secret or key type is wrong)`;
  }
}

function isPong(bytes: Uint8Array): boolean {
  try {
    return readRouting(bytes).kind === "pong";
  } catch {
    return false; // For the receiver to refuse.
  }
}

/** Stops listening to a socket and closes it, without waiting: closing can take minutes. */
function letGo(socket: WebSocket): void {
  socket.onopen =
    socket.onmessage =
    socket.onerror =
    socket.onclose =
      null;
  socket.onerror = () => {};
  try {
    socket.close(1000);
  } catch {
    // It had never begun to connect.
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    onAbort(signal, done);
  });
}

/** Calls a listener when a signal aborts, or at once if it has. */
function onAbort(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener("abort", listener);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
