import { type Session, unixNow } from "@rmb/protocol";
import type { Bus } from "./bus.ts";
import { CodedError, ErrorCode } from "./codes.ts";
import type { Deliveries } from "./deliveries.ts";
import { formatRemoteResponse, type LocalError, type LocalRequest } from "./local.ts";
import type { CallOptions, PluginAnswer, PluginHost } from "./plugin.ts";
import type { Sender } from "./sender.ts";

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
    { timeout, uid = crypto.randomUUID(), schema = "application/json", signal }: CallOptions,
  ): Promise<PluginAnswer> {
    if (this.#calls.size >= MAX_CALLS || this.#calls.has(uid)) {
      throw new CodedError(ErrorCode.other, `${command} can't be called: too many calls wait`);
    }
    const { twin } = destination;
    const { promise, resolve, reject } = Promise.withResolvers<PluginAnswer>();
    const fail = (message: string) => reject(new CodedError(ErrorCode.other, message));
    const late = () => fail(`twin ${twin} did not answer in time`);
    const abort = () => fail(`${command} was given up`);
    const timer = setTimeout(late, timeout * 1000);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    this.#calls.set(uid, { twin, resolve, reject });
    this.#send(destination, uid, command, payload, timeout, schema).catch(reject);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(uid);
    }
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
      if ("code" in answer) call.reject(new CodedError(answer.code, answer.message));
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
  async deliver(
    command: string,
    payload: Uint8Array,
    source: Session,
    schema: string,
  ): Promise<void> {
    const [done] = await this.#deliveries.begin({
      uid: crypto.randomUUID(),
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

  async #send(
    destination: Session,
    uid: string,
    command: string,
    payload: Uint8Array,
    timeout: number,
    schema: string,
  ): Promise<void> {
    await this.#sender.room();
    if (!this.#calls.has(uid)) return; // Given up meanwhile.
    await this.#sender.send({
      uid,
      expiration: BigInt(Math.ceil(timeout)),
      message: { case: "request", value: { command } },
      payload: { case: "plain", value: payload },
      schema,
    }, destination);
  }
}
