import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { getLogger } from "@logtape/logtape";
import { RmbError, unixNow } from "@rmb/protocol";
import { type Backlog, BacklogSchema } from "./gen/peer_pb.ts";
import {
  backlogKey,
  commandList,
  INVALID_MESSAGES,
  LOCAL_REQUESTS,
  LOCAL_RESPONSES,
} from "./local.ts";
import { type Argument, type Client, command, makeClient, Reachability } from "./redis/client.ts";
import type { PeerMetrics } from "./metrics.ts";
import { Pipeline } from "./redis/pipeline.ts";
import * as scripts from "./redis/scripts.ts";

const logger = getLogger(["rmb", "peer", "bus"]);

/** Most entries taken at once, first and while there are more; bytes from which on no more are. */
const FIRST_TAKEN = 16;
const MAX_TAKEN = 1000;
const MAX_TAKEN_BYTES = 8 * 1024 * 1024;
/** How long a wait for an entry takes, in seconds: then it is begun anew. */
const WAIT_TIME = 1;
/** Seconds that requests are kept beyond their lives: a gateway may be away when they end. */
const KEEP_TIME = 24 * 3600;
/** Seconds that a reply list lives which an error of the gateway made: its caller may have given up. */
const REPLY_TIME = 3600;
/** Most requests taken at once whose time is up. */
const MAX_OVERDUE = 500;
/** Seconds after which a gateway that says nothing uses this Redis no more. */
const OWNER_TIME = 60;

/** How long Redis has to say how it is, in milliseconds. */
const ASK_TIME = 1000;

/** Redis key of the requests that wait for answers, by deadline. */
export const PENDING = "msgbus.system.pending";
/** What the Redis keys of the twins asked begin with. */
const ASKED = "msgbus.system.asked.";
/** Redis key of what was received or pushed, to know its copies. */
const SEEN = "msgbus.system.seen";
/** Redis key that says which gateway uses this Redis. */
const OWNER = "msgbus.system.gateway";

/** A list that local programs push to. */
export type LocalList = typeof LOCAL_REQUESTS | typeof LOCAL_RESPONSES;

/** An entry of a local list that is being worked on. */
export interface Entry {
  /** The list that it was taken from. */
  readonly list: LocalList;
  /** Its id among those being worked on. */
  readonly id: string;
  /** The uid that it is sent with, however often. */
  readonly uid: string;
  /** When it was taken, as Unix time in seconds. */
  readonly time: number;
  readonly value: Uint8Array;
}

/** A request of a local program that was sent, or is about to be. */
export interface SentRequest {
  readonly uid: string;
  /** Id of its entry. */
  readonly entry: string;
  readonly reference: string | undefined;
  readonly replyTo: string;
}

/** An answer of a twin to a request; a relay's error, which does not say for which twin, has none. */
export interface PendingAnswer {
  readonly twin: number | undefined;
  readonly answer: string;
}

/** A request whose time is up. */
export interface OverdueRequest extends SentRequest {
  /** The twins that have not answered. */
  readonly twins: readonly number[];
}

/** What became of a request that was to be pushed for a local program. */
export interface Delivery {
  readonly outcome: "pushed" | "seen" | "refused";
  /** Entries of the list after it. */
  readonly length: number;
}

/**
 * The Redis that local programs and the gateway meet on, and that keeps what the gateway must not
 * lose. It connects again by itself; what is asked of it waits meanwhile, in order.
 */
export class Bus implements AsyncDisposable {
  readonly #metrics: PeerMetrics;
  readonly #client: Client;
  readonly #pipeline: Pipeline;
  /** A connection for each list waited for: waiting blocks all that comes after it. */
  readonly #waiters: Readonly<Record<LocalList, Client>>;
  /** The last entry of each list that was taken by this process, and how many to take next. */
  readonly #taken = new Map<LocalList, { last: string; most: number }>();
  readonly #name = crypto.randomUUID();
  /** When the last wait for an attempt to connect is over, in milliseconds since 1970. */
  #retryAt = 0;

  /** Makes one that is not connected. What it does is counted. */
  constructor(url: string, metrics: PeerMetrics) {
    this.#metrics = metrics;
    const reachability = new Reachability();
    const make = () => makeClient(url, reachability, (wait) => this.#noteRetry(wait));
    this.#client = make();
    this.#pipeline = new Pipeline(this.#client);
    this.#waiters = { [LOCAL_REQUESTS]: make(), [LOCAL_RESPONSES]: make() };
  }

  /** Connects, and waits for as long as Redis can't be reached. */
  async connect(): Promise<void> {
    const clients = [this.#client, ...Object.values(this.#waiters)];
    await Promise.all(clients.map((client) => client.connect()));
  }

  /** Whether Redis is connected now. */
  get isConnected(): boolean {
    return this.#client.isReady;
  }

  /**
   * Takes the entries on the right of a list, oldest first for those who push left, to work on them:
   * until {@linkcode Bus.forget} they are kept. First come those that an earlier process did not forget.
   *
   * @returns Up to 1000 entries, none if there are none now.
   */
  async take(list: LocalList): Promise<Entry[]> {
    const { last, most } = this.#taken.get(list) ?? { last: "0-0", most: FIRST_TAKEN };
    const uids = Array.from({ length: most }, () => crypto.randomUUID());
    const entries = await this.#pipeline.run<[Uint8Array, Uint8Array[]][]>(
      scripts.TAKE,
      [list, working(list)],
      [last, `${most}`, `${MAX_TAKEN_BYTES}`, `${unixNow()}`, ...uids],
    );
    const taken = entries.map(([id, fields]) => ({
      list,
      id: textOf(id),
      uid: textOf(fields[1]!),
      time: Number(textOf(fields[3]!)),
      value: fields[5]!,
    }));
    this.#taken.set(list, {
      last: taken.at(-1)?.id ?? last,
      most: taken.length < most ? FIRST_TAKEN : Math.min(most * 4, MAX_TAKEN),
    });
    return taken;
  }

  /**
   * Waits up to a second for an entry of a list, without changing anything.
   *
   * @throws If Redis can't be asked now.
   */
  async wait(list: LocalList): Promise<void> {
    // Moves the entry to where it is.
    const args = ["BLMOVE", list, list, "RIGHT", "RIGHT", `${WAIT_TIME}`];
    await command(this.#waiters[list], args);
  }

  /** Ends all waits for entries, with errors. */
  stopWaiting(): void {
    for (const client of Object.values(this.#waiters)) if (client.isOpen) client.destroy();
  }

  /** Is done with an entry that was sent, or can't be. */
  async forget({ list, id }: Pick<Entry, "list" | "id">): Promise<void> {
    await this.#pipeline.send("XDEL", working(list), id);
  }

  /** Is done with entries of a list that can't be read: keeps them for people to look at. */
  async invalid(
    list: LocalList,
    entries: readonly { id: string; answer?: { replyTo: string; text: string } | undefined }[],
  ): Promise<void> {
    const replyLists = entries.map(({ answer }) => answer?.replyTo ?? "");
    const args = entries.flatMap(({ id, answer }) => [id, answer?.text ?? ""]);
    const keys = [working(list), INVALID_MESSAGES, ...replyLists];
    checkReply(await this.#pipeline.run(scripts.INVALID, keys, [`${REPLY_TIME}`, ...args]));
    this.#metrics.answers.gateway += replyLists.filter((list) => list !== "").length;
  }

  /** Answers a request that will not be sent, and is done with its entry. */
  async refuse({ list, id, uid }: Entry, replyTo: string, answer: string): Promise<void> {
    const keys = [working(list), ASKED + uid, replyTo];
    checkReply(await this.#pipeline.run(scripts.REFUSE, keys, [id, answer, `${REPLY_TIME}`]));
    this.#metrics.answers.gateway++;
  }

  /**
   * Notes who is asked, and until when they may answer, before a request is sent.
   *
   * @param backlog What to know of it when answers come.
   * @param deadline Unix time in seconds.
   * @returns Those who have not answered yet: an earlier process may have asked them. None if all have.
   */
  async register(
    backlog: Backlog,
    destinations: readonly number[],
    deadline: number,
  ): Promise<readonly number[]> {
    const { uid } = backlog;
    const waiting = await this.#pipeline.run<Uint8Array[] | null>(
      scripts.REGISTER,
      [ASKED + uid, PENDING, backlogKey(uid), working(LOCAL_REQUESTS)],
      [
        uid,
        backlog.entry,
        `${deadline}`,
        `${Number(backlog.ttl) + KEEP_TIME}`,
        toBinary(BacklogSchema, backlog),
        ...destinations.map(String),
      ],
    );
    return waiting === null ? destinations : twinsOf(waiting);
  }

  /** Finds a request of a local program that waits for answers. */
  async sentRequest(uid: string): Promise<SentRequest | undefined> {
    const stored = await this.#pipeline.send<Uint8Array | null>("GET", backlogKey(uid));
    return stored === null ? undefined : sentRequest(uid, stored);
  }

  /**
   * Pushes answers to a request for the local program that asked. Only who was asked can answer, and once.
   *
   * @param own Whether the answers are the gateway's own: then their list does not stay for ever.
   * @returns How many were pushed.
   */
  async answer(
    { uid, entry, replyTo }: SentRequest,
    answers: readonly PendingAnswer[],
    own: boolean,
  ): Promise<number> {
    const keys = [ASKED + uid, PENDING, backlogKey(uid), working(LOCAL_REQUESTS), replyTo];
    const pushed = checkReply(
      await this.#pipeline.run(scripts.ANSWER, keys, [
        uid,
        entry,
        own ? `${REPLY_TIME}` : "0",
        ...answers.flatMap(({ twin, answer }) => [twin === undefined ? "" : `${twin}`, answer]),
      ]),
    );
    const answerer = own ? "gateway" : answers[0]?.twin === undefined ? "relay" : "twin";
    this.#metrics.answers[answerer] += pushed;
    return pushed;
  }

  /** Finds requests whose deadline is before a time, the earliest first; 500 at most. */
  async overdue(time: number): Promise<OverdueRequest[]> {
    const args = [`${time}`, `${MAX_OVERDUE}`, backlogKey(""), ASKED];
    const found = await this.#pipeline.run<[Uint8Array, Uint8Array, Uint8Array[]][]>(
      scripts.OVERDUE,
      [PENDING],
      args,
    );
    return found.flatMap(([uid, backlog, twins]) => {
      try {
        return { ...sentRequest(textOf(uid), backlog), twins: twinsOf(twins) };
      } catch (error) {
        // Nobody can be told: it must not keep the others from being told.
        logger.error("the backlog of {uid} can't be read: {error}", {
          uid: textOf(uid),
          error: String(error),
        });
        this.#pipeline.send("ZREM", PENDING, uid).catch(() => {});
        return [];
      }
    });
  }

  /**
   * Pushes a request for a local program.
   *
   * @param known What its copies are known by.
   * @param deadline Unix time in seconds when it, and its copies, expire.
   * @param hasRoom False to have it refused, unless it is a copy; and what has expired dropped.
   * @throws {RedisLostError} if Redis is away until the deadline.
   */
  async deliver(
    name: string,
    { known, deadline, request, hasRoom }: {
      readonly known: Uint8Array | string;
      readonly deadline: number;
      readonly request: string;
      readonly hasRoom: boolean;
    },
  ): Promise<Delivery> {
    const [status, length] = await this.#pipeline.run<[number, number]>(
      scripts.DELIVER,
      [SEEN, commandList(name)],
      [known, `${deadline}`, request, `${unixNow()}`, hasRoom ? "1" : "0"],
      deadline * 1000,
    );
    const outcome = status === scripts.SEEN
      ? "seen"
      : status === scripts.REFUSED
      ? "refused"
      : "pushed";
    return { outcome, length };
  }

  /** Entries of a command's list, and their bytes in Redis's memory. */
  async commandList(name: string): Promise<{ length: number; bytes: number }> {
    const list = commandList(name);
    const [length, bytes] = await Promise.all([
      this.#pipeline.send<number>("LLEN", list),
      this.#pipeline.send<number | null>("MEMORY", "USAGE", list, "SAMPLES", "0"),
    ]);
    return { length, bytes: bytes ?? 0 };
  }

  /** Does commands now or not at all: undefined if Redis is away, or does not answer within a second. */
  async ask<Reply>(commands: readonly (readonly Argument[])[]): Promise<Reply[] | undefined> {
    if (!this.isConnected) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), ASK_TIME);
    const replies = Promise.all(commands.map((args) => command<Reply>(this.#client, args)));
    return await Promise.race([replies.catch(() => undefined), late])
      .finally(() => clearTimeout(timer));
  }

  /** Pushes an answer that is not one of another twin. */
  async push(list: string, answer: string): Promise<void> {
    const now = unixNow();
    checkReply(
      await this.#pipeline.run(scripts.PUSH, [SEEN, list], [
        crypto.randomUUID(),
        `${now + REPLY_TIME}`,
        answer,
        `${now}`,
        `${REPLY_TIME}`,
      ]),
    );
  }

  /** Says that this gateway uses this Redis, and whether another one has said so since the last time. */
  async claim(): Promise<boolean> {
    const args = [this.#name, `${OWNER_TIME}`];
    const before = await this.#pipeline.run<Uint8Array | null>(scripts.CLAIM, [OWNER], args);
    return before !== null && textOf(before) !== this.#name;
  }

  /** Disconnects, after what waits was tried once more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pipeline.close();
    this.stopWaiting();
    if (this.#client.isReady) await this.#client.close().catch(() => {});
    else this.#client.destroy();
    // The library does not end its waits for the next attempt to connect.
    const left = this.#retryAt - Date.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  }

  #noteRetry(wait: number): void {
    this.#retryAt = Math.max(this.#retryAt, Date.now() + wait);
  }
}

/** Redis stream of the entries of a list that are being worked on. */
export function working(list: LocalList): string {
  return `${list}.working`;
}

/** An answer is lost: what should be its list is something else. */
export class ReplyListError extends RmbError {}

/** Says how many answers were pushed. */
function checkReply(reply: number | Uint8Array | null): number {
  if (reply instanceof Uint8Array) throw new ReplyListError(textOf(reply));
  return reply ?? 0;
}

function sentRequest(uid: string, stored: Uint8Array): SentRequest {
  const { entry, reference, replyTo } = fromBinary(BacklogSchema, stored);
  if (replyTo === "") throw new RmbError("It says nothing of a reply list");
  return { uid, entry, reference, replyTo };
}

function twinsOf(fields: readonly Uint8Array[]): number[] {
  return fields.map(textOf).filter((field) => field !== scripts.RELAY_ERRORS).map(Number);
}

const utf8 = new TextDecoder();

function textOf(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}
