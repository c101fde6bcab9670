import { formatSession, readRouting, unixNow } from "@rmb/protocol";
import { createHash } from "node:crypto";
import type { FederatedEnvelope } from "./queue.ts";

/** Most bytes of messages kept in memory; of those beyond, only their ids are. */
const MAX_BYTES = 32 * 1024 * 1024;

/** Longest time that a message is held, in seconds, whatever its own expiration; as in mailboxes. */
const MAX_HELD_TIME = 3600;

/** Longest name of a lane that is kept as it is: session ids are as long as their senders like. */
const MAX_NAME = 128;

/** A message that waits for its turn. */
export interface HeldMessage {
  /** What the queue knows it by. */
  readonly id: FederatedEnvelope["id"];
  /** Its length in bytes. */
  readonly size: number;
  /** Unix time in seconds from which on it need not be sent. */
  readonly expires: number;
  /** Id of the twin that sent it. */
  readonly sender: number;
  /** Whether someone waits to hear of it. */
  readonly isRequest: boolean;
  /** Its bytes, if they are in memory. */
  bytes: Uint8Array | undefined;
}

/** The messages from one session to another: one is sent after the other. */
export interface Lane {
  /** The twin that they are for. */
  readonly destination: number;
  /** Them, oldest first; never none. */
  readonly messages: HeldMessage[];
}

/** The messages held, in lanes that go on each by itself. */
export class Lanes {
  readonly #advance: (lane: Lane) => Promise<boolean>;
  readonly #lanes = new Map<string, Lane>();
  readonly #running = new Set<Promise<void>>();
  #count = 0;
  /** How many of them are a twin's; none for 0. */
  readonly #counts = new Map<number, number>();
  #bytes = 0;

  /**
   * Makes them, without any messages.
   *
   * @param advance Called with a lane that has messages, again and again, one call after the other;
   * returns whether to go on. Must not reject.
   */
  constructor(advance: (lane: Lane) => Promise<boolean>) {
    this.#advance = advance;
  }

  /** How many messages of a twin are held. */
  countOf(sender: number): number {
    return this.#counts.get(sender) ?? 0;
  }

  /** How many messages are held. */
  get count(): number {
    return this.#count;
  }

  /**
   * Holds a message, behind the others of its lane.
   *
   * @throws {FormatError} if it is not an envelope.
   */
  add({ id, envelope }: FederatedEnvelope): void {
    const { source, destination, timestamp, expiration, kind } = readRouting(envelope);
    const message: HeldMessage = {
      id,
      size: envelope.length,
      sender: source.twin,
      expires: Math.min(timestamp + expiration, unixNow() + MAX_HELD_TIME),
      isRequest: kind === "request",
      bytes: undefined,
    };
    this.#count++;
    this.#counts.set(source.twin, this.countOf(source.twin) + 1);
    if (this.#bytes + message.size <= MAX_BYTES) {
      this.#bytes += message.size;
      message.bytes = envelope;
    }

    const name = laneName(formatSession(source), formatSession(destination));
    const lane = this.#lanes.get(name);
    if (lane !== undefined) {
      lane.messages.push(message);
    } else {
      const running = this.#run(name, { destination: destination.twin, messages: [message] })
        .finally(() => this.#running.delete(running));
      this.#running.add(running);
    }
  }

  /** Holds a message no longer. */
  remove(lane: Lane, message: HeldMessage): void {
    this.forgetBytes(message);
    lane.messages.splice(lane.messages.indexOf(message), 1);
    this.#count--;
    const count = this.countOf(message.sender) - 1;
    if (count > 0) this.#counts.set(message.sender, count);
    else this.#counts.delete(message.sender);
  }

  /** Keeps of a message only its id. */
  forgetBytes(message: HeldMessage): void {
    if (message.bytes === undefined) return;
    message.bytes = undefined;
    this.#bytes -= message.size;
  }

  /** When no lane goes on any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #run(name: string, lane: Lane): Promise<void> {
    this.#lanes.set(name, lane);
    // What is added until there are no messages any more still goes into this lane.
    while (lane.messages.length > 0 && await this.#advance(lane));
    this.#lanes.delete(name);
  }
}

/** A name for each pair of sessions, whatever their ids contain. */
function laneName(source: string, destination: string): string {
  const name = `${source.length}:${source}${destination}`;
  return name.length <= MAX_NAME ? name : createHash("sha256").update(name).digest("base64");
}
