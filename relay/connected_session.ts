import { getLogger } from "@logtape/logtape";
import { formatSession, type Session, UnsentMessages } from "@rmb/protocol";
import type { Mailbox, QueuedAgain, QueuedEnvelope } from "./mailbox.ts";
import type { RelayMetrics, SessionEnd } from "./metrics.ts";

const logger = getLogger(["rmb", "relay", "session"]);

/** Bytes handed to a socket and not taken by the kernel above which messages go to the mailbox. */
const MAX_BUFFERED = 4 * 1024 * 1024;
/** Bytes of them below which the mailbox is read again. */
const LOW_BUFFERED = 256 * 1024;
/** Turns of the event loop after which the kernel has what it takes at once. */
const SETTLE_TURNS = 2;
/** How often it is looked whether the kernel took the rest, in milliseconds. */
const SETTLE_INTERVAL = 5;
/** The same while the mailbox waits for it: soon at first, then less and less often. */
const ROOM_INTERVALS = [1, 50] as const;
/** A client that reads nothing for so long, in milliseconds, is dropped; its queue is kept. */
const HELD_BACK_TIME = 60_000;
/** How long a socket that we close has to say that it is closed, in milliseconds. */
const CLOSE_TIME = 2000;
/** Wait after the mailbox failed before it is read again, in milliseconds. */
const STORE_RETRY = 1000;

/** A message handed to the socket: out of the mailbox, or new. */
type Handed = QueuedEnvelope | QueuedAgain;

/**
 * A session that is connected here. Messages for it go straight to its socket while nothing waits in
 * its mailbox and it reads fast enough; otherwise they go through the mailbox, so that the order is
 * kept and memory bounded. What the socket had not given to the kernel when it closed goes back to
 * the mailbox, in order.
 */
export class ConnectedSession {
  /** Who is connected. */
  readonly session: Session;
  /** The same as text. */
  readonly name: string;
  /** Settles when it is disconnected and what it had not sent is back in the mailbox. Never rejects. */
  readonly ended: Promise<void>;
  readonly #socket: WebSocket;
  readonly #mailbox: Mailbox;
  readonly #metrics: RelayMetrics;
  readonly #unsent = new UnsentMessages<Handed>();
  readonly #finish: () => void;
  /** Why it ends, once it does. */
  #end: SessionEnd | undefined;
  /** Whether messages go straight to the socket. */
  #direct = false;
  /** Counts the messages sent to the mailbox, to know when it is empty for certain. */
  #appended = 0;
  #settling = false;
  #settleTimer: ReturnType<typeof setTimeout> | undefined;
  /** Id of the last message read from the mailbox. */
  #last: QueuedEnvelope["id"] | undefined;
  /** How many messages out of the mailbox the kernel does not have. */
  #queued = 0;
  /** Ids of messages out of the mailbox that the kernel has: to be removed. */
  readonly #delivered: QueuedEnvelope["id"][] = [];
  /** Settles when the mailbox is not being read. */
  #reading: Promise<void>;

  /**
   * @param socket An open socket, which belongs to this session from now on.
   * @param before Settles when the mailbox has what came before this connection.
   */
  constructor(
    session: Session,
    socket: WebSocket,
    mailbox: Mailbox,
    metrics: RelayMetrics,
    before: Promise<unknown>,
  ) {
    this.session = session;
    this.name = formatSession(session);
    this.#socket = socket;
    this.#mailbox = mailbox;
    this.#metrics = metrics;
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#finish = resolve;
    socket.onerror = () => {}; // A close event follows, with the reason if there is one.
    socket.onclose = ({ code, reason }) => {
      this.#end = "closed";
      this.#closed(`${code} ${reason}`.trim());
    };
    metrics.sessions++;
    this.#reading = before.then(() => this.#readMailbox());
    this.ended = closed.then(() => this.#reading).then(() => this.#putBack());
  }

  /**
   * Delivers an envelope.
   *
   * @param envelope Its bytes, which must not be changed any more.
   * @param expires Unix time in seconds from which on it need not be delivered.
   * @returns Undefined when the socket has it; else a promise of the mailbox's taking it.
   */
  deliver(envelope: Uint8Array, expires: number): Promise<void> | undefined {
    if (this.#direct && this.#socket.readyState === WebSocket.OPEN) {
      this.#hand(envelope, { envelope, expires });
      if (this.#unsent.bytes > MAX_BUFFERED) this.#holdBack();
      return undefined;
    }
    this.#appended++;
    return this.#mailbox.append(this.name, envelope, expires);
  }

  /**
   * Disconnects the session.
   *
   * @param code WebSocket close code.
   * @param reason What the client is told.
   */
  close(end: SessionEnd, code: number, reason: string): void {
    if (this.#end !== undefined) return;
    this.#settle();
    this.#end = end;
    this.#direct = false;
    try {
      this.#socket.close(code, reason);
    } catch {
      // It is not open any more.
    }
    const timer = setTimeout(() => this.#closed(reason), CLOSE_TIME);
    this.#socket.onclose = (event) => {
      clearTimeout(timer);
      // A client that answers with our code has read all that was sent before it.
      if (event.code === code) this.#settleDownTo(0);
      this.#closed(reason);
    };
  }

  /** Sends what comes from now on through the mailbox, if the client does not keep up. */
  #holdBack(): void {
    this.#settle();
    if (this.#unsent.bytes <= MAX_BUFFERED) return;
    this.#direct = false;
    this.#reading = this.#reading.then(() => this.#readMailbox());
  }

  /** Hands a message to the socket. */
  #hand(envelope: Uint8Array, handed: Handed): void {
    // A buffer is sent with less work than a view of it.
    const whole = envelope.byteLength === envelope.buffer.byteLength;
    this.#socket.send((whole ? envelope.buffer : envelope) as ArrayBuffer);
    this.#unsent.push(handed, envelope.length);
    this.#metrics.sent++;
    this.#metrics.sentBytes += envelope.length;
    if (!this.#settling) this.#settleLater(SETTLE_TURNS);
  }

  /** Takes note of what the kernel has when it may have more, until it has all. */
  #settleLater(turns: number): void {
    this.#settling = this.#open && this.#unsent.length > 0;
    if (!this.#settling) return;
    const settle = () => {
      this.#settle();
      this.#settleLater(turns - 1);
    };
    if (turns > 0) setImmediate(settle);
    else this.#settleTimer = setTimeout(settle, SETTLE_INTERVAL);
  }

  /** Takes note of what the kernel has. */
  #settle(): void {
    // Only an open socket says truly what it still has: the last time counts.
    if (this.#open) this.#settleDownTo(this.#socket.bufferedAmount);
  }

  #settleDownTo(bufferedAmount: number): void {
    if (this.#queued === 0) return this.#unsent.settle(bufferedAmount);
    this.#unsent.settle(bufferedAmount, (handed) => {
      if (!("id" in handed)) return;
      this.#queued--;
      this.#delivered.push(handed.id);
    });
  }

  /** Sends what waits in the mailbox, until nothing does; then messages go straight to the socket. */
  async #readMailbox(): Promise<void> {
    while (!this.#direct && await this.#settledDownTo(() => this.#unsent.bytes <= LOW_BUFFERED)) {
      const appended = this.#appended;
      try {
        await this.#removeDelivered();
        const queued = await this.#mailbox.read(this.name, this.#last);
        if (!this.#open) return;
        for (const message of queued) {
          this.#queued++;
          this.#last = message.id;
          this.#hand(message.envelope, message);
        }
        this.#direct = queued.length === 0 && appended === this.#appended;
      } catch (error) {
        this.#storeFailed("can't be read", error);
        await pause(STORE_RETRY);
      }
    }
    await this.#settledDownTo(() => this.#queued === 0);
    await this.#removeDelivered().catch((error) => this.#storeFailed("can't be cleared", error));
  }

  /** Waits until the kernel has enough of what was handed to the socket; false if it closes before. */
  async #settledDownTo(isEnough: () => boolean): Promise<boolean> {
    let wait: number = ROOM_INTERVALS[0];
    let left = Infinity;
    let since = Date.now();
    for (;;) {
      this.#settle();
      if (!this.#open || isEnough()) return this.#open;
      if (this.#unsent.bytes < left) {
        left = this.#unsent.bytes;
        since = Date.now();
      } else if (Date.now() - since > HELD_BACK_TIME) {
        this.close("back_pressure_timeout", 1008, "reads too slowly");
        return false;
      }
      await pause(wait);
      wait = Math.min(wait * 2, ROOM_INTERVALS[1]);
    }
  }

  #storeFailed(what: string, error: unknown): void {
    this.#metrics.storeErrors++;
    logger.error("mailbox of session {session} {what}: {error}", {
      session: this.name,
      what,
      error: String(error),
    });
  }

  get #open(): boolean {
    return this.#end === undefined && this.#socket.readyState === WebSocket.OPEN;
  }

  async #removeDelivered(): Promise<void> {
    const ids = this.#delivered.slice();
    if (ids.length === 0) return;
    await this.#mailbox.remove(this.name, ids);
    this.#delivered.splice(0, ids.length);
  }

  #closed(reason: string): void {
    this.#socket.onclose = null; // Some sockets say it twice.
    this.#direct = false;
    clearTimeout(this.#settleTimer);
    this.#metrics.sessions--;
    this.#metrics.evictions.inc({ reason: this.#end! });
    logger.info("session {session} ended: {reason}", { session: this.name, reason });
    this.#finish();
  }

  /**
   * Gives the mailbox what the kernel has not got. Of that, the mailbox still has what came out of it;
   * but what was sent straight behind such messages must come back behind them.
   */
  async #putBack(): Promise<void> {
    const all = this.#unsent.takeAll();
    const unsent = all.slice(0, all.findLastIndex((handed) => !("id" in handed)) + 1);
    for (const handed of unsent) if ("id" in handed) this.#delivered.push(handed.id);
    try {
      if (unsent.length > 0) await this.#mailbox.putBack(this.name, unsent);
      await this.#removeDelivered();
    } catch (error) {
      this.#metrics.storeErrors++;
      logger.error("{count} messages for session {session} are lost: {error}", {
        count: unsent.length,
        session: this.name,
        error: String(error),
      });
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
