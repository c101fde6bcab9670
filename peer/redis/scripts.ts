/** What the gateway has Redis do in one step: a crash, or a lost connection, falls before or after it. */
import { createHash } from "node:crypto";
import { MAX_COMMAND_ENTRIES } from "../command_queues.ts";

/**
 * A Lua script. Each may be run again after its answer was lost: the second run does nothing more, so
 * that who sent it need not know whether it was done.
 */
export interface Script {
  readonly text: string;
  /** What it can be called by when it is known to Redis. */
  readonly sha1: string;
}

function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/**
 * Has a script go on though Redis has no memory left, for what makes room in the end: Redis asks for
 * memory only before a script's first change, and to delete what isn't there counts as one.
 */
const anyway = (stream: string) => `redis.call('XDEL', ${stream}, '0-0')`;

/** Most entries of a reply list; older ones are dropped, as in the reference. */
const MAX_REPLIES = 10_000;
/** Most entries kept of those that can't be read, and how much of each, in bytes. */
const MAX_INVALID = 1000;
const MAX_INVALID_BYTES = 64 * 1024;
/** Seconds that a command's list, which no program pops, is kept: longer than any request lives. */
const COMMAND_TIME = 3600;
/** Most requests remembered to know their copies, 100 bytes each. */
const MAX_SEEN = 500_000;
/** Most expired requests dropped at once for a new one. */
const MAX_DROPPED = 1000;

/** How {@linkcode DELIVER} says that it has seen a request before, and that there is no room for it. */
export const SEEN = -1;
export const REFUSED = -2;

/** Pushes an answer. Errors are returned, not thrown: the list is the caller's, and so is its type. */
const REPLY = `
local function reply(list, value, time)
  local length = redis.pcall('LPUSH', list, value)
  if type(length) == 'table' then return length.err end
  if length > ${MAX_REPLIES} then redis.call('LTRIM', list, 0, ${MAX_REPLIES - 1}) end
  if length == 1 and tonumber(time) > 0 then redis.call('EXPIRE', list, time) end
end
`;

/**
 * Takes entries from the right of a list into the stream of what is being worked on. What stands
 * there behind the last entry known comes first: it is an earlier process's, or its answer was lost.
 *
 * KEYS: list, stream. ARGV: id of the last entry known; most entries; bytes from which on no more are
 * taken; the time; a uid for each entry. Returns stream entries: `u` uid, `t` time taken, `v` value.
 */
export const TAKE = script(`
local list, stream, most = KEYS[1], KEYS[2], tonumber(ARGV[2])
${anyway("stream")}
local entries, bytes, after = {}, 0, ARGV[1]
while #entries < most and bytes < tonumber(ARGV[3]) do
  local entry = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then break end
  entries[#entries + 1], after, bytes = entry, entry[1], bytes + #entry[2][6]
end
if #entries > 0 then return entries end
while #entries < most and bytes < tonumber(ARGV[3]) do
  local value = redis.call('LINDEX', list, -1)
  if not value then break end
  local fields = { 'u', ARGV[5 + #entries], 't', ARGV[4], 'v', value }
  local id = redis.call('XADD', stream, '*', unpack(fields))
  redis.call('RPOP', list) -- Last: an entry stands in one of both, whatever fails.
  entries[#entries + 1], bytes = { id, fields }, bytes + #value
end
return entries
`);

/**
 * Notes whom a request is sent to, before it is.
 *
 * KEYS: twins asked, pending requests, backlog, entries being worked on. ARGV: uid; id of the entry;
 * deadline; seconds to keep; backlog; the twins. Returns the twins that have not answered, if it had been
 * noted before: none if it is over, and so its entry done with. Else nil.
 */
export const REGISTER = script(`
local asked, pending, backlog, entries = unpack(KEYS)
${anyway("entries")}
if redis.call('EXISTS', asked) == 1 then return redis.call('HKEYS', asked) end
if #redis.call('XRANGE', entries, ARGV[2], ARGV[2]) == 0 then return {} end
redis.call('SET', backlog, ARGV[5], 'EX', ARGV[4])
for i = 6, #ARGV do redis.call('HSET', asked, ARGV[i], '') end
redis.call('EXPIRE', asked, ARGV[4])
redis.call('ZADD', pending, ARGV[3], ARGV[1])
`);

/** Field of the twins asked that counts the errors of relays, which do not say for which of them. */
export const RELAY_ERRORS = "relay";

/**
 * Pushes answers, each only if its twin was asked and has not answered. With the last one the request
 * is over, and its entry done with.
 *
 * KEYS: twins asked, pending requests, backlog, entries being worked on, reply list. ARGV: uid; id of
 * the entry; seconds that the list lives if this makes it, 0 for ever; then twin and answer in turn;
 * the twin of a relay's error is "". Returns how many were pushed, or what is wrong with the list.
 */
export const ANSWER = script(`${REPLY}
local asked, pending, backlog, entries, list = unpack(KEYS)
${anyway("entries")}
local errors = tonumber(redis.call('HGET', asked, '${RELAY_ERRORS}') or '0')
local waiting = redis.call('HLEN', asked) - (errors > 0 and 1 or 0) - errors
local pushed, wrong = 0, nil
for i = 4, #ARGV, 2 do
  if waiting <= 0 then break end
  local counts
  if ARGV[i] == '' then
    counts = redis.call('HINCRBY', asked, '${RELAY_ERRORS}', 1) > 0
  else
    counts = redis.call('HDEL', asked, ARGV[i]) == 1
  end
  if counts then
    waiting = waiting - 1
    wrong = reply(list, ARGV[i + 1], ARGV[3]) or wrong
    pushed = pushed + 1
  end
end
if waiting <= 0 then
  redis.call('DEL', asked, backlog)
  redis.call('ZREM', pending, ARGV[1])
  redis.call('XDEL', entries, ARGV[2])
end
return wrong or pushed
`);

/**
 * Answers a request that was never sent, and is done with its entry.
 *
 * KEYS: entries being worked on, twins asked, reply list. ARGV: id of the entry; answer; seconds that
 * the list lives if this makes it. Does nothing if it had been sent after all: then its time runs.
 */
export const REFUSE = script(`${REPLY}
if redis.call('EXISTS', KEYS[2]) == 1 then return end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return end
return reply(KEYS[3], ARGV[2], ARGV[3])
`);

/**
 * Keeps entries that can't be read, cut if they are long, is done with them, and answers them if possible.
 *
 * KEYS: entries being worked on, list of invalid entries, reply list of each or "". ARGV: seconds that a
 * reply list lives if this makes it; then id and answer of each. Returns what is wrong with a reply list.
 */
export const INVALID = script(`${REPLY}
local wrong
${anyway("KEYS[1]")}
for i = 3, #KEYS do
  local id, answer = ARGV[2 * i - 4], ARGV[2 * i - 3]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    redis.call('LPUSH', KEYS[2], string.sub(entry[2][6], 1, ${MAX_INVALID_BYTES}))
    redis.call('XDEL', KEYS[1], id)
    if KEYS[i] ~= '' then wrong = reply(KEYS[i], answer, ARGV[1]) or wrong end
  end
end
redis.call('LTRIM', KEYS[2], 0, ${MAX_INVALID - 1})
return wrong
`);

/** Notes that something was done, to know when it is told again; forgets what can't come again. */
const REMEMBER = `
local function remember(seen, member, time, now)
  redis.call('ZADD', seen, time, member)
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - 1)
  local many = redis.call('ZCARD', seen) - ${MAX_SEEN}
  if many > 0 then redis.call('ZREMRANGEBYRANK', seen, 0, many - 1) end
end
`;

/**
 * Pushes an answer of a plugin.
 *
 * KEYS: what was seen, reply list. ARGV: what to know the answer by; until when; the answer; the time;
 * seconds that the list lives if this makes it. Returns what is wrong with the list.
 */
export const PUSH = script(`${REPLY} ${REMEMBER}
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return end
remember(KEYS[1], ARGV[1], ARGV[2], ARGV[4])
return reply(KEYS[2], ARGV[3], ARGV[5])
`);

/**
 * Pushes a request from another twin to its command's list, unless it has seen it before.
 *
 * The list is full at {@linkcode MAX_COMMAND_ENTRIES}, or when the caller says so; then those that have
 * expired are dropped at its old end. It is as good as full while Redis has no memory left. Entries are
 * as the gateway writes them: no text in them can look like their numbers.
 *
 * KEYS: what was seen, list. ARGV: what to know the request by; until when; the request; the time; 1 if
 * there is room for it. Returns whether it was pushed, SEEN or REFUSED, and the length of the list.
 */
export const DELIVER = script(`${REMEMBER}
local seen, list, now = KEYS[1], KEYS[2], tonumber(ARGV[4])
if redis.call('ZSCORE', seen, ARGV[1]) then return { ${SEEN}, redis.call('LLEN', list) } end
local length = redis.call('LLEN', list)
if length >= ${MAX_COMMAND_ENTRIES} or ARGV[5] ~= '1' then
  for i = 1, ${MAX_DROPPED} do
    local value = redis.call('LINDEX', list, -1)
    if not value then break end
    local life = tonumber(string.match(value, ',"exp":(%d+),"dat":"') or '')
    local from = tonumber(string.match(string.sub(value, -40), ',"now":(%d+)}$') or '')
    if not life or not from or from + life > now then break end
    redis.call('RPOP', list)
  end
  length = redis.call('LLEN', list)
  if length >= ${MAX_COMMAND_ENTRIES} or ARGV[5] ~= '1' then return { ${REFUSED}, length } end
end
local pushed = redis.pcall('LPUSH', list, ARGV[3])
if type(pushed) == 'table' then
  if string.find(pushed.err, 'OOM', 1, true) then return { ${REFUSED}, length } end
  return pushed
end
redis.call('EXPIRE', list, ${COMMAND_TIME})
remember(seen, ARGV[1], ARGV[2], now)
return { 1, pushed }
`);

/**
 * Notes who uses this Redis.
 *
 * KEYS: where. ARGV: who; seconds that it counts. Returns who it was before.
 */
export const CLAIM = script(`
local before = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before
`);

/**
 * Finds requests whose time is up.
 *
 * KEYS: pending requests. ARGV: the time; most of them; what the keys of backlogs and of twins asked
 * begin with. Returns of each its uid, backlog, and the twins that have not answered.
 */
export const OVERDUE = script(`
local found = {}
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local backlog = redis.call('GET', ARGV[3] .. uid)
  found[#found + 1] = { uid, backlog or '', redis.call('HKEYS', ARGV[4] .. uid) }
end
return found
`);
