import { formatSession, type Session, unixNow } from "@rmb/protocol";
import { CodedError, ErrorCode, Lanes, RemoteError, type Sender } from "@rmb/protocol/endpoint";
import type { Bus } from "./bus.ts";
import type { Deliveries } from "./deliveries.ts";
import { formatRemoteResponse, type LocalError, type LocalRequest } from "./local.ts";
import type { PluginAnswer, PluginCallOptions, PluginHost, PluginRequest } from "./plugin.ts";

/** Most calls that wait for their answers at once. */
const MAX_CALLS = 1000;
/** Life of a request that a plugin delivers, in seconds: as long as any. */
const DELIVERED_TIME = 3600;

/** A call that waits for its answer. */
interface Call {
  readonly twin: number;
  readonly resolve: (answer: PluginAnswer) => void;
  readonly reject: (error: CodedError) => void;
}

/** What the gateway does for its plugins. */
export class Host implements PluginHost {
  readonly #sender: Sender;
  readonly #bus: Bus;
  readonly #deliveries: Deliveries;
  readonly #calls = new Map<string, Call>();
  readonly #lanes = new Lanes();

  /** Makes one. */
  constructor(sender: Sender, bus: Bus, deliveries: Deliveries) {
    this.#sender = sender;
    this.#bus = bus;
    this.#deliveries = deliveries;
  }

  /** See {@linkcode PluginHost.call}. */
  async call(
    destination: Session,
    command: string,
    payload: Uint8Array,
    options: PluginCallOptions,
  ): Promise<PluginAnswer> {
    const { timeout, uid = crypto.randomUUID(), signal } = options;
    if (this.#calls.size >= MAX_CALLS || this.#calls.has(uid)) {
      throw new CodedError(ErrorCode.other, `${command} can't be called: too many calls wait`);
    }
    const { twin } = destination;
    const { promise, resolve, reject } = Promise.withResolvers<PluginAnswer>();
    const fail = (message: string) => reject(new CodedError(ErrorCode.other, message));
    const abort = () => fail(`${command} was given up`);
    const timer = setTimeout(() => fail(`twin ${twin} did not answer in time`), timeout * 1000);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    this.#calls.set(uid, { twin, resolve, reject });
    this.send(destination, command, payload, { ...options, uid }).catch(reject);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(uid);
    }
  }

  /** See {@linkcode PluginHost.send}. */
  async send(
    destination: Session,
    command: string,
    payload: Uint8Array,
    { timeout, uid = crypto.randomUUID(), schema = "application/json", signal }: PluginCallOptions,
  ): Promise<void> {
    const timestamp = BigInt(unixNow());
    // In order, for whatever room they wait.
    const [sent] = await this.#lanes.run(formatSession(destination), async () => {
      await this.#sender.room();
      if (signal?.aborted) throw new CodedError(ErrorCode.other, `${command} was given up`);
      const sent = this.#sender.send({
        uid,
        timestamp,
        expiration: BigInt(Math.ceil(timeout)),
        message: { case: "request", value: { command } },
        payload: { case: "plain", value: payload },
        schema,
      }, destination);
      sent.catch(() => {});
      return [sent];
    });
    await sent;
  }

  /**
   * Takes an answer, if a call waits for it.
   *
   * @param source Who it is of; undefined for a relay.
   * @returns Whether the uid is that of a call.
   */
  take(uid: string, source: Session | undefined, answer: PluginAnswer | LocalError): boolean {
    const call = this.#calls.get(uid);
    if (call === undefined) return false;
    if (source === undefined || source.twin === call.twin) {
      const Failure = source === undefined ? CodedError : RemoteError;
      if ("code" in answer) call.reject(new Failure(answer.code, answer.message));
      else call.resolve(answer);
    }
    return true;
  }

  /** See {@linkcode PluginHost.reply}. */
  async reply(
    { replyTo, reference }: Pick<LocalRequest, "replyTo" | "reference">,
    { payload, schema, source, error }: PluginAnswer & { source?: Session; error?: LocalError },
  ): Promise<void> {
    if (replyTo === "") return;
    const timestamp = unixNow();
    const answer = { reference, payload, source, schema, timestamp, error };
    await this.#bus.push(replyTo, formatRemoteResponse(answer));
  }

  /** See {@linkcode PluginHost.deliver}. */
  async deliver(command: string, request: PluginRequest & { schema: string }): Promise<void> {
    const { uid, source, payload, schema } = request;
    const [done] = await this.#deliveries.begin({
      uid,
      source,
      command,
      expiration: DELIVERED_TIME,
      payload,
      tags: undefined,
      schema,
      timestamp: unixNow(),
    });
    await done;
  }
}
