import { getLogger } from "@logtape/logtape";
import {
  decodeEnvelope,
  type Envelope,
  type EnvelopeInit,
  formatSession,
  type Session,
} from "@rmb/protocol";
import {
  CodedError,
  ErrorCode,
  type Identity,
  isOfRelay,
  Lanes,
  lifeOf,
  type RelayLink,
  type Sender,
} from "@rmb/protocol/endpoint";
import { type Bus, ReplyListError, type SentRequest } from "./bus.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Host } from "./host.ts";
import { formatRemoteResponse } from "./local.ts";
import type { PeerMetrics } from "./metrics.ts";
import { findPlugin, type Plugin } from "./plugin.ts";
import { RedisLostError } from "./redis/pipeline.ts";

const logger = getLogger(["rmb", "peer", "inbound"]);

/** Life of the gateway's own answers, in seconds. */
const ANSWER_EXPIRATION = 300n;
/** Messages, and bytes of them, that wait to be verified and pushed; above, relays are not read. */
const MAX_WAITING = 1000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** What an {@linkcode Inbound} works with. */
export interface InboundOptions {
  readonly bus: Bus;
  readonly identity: Identity;
  readonly sender: Sender;
  readonly metrics: PeerMetrics;
  readonly link: RelayLink;
  readonly plugins: readonly Plugin[];
  readonly host: Host;
  readonly deliveries: Deliveries;
  /** Settles when plugins are ready: until then messages wait. */
  readonly ready: Promise<unknown>;
}

/** Something that goes on beside what comes after it. */
type Aside = readonly [Promise<void>?];

/** Takes what arrives from relays, and gives it to local programs. */
export class Inbound {
  readonly #options: InboundOptions;
  readonly #lanes = new Lanes();
  readonly #underWay = new Set<Promise<void>>();
  /** Answers on their way to a relay. Nothing waits for them: they are confirmed by what is read. */
  readonly #answers = new Set<Promise<void>>();
  #waitingBytes = 0;
  #isPaused = false;

  /** Makes one. */
  constructor(options: InboundOptions) {
    this.#options = options;
  }

  /** Takes an envelope as it arrived; those of one sender and command are handled in order. */
  receive(bytes: Uint8Array): void {
    const { metrics } = this.#options;
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(bytes);
    } catch (error) {
      metrics.countRefused(ErrorCode.undecodable);
      return logger.debug("a message is refused: {error}", { error: (error as Error).message });
    }
    metrics.count(metrics.received, envelope.message.case);
    const opened = this.#options.identity.open(envelope); // Several at once.
    opened.catch(() => {});
    const { source, message } = envelope;
    const command = message.case === "request" ? message.value.command : "";
    const about = findPlugin(this.#options.plugins, command)?.[0].name ?? command;
    const lane = `${source?.twin}:${source?.connection ?? ""}\n${about}`;
    const handled: Promise<void> = this.#lanes.run(lane, () => this.#handle(envelope, opened))
      .then(([aside]) => aside)
      .catch((error) => this.#refuse(envelope, error))
      .catch((error) => logger.error("a message is lost: {error}", { error: String(error) }))
      .finally(() => {
        this.#underWay.delete(handled);
        this.#waitingBytes -= bytes.length;
        this.#regulate();
      });
    this.#underWay.add(handled);
    this.#waitingBytes += bytes.length;
    this.#regulate();
  }

  /** Messages that are being handled. */
  get inHand(): number {
    return this.#underWay.size;
  }

  /** Waits until all that arrived is handled, and the answers to it are sent. */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
    await Promise.all(this.#answers);
  }

  /** Has relays wait while there is more than enough to do; half of it is done before they go on. */
  #regulate(): void {
    const isAbove = (part: number) =>
      this.#underWay.size >= MAX_WAITING * part || this.#waitingBytes >= MAX_WAITING_BYTES * part;
    if (this.#isPaused ? isAbove(0.5) : !isAbove(1)) return;
    this.#isPaused = !this.#isPaused;
    if (this.#isPaused) this.#options.link.pause();
    else this.#options.link.resume();
  }

  async #handle(envelope: Envelope, opened: Promise<void>): Promise<Aside> {
    await opened;
    await this.#options.ready;
    const { message } = envelope;
    if (message.case === "request") return await this.#request(envelope, message.value.command);
    if (message.case === "response" || message.case === "error") return [this.#response(envelope)];
    return [];
  }

  async #request(envelope: Envelope, command: string): Promise<Aside> {
    const { plugins, deliveries } = this.#options;
    const source = sourceOf(envelope);
    const [plugin, rest] = findPlugin(plugins, command) ?? [];
    if (plugin === undefined) {
      return await deliveries.begin({
        uid: envelope.uid,
        source,
        command,
        expiration: lifeOf(envelope),
        payload: payloadOf(envelope),
        tags: envelope.tags,
        schema: envelope.schema,
        timestamp: Number(envelope.timestamp),
      });
    }
    return [this.#ask(plugin, rest!, envelope)];
  }

  /** Has a plugin answer a request. */
  async #ask(plugin: Plugin, command: string, envelope: Envelope): Promise<void> {
    const answer = await plugin.answer(command, {
      uid: envelope.uid,
      payload: payloadOf(envelope),
      source: sourceOf(envelope),
    });
    if (answer === undefined) {
      throw new CodedError(ErrorCode.none, `no such command: ${plugin.name}.${command}`);
    }
    if (answer === null) return;
    this.#answer(envelope, {
      message: { case: "response", value: {} },
      payload: { case: "plain", value: answer.payload },
      schema: answer.schema,
    });
  }

  async #response(envelope: Envelope): Promise<void> {
    const { bus, host, metrics } = this.#options;
    const { message, uid } = envelope;
    const source = isOfRelay(envelope) ? undefined : sourceOf(envelope);
    const error = message.case === "error"
      ? { code: message.value.code, message: message.value.message }
      : undefined;
    const payload = payloadOf(envelope);
    const schema = envelope.schema;
    if (host.take(uid, source, error ?? { payload, schema: schema ?? "" })) return;
    const request = await bus.sentRequest(uid);
    let pushed = 0;
    if (request !== undefined) {
      const answer = formatRemoteResponse({
        reference: request.reference,
        payload,
        source: source ?? { twin: 0 },
        schema,
        timestamp: Number(envelope.timestamp),
        error,
      });
      pushed = await bus.answer(request, [{ twin: source?.twin, answer }], false);
    }
    if (pushed > 0) {
      if (source !== undefined) metrics.roundTrips.observe(ageOf(request!));
      return;
    }
    logger.debug("{kind} {uid} from {source} answers nothing that waits", {
      kind: message.case,
      uid,
      source: formatSession(sourceOf(envelope)),
    });
  }

  /** Tells what is wrong with an envelope, or what could not be done with it. */
  #refuse(envelope: Envelope, error: unknown): void {
    const { message, uid } = envelope;
    const { code, message: reason } = error instanceof CodedError
      ? error
      : { code: ErrorCode.none, message: "request can't be handed over now" };
    this.#options.metrics.countRefused(code);
    // What others do wrong is counted: they could fill a log with it.
    const level = error instanceof CodedError ? "debug" : "warn";
    logger[level]("{kind} {uid} from {source} is refused: {error}", {
      kind: message.case ?? "a message without content",
      uid,
      source: formatSession(sourceOf(envelope)),
      error: error instanceof CodedError || error instanceof ReplyListError
        ? error.message
        : String(error),
    });
    // Whom Redis was away for too long for waits no more.
    if (message.case !== "request" || error instanceof RedisLostError) return;
    this.#answer(envelope, {
      message: { case: "error", value: { code, message: reason } },
    });
  }

  /** Sends an answer of the gateway's own; that it can't be sent is no one's to know but the log's. */
  #answer(request: Envelope, fields: EnvelopeInit): void {
    const { uid, tags } = request;
    const answer: EnvelopeInit = {
      schema: "application/json",
      ...fields,
      uid,
      tags,
      expiration: ANSWER_EXPIRATION,
    };
    const { sender } = this.#options;
    // To wait would be to stop reading what makes room.
    const sent = sender.isFull
      ? Promise.reject(new Error("too many messages wait"))
      : sender.send(answer, sourceOf(request));
    const done: Promise<void> = sent
      .catch((error) => logger.debug("no answer to {uid}: {error}", { uid, error: error.message }))
      .finally(() => this.#answers.delete(done));
    this.#answers.add(done);
  }
}

function sourceOf({ source }: Envelope): Session {
  return source ?? { twin: 0 };
}

/** Seconds since a request was taken: the id of its entry begins with Redis's milliseconds. */
function ageOf({ entry }: SentRequest): number {
  return Math.max(0, Date.now() - Number.parseInt(entry)) / 1000;
}

function payloadOf({ payload }: Envelope): Uint8Array {
  return payload.value ?? new Uint8Array();
}
