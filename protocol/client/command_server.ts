import { getLogger } from "@logtape/logtape";
import { LRUCache } from "lru-cache";
import { formatHex } from "../account.ts";
import { CodedError, ErrorCode } from "../endpoint/codes.ts";
import { knownBy } from "../endpoint/known.ts";
import { Lanes } from "../endpoint/lanes.ts";
import type { Sender } from "../endpoint/sender.ts";
import { type EnvelopeInit, timeLeft } from "../envelope.ts";
import { NotSentError } from "../errors.ts";
import type { Envelope } from "../gen/types_pb.ts";
import { formatSession, type Session } from "../session.ts";
import { CommandError, type CommandRequest, type Commands } from "./commands.ts";
import { BYTES_SCHEMA, encodeJson, JSON_SCHEMA } from "./json.ts";
import { withResolvers } from "../with_resolvers.ts";

const logger = getLogger(["rmb", "client"]);

/** Shortest life of an answer, in seconds: who asked may be away for a while. */
const ANSWER_LIFE = 300;
/** Requests, and bytes of them, that are being answered; more are refused. */
const MAX_REQUESTS = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** What one twin may have of them: none fills it for the others. */
const SHARE = 4;
/** Most requests whose copies are known. Each takes about 150 bytes. */
const MAX_KNOWN = 100_000;
/** Longest life of a request that counts, in seconds: so long its copies can come. */
const MAX_LIFE = 3600;
/** How long handlers have to finish when the client closes, in milliseconds. */
const CLOSE_TIME = 5000;

/** Requests that are being answered. */
interface Load {
  requests: number;
  bytes: number;
}

/** Answers the requests that a client gets: each once, whatever becomes of it, and so many at a time. */
export class CommandServer {
  readonly #commands: Commands;
  readonly #sender: Sender;
  readonly #known = new LRUCache<string, true>({ max: MAX_KNOWN, ttl: MAX_LIFE * 1000 });
  readonly #lanes = new Lanes();
  readonly #load: Load = { requests: 0, bytes: 0 };
  readonly #loads = new Map<number, Load>();
  /** What is being answered, and what tells its handler that nobody waits any more. */
  readonly #underWay = new Map<Promise<void>, AbortController>();
  /** From then on nothing is begun: its answer would come too late. */
  #closing = false;

  /** Makes one. */
  constructor(commands: Commands, sender: Sender) {
    this.#commands = commands;
    this.#sender = sender;
  }

  /**
   * Takes a request; those of one sender are begun in order.
   *
   * @param open Verifies and decrypts it.
   */
  take(envelope: Envelope, open: () => Promise<void>): void {
    if (this.#closing) {
      return this.#refuse(envelope, new CodedError(ErrorCode.other, "receiver is closing"));
    }
    const source = sourceOf(envelope);
    const own = this.#loads.get(source.twin) ?? { requests: 0, bytes: 0 };
    if (isFull(this.#load, 1) || isFull(own, SHARE)) {
      return this.#refuse(envelope, new CodedError(ErrorCode.other, "too many requests wait"));
    }
    const size = envelope.payload.value?.length ?? 0;
    this.#loads.set(source.twin, own);
    this.#count(own, 1, size);
    const opened = open(); // Several at once.
    opened.catch(() => {});
    const expiry = new AbortController();
    let isCounted = true;
    const release = () => {
      if (!isCounted) return;
      isCounted = false;
      this.#count(own, -1, -size);
      if (own.requests === 0) this.#loads.delete(source.twin);
    };
    const begun = this.#lanes.run(formatSession(source), async () => {
      await opened;
      return [
        this.#isKnown(envelope) ? undefined : this.#answer(envelope, expiry, release),
      ] as const;
    });
    const done: Promise<void> = begun.then(
      ([answered]) => answered,
      (error) => this.#refuse(envelope, error),
    ).finally(() => {
      release();
      this.#underWay.delete(done);
    });
    this.#underWay.set(done, expiry);
  }

  /** Waits for the handlers under way and for their answers to be sent, but not for ever. */
  async close(): Promise<void> {
    this.#closing = true;
    const { promise: late, resolve } = withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_TIME);
    await Promise.race([Promise.all(this.#underWay.keys()), late]);
    clearTimeout(timer);
    for (const expiry of this.#underWay.values()) expiry.abort();
  }

  /** Whether a request was taken before; from now on it was. */
  #isKnown(envelope: Envelope): boolean {
    const { uid, tags } = envelope;
    const known = formatHex(knownBy({ source: sourceOf(envelope), uid, tags }));
    if (this.#known.has(known)) return true;
    this.#known.set(known, true);
    return false;
  }

  /** Tells who sent a request why it is refused. */
  #refuse(envelope: Envelope, error: unknown): void {
    const { code, message } = error instanceof CodedError
      ? error
      : new CodedError(ErrorCode.other, "request can't be verified now");
    logger.debug("request {uid} from {source} is refused: {error}", {
      uid: envelope.uid,
      source: formatSession(sourceOf(envelope)),
      error: String(error),
    });
    // To wait would be to keep what others send.
    if (this.#sender.isFull) return;
    void this.#send(envelope, errorOf({ code, message }));
  }

  /** @param release Called when its answer is on its way, which is bounded by itself. */
  async #answer(
    envelope: Envelope,
    expiry: AbortController,
    release: () => void,
  ): Promise<void> {
    const { message, uid, tags, schema, payload } = envelope;
    const timer = setTimeout(() => expiry.abort(), lifeLeft(envelope) * 1000);
    // A handler that hangs shall not keep the process from ending.
    expiry.signal.addEventListener("abort", () => clearTimeout(timer));
    const command = message.case === "request" ? message.value.command : "";
    const answer = await this.#run({
      caller: sourceOf(envelope),
      command,
      ...{ uid, tags, schema },
      payload: payload.value ?? new Uint8Array(),
      signal: expiry.signal,
    });
    clearTimeout(timer);
    const failure = await new Promise<Error | undefined>((resolve) =>
      this.#sender.whenRoom(() => {
        release();
        resolve(this.#send(envelope, answer));
      })
    );
    // Too long, or with a code that is none.
    if (failure === undefined || failure.cause instanceof NotSentError) return;
    const why = "failed: its answer can't be sent";
    await this.#send(envelope, errorOf({ code: ErrorCode.other, message: `${command} ${why}` }));
  }

  /** Has a request answered, and makes an answer of whatever becomes of it. */
  async #run(request: CommandRequest): Promise<EnvelopeInit> {
    const { command, caller } = request;
    try {
      const result = await this.#commands.answer(request);
      const [value, schema] = result instanceof Uint8Array
        ? [result, BYTES_SCHEMA]
        : [encodeJson(result), JSON_SCHEMA];
      const payload = { case: "plain", value } as const;
      return { message: { case: "response", value: {} }, payload, schema };
    } catch (error) {
      // A RemoteError is not for the caller: it was told to the handler.
      if (error instanceof CommandError) return errorOf(error);
      logger.error("{command}, asked for by {caller}, failed: {error}", {
        command,
        caller: formatSession(caller),
        error: describe(error),
      });
      return errorOf(new CommandError(ErrorCode.other, `${command} failed`));
    }
  }

  /** Sends an answer; gives, and logs, why it can't. */
  async #send(request: Envelope, fields: EnvelopeInit): Promise<Error | undefined> {
    const { uid, tags } = request;
    const expiration = BigInt(Math.max(ANSWER_LIFE, lifeLeft(request)));
    const destination = sourceOf(request);
    try {
      await this.#sender.send(
        { schema: JSON_SCHEMA, ...fields, uid, tags, expiration },
        destination,
      );
      return undefined;
    } catch (error) {
      logger.warn("no answer to {uid} of {destination}: {error}", {
        uid,
        destination: formatSession(destination),
        error: (error as Error).message,
      });
      return error as Error;
    }
  }

  #count(own: Load, requests: number, bytes: number): void {
    for (const load of [this.#load, own]) {
      load.requests += requests;
      load.bytes += bytes;
    }
  }
}

/** The answer that tells of an error. */
function errorOf({ code, message }: Pick<CodedError, "code" | "message">): EnvelopeInit {
  return { message: { case: "error", value: { code, message } } };
}

/** Whether some requests are as many as there may be, or as a part of that. */
function isFull({ requests, bytes }: Load, part: number): boolean {
  return requests >= MAX_REQUESTS / part || bytes >= MAX_BYTES / part;
}

/** What was thrown, which can be anything at all. */
function describe(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.stack : thrown);
  } catch {
    return "something that can't be shown";
  }
}

/** Seconds for which somebody may wait for the answer. */
function lifeLeft(request: Envelope): number {
  return Math.min(Math.max(timeLeft(request), 0), MAX_LIFE);
}

function sourceOf({ source }: Envelope): Session {
  return { twin: source?.twin ?? 0, connection: source?.connection };
}
