import { create, toBinary } from "@bufbuild/protobuf";
import { getLogger } from "@logtape/logtape";
import {
  type EnvelopeInit,
  FormatError,
  formatSession,
  type RelayConnection,
  type Session,
  unixNow,
} from "@rmb/protocol";
import type { Bus } from "./bus.ts";
import { CodedError, ErrorCode } from "./codes.ts";
import { BacklogSchema } from "./gen/peer_pb.ts";
import type { Identity } from "./identity.ts";
import {
  backlogKey,
  formatRemoteResponse,
  INVALID_MESSAGES,
  LOCAL_REQUESTS,
  LOCAL_RESPONSES,
  type LocalRequest,
  type LocalResponse,
  parseLocalRequest,
  parseLocalResponse,
  replyAddress,
} from "./local.ts";

const logger = getLogger(["rmb", "peer", "outbound"]);

/** Life of a request that sets none, in seconds. */
const DEFAULT_EXPIRATION = 300;
/** Longest life of a request, and the life of every response, in seconds. */
const MAX_EXPIRATION = 1800;
/** Messages, and bytes of them, that wait for the relay; above, no more are popped. */
const MAX_WAITING = 1000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Wait before Redis is asked again when it failed, in milliseconds. */
const REDIS_RETRY = 500;

/** Takes what local programs push, and sends it to other twins. */
export class Outbound {
  readonly #bus: Bus;
  readonly #identity: Identity;
  readonly #connection: RelayConnection;
  readonly #stop: AbortSignal;
  #waiting = 0;
  #waitingBytes = 0;
  #onRoom: (() => void)[] = [];
  /** What has not yet come to an end. */
  readonly #underWay = new Set<Promise<void>>();

  /** Makes one, which does nothing before {@linkcode Outbound.run}. */
  constructor(bus: Bus, identity: Identity, connection: RelayConnection, stop: AbortSignal) {
    this.#bus = bus;
    this.#identity = identity;
    this.#connection = connection;
    this.#stop = stop;
    stop.addEventListener("abort", () => this.#wake());
  }

  /** Works until it is told to stop. Never rejects. */
  async run(): Promise<void> {
    await Promise.all([
      this.#take(LOCAL_REQUESTS, async (entry) => await this.#request(parseLocalRequest(entry))),
      this.#take(LOCAL_RESPONSES, async (entry) => await this.#response(parseLocalResponse(entry))),
    ]);
  }

  /** Waits until all that was taken is sent or answered. */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /**
   * Seals an envelope and has it sent, in the order of calls; does not wait for the latter.
   *
   * @param onFailure Called if it can't be sent, which may turn out later.
   */
  async send(
    fields: EnvelopeInit,
    destination: Session,
    onFailure: (error: CodedError) => Promise<void> | void,
  ): Promise<void> {
    let sent: Promise<void>;
    try {
      await this.#room();
      const { bytes, timeLeft } = await this.#identity.seal(fields, destination);
      sent = this.#hand(bytes, timeLeft);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return await onFailure(error);
    }
    const underWay: Promise<void> = sent
      .catch(onFailure)
      .catch((error) => logger.error("no answer: {error}", { error: String(error) }))
      .finally(() => this.#underWay.delete(underWay));
    this.#underWay.add(underWay);
  }

  /** Takes the entries of a list, one after the other so that their order is kept. */
  async #take(list: string, handle: (entry: Uint8Array) => Promise<void>): Promise<void> {
    let failure = "";
    for (await this.#room(); !this.#stop.aborted; await this.#room()) {
      let entries: Uint8Array[];
      try {
        entries = await this.#bus.pop(list);
        if (failure !== "") logger.info("{list} can be popped again", { list });
        failure = "";
      } catch (error) {
        if (this.#stop.aborted) return;
        if (String(error) !== failure) {
          logger.error("{list} can't be popped: {error}", { list, error });
        }
        failure = String(error);
        await new Promise((resolve) => setTimeout(resolve, REDIS_RETRY));
        continue;
      }
      for (const entry of entries) {
        await handle(entry)
          .catch((error) => {
            if (!(error instanceof FormatError)) throw error;
            return this.#invalid(list, entry, error);
          })
          .catch((error) =>
            logger.error("an entry of {list} was lost: {error}", { list, error: String(error) })
          );
      }
    }
  }

  async #request(request: LocalRequest): Promise<void> {
    const now = unixNow();
    const sent = request.timestamp === 0 ? now : Math.min(request.timestamp, now);
    const expiration = Math.min(request.expiration || DEFAULT_EXPIRATION, MAX_EXPIRATION);
    const left = sent + expiration - now;
    if (left <= 0) return await this.#refuse(request, ErrorCode.other, "request has expired");

    const uid = crypto.randomUUID();
    const { reference, replyTo, tags, schema } = request;
    const backlog = create(BacklogSchema, { uid, reference, replyTo, ttl: BigInt(left) });
    try {
      if (replyTo !== "") {
        await this.#bus.set(backlogKey(uid), toBinary(BacklogSchema, backlog), left);
      }
    } catch (error) {
      logger.error("Redis did not take a request: {error}", { error: String(error) });
      return await this.#refuse(request, ErrorCode.other, "Redis did not take the request");
    }

    for (const twin of request.destinations) {
      await this.send(
        {
          uid,
          timestamp: BigInt(now),
          expiration: BigInt(left),
          message: { case: "request", value: { command: request.command } },
          payload: { case: "plain", value: request.payload },
          tags,
          schema,
        },
        { twin, connection: request.connection },
        ({ code, message }) => this.#refuse(request, code, message),
      );
    }
  }

  async #response(response: LocalResponse): Promise<void> {
    const { uid, destination, error, schema } = response;
    await this.send(
      {
        uid,
        timestamp: BigInt(response.timestamp),
        expiration: BigInt(MAX_EXPIRATION),
        message: error === undefined
          ? { case: "response", value: {} }
          : { case: "error", value: error },
        payload: { case: "plain", value: response.payload },
        schema,
      },
      destination,
      ({ message }) =>
        logger.warn("response {uid} to {destination} was not sent: {message}", {
          uid,
          destination: formatSession(destination),
          message,
        }),
    );
  }

  async #hand(bytes: Uint8Array, seconds: number): Promise<void> {
    this.#waiting++;
    this.#waitingBytes += bytes.length;
    try {
      await this.#connection.send(bytes, seconds * 1000);
    } catch (cause) {
      throw new CodedError(ErrorCode.other, (cause as Error).message, { cause });
    } finally {
      this.#waiting--;
      this.#waitingBytes -= bytes.length;
      this.#wake();
    }
  }

  /** Waits until there is room for one more message, or for what is in hand when it is to stop. */
  async #room(): Promise<void> {
    const isFull = () => this.#waiting >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES;
    while (isFull() && !this.#stop.aborted) {
      await new Promise<void>((resolve) => this.#onRoom.push(resolve));
    }
  }

  #wake(): void {
    for (const wake of this.#onRoom.splice(0)) wake();
  }

  /** Answers a local program's request with an error of the gateway itself. */
  async #refuse(
    { replyTo, reference }: Pick<LocalRequest, "replyTo" | "reference">,
    code: number,
    message: string,
  ): Promise<void> {
    logger.debug("a request was not sent: {message}", { message });
    if (replyTo === "") return;
    const answer = formatRemoteResponse({
      reference,
      payload: new Uint8Array(),
      source: undefined,
      schema: undefined,
      timestamp: 0,
      error: { code, message },
    });
    await this.#bus.push(replyTo, answer);
  }

  /** Keeps what can't be read for people to look at, and tells who sent it if it says who. */
  async #invalid(list: string, entry: Uint8Array, { message }: FormatError): Promise<void> {
    logger.warn("an entry of {list} can't be read and is now in {invalid}: {message}", {
      list,
      invalid: INVALID_MESSAGES,
      message,
    });
    await this.#bus.push(INVALID_MESSAGES, entry);
    if (list !== LOCAL_REQUESTS) return;
    const address = replyAddress(entry);
    if (address === undefined) return;
    await this.#refuse(address, ErrorCode.other, `Cannot read the request: ${message}`);
  }
}
