import { createClient, ErrorReply, RESP_TYPES } from "@redis/client";
import { getLogger } from "@logtape/logtape";
import { Buffer } from "node:buffer";

const logger = getLogger(["rmb", "peer", "redis"]);

/** Silence after which Redis is taken for dead, in milliseconds; it is pinged twice in that time. */
const SILENCE = 10_000;
/** Longest wait between attempts to connect, in milliseconds. */
const MAX_RETRY = 2000;

/** Says when Redis is lost, and when it is back: once, however many connections notice. */
export class Reachability {
  readonly #lost = new Set<object>();

  /** A connection can't be made, or was lost. */
  lost(connection: object, error: Error): void {
    if (this.#lost.size === 0) {
      logger.error("Redis is not reachable: {error}", {
        error: error.message || error.constructor.name,
      });
    }
    this.#lost.add(connection);
  }

  /** A connection is made. */
  back(connection: object): void {
    if (this.#lost.delete(connection) && this.#lost.size === 0) logger.info("Redis is back");
  }
}

/** A connection to Redis. */
export type Client = ReturnType<typeof makeClient>;

/** What a command is made of. */
export type Argument = string | Uint8Array;

/**
 * Makes a connection that, once told to connect, connects again by itself. Commands are refused while
 * it is not connected, and those under way fail when it is lost: they may have been done.
 *
 * @param reachability Is told when it is lost and back.
 * @param onRetry Called with the milliseconds that it waits before it connects again.
 */
export function makeClient(
  url: string,
  reachability: Reachability,
  onRetry: (wait: number) => void,
) {
  const client = createClient({
    url,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    disableOfflineQueue: true,
    maintNotifications: "disabled",
    pingInterval: SILENCE / 2,
    socket: {
      socketTimeout: SILENCE,
      reconnectStrategy: (retries) => {
        const longest = Math.min(50 * 2 ** Math.min(retries, 10), MAX_RETRY);
        const wait = Math.ceil(longest * (0.5 + Math.random() / 2));
        onRetry(wait);
        return wait;
      },
    },
  });
  client.on("error", (error: Error) => reachability.lost(client, error));
  client.on("ready", () => reachability.back(client));
  return client;
}

/** Does a command; texts of the answer come as bytes. */
export async function command<Reply>(client: Client, args: readonly Argument[]): Promise<Reply> {
  return await client.sendCommand(
    args.map((arg) =>
      typeof arg === "string" ? arg : Buffer.from(arg.buffer, arg.byteOffset, arg.length)
    ),
  ) as Reply;
}

/** Whether an error means that the same may work later: Redis is lost, or says so. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof ErrorReply)) return true;
  return /\b(OOM|READONLY|MISCONF|LOADING|MASTERDOWN|NOREPLICAS|BUSY|NOAUTH|CLUSTERDOWN)\b/
    .test(error.message);
}
