import { getLogger } from "@logtape/logtape";
import {
  decodeEnvelope,
  formatHex,
  formatSession,
  readRouting,
  type Routing,
  sameSession,
  type Session,
  type Twin,
  type TwinRegistry,
  unixNow,
} from "@rmb/protocol";
import { errorAnswer, pongAnswer } from "./answers.ts";
import { ConnectedSession } from "./connected_session.ts";
import { type Mailbox, MailboxFullError } from "./mailbox.ts";
import type { RelayMetrics } from "./metrics.ts";

const logger = getLogger(["rmb", "relay", "router"]);

/** Bytes of messages that wait for a look-up or for the store, in all; above, new ones are refused. */
const MAX_WAITING_BYTES = 256 * 1024 * 1024;

/** What a message that waits takes in memory beside its bytes, about, in bytes. */
const WAITING_OVERHEAD = 4096;

/** What a sender is told then. */
const OVERLOADED = "relay is overloaded, try again later";

/** The tag of a message that must not be queued, and what its sender is told. */
const FAIL_FAST = "fail-fast";
const OFFLINE = "destination offline";

/** Seconds after which an answer of the relay's own need not be delivered any more. */
const ANSWER_TIME = 300;

/** How many bytes of an encrypted payload are logged when everything is. */
const LOGGED_CIPHER = 32;

/** What a router is made from. */
export interface RouterOptions {
  /** Domains of this relay, as twins name it. */
  readonly domains: readonly string[];
  /** Longest message taken, in bytes. */
  readonly maxMessage: number;
  readonly registry: TwinRegistry;
  readonly mailbox: Mailbox;
  readonly metrics: RelayMetrics;
}

/** A message on its way. */
interface Message {
  readonly sender: ConnectedSession;
  readonly routing: Routing;
  readonly bytes: Uint8Array;
}

/** A destination that is being looked up, and the messages for it that came meanwhile. */
interface LookUp {
  readonly messages: Message[];
  readonly done: Promise<void>;
}

/** Takes messages from sessions and brings each to where it goes. */
export class Router {
  readonly #options: RouterOptions;
  /** The sessions connected here, by name. */
  readonly #sessions = new Map<string, ConnectedSession>();
  /** Sessions that are ending: the next connection waits until their mailboxes are complete. */
  readonly #ending = new Map<string, Promise<void>>();
  /** Look-ups under way for sessions not connected here, by name: what comes later waits for them. */
  readonly #lookUps = new Map<string, LookUp>();
  /** Whether each message is logged: asked for each, it would cost as much as reading it. */
  readonly #logsMessages = logger.isEnabledFor("debug");
  #waitingBytes = 0;
  #closing = false;

  /** Makes a router without sessions. */
  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Connects a session. An older connection of the same session is closed. */
  connect(session: Session, socket: WebSocket): void {
    const { mailbox, metrics } = this.#options;
    const name = formatSession(session);
    this.#sessions.get(name)?.close("cancelled", 4000, "replaced by a newer connection");
    const before = this.#ending.get(name) ?? Promise.resolve();
    const connected = new ConnectedSession(session, socket, mailbox, metrics, before);
    this.#sessions.set(name, connected);
    logger.info("session {session} connected", { session: name });

    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#receive(connected, new Uint8Array(data));
      else connected.close("closed", 1003, "text is not of this protocol");
    };
    const ending = connected.ended.then(() => {
      if (this.#sessions.get(name) === connected) this.#sessions.delete(name);
      if (this.#ending.get(name) === ending) this.#ending.delete(name);
    });
    this.#ending.set(name, ending);
    if (this.#closing) connected.close("cancelled", 1001, "relay is shutting down");
  }

  /** Closes all sessions and waits until what they have not got is in the mailbox. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const session of this.#sessions.values()) {
      session.close("cancelled", 1001, "relay is shutting down");
    }
    while (this.#ending.size + this.#lookUps.size > 0) {
      const lookUps = [...this.#lookUps.values()].map(({ done }) => done);
      await Promise.all([...this.#ending.values(), ...lookUps]);
    }
  }

  /** Takes one message from a session: the way of every message, in the protocol's order. */
  #receive(sender: ConnectedSession, bytes: Uint8Array): void {
    if (bytes.length > this.#options.maxMessage) {
      return sender.close("closed", 1009, `longer than ${this.#options.maxMessage} bytes`);
    }
    let routing: Routing;
    try {
      routing = readRouting(bytes);
    } catch {
      return sender.close("closed", 1007, "not an envelope");
    }
    if (!sameSession(routing.source, sender.session)) {
      return this.#refuse(sender, routing, "message wrong source");
    }
    if (routing.kind === "ping") return this.#answer(sender, pongAnswer(bytes));
    if (routing.destination.twin === 0) {
      return this.#refuse(sender, routing, "message with missing destination");
    }
    const { metrics } = this.#options;
    metrics.received++;
    metrics.receivedBytes += bytes.length;
    if (this.#logsMessages) logMessage(routing, bytes);

    const name = formatSession(routing.destination);
    const lookUp = this.#lookUps.get(name);
    if (lookUp === undefined) {
      const connected = this.#sessions.get(name);
      if (connected !== undefined) return this.#deliver(connected, sender, routing, bytes);
    }
    if (this.#waitingBytes > MAX_WAITING_BYTES) return this.#refuse(sender, routing, OVERLOADED);
    this.#waitingBytes += bytes.length + WAITING_OVERHEAD;
    const message = { sender, routing, bytes };
    if (lookUp !== undefined) {
      lookUp.messages.push(message);
    } else {
      const messages = [message];
      this.#lookUps.set(name, {
        messages,
        done: this.#lookUp(name, routing.destination, messages),
      });
    }
  }

  /** Looks a destination up, and brings on their way all messages that came for it until then. */
  async #lookUp(name: string, { twin }: Session, messages: readonly Message[]): Promise<void> {
    const refusal = await this.#whyNotQueue(twin);
    this.#lookUps.delete(name);
    for (const { sender, routing, bytes } of messages) {
      this.#waitingBytes -= bytes.length + WAITING_OVERHEAD;
      const connected = this.#sessions.get(name); // It may have connected meanwhile.
      if (connected !== undefined) this.#deliver(connected, sender, routing, bytes);
      else if (refusal !== undefined) this.#refuse(sender, routing, refusal);
      else if (hasTag(routing.tags, FAIL_FAST)) this.#refuse(sender, routing, OFFLINE);
      else this.#queue(name, sender, routing, bytes);
    }
  }

  /** Why nothing can be queued here for a twin; undefined if it can. */
  async #whyNotQueue(id: number): Promise<string | undefined> {
    const { registry, domains } = this.#options;
    let twin: Twin | undefined;
    try {
      twin = await registry.twin(id);
    } catch (error) {
      logger.warn("twin {twin} can't be looked up: {error}", { twin: id, error: String(error) });
      return "destination can't be looked up now";
    }
    if (twin === undefined) return "unknown twin destination";
    if (twin.relays.length === 0) return "relay info is not set for this twin";
    if (!twin.relays.some((domain) => domains.includes(domain))) {
      return `destination is not on this relay but on ${twin.relays.join(", ")}`;
    }
    return undefined;
  }

  /** Gives a message to a session that is connected here. */
  #deliver(
    receiver: ConnectedSession,
    sender: ConnectedSession,
    routing: Routing,
    bytes: Uint8Array,
  ): void {
    const stored = receiver.deliver(bytes, routing.timestamp + routing.expiration);
    if (stored !== undefined) this.#awaitStore(stored, sender, routing, bytes);
  }

  /** Leaves a message in the mailbox of a session that is not connected. */
  #queue(name: string, sender: ConnectedSession, routing: Routing, bytes: Uint8Array): void {
    logger.debug("{uid} waits in the mailbox", { uid: routing.uid });
    const expires = routing.timestamp + routing.expiration;
    this.#awaitStore(this.#options.mailbox.append(name, bytes, expires), sender, routing, bytes);
  }

  #awaitStore(
    stored: Promise<void>,
    sender: ConnectedSession,
    routing: Routing,
    bytes: Uint8Array,
  ): void {
    this.#hold(stored.catch((error) => this.#notStored(sender, routing, error)), bytes);
  }

  /** Counts a message's bytes as waiting in memory until a promise, which never rejects, settles. */
  #hold(promise: Promise<void>, bytes: Uint8Array): void {
    const size = bytes.length + WAITING_OVERHEAD;
    this.#waitingBytes += size;
    promise.then(() => this.#waitingBytes -= size);
  }

  #notStored(sender: ConnectedSession, routing: Routing, error: unknown): void {
    if (error instanceof MailboxFullError) {
      return this.#refuse(sender, routing, "queue of the destination is full");
    }
    this.#options.metrics.storeErrors++;
    logger.error("a message for {destination} can't be stored: {error}", {
      destination: formatSession(routing.destination),
      error: String(error),
    });
    this.#refuse(sender, routing, "message can't be stored now");
  }

  /** Answers a request with an error; there is no one to tell about anything else. */
  #refuse(sender: ConnectedSession, routing: Routing, message: string): void {
    logger.debug("{kind} {uid} of {source} is refused: {message}", {
      kind: routing.kind,
      uid: routing.uid,
      source: sender.name,
      message,
    });
    if (routing.kind !== "request") return;
    this.#answer(sender, errorAnswer(routing, sender.session, message));
  }

  /** Sends an answer of the relay's own to a session. */
  #answer(session: ConnectedSession, bytes: Uint8Array): void {
    const stored = session.deliver(bytes, unixNow() + ANSWER_TIME);
    if (stored === undefined) return;
    this.#hold(
      stored.catch((error) => {
        logger.debug("no answer to {session}: {error}", { session: session.name, error });
      }),
      bytes,
    );
  }
}

/** Whether a token stands in tags, where tokens are divided by commas and white space. */
function hasTag(tags: string | undefined, token: string): boolean {
  return tags !== undefined && tags.includes(token) && tags.split(/[\s,]+/).includes(token);
}

/** Logs a message as the relay sees it; what is not encrypted of its payload stays out of the log. */
function logMessage(routing: Routing, bytes: Uint8Array): void {
  const fields = {
    kind: routing.kind ?? "nothing",
    uid: routing.uid,
    source: formatSession(routing.source),
    destination: formatSession(routing.destination),
    size: bytes.length,
  };
  logger.debug("{kind} {uid} from {source} to {destination}, {size} bytes", fields);
  if (!logger.isEnabledFor("trace")) return;
  const { payload } = decodeEnvelope(bytes);
  if (payload.case !== "cipher") return;
  logger.trace("payload of {kind} {uid}: {cipher}, {length} bytes", {
    ...fields,
    cipher: `${formatHex(payload.value.subarray(0, LOGGED_CIPHER))}…`,
    length: payload.value.length,
  });
}
