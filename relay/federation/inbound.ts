import { getLogger } from "@logtape/logtape";
import {
  decodeEnvelope,
  formatSession,
  readRouting,
  type Routing,
  timeLeft,
  type Twin,
  type TwinRegistry,
  verifyEnvelope,
} from "@rmb/protocol";

/**
 * Status that says that the queue of a message's destination is full, and nothing else is wrong with
 * the relay: its other twins' messages are welcome.
 */
export const FULL_STATUS = 507;

const logger = getLogger(["rmb", "relay", "federation"]);

/** Most messages from other relays that are checked and stored at once. */
const MAX_RECEPTIONS = 256;
/**
 * Most bytes of them in memory, those not complete included; and what each takes at least. Of the latter
 * there may be many: else a few hundred idle connections would keep everyone out.
 */
const MAX_BYTES = 64 * 1024 * 1024;
const MIN_SIZE = 4096;

/** Time for a message to be complete, in milliseconds. */
const BODY_TIME = 10_000;

/** After so long, in milliseconds, a message that is not complete makes room for others. */
const PATIENT_TIME = 1000;

/** What became of a message whose destination is on this relay. */
export type Acceptance = "taken" | "offline" | "full" | "failed";

/** What another relay is answered; a status of 4xx says that no relay should take the message. */
export interface InboundAnswer {
  /** HTTP status. */
  readonly status: number;
  /** The body: what is wrong; empty when nothing is. */
  readonly reason: string;
}

/** What an inbound is made from. */
export interface InboundOptions {
  /** Says who the senders are, and which relays the destinations have. */
  readonly registry: Pick<TwinRegistry, "twin">;
  /** Domains of this relay, as twins name it. */
  readonly domains: readonly string[];
  /** Longest message taken, in bytes. */
  readonly maxMessage: number;
  /** Takes a message that has passed all checks. */
  readonly accept: (envelope: Uint8Array, routing: Routing) => Promise<Acceptance>;
  /** Time for a message to be complete, in milliseconds. Default 10 s. */
  readonly bodyTime?: number;
}

/** Receives messages from other relays: from anyone, that is, for nothing says who posts them. */
export class Inbound {
  readonly #options: InboundOptions;
  #receptions = 0;
  /** Bytes of all of them. */
  #bytes = 0;
  /** Those that are not complete, the oldest first. */
  readonly #incomplete = new Set<Incomplete>();

  /** Makes one that has received nothing. */
  constructor(options: InboundOptions) {
    this.#options = options;
  }

  /**
   * Receives a message as it comes in. When it is refused before its end, the rest is not read: that
   * is left to the caller, who should close the connection.
   *
   * @param body The message.
   * @param declared Its length in bytes, where that is known.
   * @returns What to answer. Never rejects.
   */
  async receiveBody(
    body: AsyncIterable<Uint8Array>,
    declared: number | undefined,
  ): Promise<InboundAnswer> {
    if (declared !== undefined && declared > this.#options.maxMessage) return this.#tooLong();
    if (this.#receptions >= MAX_RECEPTIONS || !this.#hasRoom(MIN_SIZE)) return BUSY;
    const envelope = new GrowingBytes();
    this.#bytes += MIN_SIZE;
    try {
      const refused = await this.#read(body, envelope);
      if (refused !== undefined) return refused;
      if (this.#receptions >= MAX_RECEPTIONS) return BUSY;
      this.#receptions++;
      return await this.receive(envelope.bytes).finally(() => this.#receptions--);
    } finally {
      this.#bytes -= sizeOf(envelope.length);
    }
  }

  /**
   * Receives a message.
   *
   * @param envelope Its bytes, which must not be changed any more.
   * @returns What to answer. Never rejects.
   */
  async receive(envelope: Uint8Array): Promise<InboundAnswer> {
    let routing: Routing;
    try {
      routing = readRouting(envelope);
    } catch {
      return refusal(400, "not an envelope");
    }
    try {
      const refused = this.#whyNotRoute(envelope, routing) ??
        await this.#whyNotTrust(envelope, routing);
      const answer = refused ?? ANSWERS[await this.#options.accept(envelope, routing)];
      logger.debug("{kind} {uid} of {source} from another relay: {status} {reason}", {
        kind: routing.kind,
        uid: routing.uid,
        source: formatSession(routing.source),
        ...answer,
      });
      return answer;
    } catch (error) {
      logger.error("a message from another relay can't be taken: {error}", {
        error: String(error),
      });
      return ANSWERS.failed;
    }
  }

  /** Whether so many bytes more can be held: if not, the oldest message that is not complete goes. */
  #hasRoom(bytes: number): boolean {
    if (this.#bytes + bytes <= MAX_BYTES) return true;
    const [oldest] = this.#incomplete;
    if (oldest === undefined || performance.now() - oldest.since < PATIENT_TIME) return false;
    this.#incomplete.delete(oldest);
    oldest.cut();
    return true;
  }

  /** Why a message is refused for what it is itself; undefined if it is not. */
  #whyNotRoute(envelope: Uint8Array, routing: Routing): InboundAnswer | undefined {
    const { source, destination, kind } = routing;
    if (envelope.length > this.#options.maxMessage) return this.#tooLong();
    if (source.twin === 0) return refusal(400, "message with missing source");
    if (destination.twin === 0) return refusal(400, "message with missing destination");
    if (kind === undefined) return refusal(400, "envelope without a message");
    if (kind === "ping" || kind === "pong") return refusal(400, `a ${kind} goes to no other relay`);
    if (timeLeft(routing) <= 0) return refusal(400, "message has expired");
    return undefined;
  }

  /** Why a message is refused for whom it is from or for; undefined if it is not. */
  async #whyNotTrust(
    envelope: Uint8Array,
    { source, destination }: Routing,
  ): Promise<InboundAnswer | undefined> {
    const { registry, domains } = this.#options;
    let receiver: Twin | undefined;
    let sender: Twin | undefined;
    try {
      receiver = await registry.twin(destination.twin);
      sender = await registry.twin(source.twin);
    } catch (error) {
      logger.warn("a message from another relay can't be checked: {error}", {
        error: String(error),
      });
      return refusal(503, "twins can't be looked up now");
    }
    if (receiver === undefined) return refusal(403, "unknown twin destination");
    if (!receiver.relays.some((domain) => domains.includes(domain))) {
      return refusal(403, `twin ${destination.twin} does not use this relay`);
    }
    if (sender === undefined) return refusal(403, "unknown twin source");
    if (!await verifyEnvelope(decodeEnvelope(envelope), sender.account)) {
      return refusal(403, `not signed by twin ${source.twin}`);
    }
    return undefined;
  }

  /** Reads a message; the answer if it is refused. */
  async #read(
    body: AsyncIterable<Uint8Array>,
    envelope: GrowingBytes,
  ): Promise<InboundAnswer | undefined> {
    const { maxMessage, bodyTime = BODY_TIME } = this.#options;
    const { promise: ended, resolve } = Promise.withResolvers<"late" | "cut">();
    const timer = setTimeout(() => resolve("late"), bodyTime);
    const incomplete = { since: performance.now(), cut: () => resolve("cut") };
    this.#incomplete.add(incomplete);
    const chunks = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await Promise.race([chunks.next(), ended]);
        if (next === "cut") return BUSY;
        if (next === "late") return refusal(408, `message is not complete after ${bodyTime} ms`);
        if (next.done) return undefined;
        const length = envelope.length + next.value.length;
        if (length > maxMessage) return this.#tooLong();
        const more = sizeOf(length) - sizeOf(envelope.length);
        if (!this.#hasRoom(more)) return BUSY;
        this.#bytes += more;
        envelope.add(next.value);
      }
    } catch {
      return refusal(400, "message ends early");
    } finally {
      clearTimeout(timer);
      this.#incomplete.delete(incomplete);
    }
  }

  #tooLong(): InboundAnswer {
    return refusal(413, `message is longer than ${this.#options.maxMessage} bytes`);
  }
}

/** What a message counts for of whose bytes so many are there. */
function sizeOf(length: number): number {
  return Math.max(length, MIN_SIZE);
}

/** A message that is being received. */
interface Incomplete {
  /** Since when, by `performance.now()`. */
  readonly since: number;
  /** Receives it no longer. */
  readonly cut: () => void;
}

/** Bytes that become more. Not a list of chunks: small ones take much more memory than they hold. */
class GrowingBytes {
  length = 0;
  #buffer = new Uint8Array(MIN_SIZE);

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  add(chunk: Uint8Array): void {
    const length = this.length + chunk.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.length);
    this.length = length;
  }
}

function refusal(status: number, reason: string): InboundAnswer {
  return { status, reason };
}

/** Too much is being received. */
const BUSY = refusal(503, "relay is overloaded, try again later");

/** What another relay is told. */
const ANSWERS: Record<Acceptance, InboundAnswer> = {
  taken: { status: 202, reason: "" },
  offline: refusal(404, "destination offline"),
  full: refusal(FULL_STATUS, "queue of the destination is full"),
  failed: refusal(500, "message can't be stored now"),
};
