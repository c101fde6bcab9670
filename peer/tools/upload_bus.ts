import { RmbError, type Session, unixNow } from "@rmb/protocol";
import { pause } from "@rmb/protocol/program";
import { redactUrl } from "@rmb/protocol/redis-url";
import { createClient, ErrorReply } from "@redis/client";
import { LOCAL_REQUESTS } from "../local.ts";

/** Time between two looks at the answers, in milliseconds. */
const LOOK_INTERVAL = 250;
/** How long a gateway has to take the request, in milliseconds. */
const TAKE_TIME = 10_000;
/**
 * Longest time without a word of the gateway, in milliseconds, or longer while the other side has yet to
 * agree: it gives up earlier by itself.
 */
const SILENCE = 900_000;
/** Seconds that answers are kept which nobody reads any more: an upload takes no longer than a day. */
const KEEP_TIME = 25 * 3600;

/** What is uploaded, and where to. */
export interface UploadOrder {
  /** Path of the file, for the gateway. */
  readonly path: string;
  /** Called on the other side when the file is complete there. */
  readonly command: string | undefined;
  readonly destination: Session;
  /** Seconds that the other side has to agree. */
  readonly timeout: number;
}

/** What a gateway answers about an upload. */
export type UploadAnswer =
  | string
  | { readonly uploaded: number; readonly size: number }
  | {
    readonly done: true;
    readonly size: number;
    readonly sha256: string;
    readonly verified: boolean;
  };

/** The gateway, or the other side, says that an upload has failed. */
export class UploadError extends RmbError {}

/** No gateway takes requests. */
export class NoGatewayError extends RmbError {}

/** The Redis of a gateway, as a program uses it for an upload. */
export class UploadBus implements AsyncDisposable {
  readonly #url: string;
  readonly #redis: ReturnType<typeof createClient>;

  private constructor(url: string) {
    this.#url = redactUrl(url);
    let connected = false;
    this.#redis = createClient({
      url,
      maintNotifications: "disabled",
      disableOfflineQueue: true,
      // Once there, it comes back.
      socket: { reconnectStrategy: () => connected ? LOOK_INTERVAL : false, connectTimeout: 5000 },
    });
    this.#redis.on("ready", () => connected = true);
    this.#redis.on("error", () => {}); // What is under way fails with it.
  }

  /**
   * Connects.
   *
   * @throws {RmbError} if it can't.
   */
  static async connect(url: string): Promise<UploadBus> {
    const bus = new UploadBus(url);
    try {
      await bus.#redis.connect();
      return bus;
    } catch (cause) {
      const { message } = cause as Error;
      throw new RmbError(`Cannot connect to Redis at ${bus.#url}: ${message}`, { cause });
    }
  }

  /**
   * Asks for an upload, and gives the answers up to the last one; undefined when there was none for a
   * moment. Ends early when told to stop: the gateway goes on all the same.
   *
   * @throws {NoGatewayError} if no gateway takes the request.
   * @throws {UploadError} if the upload fails.
   */
  async *upload(order: UploadOrder, stop: AbortSignal): AsyncGenerator<UploadAnswer | undefined> {
    const list = `rmb-peer.upload.${crypto.randomUUID()}`;
    const request = formatUploadRequest(order, list);
    if (await this.#retried(() => this.#redis.lPush(LOCAL_REQUESTS, request)) === undefined) {
      throw new RmbError(`Redis at ${this.#url} was lost before it had the request`);
    }
    const patience = Math.max(SILENCE, order.timeout * 1000 + TAKE_TIME);
    let isTaken = false;
    let heard = performance.now();
    while (!stop.aborted) {
      const entries = await this.#retried(() => this.#redis.lRange(list, 0, -1)) ?? [];
      for (const entry of entries.toReversed()) {
        const answer = readUploadAnswer(entry);
        yield answer;
        if (typeof answer === "object" && "done" in answer) return;
      }
      const silence = performance.now() - heard;
      if (entries.length > 0) {
        [isTaken, heard] = [true, performance.now()];
        await this.#retried(() => this.#redis.lTrim(list, 0, -1 - entries.length));
      } else if (!isTaken && silence >= TAKE_TIME) {
        const removed = await this.#retried(() => this.#redis.lRem(LOCAL_REQUESTS, 1, request));
        if (removed === 1) {
          throw new NoGatewayError(`No gateway takes requests from the Redis at ${this.#url}`);
        }
        isTaken = removed === 0;
      } else if (silence >= patience) {
        throw new RmbError(`The gateway said nothing for ${Math.round(silence / 60_000)} minutes`);
      } else yield undefined;
      await pause(LOOK_INTERVAL, stop);
    }
    await this.#retried(async () => {
      await this.#redis.rPush(list, ""); // Without an entry there is no list that could expire.
      await this.#redis.expire(list, KEEP_TIME);
    });
  }

  /** Disconnects. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#redis.destroy();
    return Promise.resolve();
  }

  /** Does something; undefined if the connection is lost: it comes back. */
  async #retried<T>(does: () => Promise<T>): Promise<T | undefined> {
    try {
      return await does();
    } catch (error) {
      if (error instanceof ErrorReply) throw new RmbError(`Redis says: ${error.message}`);
      return undefined;
    }
  }
}

/** The request of a local program for an upload, as JSON. */
function formatUploadRequest(order: UploadOrder, list: string): string {
  const { path, command, destination: { twin, connection }, timeout } = order;
  const body = JSON.stringify({ path, ...command !== undefined && { cmd: command } });
  return JSON.stringify({
    ver: 1,
    ref: null,
    cmd: "file.upload",
    exp: Math.ceil(timeout),
    dat: new TextEncoder().encode(body).toBase64(),
    tag: null,
    dst: [twin],
    ...connection !== undefined && { con: connection },
    ret: list,
    shm: "application/json",
    now: unixNow(),
  });
}

/**
 * Reads an answer of the gateway.
 *
 * @throws {UploadError} if it is an error.
 */
export function readUploadAnswer(entry: string): UploadAnswer {
  const { err, dat } = JSON.parse(entry);
  if (err !== null) throw new UploadError(String(err.message));
  return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(dat)));
}
