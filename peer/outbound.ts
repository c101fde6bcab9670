import { create } from "@bufbuild/protobuf";
import { getLogger } from "@logtape/logtape";
import { type EnvelopeInit, FormatError, formatSession, unixNow } from "@rmb/protocol";
import { CodedError, ErrorCode, type Sender } from "@rmb/protocol/endpoint";
import type { Bus, Entry, LocalList, SentRequest } from "./bus.ts";
import { BacklogSchema } from "./gen/peer_pb.ts";
import {
  formatOwnError,
  INVALID_MESSAGES,
  LOCAL_REQUESTS,
  LOCAL_RESPONSES,
  type LocalRequest,
  type LocalResponse,
  parseLocalRequest,
  parseLocalResponse,
  replyAddress,
} from "./local.ts";
import { findPlugin, type Plugin } from "./plugin.ts";
import { isOutage } from "./redis/client.ts";
import { RedisLostError } from "./redis/pipeline.ts";
import { unlessAborted } from "./unless_aborted.ts";

const logger = getLogger(["rmb", "peer", "outbound"]);

/** Life of a request that sets none, in seconds. */
const DEFAULT_EXPIRATION = 300;
/** Longest life of a request, and the life of every response, in seconds. */
const MAX_EXPIRATION = 1800;
/** Wait before a list is asked again that could not be, in milliseconds. */
const RETRY = 500;

/** Begins to send what an entry is about, when all before it has begun. */
type Send = () => Promise<void>;

/**
 * Takes what local programs push, and sends it to other twins. An entry is kept in Redis until a relay
 * has it or it is answered: what is in hand when the gateway ends is taken up by the next.
 */
export class Outbound {
  readonly #bus: Bus;
  readonly #sender: Sender;
  readonly #plugins: readonly Plugin[];
  readonly #stop: AbortSignal;
  /** What was taken and is not done with. */
  readonly #underWay = new Set<Promise<void>>();

  /** Makes one, which does nothing before {@linkcode Outbound.run}. */
  constructor(bus: Bus, sender: Sender, plugins: readonly Plugin[], stop: AbortSignal) {
    this.#bus = bus;
    this.#sender = sender;
    this.#plugins = plugins;
    this.#stop = stop;
    stop.addEventListener("abort", () => bus.stopWaiting());
  }

  /** Works until it is told to stop. Never rejects. */
  async run(): Promise<void> {
    await Promise.all([
      this.#take(LOCAL_REQUESTS, (entry) => this.#request(entry)),
      this.#take(LOCAL_RESPONSES, (entry) => this.#response(entry)),
    ]);
  }

  /** Waits until all that was taken is done with, or left to the next gateway. */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Takes the entries of a list, and sends them in their order. */
  async #take(
    list: LocalList,
    prepare: (entry: Entry) => Promise<Send | undefined>,
  ): Promise<void> {
    let failure = "";
    for (await this.#sender.room(); !this.#stop.aborted; await this.#sender.room()) {
      try {
        const entries = await this.#unlessStopped(this.#bus.take(list));
        if (entries === undefined) return;
        if (entries.length > 0) await this.#work(list, entries, prepare);
        else await this.#bus.wait(list);
        if (failure !== "") logger.info("{list} can be taken from again", { list });
        failure = "";
      } catch (error) {
        if (this.#stop.aborted) return;
        // That Redis is away is said elsewhere.
        if (!isOutage(error) && String(error) !== failure) {
          logger.error("{list} can't be taken from: {error}", { list, error: String(error) });
        }
        failure = isOutage(error) ? "" : String(error);
        await this.#unlessStopped(new Promise((resolve) => setTimeout(resolve, RETRY)));
      }
    }
  }

  async #work(
    list: LocalList,
    entries: readonly Entry[],
    prepare: (entry: Entry) => Promise<Send | undefined>,
  ): Promise<void> {
    const unreadable: { entry: Entry; message: string }[] = [];
    // All at once: none of it depends on another.
    const prepared = entries.map((entry) =>
      prepare(entry).catch((error) => {
        if (!(error instanceof FormatError)) return this.#failed(list, error);
        unreadable.push({ entry, message: error.message });
      })
    );
    for (const send of prepared) await (await this.#unlessStopped(send))?.();
    if (unreadable.length > 0 && !this.#stop.aborted) await this.#keep(list, unreadable);
  }

  /** Keeps what can't be read for people to look at, and tells who sent it if it says who. */
  async #keep(
    list: LocalList,
    entries: readonly { entry: Entry; message: string }[],
  ): Promise<void> {
    const kept = entries.map(({ entry: { id, value }, message }) => {
      const address = list === LOCAL_REQUESTS ? replyAddress(value) : undefined;
      const error = { code: ErrorCode.other, message: `Cannot read the request: ${message}` };
      const answer = address &&
        { replyTo: address.replyTo, text: formatOwnError(address, error) };
      return { id, answer };
    });
    logger.warn("{which} of {list} can't be read and {is} now in {invalid}: {message}", {
      which: entries.length === 1 ? "an entry" : `${entries.length} entries`,
      is: entries.length === 1 ? "is" : "are",
      list,
      invalid: INVALID_MESSAGES,
      message: entries[0]!.message,
    });
    const done = this.#bus.invalid(list, kept).catch((error) => this.#failed(list, error));
    await this.#unlessStopped(done);
  }

  async #request(entry: Entry): Promise<Send | undefined> {
    const request = parseLocalRequest(entry.value);
    const [plugin, command] = findPlugin(this.#plugins, request.command) ?? [];
    if (plugin?.take === undefined) return await this.#prepare(entry, request);
    const offer = async () => {
      const taken = await plugin.take!(command!, request, entry.uid);
      if (taken) await this.#bus.forget(entry);
      else await (await this.#prepare(entry, request))?.();
    };
    // It may take its time: others go on.
    this.#track(
      offer().catch((error) => {
        if (this.#stop.aborted) return;
        const { code, message } = error instanceof CodedError
          ? error
          : { code: ErrorCode.other, message: "it failed" };
        if (!(error instanceof CodedError)) this.#failed(entry.list, error);
        return this.#refuse(entry, request, code, `${request.command}: ${message}`);
      }),
      entry.list,
    );
    return undefined;
  }

  /** Notes whom a request goes to. Undefined if that is nobody any more. */
  async #prepare(entry: Entry, request: LocalRequest): Promise<Send | undefined> {
    const { reference, replyTo } = request;
    const { uid } = entry;
    const now = unixNow();
    const sent = Math.min(request.timestamp || entry.time, now);
    const life = Math.min(request.expiration || DEFAULT_EXPIRATION, MAX_EXPIRATION);
    const left = sent + life - now;
    if (left <= 0) {
      await this.#refuse(entry, request, ErrorCode.other, "request has expired");
      return undefined;
    }
    let destinations = request.destinations;
    if (replyTo !== "") {
      const backlog = { uid, reference, replyTo, ttl: BigInt(left), entry: entry.id };
      try {
        destinations = await this.#bus.register(
          create(BacklogSchema, backlog),
          destinations,
          sent + life,
        );
      } catch (error) {
        this.#failed(entry.list, error);
        const message = "Redis did not take the request";
        await this.#refuse(entry, request, ErrorCode.other, message);
        return undefined;
      }
    }
    const fields: EnvelopeInit = {
      uid,
      timestamp: BigInt(now),
      expiration: BigInt(left),
      message: { case: "request", value: { command: request.command } },
      payload: { case: "plain", value: request.payload },
      tags: request.tags,
      schema: request.schema,
    };
    const pending = { uid, entry: entry.id, reference, replyTo };
    return () => this.#sendRequest(entry, fields, request.connection, destinations, pending);
  }

  async #sendRequest(
    entry: Entry,
    fields: EnvelopeInit,
    connection: string | undefined,
    destinations: readonly number[],
    pending: SentRequest,
  ): Promise<void> {
    const done: Promise<boolean>[] = [];
    for (const twin of destinations) {
      await this.#sender.room();
      if (this.#stop.aborted) done.push(Promise.resolve(false));
      else {
        done.push(this.#handOver(
          this.#sender.send(fields, { twin, connection }),
          (error) => this.#answer(pending, twin, error),
        ));
      }
    }
    this.#track(this.#forget(entry, done), entry.list);
  }

  async #response(entry: Entry): Promise<Send> {
    const response: LocalResponse = parseLocalResponse(entry.value);
    const { uid, destination, error, schema } = response;
    const fields: EnvelopeInit = {
      uid,
      timestamp: BigInt(response.timestamp || entry.time),
      expiration: BigInt(MAX_EXPIRATION),
      message: error === undefined
        ? { case: "response", value: {} }
        : { case: "error", value: error },
      payload: { case: "plain", value: response.payload },
      schema,
    };
    const fail = ({ message }: CodedError) =>
      logger.warn("response {uid} to {destination} was not sent: {message}", {
        uid,
        destination: formatSession(destination),
        message,
      });
    return await Promise.resolve(async () => {
      await this.#sender.room();
      if (this.#stop.aborted) return;
      const done = this.#handOver(this.#sender.send(fields, destination), fail);
      this.#track(this.#forget(entry, [done]), entry.list);
    });
  }

  /** Waits until something is sent. False if it is not, and left to the next gateway. */
  async #handOver(
    sent: Promise<void>,
    fail: (error: CodedError) => Promise<void> | void,
  ): Promise<boolean> {
    try {
      await sent;
    } catch (error) {
      if (this.#stop.aborted) return false;
      await fail(error as CodedError);
    }
    return true;
  }

  async #forget(entry: Entry, done: readonly Promise<boolean>[]): Promise<void> {
    if ((await Promise.all(done)).every(Boolean)) await this.#bus.forget(entry);
  }

  /** Answers that a request was not sent to one of its destinations. */
  async #answer(pending: SentRequest, twin: number, { code, message }: CodedError): Promise<void> {
    logger.debug("request {uid} was not sent: {message}", { uid: pending.uid, message });
    if (pending.replyTo === "") return;
    const answer = formatOwnError(pending, { code, message });
    await this.#bus.answer(pending, [{ twin, answer }], true);
  }

  /** Answers a request that is not sent at all. */
  async #refuse(entry: Entry, request: LocalRequest, code: number, message: string): Promise<void> {
    logger.debug("a request was not sent: {message}", { message });
    if (request.replyTo === "") return await this.#bus.forget(entry);
    const answer = formatOwnError(request, { code, message });
    await this.#bus.refuse(entry, request.replyTo, answer);
  }

  #track(work: Promise<void>, list: string): void {
    const done = work
      .catch((error) => this.#failed(list, error))
      .finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** Something went wrong for good: that is said, unless it is being stopped. */
  #failed(list: string, error: unknown): undefined {
    if (error instanceof RedisLostError) return; // It is being stopped: the next gateway goes on.
    logger.error("an entry of {list} can't be dealt with as it should: {error}", {
      list,
      error: String(error),
    });
  }

  #unlessStopped<T>(promise: Promise<T>): Promise<T | undefined> {
    return unlessAborted(promise, this.#stop);
  }
}
