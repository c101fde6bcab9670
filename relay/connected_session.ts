import { getLogger } from "@logtape/logtape";
import { formatSession, type Session } from "@rmb/protocol";
import type { WebSocket } from "./web_socket.ts";
import type { Mailbox, QueuedAgain, QueuedEnvelope } from "./mailbox.ts";
import type { RelayMetrics, SessionEnd } from "./metrics.ts";
import { Outbox } from "./outbox.ts";
import { SenderWindow } from "./sender_window.ts";

const logger = getLogger(["rmb", "relay", "session"]);

/** Bytes handed over that the kernel has not taken above which messages go to the mailbox. */
const MAX_BUFFERED = 4 * 1024 * 1024;
/** Bytes of them of all sessions together: above, the one with most is dropped, and keeps its queue. */
const MAX_UNSENT = 512 * 1024 * 1024;
/** Bytes of them below which the mailbox is read again. */
const LOW_BUFFERED = 256 * 1024;
/** How many messages may wait for a client that keeps reading before its senders have to wait. */
const MAX_BACKLOG = 2000;
/** A client that takes nothing for so long, in milliseconds, does not make its senders wait. */
const STALLED_TIME = 1000;
/** A client that takes nothing for so long, in milliseconds, is dropped; its queue is kept. */
const HELD_BACK_TIME = 60_000;
/** How often it is looked whether a client that was held back has taken anything, in milliseconds. */
const LOOK_INTERVAL = 500;
/** How long a socket that we close has to say that it is closed, in milliseconds. */
const CLOSE_TIME = 2000;
/** Wait after the mailbox failed before it is read again, in milliseconds. */
const STORE_RETRY = 1000;
/** How many answers of the relay's own wait for the mailbox to be read; more of them go through it. */
const MAX_ANSWERS = 100;
/** Ids of delivered messages gathered before the mailbox is told to remove them. */
const REMOVE_COUNT = 100;

/** How messages are given to the socket: as they are, in one frame, and not compressed. */
const BINARY = { binary: true, compress: false } as const;

/**
 * A session that is connected here. Messages for it go straight to its socket while nothing waits in
 * its mailbox and it reads fast enough; otherwise they go through the mailbox, so that the order is
 * kept and memory bounded. What the kernel did not have when the connection ended goes back to the
 * mailbox, in order.
 */
export class ConnectedSession {
  /** Who is connected. */
  readonly session: Session;
  /** The same as text. */
  readonly name: string;
  /** What of its own messages is under way. */
  readonly window: SenderWindow;
  /** Settles when it is disconnected and what it had not got is back in the mailbox. Never rejects. */
  readonly ended: Promise<void>;
  readonly #socket: WebSocket;
  readonly #mailbox: Mailbox;
  readonly #metrics: RelayMetrics;
  readonly #outbox: Outbox;
  readonly #finish: () => void;
  /** Why it ends, once it does. */
  #end: SessionEnd | undefined;
  #endReason = "";
  #closeTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether messages go straight to the socket. */
  #direct = false;
  /** Counts the messages sent to the mailbox, to know when it is empty for certain. */
  #appended = 0;
  /** How many of them were not read from there yet. */
  #backlog = 0;
  /** Id of the last message read from the mailbox. */
  #last: QueuedEnvelope["id"] | undefined;
  /** How many messages out of the mailbox the kernel does not have. */
  #queued = 0;
  /** Ids of messages out of the mailbox that the kernel has: to be removed. */
  #delivered: QueuedEnvelope["id"][] = [];
  /** When the kernel last took something, or had nothing left to take. */
  #progress = performance.now();
  /** Wakes who waits for the kernel, or for the backlog to shrink. */
  readonly #waiting = new Set<() => void>();
  #stopWatching = () => {};
  /** Whether it was said that the mailbox can't be used. */
  #complained = false;
  /** Answers that wait until the mailbox is empty. */
  #answers: QueuedAgain[] = [];
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
    this.window = new SenderWindow(socket);
    this.#socket = socket;
    this.#mailbox = mailbox;
    this.#metrics = metrics;
    this.#outbox = new Outbox(
      (envelope, onWritten) => socket.send(envelope, BINARY, onWritten),
      (id, size) => this.#written(id, size),
      (seconds) => metrics.delivery.observe(seconds),
    );
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#finish = resolve;
    socket.on("error", (error) => this.#endReason ||= error.message); // It closes then.
    socket.on("close", (code, reason) => this.#closed(code, reason.toString()));
    metrics.sessions.add(this);
    this.#reading = before.then(() => this.#readMailbox());
    this.ended = closed.then(() => this.#reading).then(() => this.#putBack());
  }

  /** Whether it is connected, and not about to be disconnected. */
  get open(): boolean {
    return this.#end === undefined && this.#socket.readyState === 1;
  }

  /** Whether it is disconnected for what it did: then what it sends besides does not count. */
  get expelled(): boolean {
    return this.#end === "closed";
  }

  /** Whether messages for it go straight to its socket now. */
  get direct(): boolean {
    return this.#direct && this.open;
  }

  /** Whether its socket takes a message of a size in bytes now. */
  takes(size: number): boolean {
    return this.direct && (this.#outbox.length === 0 || this.#outbox.bytes + size <= MAX_BUFFERED);
  }

  /** Bytes of messages for it that wait in memory. */
  get bytesWaiting(): number {
    return this.#outbox.bytes;
  }

  /** Whether it reads too slowly, so that its messages go through the mailbox. */
  get heldBack(): boolean {
    return !this.#direct && this.#outbox.bytes > LOW_BUFFERED;
  }

  /**
   * Delivers an envelope.
   *
   * @param envelope Its bytes, which must not be changed any more.
   * @param expires Unix time in seconds from which on it need not be delivered.
   * @returns Undefined when the socket has it; else a promise of the mailbox's taking it.
   */
  deliver(envelope: Uint8Array, expires: number): Promise<void> | undefined {
    if (this.takes(envelope.length)) {
      this.#hand(envelope, expires, undefined);
      return undefined;
    }
    if (this.direct) this.#readLater();
    this.#appended++;
    this.#backlog++;
    return this.#mailbox.append(this.name, envelope, expires);
  }

  /**
   * Sends an answer of the relay's own: behind what waits in the mailbox, but not through it, and at
   * once when that can't be read.
   *
   * @param expires As above; 0 for an answer that is of no use to a later connection.
   */
  answer(envelope: Uint8Array, expires: number): Promise<void> | undefined {
    if (this.open && (this.direct || this.#complained) && this.#outbox.bytes <= MAX_BUFFERED) {
      this.#hand(envelope, expires, undefined);
    } else if (this.open && this.#answers.length < MAX_ANSWERS) {
      this.#answers.push({ envelope, expires });
    } else if (expires > 0) {
      return this.deliver(envelope, expires);
    }
    return undefined;
  }

  /** Waits while much is behind in the mailbox and the client reads it: its senders should, too. */
  async keepsUp(): Promise<void> {
    while (
      this.open && !this.#direct && this.#backlog >= MAX_BACKLOG &&
      performance.now() - this.#progress <= STALLED_TIME
    ) await this.#woken(STALLED_TIME);
  }

  /**
   * Disconnects the session.
   *
   * @param code WebSocket close code.
   * @param reason What the client is told.
   */
  close(end: SessionEnd, code: number, reason: string): void {
    if (this.#end !== undefined) return;
    this.#stop(end, reason);
    this.#socket.resume(); // Or it would not see the client's answer.
    this.#socket.close(code, reason);
    this.#closeTimer = setTimeout(() => this.#socket.terminate(), CLOSE_TIME);
  }

  /** Disconnects the session at once: its client is gone, or not worth waiting for. */
  terminate(end: SessionEnd, reason: string): void {
    if (this.#end === undefined) this.#stop(end, reason);
    this.#socket.terminate();
  }

  /** Hands a message to the socket. */
  #hand(envelope: Uint8Array, expires: number, id: QueuedEnvelope["id"] | undefined): void {
    const metrics = this.#metrics;
    metrics.sent++;
    metrics.sentBytes += envelope.length;
    metrics.unsentBytes += envelope.length;
    this.#outbox.push(envelope, expires, id);
    if (metrics.unsentBytes > MAX_UNSENT) this.#dropLargest();
  }

  /** Disconnects the session for which most waits in memory; that goes back to its mailbox. */
  #dropLargest(): void {
    let largest: ConnectedSession | undefined;
    for (const session of this.#metrics.sessions) {
      if (session.open && session.bytesWaiting > (largest?.bytesWaiting ?? 0)) largest = session;
    }
    largest?.terminate("back_pressure_timeout", "too much waits for it in memory");
  }

  /** The kernel has a message. */
  #written(id: QueuedEnvelope["id"] | undefined, size: number): void {
    if (this.#end === undefined) this.#metrics.unsentBytes -= size;
    if (id !== undefined) {
      this.#queued--;
      this.#delivered.push(id);
    } else if (this.#direct) {
      return;
    }
    this.#progress = performance.now();
    if (this.#outbox.bytes <= LOW_BUFFERED) this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Waits until something may have changed, or for so many milliseconds. */
  #woken(longest: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, longest);
      this.#waiting.add(wake);
    });
  }

  /** Sends what comes from now on through the mailbox. */
  #readLater(): void {
    this.#direct = false;
    this.#stopWatching();
    this.#progress = performance.now();
    this.#reading = this.#reading.then(() => this.#readMailbox());
  }

  /** Sends what waits in the mailbox, until nothing does; then messages go straight to the socket. */
  async #readMailbox(): Promise<void> {
    while (!this.#direct && await this.#settled(() => this.#outbox.bytes <= LOW_BUFFERED)) {
      const appended = this.#appended;
      try {
        if (this.#delivered.length >= REMOVE_COUNT) await this.#removeDelivered();
        const queued = await this.#mailbox.read(this.name, this.#last);
        this.#complained = false;
        if (!this.open) return;
        for (const { envelope, expires, id } of queued) {
          this.#queued++;
          this.#last = id;
          this.#hand(envelope, expires, id);
        }
        this.#backlog = queued.length === 0 ? 0 : Math.max(0, this.#backlog - queued.length);
        this.#direct = queued.length === 0 && appended === this.#appended;
        if (this.#direct) this.#sendAnswers();
        this.#wake();
      } catch (error) {
        this.#storeFailed("can't be read", error);
        if (this.open) this.#sendAnswers();
        await this.#woken(STORE_RETRY);
      }
    }
    if (!this.#direct) return;
    this.#stopWatching = this.#mailbox.watch(this.name, this.#last, () => {
      if (this.#direct && this.open) this.#readLater();
    });
    await this.#settled(() => this.#queued === 0);
    await this.#removeDelivered().catch((error) => this.#storeFailed("can't be cleared", error));
  }

  /** Sends the answers that wait. */
  #sendAnswers(): void {
    for (const { envelope, expires } of this.#answers.splice(0)) {
      this.#hand(envelope, expires, undefined);
    }
  }

  /** Waits until the kernel has enough of what was handed over; false if the session ends before. */
  async #settled(isEnough: () => boolean): Promise<boolean> {
    while (this.open && !isEnough()) {
      const idle = performance.now() - this.#progress;
      if (idle > HELD_BACK_TIME) {
        this.close("back_pressure_timeout", 1008, "reads too slowly");
        break;
      }
      if (idle > STALLED_TIME) this.#wake(); // Nobody need wait for it.
      await this.#woken(LOOK_INTERVAL);
    }
    return this.open;
  }

  /** Counts a failure of the mailbox, and tells of the first of several. */
  #storeFailed(what: string, error: unknown): void {
    this.#metrics.storeErrors++;
    if (this.#complained) return;
    this.#complained = true;
    logger.error("mailbox of session {session} {what}: {error}", {
      session: this.name,
      what,
      error: String(error),
    });
  }

  async #removeDelivered(): Promise<void> {
    const ids = this.#delivered;
    if (ids.length === 0) return;
    this.#delivered = [];
    try {
      await this.#mailbox.remove(this.name, ids);
    } catch (error) {
      this.#delivered.push(...ids);
      throw error;
    }
  }

  /** No more messages go to the socket. */
  #stop(end: SessionEnd, reason: string): void {
    if (this.#end === undefined) this.#metrics.unsentBytes -= this.#outbox.bytes;
    this.#end = end;
    this.#endReason ||= reason;
    this.#direct = false;
    this.#outbox.close();
    this.#stopWatching();
    this.#wake();
  }

  #closed(code: number, reason: string): void {
    this.#stop(this.#end ?? "closed", "");
    clearTimeout(this.#closeTimer);
    this.window.close();
    this.#metrics.sessions.delete(this);
    this.#metrics.evictions.inc({ reason: this.#end! });
    logger.info("session {session} ended: {reason}", {
      session: this.name,
      reason: this.#endReason || `${code} ${reason}`.trim(),
    });
    this.#finish();
  }

  /**
   * Gives the mailbox what the kernel has not got. Of that, the mailbox still has what came out of it;
   * but what was sent straight behind such messages must come back behind them.
   */
  async #putBack(): Promise<void> {
    const answers = this.#answers.splice(0).map((answer) => ({ ...answer, id: undefined }));
    const all = [...this.#outbox.takeAll(), ...answers].filter(({ expires }) => expires > 0);
    const unsent = all.slice(0, all.findLastIndex(({ id }) => id === undefined) + 1);
    const removed = this.#delivered;
    for (const { id } of unsent) if (id !== undefined) removed.push(id);
    try {
      if (unsent.length > 0) await this.#mailbox.putBack(this.name, unsent, removed);
      else if (removed.length > 0) await this.#mailbox.remove(this.name, removed);
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
