import { getLogger } from "@logtape/logtape";
import { readRouting, type Routing, type Session, unixNow } from "@rmb/protocol";
import { errorAnswer } from "../answers.ts";
import { type HeldMessage, type Lane, Lanes } from "./lanes.ts";
import { type FederationQueue, FederationQueueFullError, MAX_FEDERATED } from "./queue.ts";
import { type Failed, type FederationTimes, Sender, type SenderOptions } from "./sender.ts";
import { jittered, Waits } from "./waits.ts";

const logger = getLogger(["rmb", "relay", "federation"]);

/** How many messages are taken from the queue at once. */
const TAKE_COUNT = 100;
/** How many are held at most, about: as many as a queue has room for, or one dead relay would do. */
const MAX_HELD = MAX_FEDERATED;
/** How many of one twin's are: one twin must not take all the room. */
const MAX_OF_TWIN = 10_000;

/** Who waits for a paused relay looks up its destination again after so many times between tries. */
const PAUSED_RETRIES = 10;

/** How patient a federation is by default, in milliseconds; the first is the reference's. */
const TIMES: FederationTimes = { request: 3000, round: 200, retry: 3000 };

/** What a federation is made from. */
export interface FederationOptions extends Omit<SenderOptions, "times"> {
  /** Where messages wait. */
  readonly queue: FederationQueue;
  /** Sends an answer of this relay's own to a session. It must not throw. */
  readonly answer: (session: Session, bytes: Uint8Array) => void;
  /**
   * Delivers a message whose destination has come to this relay. Rejects if that is to be tried
   * again later.
   */
  readonly deliverHere: (envelope: Uint8Array, routing: Routing) => Promise<void>;
  /** How patient it is; what is left out has its default. */
  readonly times?: Partial<FederationTimes>;
}

/**
 * Brings messages to the relays of their destinations. Those from one session to another go one
 * after the other, in order; each is tried again until it is taken, refused for good, or expired.
 * What is not done with stays in the queue, for the next process.
 */
export class Federation implements AsyncDisposable {
  readonly #options: FederationOptions;
  readonly #times: FederationTimes;
  readonly #waits = new Waits();
  readonly #sender: Sender;
  readonly #lanes = new Lanes((lane) => this.#advance(lane));
  readonly #taking: Promise<void>;
  /** Wakes the one who takes from the queue, while too many messages are held. */
  #wakeTaker: (() => void) | undefined;
  /** Ids of messages that are done with and still in the queue. */
  #done: HeldMessage["id"][] = [];
  #removing: Promise<void> | undefined;

  /** Begins with what is in the queue. */
  constructor(options: FederationOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#sender = new Sender({ ...options, times: this.#times }, this.#waits);
    this.#taking = this.#take();
  }

  /**
   * Sends a message to a relay of its destination.
   *
   * @param envelope Its bytes, which must not be changed any more.
   * @param sender Id of the twin that sends it.
   * @returns When it is stored so that it survives this process.
   * @throws {FederationQueueFullError} if too many messages wait, of all twins or of this one.
   */
  send(envelope: Uint8Array, sender: number): Promise<void> {
    if (this.#lanes.countOf(sender) >= MAX_OF_TWIN) {
      const reason = `${MAX_OF_TWIN} messages of twin ${sender} wait to go to other relays`;
      return Promise.reject(new FederationQueueFullError(reason));
    }
    return this.#options.queue.push(envelope);
  }

  /** Waits for requests under way, and leaves the rest in the queue. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#waits.stop();
    await this.#taking;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#times.request);
    await Promise.race([this.#lanes.ended(), late]);
    clearTimeout(timer);
    this.#sender[Symbol.dispose]();
    await this.#removing;
  }

  /** Takes from the queue what there is. */
  async #take(): Promise<void> {
    const { queue, metrics } = this.#options;
    while (!this.#waits.stopped) {
      if (this.#lanes.count >= MAX_HELD) {
        await this.#waits.wait(this.#times.retry, (wake) => {
          this.#wakeTaker = wake;
          return () => this.#wakeTaker = undefined;
        });
        continue;
      }
      try {
        for (const taken of await queue.take(TAKE_COUNT, this.#waits.signal)) {
          try {
            this.#lanes.add(taken);
          } catch (error) {
            // Not one of ours: other programs may share the queue.
            logger.error("a message in the federation queue is dropped: {error}", {
              error: String(error),
            });
            this.#remove(taken.id);
          }
        }
        metrics.held = this.#lanes.count;
      } catch (error) {
        logger.error("nothing can be taken from the federation queue: {error}", {
          error: String(error),
        });
        await this.#waits.wait(this.#times.retry);
      }
    }
  }

  /** Tries to send the first message of a lane; waits if that fails. */
  async #advance(lane: Lane): Promise<boolean> {
    const first = lane.messages[0]!;
    try {
      const failed = await this.#try(lane, first);
      if (failed === undefined) {
        this.#release(lane, first);
      } else if (!this.#waits.stopped) {
        await this.#waitToRetry(lane, failed);
        await this.#dropExpired(lane);
      }
    } catch (error) {
      // The registry or the queue can't be asked: whoever looks after them says so aloud.
      logger.debug("a message to twin {twin} can't be sent now: {error}", {
        twin: lane.destination,
        error: String(error),
      });
      await this.#waits.wait(jittered(this.#times.retry, 0.1));
    }
    return !this.#waits.stopped;
  }

  /** Tries to send a message; undefined when it is done with. */
  async #try(lane: Lane, message: HeldMessage): Promise<Failed | undefined> {
    if (message.expires <= unixNow()) {
      await this.#drop(message);
      return undefined;
    }
    const read = () => this.#options.queue.read(message.id);
    const outcome = await this.#sender.try(lane.destination, message, read);
    switch (outcome.result) {
      case "failed":
        return outcome;
      case "not sent":
        return undefined;
      case "taken":
        break;
      case "here": {
        const bytes = await this.#read(message);
        if (bytes !== undefined) await this.#options.deliverHere(bytes, readRouting(bytes));
        break;
      }
      case "undeliverable":
        await this.#answer(message, (request) => [request.source, outcome.reason]);
        break;
      case "rejected":
        // The reference names no destination here.
        await this.#answer(message, () => [
          undefined,
          `remote relay rejected permanently: ${outcome.reason}`,
        ]);
    }
    this.#remove(message.id);
    return undefined;
  }

  /** Waits until a lane is to be tried again, or one of its messages has expired. */
  #waitToRetry({ messages }: Lane, { asked, relays }: Failed): Promise<void> {
    // It may wait for long: what others have in memory is of more use.
    for (const message of messages) this.#lanes.forgetBytes(message);
    const paused = relays.every((relay) => relay.paused);
    if (!paused && !asked) return Promise.resolve(); // One of them works again since.
    const { retry } = this.#times;
    const expires = messages.reduce((first, { expires }) => Math.min(first, expires), Infinity);
    return this.#waits.wait(
      Math.min(jittered(paused ? PAUSED_RETRIES * retry : retry, 0.1), expires * 1000 - Date.now()),
      (wake) => {
        const unregister = paused ? relays.map((relay) => relay.wait(wake)) : [];
        return () => unregister.forEach((one) => one());
      },
    );
  }

  /** Drops those messages of a lane that have expired. */
  async #dropExpired(lane: Lane): Promise<void> {
    const now = unixNow();
    for (const message of lane.messages.filter(({ expires }) => expires <= now)) {
      await this.#drop(message);
      this.#release(lane, message);
    }
  }

  /** Drops a message that has expired. */
  async #drop(message: HeldMessage): Promise<void> {
    await this.#answer(message, (request) => [request.source, "message has expired"]);
    this.#remove(message.id);
  }

  /** Answers a request with an error. */
  async #answer(
    message: HeldMessage,
    error: (request: Routing) => [destination: Session | undefined, message: string],
  ): Promise<void> {
    if (!message.isRequest) return;
    const bytes = await this.#read(message);
    if (bytes === undefined) return;
    const request = readRouting(bytes);
    this.#options.answer(request.source, errorAnswer(request, ...error(request)));
  }

  async #read({ id, bytes }: HeldMessage): Promise<Uint8Array | undefined> {
    return bytes ?? await this.#options.queue.read(id);
  }

  /** Holds a message no longer, so that there is room for others. */
  #release(lane: Lane, message: HeldMessage): void {
    this.#lanes.remove(lane, message);
    this.#options.metrics.held = this.#lanes.count;
    if (this.#lanes.count < MAX_HELD) this.#wakeTaker?.();
  }

  /** Removes a message from the queue, together with others. */
  #remove(id: HeldMessage["id"]): void {
    this.#done.push(id);
    this.#removing ??= this.#removeDone();
  }

  async #removeDone(): Promise<void> {
    while (this.#done.length > 0) {
      const ids = this.#done.splice(0);
      try {
        await this.#options.queue.remove(ids);
      } catch (error) {
        logger.error("{count} messages can't be removed from the federation queue: {error}", {
          count: ids.length,
          error: String(error),
        });
        if (this.#waits.stopped) break; // The next process will send them once more.
        this.#done.push(...ids);
        await this.#waits.wait(this.#times.retry);
      }
    }
    this.#removing = undefined;
  }
}
