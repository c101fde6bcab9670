import { createEnvelope, encodeEnvelope } from "./envelope.ts";
import type { OutgoingMessage } from "./outgoing.ts";
import { readRouting, type Routing } from "./routing.ts";
import type { Session } from "./session.ts";
import type { RelaySocket } from "./socket.ts";
import { newUid } from "./uid.ts";

/** Bytes handed to the socket and not taken by the kernel above which further messages wait here. */
const MAX_BUFFERED = 1024 * 1024;

/** Between two pings while messages are unconfirmed, in milliseconds: relays' rate limits count them. */
const CONFIRM_INTERVAL = 100;
/** A relay that rather dropped a ping, for a rate limit, gets another one after so long, in ms. */
const PING_AGAIN = 10_000;

/** How long a relay that owes us a pong may say nothing, in milliseconds: it has to show in a second. */
const PATIENCE = 800;
/** The same while it says other things. */
const LONG_PATIENCE = 12_000;
/** What the network is taken to carry until it has shown what it does, in bytes per millisecond. */
const ASSUMED_RATE = 512;
/** So many bytes show it. */
const SAMPLE_BYTES = 64 * 1024;

/** A ping that is not answered yet. */
interface Ping {
  readonly uid: string;
  readonly at: number;
  /** Bytes handed over before it in all, and of these the ones that were not confirmed. */
  readonly behind: number;
  readonly unconfirmed: number;
}

/**
 * An open connection to a relay: what was handed to it and the relay has not confirmed, and how the relay
 * is. A pong says that the relay has taken all that was sent before its ping. Time is counted in ticks,
 * so that it is not held against a relay when this process was busy.
 */
export class Link {
  readonly #socket: RelaySocket;
  readonly #session: Session;
  /** Milliseconds between two calls of {@linkcode Link.tick}. */
  readonly #tick: number;
  /** What the relay has not confirmed, oldest first, each with the bytes handed over up to its end. */
  readonly #unconfirmed = new Map<OutgoingMessage, number>();
  /** Bytes handed to the socket in all, and of these the ones that are confirmed. */
  #handed = 0;
  #confirmed = 0;
  #ping: Ping | undefined;
  #pinged = -Infinity;
  #rate = ASSUMED_RATE;
  #answered = false;
  #roundTrip: number | undefined;
  /** Bytes handed over, and taken by the kernel, until the last tick; and whether it takes them slowly. */
  #handedBefore = 0;
  #takenBefore = 0;
  #isSlow = false;
  /** Milliseconds since the relay was heard, or the kernel took what waited. */
  #silent = 0;
  /** The same while it owes a pong. */
  #stuck = 0;
  /** Milliseconds since it owes a pong, or the kernel took what waited. */
  #owing = 0;

  /** @param tick Milliseconds between two calls of {@linkcode Link.tick}. */
  constructor(socket: RelaySocket, session: Session, tick: number) {
    this.#socket = socket;
    this.#session = session;
    this.#tick = tick;
    this.#sendPing();
  }

  /** Milliseconds since the relay was heard, or the kernel took what waited. */
  get silent(): number {
    return this.#silent;
  }

  /** Milliseconds that the last pong took. */
  get roundTrip(): number | undefined {
    return this.#roundTrip;
  }

  /** Whether the relay answers: it did, and is not overdue. */
  get answers(): boolean {
    if (!this.#answered) return false;
    const underWay = this.#handed - this.#confirmed - this.#socket.bufferedAmount;
    const needed = Math.max(0, underWay) / this.#rate;
    return this.#stuck <= PATIENCE + needed && this.#owing <= LONG_PATIENCE + needed;
  }

  /** How many messages handed over are not confirmed. */
  get unconfirmed(): number {
    return this.#unconfirmed.size;
  }

  /** Hands messages over while the socket keeps up; returns whether that is all of them. */
  hand(messages: Set<OutgoingMessage>): boolean {
    for (const message of messages) {
      if (this.#socket.bufferedAmount >= MAX_BUFFERED) break;
      this.#socket.send(message.bytes);
      this.#handed += message.bytes.length;
      message.moveTo(this.#unconfirmed);
      this.#unconfirmed.set(message, this.#handed);
    }
    this.#askForConfirmation();
    return messages.size === 0;
  }

  /** Asks the relay for a sign of life. */
  ping(): void {
    if (this.#ping === undefined) this.#sendPing();
  }

  /** Pings although no pong is read: relays end a connection that shows no sign of life. */
  keepAlive(): void {
    this.#sendPing();
  }

  /** Hears a message; returns whether it is no pong, and so for others. */
  hear(bytes: Uint8Array): boolean {
    this.#silent = this.#stuck = 0;
    let routing: Routing;
    try {
      routing = readRouting(bytes);
    } catch {
      return true; // For the receiver to refuse.
    }
    if (routing.kind !== "pong") return true;
    if (routing.uid === this.#ping?.uid) this.#pong(this.#ping);
    return false;
  }

  /** To be called at regular times while messages are read. */
  tick(): void {
    const { bufferedAmount } = this.#socket;
    const taken = this.#handed - bufferedAmount;
    // What the kernel takes at once shows nothing: it has room for much that goes nowhere.
    const goesOn = this.#isSlow && taken > this.#takenBefore;
    if (goesOn) this.#silent = this.#stuck = this.#owing = 0;
    this.#isSlow = taken < this.#handedBefore;
    this.#takenBefore = taken;
    this.#handedBefore = this.#handed;
    this.#silent += this.#tick;
    if (this.#ping !== undefined) {
      this.#stuck += this.#tick;
      this.#owing += this.#tick;
      if (performance.now() - this.#ping.at > PING_AGAIN && bufferedAmount === 0) this.#sendPing();
    }
    this.#askForConfirmation();
  }

  /** Gives back what is not confirmed, oldest first. */
  takeBack(): OutgoingMessage[] {
    return [...this.#unconfirmed.keys()];
  }

  #askForConfirmation(): void {
    if (this.#ping !== undefined || this.#unconfirmed.size === 0) return;
    if (performance.now() - this.#pinged >= CONFIRM_INTERVAL) this.#sendPing();
  }

  #sendPing(): void {
    const at = this.#pinged = performance.now();
    const uid = newUid(); // Other twins can send pongs too: none must guess it.
    const unconfirmed = this.#handed - this.#confirmed;
    this.#ping = { uid, at, behind: this.#handed, unconfirmed };
    const bytes = encodeEnvelope(createEnvelope({
      uid,
      source: this.#session,
      destination: this.#session,
      message: { case: "ping", value: {} },
    }));
    this.#handed += bytes.length;
    this.#socket.send(bytes);
  }

  #pong({ at, behind, unconfirmed }: Ping): void {
    this.#ping = undefined;
    this.#owing = 0;
    this.#answered = true;
    this.#confirmed = behind;
    this.#roundTrip = performance.now() - at;
    if (unconfirmed >= SAMPLE_BYTES) this.#rate = unconfirmed / Math.max(this.#roundTrip, 1);
    for (const [message, end] of this.#unconfirmed) {
      if (end > behind) break;
      message.confirm();
    }
    this.#askForConfirmation();
  }
}
