import { getLogger } from "@logtape/logtape";
import { RmbError } from "@rmb/protocol";
import type { Buffer } from "node:buffer";
import type { Replicas } from "../replicas.ts";
import type { Connection } from "./connection.ts";
import { script } from "./scripts.ts";

const logger = getLogger(["rmb", "relay", "redis"]);

/** How long a relay counts as alive without a word from it, in seconds, and how often it gives one. */
const ALIVE_TIME = 10;
const HEARTBEAT_INTERVAL = 3000;
/** How long a session is waited for that another relay has, and how often it is asked again, in ms. */
const TAKE_OVER_TIME = 3000;
const ASK_INTERVAL = 300;
/** How long Redis may take to answer a claim, in milliseconds. */
const ANSWER_TIME = 2000;
/** Most sessions announced at once. */
const ANNOUNCE_COUNT = 1000;

/** Key that says that a relay is alive, of a set or hash of its own, and its channel. */
export function relayKey(id: string): string {
  return `rmb:relay:${id}`;
}
const RELAYS = "rmb:relays";
const CLAIMS = "rmb:claims";

/** What scripts share: the other relays that are alive, and asking them for a session. */
const OTHERS = `
local function others(me)
  local alive = {}
  for _, id in ipairs(redis.call('ZRANGE', '${RELAYS}', 0, -1)) do
    if id ~= me and redis.call('EXISTS', 'rmb:relay:' .. id) == 1 then alive[#alive + 1] = id end
  end
  return alive
end

-- Asks those with an older connection of a session to end it; returns how many, and a newer number.
local function ask(relays, me, session, number)
  local asked, newer = 0, nil
  for _, id in ipairs(relays) do
    local theirs = redis.call('HGET', 'rmb:relay:' .. id .. ':sessions', session)
    if theirs and tonumber(theirs) > tonumber(number) then
      newer = theirs
    elseif theirs then
      asked = asked + 1
      redis.call('PUBLISH', 'rmb:relay:' .. id, cjson.encode({ 'take over', session, number, me }))
    end
  end
  return asked, newer
end
`;

/**
 * Numbers a connection of a session and says that it is here. Numbers grow, and are times too, so that
 * they go on growing when Redis has lost all it knew. ARGV: relay, session.
 */
const CLAIM = script(`${OTHERS}
local me, session, time = ARGV[1], ARGV[2], redis.call('TIME')
local last = tonumber(redis.call('GET', '${CLAIMS}') or 0)
local number = math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
number = string.format('%.0f', number)
redis.call('SET', '${CLAIMS}', number)
redis.call('HSET', 'rmb:relay:' .. me .. ':sessions', session, number)
redis.call('EXPIRE', 'rmb:relay:' .. me .. ':sessions', ${ALIVE_TIME})
return { number, (ask(others(me), me, session, number)) }
`);

/** Asks again for a session. ARGV: relay, session, number. Returns how many have not ended it. */
const ASK = script(`${OTHERS}
return (ask(others(ARGV[1]), ARGV[1], ARGV[2], ARGV[3]))
`);

/**
 * Says which sessions are here. ARGV: relay, 1 to forget what was said before or 0, then sessions and
 * numbers by turns. Returns sessions and numbers of those that have a newer connection elsewhere.
 */
const ANNOUNCE = script(`${OTHERS}
local me, lost, highest = ARGV[1], {}, tonumber(redis.call('GET', '${CLAIMS}') or 0)
local relays = others(me)
if ARGV[2] == '1' then redis.call('DEL', 'rmb:relay:' .. me .. ':sessions') end
for i = 3, #ARGV, 2 do
  local _, newer = ask(relays, me, ARGV[i], ARGV[i + 1])
  redis.call('HSET', 'rmb:relay:' .. me .. ':sessions', ARGV[i], ARGV[i + 1])
  highest = math.max(highest, tonumber(ARGV[i + 1]))
  if newer then
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = newer
  end
end
redis.call('EXPIRE', 'rmb:relay:' .. me .. ':sessions', ${ALIVE_TIME})
redis.call('SET', '${CLAIMS}', string.format('%.0f', highest))
return lost
`);

/** Says that a session is not here any more, if it is still that connection. ARGV: relay, session, number. */
const RELEASE = script(`
local key = 'rmb:relay:' .. ARGV[1] .. ':sessions'
if redis.call('HGET', key, ARGV[2]) == ARGV[3] then redis.call('HDEL', key, ARGV[2]) end
`);

/** Whether another relay has a session. ARGV: relay, session. */
const HAS = script(`${OTHERS}
for _, id in ipairs(others(ARGV[1])) do
  if redis.call('HEXISTS', 'rmb:relay:' .. id .. ':sessions', ARGV[2]) == 1 then return 1 end
end
return 0
`);

/**
 * Says that a relay is alive, and forgets those that are not. ARGV: relay, how many sessions it has.
 * Returns whether its sessions have to be announced.
 */
const BEAT = script(`
local me, time = ARGV[1], redis.call('TIME')[1]
redis.call('SET', 'rmb:relay:' .. me, 1, 'EX', ${ALIVE_TIME})
redis.call('ZADD', '${RELAYS}', time, me)
redis.call('EXPIRE', '${RELAYS}', ${ALIVE_TIME})
redis.call('ZREMRANGEBYSCORE', '${RELAYS}', '-inf', time - ${ALIVE_TIME})
redis.call('EXPIRE', 'rmb:relay:' .. me .. ':sessions', ${ALIVE_TIME})
return redis.call('HLEN', 'rmb:relay:' .. me .. ':sessions') < tonumber(ARGV[2]) and 1 or 0
`);

/** Says that a relay has ended. ARGV: relay. */
const END = script(`
redis.call('DEL', 'rmb:relay:' .. ARGV[1], 'rmb:relay:' .. ARGV[1] .. ':sessions')
redis.call('ZREM', '${RELAYS}', ARGV[1])
`);

/** A session that is connected here. */
interface Claim {
  /** Grows from one connection to the next, across relays. */
  readonly number: Promise<string>;
}

/**
 * The {@linkcode Replicas} that share a Redis. Each has a heartbeat there, and a hash of its sessions,
 * each with the number of its connection: the highest one wins. Who claims a session asks those that
 * have an older connection over their channels to end it, and again until they have.
 */
export class RedisReplicas implements Replicas, AsyncDisposable {
  /** Called when another replica has taken over a session that was connected here. */
  onTakenOver: (session: string) => Promise<void> = () => Promise.resolve();
  readonly #id: string;
  readonly #connection: Connection;
  readonly #claims = new Map<string, Claim>();
  /** Sessions that are being ended here because another relay has them. */
  readonly #ending = new Set<string>();
  /** Called when a relay says that it has ended a session. */
  readonly #confirmed = new Map<string, () => void>();
  readonly #heartbeat: ReturnType<typeof setInterval>;
  /** Whether Redis has to be told anew which sessions are here. */
  #unsaid = false;
  #disposed = false;

  /**
   * @param id What no other relay uses.
   * @param connection A connection for commands.
   */
  constructor(id: string, connection: Connection) {
    this.#id = id;
    this.#connection = connection;
    this.#heartbeat = setInterval(() => this.beat(), HEARTBEAT_INTERVAL);
  }

  /** Says that a session is connected here now. */
  async claim(session: string): Promise<void> {
    const claimed = this.#number(session);
    const claim = { number: claimed.then(([number]) => number) };
    this.#claims.set(session, claim);
    const [number, asked] = await claimed;
    for (const end = Date.now() + TAKE_OVER_TIME; asked > 0 && Date.now() < end;) {
      await this.#confirmation(session);
      if (this.#claims.get(session) !== claim) return; // There is a newer one already.
      try {
        if (await this.#run<number>(ASK, session, number) === 0) return;
      } catch {
        return; // Nobody can be asked.
      }
    }
  }

  /** Says that a session is not connected here any more. */
  release(session: string): void {
    const claim = this.#claims.get(session);
    if (claim === undefined) return;
    this.#claims.delete(session);
    this.#forget(session, claim);
  }

  /** Whether a session is connected to another replica. */
  async has(session: string): Promise<boolean> {
    try {
      return await this.#run<number>(HAS, session) === 1;
    } catch (cause) {
      const { message } = cause as Error;
      throw new RmbError(`Cannot ask for session ${session}: ${message}`, { cause });
    }
  }

  /** Takes what other relays say on this relay's channel. */
  receive(message: string): void {
    const [what, session, number, from] = JSON.parse(message) as string[];
    if (what === "ended") this.#confirmed.get(session!)?.();
    else this.#takenOver(session!, number!, from!);
  }

  /** Says that this relay is alive; and, if that was forgotten, which sessions it has. */
  async beat(): Promise<void> {
    if (this.#disposed) return;
    try {
      const isForgotten = await this.#run<number>(BEAT, `${this.#claims.size}`) === 1;
      if (isForgotten || this.#unsaid) await this.announce();
    } catch {
      // The connection says so, and there will be another beat.
    }
  }

  /** Says which sessions are connected here, to a Redis that may have forgotten it. */
  async announce(): Promise<void> {
    if (this.#disposed) return;
    this.#unsaid = false;
    const claims = [...this.#claims];
    let i = 0;
    do {
      const named = [i === 0 ? "1" : "0"];
      for (const [session, claim] of claims.slice(i, i + ANNOUNCE_COUNT)) {
        const number = await claim.number;
        if (this.#claims.get(session) === claim) named.push(session, number);
      }
      const lost = await this.#run<Buffer[]>(ANNOUNCE, ...named);
      for (let j = 0; j < lost.length; j += 2) {
        this.#takenOver(lost[j]!.toString(), lost[j + 1]!.toString(), undefined);
      }
      i += ANNOUNCE_COUNT;
    } while (i < claims.length);
  }

  /** Leaves all sessions to the other relays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    clearInterval(this.#heartbeat);
    this.#claims.clear();
    for (const confirm of this.#confirmed.values()) confirm();
    await this.#run(END).catch(() => {}); // It is forgotten by itself.
  }

  /** Numbers a connection, and says how many relays were asked to end an older one. */
  async #number(session: string): Promise<[number: string, asked: number]> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new RmbError("Redis does not answer")), ANSWER_TIME);
    try {
      const claimed = this.#run<[Buffer, number]>(CLAIM, session);
      const [number, asked] = await Promise.race([claimed, late]);
      return [number.toString(), asked];
    } catch {
      // Announced when Redis is back, with a number that says when it was, and that no other has.
      this.#unsaid = true;
      return [`${Math.floor((Date.now() + Math.random()) * 1000)}`, 0];
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until a relay says that it has ended a session, or it is time to ask again. */
  async #confirmation(session: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ASK_INTERVAL);
      this.#confirmed.set(session, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#confirmed.delete(session);
  }

  /** Another relay has a session: ends it here, unless the connection here is newer. */
  async #takenOver(session: string, number: string, by: string | undefined): Promise<void> {
    const claim = this.#claims.get(session);
    const isOlder = claim !== undefined && Number(await claim.number) < Number(number);
    if (isOlder && !this.#ending.has(session) && this.#claims.get(session) === claim) {
      this.#ending.add(session);
      try {
        await this.onTakenOver(session);
      } catch (error) {
        logger.error("session {session} can't be left to another relay: {error}", {
          session,
          error: String(error),
        });
      } finally {
        this.#ending.delete(session);
        if (this.#claims.get(session) === claim) this.#claims.delete(session);
        await this.#forget(session, claim);
      }
    }
    if (by === undefined || this.#ending.has(session)) return;
    const message = JSON.stringify(["ended", session]);
    await this.#connection.send("PUBLISH", relayKey(by), message).catch(() => {}); // It asks again.
  }

  async #forget(session: string, claim: Claim): Promise<void> {
    const number = await claim.number;
    if (this.#disposed) return;
    await this.#run(RELEASE, session, number).catch(() => this.#unsaid = true);
  }

  #run<Reply>(script: Parameters<Connection["run"]>[0], ...args: string[]): Promise<Reply> {
    return this.#connection.run(script, [], this.#id, ...args);
  }
}
