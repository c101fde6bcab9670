import { type Bus, PENDING, working } from "./bus.ts";
import { commandList, LOCAL_REQUESTS, LOCAL_RESPONSES } from "./local.ts";

/** How many entries the gateway's own queues in Redis have. */
export interface Queues {
  /** Requests of local programs that were not taken yet. */
  readonly local: number;
  /** Responses of local services that were not taken yet. */
  readonly reply: number;
  /** What was taken of both and no relay has yet. */
  readonly working: number;
  /** Requests that wait for answers. */
  readonly pending: number;
}

/** How long the gateway's own queues are; undefined if Redis does not say at once. */
export async function readQueues(bus: Bus): Promise<Queues | undefined> {
  const lengths = await bus.ask<number>([
    ["LLEN", LOCAL_REQUESTS],
    ["LLEN", LOCAL_RESPONSES],
    ["XLEN", working(LOCAL_REQUESTS)],
    ["XLEN", working(LOCAL_RESPONSES)],
    ["ZCARD", PENDING],
  ]);
  if (lengths === undefined) return undefined;
  const [local = 0, reply = 0, requests = 0, responses = 0, pending = 0] = lengths;
  return { local, reply, working: requests + responses, pending };
}

/** How long the lists of commands are, but for empty ones; undefined if Redis does not say at once. */
export async function readCommandLengths(
  bus: Bus,
  names: readonly string[],
): Promise<Readonly<Record<string, number>> | undefined> {
  const lengths = await bus.ask<number>(names.map((name) => ["LLEN", commandList(name)]));
  if (lengths === undefined) return undefined;
  const entries = names.map((name, i) => [name, lengths[i]!] as const);
  return Object.fromEntries(entries.filter(([, length]) => length > 0));
}
