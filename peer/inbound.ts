import { fromBinary } from "@bufbuild/protobuf";
import { getLogger } from "@logtape/logtape";
import {
  decodeEnvelope,
  type Envelope,
  type EnvelopeInit,
  formatSession,
  type Session,
} from "@rmb/protocol";
import type { Bus } from "./bus.ts";
import { CodedError, ErrorCode } from "./codes.ts";
import { type Backlog, BacklogSchema } from "./gen/peer_pb.ts";
import { type Identity, isOfRelay } from "./identity.ts";
import {
  backlogKey,
  commandList,
  formatRemoteRequest,
  formatRemoteResponse,
  isReserved,
} from "./local.ts";
import type { Outbound } from "./outbound.ts";
import type { Plugin } from "./plugin.ts";

const logger = getLogger(["rmb", "peer", "inbound"]);

/** Life of the gateway's own answers, in seconds. */
const ANSWER_EXPIRATION = 300n;
/** Messages, and bytes of them, that wait to be verified and pushed; above, new ones are dropped. */
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 256 * 1024 * 1024;
/** Seconds after which a list that no program pops is dropped: longer than any request lives. */
const LIST_TIME = 3600;

/** Takes what arrives from the relay, and gives it to local programs. */
export class Inbound {
  readonly #bus: Bus;
  readonly #identity: Identity;
  readonly #outbound: Outbound;
  readonly #plugins: readonly Plugin[];
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;

  /** Makes one. */
  constructor(bus: Bus, identity: Identity, outbound: Outbound, plugins: readonly Plugin[]) {
    this.#bus = bus;
    this.#identity = identity;
    this.#outbound = outbound;
    this.#plugins = plugins;
  }

  /** Takes an envelope as it arrived; handles it after those that came before. */
  receive(bytes: Uint8Array): void {
    const full = this.#waiting >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES;
    if (full) {
      logger.error("a message of {size} bytes is dropped: {waiting} wait to be handled", {
        size: bytes.length,
        waiting: this.#waiting,
      });
      return;
    }
    this.#waiting++;
    this.#waitingBytes += bytes.length;
    this.#last = this.#last
      .then(() => this.#handle(bytes))
      .catch((error) => logger.error("a message was lost: {error}", { error: String(error) }))
      .finally(() => {
        this.#waiting--;
        this.#waitingBytes -= bytes.length;
      });
  }

  /** Waits until all that arrived is handled. */
  async finish(): Promise<void> {
    await this.#last;
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(bytes);
    } catch (error) {
      return logger.warn("a message is refused: {error}", { error: (error as Error).message });
    }
    const source = envelope.source ?? { twin: 0 };
    const { uid, message } = envelope;
    try {
      await this.#identity.open(envelope);
      if (message.case === "request") await this.#request(envelope, message.value.command, source);
      else if (message.case !== undefined) await this.#response(envelope, source);
    } catch (error) {
      const coded = error instanceof CodedError
        ? error
        : new CodedError(ErrorCode.none, "request can't be handed over now", { cause: error });
      logger.warn("{kind} {uid} from {source} is refused: {error}", {
        kind: message.case ?? "a message without content",
        uid,
        source: formatSession(source),
        error: error instanceof CodedError ? error.message : String(error),
      });
      if (message.case === "request") {
        await this.#answer(envelope, source, {
          message: { case: "error", value: { code: coded.code, message: coded.message } },
        });
      }
    }
  }

  async #request(envelope: Envelope, command: string, source: Session): Promise<void> {
    const dot = command.indexOf(".");
    const plugin = this.#plugins.find(({ name }) => dot >= 0 && name === command.slice(0, dot));
    if (plugin !== undefined) {
      const asked = { uid: envelope.uid, payload: payloadOf(envelope), source };
      const answer = await plugin.answer(command.slice(dot + 1), asked);
      if (answer === undefined) throw new CodedError(ErrorCode.none, `no such command: ${command}`);
      if (answer === null) return;
      return await this.#answer(envelope, source, {
        message: { case: "response", value: {} },
        payload: { case: "plain", value: answer.payload },
        schema: answer.schema,
      });
    }
    if (isReserved(command)) {
      throw new CodedError(ErrorCode.none, `command is reserved: ${command}`);
    }
    const request = formatRemoteRequest({
      uid: envelope.uid,
      source,
      command,
      expiration: seconds(envelope.expiration),
      payload: payloadOf(envelope),
      tags: envelope.tags,
      schema: envelope.schema,
      timestamp: seconds(envelope.timestamp),
    });
    await this.#bus.push(commandList(command), request, LIST_TIME);
  }

  async #response(envelope: Envelope, source: Session): Promise<void> {
    const { message, uid } = envelope;
    if (message.case !== "response" && message.case !== "error") return;
    const stored = await this.#bus.get(backlogKey(uid));
    if (stored === undefined) {
      return logger.debug("{kind} {uid} from {source} answers nothing that waits", {
        kind: message.case,
        uid,
        source: formatSession(source),
      });
    }
    const backlog: Backlog = fromBinary(BacklogSchema, stored);
    const response = formatRemoteResponse({
      reference: backlog.reference,
      payload: payloadOf(envelope),
      source: isOfRelay(envelope) ? { twin: 0 } : source,
      schema: envelope.schema,
      timestamp: seconds(envelope.timestamp),
      error: message.case === "error"
        ? { code: message.value.code, message: message.value.message }
        : undefined,
    });
    await this.#bus.push(backlog.replyTo, response);
  }

  /** Sends an answer of the gateway's own; that it can't be sent is no one's to know but the log's. */
  async #answer(request: Envelope, destination: Session, fields: EnvelopeInit): Promise<void> {
    const { uid, tags } = request;
    const answer: EnvelopeInit = {
      schema: "application/json",
      ...fields,
      uid,
      tags,
      expiration: ANSWER_EXPIRATION,
    };
    await this.#outbound.send(
      answer,
      destination,
      (error) => logger.debug("no answer to {uid}: {error}", { uid, error: error.message }),
    );
  }
}

/** A number that JSON readers of all languages read as it is. */
function seconds(value: bigint): number {
  return Math.min(Number(value), Number.MAX_SAFE_INTEGER);
}

function payloadOf({ payload }: Envelope): Uint8Array {
  return payload.value ?? new Uint8Array();
}
