import type { Buffer } from "node:buffer";
import {
  type FederatedEnvelope,
  type FederationQueue,
  FederationQueueFullError,
  MAX_FEDERATED,
} from "../federation/queue.ts";
import { type Connection, RedisLostError } from "./connection.ts";
import { FEDERATION_GROUP as GROUP, FEDERATION_STREAM as STREAM, FULL, script } from "./scripts.ts";
import { RefusedError, type Writer } from "./writer.ts";

/** How long Redis waits for entries, in milliseconds. */
const BLOCK_TIME = 2000;
/** How often it is looked for entries of relays that have ended, in milliseconds. */
const SWEEP_INTERVAL = 3000;
/** Idle time after which entries of a relay that is not of ours are taken, in milliseconds. */
const FOREIGN_IDLE = 60_000;
/** Wait after Redis refused, in milliseconds. */
const REFUSED_TIME = 1000;
/** Most bytes of envelopes kept in memory until they are taken; those beyond are read again. */
const MAX_READY_BYTES = 32 * 1024 * 1024;

/** What relays of ours are called as consumers: others are numbered. */
function consumerName(id: string): string {
  return `relay-${id}`;
}

/**
 * Takes over entries of consumers that have ended. Relays of ours (`relay-` and a UUID) have when their
 * heartbeat has; others when they have done nothing with an entry for long. And those of this relay
 * whose bytes it has never got, because it lost its connection then.
 *
 * ARGV: consumer, count, idle time for others, then the ids that this relay has, divided by spaces: too
 * many for arguments of their own. Returns entries.
 */
const SWEEP = script(`
local me, count, held, ids = ARGV[1], tonumber(ARGV[2]), {}, {}
for id in string.gmatch(ARGV[4], '%S+') do held[id] = true end
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', '${STREAM}', '${GROUP}')) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  local name = consumer.name
  local relay = string.match(name, '^relay%-(%x+%-%x+%-%x+%-%x+%-%x+)$')
  if name == me or not relay or redis.call('EXISTS', 'rmb:relay:' .. relay) == 0 then
    local idle = not relay and ARGV[3] or 0
    local from, left = '-', count
    while left > 0 and consumer.pending > 0 do
      local page = redis.call('XPENDING', '${STREAM}', '${GROUP}', 'IDLE', idle, from, '+', 100, name)
      for _, entry in ipairs(page) do
        if left > 0 and not (name == me and held[entry[1]]) then
          ids[#ids + 1] = entry[1]
          left = left - 1
        end
      end
      if #page < 100 then break end
      from = '(' .. page[100][1]
    end
    if relay and name ~= me and consumer.pending == 0 then
      redis.call('XGROUP', 'DELCONSUMER', '${STREAM}', '${GROUP}', name)
    end
  end
end
if #ids == 0 then return {} end
local function parts(id)
  local ms, number = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(number)
end
table.sort(ids, function(a, b)
  local ms, number = parts(a)
  local otherMs, otherNumber = parts(b)
  return ms < otherMs or ms == otherMs and number < otherNumber
end)
return redis.call('XCLAIM', '${STREAM}', '${GROUP}', me, 0, unpack(ids, 1, math.min(count, #ids)))
`);

/** An entry as Redis answers: its id, and its fields and values by turns; null when it was deleted. */
type Entry = [id: Buffer, fields: Buffer[]] | null;

/**
 * The {@linkcode FederationQueue} in a `RedisStore`: the stream of docs/protocol.md, which relays of the
 * Rust implementation may work on too. Each envelope is taken by the relay that adds it, or else by any
 * one; when that ends, by another.
 */
export class RedisFederationQueue implements FederationQueue, AsyncDisposable {
  readonly #consumer: string;
  /** For what waits. */
  readonly #connection: Connection;
  readonly #control: Connection;
  readonly #writer: Writer;
  /** This relay's entries that nobody has taken yet; without their bytes, if there are too many. */
  #ready: { readonly id: string; readonly envelope: Uint8Array | undefined }[] = [];
  #readyBytes = 0;
  /** What this relay has pushed until it has all that relays left which ended before: they are older. */
  #early: Map<string, Uint8Array | undefined> | undefined = new Map();
  /** Those, and what was taken and not removed. */
  readonly #held = new Set<string>();
  /** Settles when nobody takes any. */
  #taking: Promise<void> = Promise.resolve();
  /** While entries are looked for that are not this relay's yet; it goes on when nobody waits for it. */
  #looking: Promise<void> | undefined;
  #wake: () => void = () => {};
  #sweepAt = 0;
  #disposed = false;

  /**
   * @param id That of this relay, which has a heartbeat.
   * @param connection A connection of its own, which it disposes of.
   * @param control Another one, for what can't be said over one that waits.
   */
  constructor(id: string, connection: Connection, control: Connection, writer: Writer) {
    this.#consumer = consumerName(id);
    this.#connection = connection;
    this.#control = control;
    this.#writer = writer;
  }

  /** Adds an envelope at the end. While Redis is lost, it waits in memory. */
  async push(envelope: Uint8Array): Promise<void> {
    let id;
    try {
      id = await this.#writer.write({ kind: "push", consumer: this.#consumer, envelope });
    } catch (error) {
      if (!(error instanceof RefusedError && error.message === FULL)) throw error;
      throw new FederationQueueFullError(`${MAX_FEDERATED} messages wait for other relays`);
    }
    if (id === undefined || this.#held.has(id)) return;
    if (this.#early !== undefined) this.#early.set(id, this.#keep(envelope));
    else this.#hold(id, this.#keep(envelope));
  }

  /** Takes the oldest envelopes that nobody has taken, and those of relays that have ended. */
  async take(count: number, signal: AbortSignal): Promise<FederatedEnvelope[]> {
    const before = this.#taking;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#taking = promise;
    try {
      await raceAbort(before, signal);
      return await this.#take(count, signal);
    } finally {
      before.then(resolve);
    }
  }

  /** Takes envelopes; nobody else does meanwhile. */
  async #take(count: number, signal: AbortSignal): Promise<FederatedEnvelope[]> {
    while (!signal.aborted && !this.#disposed) {
      this.#looking ??= this.#look(count, signal).finally(() => this.#looking = undefined);
      if (this.#ready.length === 0) {
        const { promise: ready, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await raceAbort(Promise.race([ready, this.#looking]), signal);
        continue;
      }
      const taken: FederatedEnvelope[] = [];
      for (const { id, envelope } of this.#ready.splice(0, count)) {
        this.#readyBytes -= envelope?.length ?? 0;
        const bytes = envelope ?? await this.#readPatiently(id);
        if (bytes === undefined) this.#held.delete(id);
        else taken.push({ id, envelope: bytes });
      }
      if (taken.length > 0) return taken;
    }
    this.#sweepAt = 0;
    return [];
  }

  /** Has an entry taken after those before. */
  #hold(id: string, envelope: Uint8Array | undefined): void {
    this.#held.add(id);
    this.#ready.push({ id, envelope });
    this.#wake();
  }

  /** Keeps an envelope in memory if there is room. */
  #keep(envelope: Uint8Array): Uint8Array | undefined {
    if (this.#readyBytes + envelope.length > MAX_READY_BYTES) return undefined;
    this.#readyBytes += envelope.length;
    return envelope;
  }

  /** Has those taken that this relay pushed before it had all that others left. */
  #holdEarly(): void {
    for (const [id, envelope] of this.#early ?? []) this.#hold(id, envelope);
    this.#early = undefined;
  }

  /** Looks once for entries that are not this relay's yet, and waits for them for a while. */
  async #look(count: number, signal: AbortSignal): Promise<void> {
    try {
      if (!await this.#connection.connected) return;
      for (const entry of await this.#sweep(count) ?? await this.#read(count)) {
        if (entry === null) continue;
        const id = entry[0].toString();
        const envelope = messageOf(entry[1]);
        if (envelope === undefined) await this.remove([id]);
        else if (!this.#held.has(id)) {
          this.#readyBytes -= this.#early?.get(id)?.length ?? 0;
          this.#early?.delete(id);
          this.#hold(id, this.#keep(envelope));
        }
      }
    } catch (error) {
      if (error instanceof RedisLostError) return;
      if (!await this.#makeGroup(error as Error)) await pause(REFUSED_TIME, signal);
    }
  }

  /** Reads an envelope again that was taken. */
  async read(id: FederatedEnvelope["id"]): Promise<Uint8Array | undefined> {
    const [entry] = await this.#control.send<Entry[]>("XRANGE", STREAM, `${id}`, `${id}`);
    return entry ? messageOf(entry[1]) : undefined;
  }

  /** Reads an envelope; when Redis is back, if it is lost. */
  async #readPatiently(id: string): Promise<Uint8Array | undefined> {
    while (await this.#control.connected) {
      try {
        return await this.read(id);
      } catch (error) {
        if (!(error instanceof RedisLostError)) throw error;
      }
    }
    return undefined;
  }

  /** Removes envelopes that were taken and are done with. */
  async remove(ids: readonly FederatedEnvelope["id"][]): Promise<void> {
    if (ids.length === 0) return;
    await this.#writer.write({ kind: "finish", ids: ids.map(String) });
    for (const id of ids) this.#held.delete(String(id));
  }

  /** Takes nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await this.#connection[Symbol.asyncDispose]();
    await this.#looking;
  }

  /** Looks for entries of relays that have ended, if it is time to; undefined if there are none. */
  async #sweep(count: number): Promise<Entry[] | undefined> {
    if (Date.now() < this.#sweepAt) return undefined;
    const args = [this.#consumer, `${count}`, `${FOREIGN_IDLE}`, [...this.#held].join(" ")];
    const entries = await this.#connection.run<Entry[]>(SWEEP, [], ...args);
    if (entries.length > 0) return entries;
    this.#sweepAt = Date.now() + SWEEP_INTERVAL;
    this.#holdEarly();
    return undefined;
  }

  /** Waits for entries that nobody has taken. */
  async #read(count: number): Promise<Entry[]> {
    const streams = await this.#connection.send<[Buffer, Entry[]][] | null>(
      ...["XREADGROUP", "GROUP", GROUP, this.#consumer, "COUNT", `${count}`],
      ...["BLOCK", `${BLOCK_TIME}`, "STREAMS", STREAM, ">"],
    );
    return streams?.[0]?.[1] ?? [];
  }

  /** Makes the stream and its group, if that is what an error asks for; returns whether they are there. */
  async #makeGroup({ message }: Error): Promise<boolean> {
    if (!/^(NOGROUP|UNBLOCKED)|no such key/.test(message)) return false;
    try {
      await this.#connection.send("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM");
      return true;
    } catch (error) {
      return (error as Error).message.startsWith("BUSYGROUP"); // Another relay has.
    }
  }
}

/** Waits for a promise, or until a signal is aborted. */
async function raceAbort(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const abort = () => resolve();
  signal.addEventListener("abort", abort);
  if (!signal.aborted) await Promise.race([promise, aborted]);
  signal.removeEventListener("abort", abort);
}

/** Waits for a while, or until a signal is aborted. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await raceAbort(promise, signal);
  clearTimeout(timer);
}

function messageOf(fields: readonly Buffer[]): Uint8Array | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]!.toString() === "msg") return fields[i + 1];
  }
  return undefined;
}
