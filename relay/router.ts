import { getLogger } from "@logtape/logtape";
import {
  formatSession,
  readRouting,
  RmbError,
  type Routing,
  sameSession,
  type Session,
  type Twin,
  type TwinRegistry,
  unixNow,
} from "@rmb/protocol";
import { errorAnswer, pongAnswer } from "./answers.ts";
import { ConnectedSession } from "./connected_session.ts";
import type { Acceptance } from "./federation/inbound.ts";
import { FederationQueueFullError } from "./federation/queue.ts";
import { HeldMessages, kept, type Message } from "./held_messages.ts";
import { logMessage } from "./log_message.ts";
import { MailboxFullError } from "./mailbox.ts";
import type { RelayMetrics } from "./metrics.ts";
import type { RateLimit } from "./rate_limit.ts";
import type { Store } from "./store.ts";
import { isFailFast } from "./tags.ts";
import type { WebSocket } from "./web_socket.ts";

const logger = getLogger(["rmb", "relay", "router"]);

/** Longest session id that a message can be for, in characters: no token has room for more. */
const MAX_SESSION_ID = 4096;

/** How long a message is held that finds a queue full, in milliseconds: who floods is slowed down. */
const FULL_PAUSE = 50;
/** Longest answer to a ping that waits, in bytes. */
const MAX_WAITING_PONG = 1024;

/** What a sender is told when too much waits. */
const OVERLOADED = "relay is overloaded, try again later";
/** What the sender of a message is told that must not be queued. */
const OFFLINE = "destination offline";

/** Seconds after which an answer of the relay's own need not be delivered any more. */
const ANSWER_TIME = 300;

/** What a router is made from. */
export interface RouterOptions {
  /** Domains of this relay, as twins name it. */
  readonly domains: readonly string[];
  readonly registry: Pick<TwinRegistry, "twin">;
  readonly store: Pick<Store, "mailbox" | "replicas" | "failure">;
  readonly metrics: RelayMetrics;
  /** What twins may send. */
  readonly rateLimit: RateLimit | undefined;
  /** Takes an envelope for a twin of other relays; settles when it is stored. */
  readonly federate: (envelope: Uint8Array, sender: number) => Promise<void>;
}

/** A destination that is being looked up, and the messages for it that came meanwhile. */
interface LookUp {
  readonly messages: Message[];
  readonly done: Promise<void>;
}

/** Where messages for a session that is not connected here go. */
type Way = "queue" | "federate" | { readonly refusal: string };

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
  readonly #held = new HeldMessages();
  #storeFailure: string | undefined;
  #closing = false;

  /** Makes a router without sessions. */
  constructor(options: RouterOptions) {
    this.#options = options;
    const { replicas } = options.store;
    if (replicas !== undefined) replicas.onTakenOver = (name) => this.#takenOver(name);
  }

  /** How many sessions are connected. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Whether a session can connect when there may be so many: one that replaces its own always can. */
  hasRoom(session: Session, maxSessions: number): boolean {
    return this.#sessions.size < maxSessions || this.#sessions.has(formatSession(session));
  }

  /** Bytes of messages that wait for a look-up or for the store. */
  get waitingBytes(): number {
    return this.#held.bytes;
  }

  /** Why the last message could not be stored; undefined if it could. */
  get storeFailure(): string | undefined {
    return this.#storeFailure;
  }

  /** Connects a session. An older connection of the same session is closed. */
  connect(session: Session, socket: WebSocket): ConnectedSession {
    const { metrics, store: { mailbox, replicas } } = this.#options;
    const name = formatSession(session);
    this.#sessions.get(name)?.close("cancelled", 4000, "replaced by a newer connection");
    const before = Promise.all([this.#ending.get(name), replicas?.claim(name)]);
    const connected = new ConnectedSession(session, socket, mailbox, metrics, before);
    this.#sessions.set(name, connected);
    logger.info("session {session} connected", { session: name });

    socket.on("message", (data, isBinary) => {
      if (connected.expelled) return;
      if (isBinary) this.#receive(connected, data as Uint8Array);
      else connected.close("closed", 1003, "text is not of this protocol");
    });
    const ending = connected.ended.then(() => {
      if (this.#sessions.get(name) === connected) {
        this.#sessions.delete(name);
        replicas?.release(name);
      }
      if (this.#ending.get(name) === ending) this.#ending.delete(name);
    });
    this.#ending.set(name, ending);
    if (this.#closing) connected.close("cancelled", 1001, "relay is shutting down");
    return connected;
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

  /** Takes an envelope that another relay brought for a twin of this one. */
  async accept(envelope: Uint8Array, routing: Routing): Promise<Acceptance> {
    const { store } = this.#options;
    const name = formatSession(routing.destination);
    const expires = routing.timestamp + routing.expiration;
    this.#count(envelope);
    try {
      const connected = this.#sessions.get(name);
      if (connected?.takes(envelope.length)) {
        connected.deliver(envelope, expires);
      } else if (store.failure !== undefined) {
        return "failed"; // The other relay will try again, and would not wait for so long.
      } else if (connected?.open) {
        await connected.deliver(envelope, expires);
      } else if (isFailFast(routing) && !await this.#isElsewhere(name)) {
        return "offline";
      } else {
        await store.mailbox.append(name, envelope, expires);
        this.#storeFailure = undefined;
      }
      return "taken";
    } catch (error) {
      if (error instanceof MailboxFullError) return "full";
      this.#storeFailed(error);
      return "failed";
    }
  }

  /**
   * Takes a message of this relay's own sessions that was to go to another relay, when its destination
   * has come to this one meanwhile.
   *
   * @throws {RmbError} if it can't be taken now.
   */
  async takeBack(envelope: Uint8Array, routing: Routing): Promise<void> {
    const acceptance = await this.accept(envelope, routing);
    if (acceptance === "taken") return;
    if (acceptance !== "offline") throw new RmbError(`a message can't be taken: ${acceptance}`);
    if (routing.kind !== "request") return;
    this.answer(routing.source, errorAnswer(routing, routing.source, OFFLINE));
  }

  /** Sends an answer of the relay's own to a session, wherever that is. */
  answer(session: Session, bytes: Uint8Array): void {
    const name = formatSession(session);
    const expires = unixNow() + ANSWER_TIME;
    const connected = this.#sessions.get(name);
    const stored = connected === undefined
      ? this.#options.store.mailbox.append(name, bytes, expires)
      : connected.answer(bytes, expires);
    if (stored !== undefined) this.#holdAnswer(stored, name, bytes);
  }

  /** Takes one message from a session: the way of every message, in the protocol's order. */
  #receive(sender: ConnectedSession, bytes: Uint8Array): void {
    let routing: Routing;
    try {
      routing = readRouting(bytes);
    } catch {
      return sender.close("closed", 1007, "not an envelope");
    }
    const { rateLimit } = this.#options;
    if (rateLimit !== undefined && !rateLimit.allows(sender.session.twin, bytes.length)) {
      return this.#refuse(sender, routing, "exceeded rate limits, dropping message");
    }
    if (!sameSession(routing.source, sender.session)) {
      return this.#refuse(sender, routing, "message wrong source");
    }
    if (routing.kind === "ping") return this.#pong(sender, bytes);
    if (routing.destination.twin === 0) {
      return this.#refuse(sender, routing, "message with missing destination");
    }
    this.#count(bytes);
    if (this.#logsMessages) logMessage(logger, routing, bytes);

    const name = formatSession(routing.destination);
    const lookUp = this.#lookUps.get(name);
    const connected = lookUp === undefined ? this.#sessions.get(name) : undefined;
    if (connected?.takes(bytes.length)) {
      return void connected.deliver(bytes, routing.timestamp + routing.expiration);
    }
    const batch = this.#held.hold(sender, bytes);
    if (batch === undefined) {
      this.#overrun(sender, routing);
    } else if (connected?.open) {
      this.#deliver(connected, { sender, routing, bytes, batch });
    } else if (lookUp !== undefined) {
      lookUp.messages.push(kept(sender, bytes, batch));
    } else {
      const messages = [kept(sender, bytes, batch)];
      const done = this.#lookUp(name, routing.destination, messages);
      this.#lookUps.set(name, { messages, done });
    }
  }

  /**
   * Answers a ping when what its sender sent before is with a socket or stored, so that a pong confirms
   * that; at once if the store can't be reached.
   */
  #pong(sender: ConnectedSession, ping: Uint8Array): void {
    const pong = pongAnswer(ping);
    const waits = this.#options.store.failure === undefined && pong.length <= MAX_WAITING_PONG;
    if (!waits) return void sender.answer(pong, 0);
    sender.window.batches.afterAll(() => sender.answer(pong, 0));
  }

  /** Looks a destination up, and brings on their way all messages that came for it until then. */
  async #lookUp(name: string, destination: Session, messages: readonly Message[]): Promise<void> {
    const way = await this.#wayTo(destination);
    let elsewhere: boolean | undefined;
    const isAsked = () => messages.some(({ routing }) => isFailFast(routing));
    while (way === "queue" && elsewhere === undefined && isAsked()) {
      elsewhere = await this.#isElsewhere(name);
    }
    this.#lookUps.delete(name);
    for (const message of messages) {
      const { sender, routing, bytes } = message;
      const connected = this.#sessions.get(name); // It may have connected meanwhile.
      if (connected?.open) {
        this.#deliver(connected, message);
      } else if (way === "federate") {
        if (this.#logsMessages) logger.debug("{uid} waits for another relay", { uid: routing.uid });
        this.#await(this.#options.federate(bytes, sender.session.twin), message);
      } else if (way === "queue" && (elsewhere || !isFailFast(routing))) {
        if (this.#logsMessages) logger.debug("{uid} waits in the mailbox", { uid: routing.uid });
        const expires = routing.timestamp + routing.expiration;
        this.#await(this.#options.store.mailbox.append(name, bytes, expires), message);
      } else {
        this.#held.release(message);
        this.#refuse(sender, routing, way === "queue" ? OFFLINE : way.refusal);
      }
    }
  }

  /** Where messages for a session go that is not connected here. */
  async #wayTo({ twin: id, connection = "" }: Session): Promise<Way> {
    const { registry, domains } = this.#options;
    let twin: Twin | undefined;
    try {
      twin = await registry.twin(id);
    } catch (error) {
      logger.debug("twin {twin} can't be looked up: {error}", { twin: id, error: String(error) });
      return { refusal: "destination can't be looked up now" };
    }
    if (twin === undefined) return { refusal: "unknown twin destination" };
    if (twin.relays.length === 0) return { refusal: "relay info is not set for this twin" };
    if (connection.length > MAX_SESSION_ID) return { refusal: "session id is too long" };
    return twin.relays.some((domain) => domains.includes(domain)) ? "queue" : "federate";
  }

  /** Whether a session is connected to another replica. */
  async #isElsewhere(name: string): Promise<boolean> {
    // If the store can't be reached, it says so itself.
    return await this.#options.store.replicas?.has(name).catch(() => false) ?? false;
  }

  /** Another replica has a newer connection of a session. */
  async #takenOver(name: string): Promise<void> {
    this.#sessions.get(name)?.close("cancelled", 4000, "replaced by a newer connection");
    await this.#ending.get(name);
  }

  /** Gives a message that is held to a session that is connected here. */
  #deliver(receiver: ConnectedSession, message: Message): void {
    const { routing: { timestamp, expiration }, bytes } = message;
    const stored = receiver.deliver(bytes, timestamp + expiration);
    if (stored !== undefined) this.#await(stored, message, receiver);
    else this.#held.release(message);
  }

  /** Holds a message until it is stored, and its sender until the receiver has caught up. */
  async #await(
    stored: Promise<void>,
    message: Message,
    receiver?: ConnectedSession,
  ): Promise<void> {
    let pause: Promise<void> | undefined;
    try {
      await stored;
      this.#storeFailure = undefined;
      pause = receiver?.keepsUp();
    } catch (error) {
      pause = this.#notStored(message.sender, message.routing, error);
    }
    this.#held.release(message, pause);
  }

  /** There is no room for a message. */
  #overrun(sender: ConnectedSession, routing: Routing): void {
    this.#refuse(sender, routing, OVERLOADED);
    if (sender.window.exhausted) {
      sender.close("closed", 1013, "sends more than the relay can store");
    }
  }

  #count(bytes: Uint8Array): void {
    const { metrics } = this.#options;
    metrics.received++;
    metrics.receivedBytes += bytes.length;
  }

  /** Refuses a message that was not stored; returns how long its sender is held up. */
  #notStored(
    sender: ConnectedSession,
    routing: Routing,
    error: unknown,
  ): Promise<void> | undefined {
    const isMailboxFull = error instanceof MailboxFullError;
    if (!isMailboxFull && !(error instanceof FederationQueueFullError)) {
      this.#storeFailed(error);
      this.#refuse(sender, routing, "message can't be stored now");
      return undefined;
    }
    const queue = isMailboxFull
      ? "queue of the destination is full"
      : "queue for other relays is full";
    this.#refuse(sender, routing, queue);
    return new Promise((resolve) => setTimeout(resolve, FULL_PAUSE));
  }

  #storeFailed(error: unknown): void {
    this.#options.metrics.storeErrors++;
    if (this.#storeFailure === undefined) {
      logger.error("messages can't be stored: {error}", { error: String(error) });
    }
    this.#storeFailure = String(error);
  }

  /** Answers a request with an error; there is no one to tell about anything else. */
  #refuse(sender: ConnectedSession, routing: Routing, message: string): void {
    this.#options.metrics.refused++;
    if (this.#logsMessages) {
      logger.debug("{kind} {uid} of {source} is refused: {message}", {
        kind: routing.kind,
        uid: routing.uid,
        source: sender.name,
        message,
      });
    }
    if (routing.kind !== "request") return;
    this.#answerTo(sender, errorAnswer(routing, sender.session, message));
  }

  /** Sends an answer of the relay's own to a session that is connected here. */
  #answerTo(session: ConnectedSession, bytes: Uint8Array): void {
    const stored = session.answer(bytes, unixNow() + ANSWER_TIME);
    if (stored !== undefined) this.#holdAnswer(stored, session.name, bytes);
  }

  #holdAnswer(stored: Promise<void>, name: string, bytes: Uint8Array): void {
    const settled = stored.catch((error) => {
      logger.debug("no answer to {session}: {error}", { session: name, error: String(error) });
    });
    this.#held.holdUntil(settled, bytes);
  }
}
