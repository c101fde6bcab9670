import { type CodedError, ErrorCode, RemoteError } from "../endpoint/codes.ts";
import { isOfRelay } from "../endpoint/identity.ts";
import type { Relays } from "../endpoint/relays.ts";
import type { Sender } from "../endpoint/sender.ts";
import { type EnvelopeInit, unixNow } from "../envelope.ts";
import { NotSentError, RegistryError, RmbError } from "../errors.ts";
import type { Envelope } from "../gen/types_pb.ts";
import { formatSession, MAX_TWIN_ID, type Session } from "../session.ts";
import { newUid } from "../uid.ts";
import { withResolvers } from "../with_resolvers.ts";
import {
  AbortError,
  CallTimeoutError,
  ClosedError,
  OfflineError,
  RelayError,
  UnknownTwinError,
} from "./errors.ts";
import { Slots } from "./slots.ts";

/** How long a call waits for its answer by default, in milliseconds. */
const TIMEOUT = 60_000;
/** Longest that a call can wait, in milliseconds: no message lives longer. */
const MAX_TIMEOUT = 3_600_000;
/** Most calls to one destination at once; a bot takes 2500 of one twin, see command_server.ts. */
const MAX_AT_ONCE = 2000;
/** Longest text of others that is repeated in an error, in characters. */
const MAX_TEXT = 500;
/** Has relays refuse a request to who is not connected, instead of keeping it (docs/protocol.md, Routing). */
const FAIL_FAST = "fail-fast";

/** How a call is made. */
export interface CallOptions {
  /** Milliseconds that the answer may take, at most an hour. Default 60 s. */
  readonly timeout?: number | undefined;
  /** Session id of the twin that is to answer. Default: none, which is what a gateway has. */
  readonly session?: string | undefined;
  /** Gives the call up when it is aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Fails with an {@linkcode OfflineError} when the destination is not connected. Default: the request
   * waits for it until the timeout.
   */
  readonly failFast?: boolean | undefined;
}

/** A request, without who it is for. */
export interface CallRequest {
  readonly command: string;
  readonly payload: Uint8Array;
  readonly schema: string;
}

/** What a call is answered with. */
export interface CallAnswer {
  readonly payload: Uint8Array;
  /** What it is, as who answered says. */
  readonly schema: string | undefined;
}

/** A call that waits for its answer. */
interface Call {
  readonly destination: Session;
  /** What is called, for people. */
  readonly what: string;
  readonly resolve: (answer: CallAnswer) => void;
  readonly reject: (error: Error) => void;
  /** Whether it was its turn. */
  isBegun: boolean;
  /** Whether a relay has the request. */
  isConfirmed: boolean;
  /** Why an answer that came was not taken. */
  refusal: string | undefined;
}

/** The calls of a client: any number of them on its relays, each told apart by its uid. */
export class Calls {
  readonly #sender: Sender;
  readonly #relays: Pick<Relays, "explain">;
  readonly #waiting = new Map<string, Call>();
  readonly #slots = new Slots(MAX_AT_ONCE);
  #closed = false;

  /** Makes them; there are none yet. */
  constructor(sender: Sender, relays: Pick<Relays, "explain">) {
    this.#sender = sender;
    this.#relays = relays;
  }

  /**
   * Sends a request, and waits for its answer.
   *
   * @throws {TypeError} if the twin, or the timeout, is none.
   * @throws {RemoteError} if the destination answers with an error; see errors.ts for the others.
   */
  async call(twin: number, request: CallRequest, options: CallOptions): Promise<CallAnswer> {
    const { timeout = TIMEOUT, session: connection, signal, failFast = false } = options;
    if (!Number.isInteger(twin) || twin < 1 || twin > MAX_TWIN_ID) {
      throw new TypeError(`Cannot call "${twin}": expected the id of a twin`);
    }
    if (!(timeout > 0 && timeout <= MAX_TIMEOUT)) {
      throw new TypeError(`Cannot wait ${timeout} ms for an answer: expected 1 to ${MAX_TIMEOUT}`);
    }
    const destination = { twin, connection };
    const what = `${request.command} of twin ${formatSession(destination)}`;
    const { promise, resolve, reject } = withResolvers<CallAnswer>();
    const uid = newUid();
    const fields = {
      uid,
      timestamp: BigInt(unixNow()),
      expiration: BigInt(lifeFor(timeout)),
      message: { case: "request", value: { command: request.command } },
      payload: { case: "plain", value: request.payload },
      schema: request.schema,
      ...failFast && { tags: FAIL_FAST },
    } as const;
    const call: Call = {
      ...{ destination, what, resolve, reject },
      isBegun: false,
      isConfirmed: false,
      refusal: undefined,
    };
    const givenUp = () => new AbortError(`${what} was given up`, { cause: signal?.reason });
    const abort = () => reject(givenUp());
    if (this.#closed) throw closed(what);
    if (signal?.aborted) throw givenUp();
    signal?.addEventListener("abort", abort);
    this.#waiting.set(uid, call);
    const timer = setTimeout(() => reject(this.#timedOut(call, timeout)), timeout);
    const end = this.#slots.take(formatSession(destination), () => {
      call.isBegun = true;
      this.#sender.whenRoom(() => void this.#send(call, fields));
    });
    try {
      return await promise;
    } finally {
      end();
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#waiting.delete(uid);
    }
  }

  /** Whether a call waits for an answer with this uid. */
  has(uid: string): boolean {
    return this.#waiting.has(uid);
  }

  /** Takes an answer that was verified and decrypted, if it is of who was asked. */
  take(envelope: Envelope): void {
    const call = this.#waiting.get(envelope.uid);
    if (call === undefined) return;
    const { message, payload, schema, source } = envelope;
    const { destination } = call;
    if (isOfRelay(envelope)) return call.reject(relayError(call, errorOf(envelope).message));
    const isAsked = source?.twin === destination.twin &&
      (destination.connection === undefined || source.connection === destination.connection);
    if (!isAsked) return;
    if (message.case === "response") {
      return call.resolve({ payload: payload.value ?? new Uint8Array(), schema });
    }
    const { code, message: text } = errorOf(envelope);
    call.reject(new RemoteError(code, text));
  }

  /** Notes why an answer was not taken: that is told if no other comes. */
  refuse(uid: string, reason: string): void {
    const call = this.#waiting.get(uid);
    if (call !== undefined) call.refusal = reason;
  }

  /** Ends all of them. */
  close(): void {
    this.#closed = true;
    for (const { what, reject } of this.#waiting.values()) reject(closed(what));
  }

  async #send(call: Call, fields: EnvelopeInit & { readonly uid: string }): Promise<void> {
    if (!this.has(fields.uid)) return;
    try {
      await this.#sender.send(fields, call.destination, () => this.has(fields.uid));
      call.isConfirmed = true;
    } catch (error) {
      // That no relay took it in time is told by the timer, with all that is known then.
      if ((error as CodedError).cause instanceof NotSentError) return;
      call.reject(sendError(call, error as CodedError));
    }
  }

  #timedOut(call: Call, timeout: number): CallTimeoutError {
    const { what, isBegun, isConfirmed, refusal } = call;
    const why = !isBegun
      ? `${MAX_AT_ONCE} calls before it wait for their answers`
      : refusal !== undefined
      ? `an answer came and was refused: ${refusal}`
      : isConfirmed
      ? "a relay has the request, the destination may not be connected"
      : this.#relays.explain();
    return new CallTimeoutError(`No answer to ${what} within ${timeout / 1000} s: ${why}`);
  }
}

/** Seconds that a request lives: its timestamp can be of almost a second ago. */
function lifeFor(timeout: number): number {
  return Math.ceil(timeout / 1000) + 1;
}

function closed(what: string): ClosedError {
  return new ClosedError(`Cannot call ${what}: the client is closed`);
}

/** The error of an envelope, as much of it as is repeated. */
function errorOf({ message }: Envelope): { readonly code: number; readonly message: string } {
  if (message.case !== "error") return { code: ErrorCode.none, message: "not an answer" };
  const { code, message: text } = message.value;
  return { code, message: text.slice(0, MAX_TEXT) };
}

/** What a relay's words mean (docs/protocol.md, Routing); another relay's are behind a few of ours. */
function relayError({ what, destination }: Call, text: string): Error {
  const message = `Cannot call ${what}: ${text}`;
  if (text.endsWith("destination offline")) return new OfflineError(message);
  if (text.endsWith("unknown twin destination")) return unknown(destination);
  if (text === "message has expired") return new CallTimeoutError(message);
  return new RelayError(message);
}

function sendError({ what, destination }: Call, error: CodedError): Error {
  if (error.code === ErrorCode.unknownTwin) return unknown(destination);
  const message = `Cannot call ${what}: ${error.message}`;
  return error.cause instanceof RegistryError
    ? new RegistryError(message, { cause: error.cause })
    : new RmbError(message, { cause: error });
}

function unknown({ twin }: Session): UnknownTwinError {
  return new UnknownTwinError(`There is no twin ${twin}`);
}
