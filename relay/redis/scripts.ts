import { createHash } from "node:crypto";
import { MAX_FEDERATED } from "../federation/queue.ts";
import { MAX_QUEUED, MAX_QUEUED_TIME } from "../mailbox.ts";

/** A Lua script that Redis runs all of, with nothing else between. */
export interface Script {
  readonly text: string;
  /** What it can be called by when it is known to Redis. */
  readonly sha1: string;
}

/** Makes a script of its text. */
export function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/** Stream of what goes to other relays, and its consumer group. */
export const FEDERATION_STREAM = "relay.federation.stream";
export const FEDERATION_GROUP = "federation";

/** Entries of others that nobody has taken a batch takes first, in pages of 100; the rest is in no order. */
const CATCH_UP_PAGES = 20;

/** How a script says that a queue is full. */
export const FULL = "FULL";

/** How long a writer's last batch is remembered, in seconds: longer than any is sent again. */
const WRITER_TIME = 2 * MAX_QUEUED_TIME;

/**
 * Does a batch of operations, each wholly or not at all, once however often it is sent.
 *
 * KEYS: what is remembered of this writer. ARGV: number of the batch, or 0 for one that does no harm
 * when it is done again; the operations as JSON; the bytes of all their envelopes. Returns a line for
 * each operation that failed: its index, a space, why; and for each whose entry is its relay's: its
 * index, a space, `+` and the entry's id.
 *
 * The first write of a numbered batch is its number: where Redis lets nothing be written, or has no
 * memory for it, it says so there, and not in the middle.
 */
export const BATCH = script(`
local writer, number, bytes = KEYS[1], ARGV[1], ARGV[3]

if number ~= '0' then
  local known = redis.call('GET', writer)
  if known then
    local last, text = string.match(known, '^(%d+)\\n(.*)$')
    if tonumber(last) >= tonumber(number) then return text end
  end
  redis.call('SET', writer, number .. '\\n', 'EX', ${WRITER_TIME})
end

local at = 1
local function take(length)
  at = at + length
  return string.sub(bytes, at - length, at - 1)
end

local function delete(key, ids)
  for i = 1, #ids, 1000 do
    redis.call('XDEL', key, unpack(ids, i, math.min(i + 999, #ids)))
  end
end

local full, used, operations = {}, {}, {}

function operations.append(key, length)
  local envelope = take(length)
  -- Once full, full for the whole batch: what comes later must not overtake what is tried again.
  if full[key] or redis.call('XLEN', key) >= ${MAX_QUEUED} then
    full[key] = true
    error({ err = '${FULL}' })
  end
  redis.call('XADD', key, '*', '_', envelope)
  used[key] = true
end

-- Streams grow at their end only: what comes to the front needs a new one, with all ids as they were.
-- The new ids are those of a millisecond before, with numbers that no other writer counts up to.
function operations.putBack(key, lengths, removed)
  local envelopes = {}
  for i, length in ipairs(lengths) do envelopes[i] = take(length) end
  delete(key, removed)
  if #envelopes == 0 then return end
  used[key] = true
  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  if not first then
    for _, envelope in ipairs(envelopes) do redis.call('XADD', key, '*', '_', envelope) end
    return
  end
  local info, last = redis.call('XINFO', 'STREAM', key), nil
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
  local new, time = 'rmb:new:' .. key, redis.call('TIME')
  local before = string.format('%.0f-', tonumber(string.match(first[1], '^%d+')) - 1)
  local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
  redis.call('DEL', new)
  for i, envelope in ipairs(envelopes) do
    redis.call('XADD', new, before .. string.format('%.0f', number + i), '_', envelope)
  end
  -- A few at a time: what is here is in memory once more.
  while true do
    local page = redis.call('XRANGE', key, '-', '+', 'COUNT', 16)
    if #page == 0 then break end
    local moved = {}
    for i, entry in ipairs(page) do
      redis.call('XADD', new, entry[1], unpack(entry[2]))
      moved[i] = entry[1]
    end
    redis.call('XDEL', key, unpack(moved))
  end
  redis.call('XSETID', new, last)
  redis.call('RENAME', new, key)
end

function operations.remove(key, ids)
  delete(key, ids)
end

-- Whether a relay has what was added so far, or others have. Relays of the Rust implementation take
-- what they add; if nobody has, this relay does, in pages.
local reached
local function reach(key, consumer)
  for page = 0, ${CATCH_UP_PAGES} do
    pcall(redis.call, 'XGROUP', 'CREATE', key, '${FEDERATION_GROUP}', '0', 'MKSTREAM')
    local group = {}
    for _, fields in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      if fields[2] == '${FEDERATION_GROUP}' then
        for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
      end
    end
    if #redis.call('XRANGE', key, '(' .. group['last-delivered-id'], '+', 'COUNT', 1) == 0 then
      return true
    end
    redis.call('XREADGROUP', 'GROUP', '${FEDERATION_GROUP}', consumer, 'COUNT', 100, 'STREAMS', key, '>')
  end
  return false
end

-- The entry is this relay's from the beginning: relays that took them in turn would lose their order.
-- Relays of the Rust implementation never delete what is done with: before the queue is called full,
-- all before the first entry that somebody works on, or will, goes.
function operations.push(length, consumer)
  local envelope, key = take(length), '${FEDERATION_STREAM}'
  if redis.call('XLEN', key) >= ${MAX_FEDERATED} then
    local groups = redis.call('XINFO', 'GROUPS', key)
    if #groups == 1 then
      local group = {}
      for i = 1, #groups[1], 2 do group[groups[1][i]] = groups[1][i + 1] end
      local working = redis.call('XPENDING', key, group.name)
      redis.call('XTRIM', key, 'MINID', working[2] or group['last-delivered-id'])
    end
    if redis.call('XLEN', key) >= ${MAX_FEDERATED} then error({ err = '${FULL}' }) end
  end
  if reached == nil then reached = reach(key, consumer) end
  local id = redis.call('XADD', key, '*', 'msg', envelope)
  if not reached then return end
  redis.call('XCLAIM', key, '${FEDERATION_GROUP}', consumer, 0, id, 'FORCE', 'JUSTID', 'LASTID', id)
  return id
end

function operations.finish(ids)
  for i = 1, #ids, 1000 do
    redis.call('XACK', '${FEDERATION_STREAM}', '${FEDERATION_GROUP}', unpack(ids, i, math.min(i + 999, #ids)))
  end
  delete('${FEDERATION_STREAM}', ids)
end

local lines = {}
for i, operation in ipairs(cjson.decode(ARGV[2])) do
  local done, result = pcall(operations[operation[1]], unpack(operation, 2))
  if not done then
    lines[#lines + 1] = (i - 1) .. ' ' .. (type(result) == 'table' and result.err or result)
  elseif result then
    lines[#lines + 1] = (i - 1) .. ' +' .. result
  end
end
for key in pairs(used) do redis.call('EXPIRE', key, ${MAX_QUEUED_TIME}) end
local text = table.concat(lines, '\\n')
if number ~= '0' and text ~= '' then
  redis.call('SET', writer, number .. '\\n' .. text, 'EX', ${WRITER_TIME})
end
return text
`);

/**
 * Reads a stream from an id on: at least one entry if there are any, and no more than some count, or a
 * few above some bytes. XRANGE alone knows no bytes.
 *
 * KEYS: the stream. ARGV: id, or `(` and the id before it; count; bytes.
 */
export const READ = script(`
local entries, from, bytes, count = {}, ARGV[1], 0, 1
while #entries < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(count, ARGV[2] - #entries))
  for _, entry in ipairs(page) do
    entries[#entries + 1] = entry
    for _, value in ipairs(entry[2]) do bytes = bytes + #value end
  end
  if #page < count then break end
  from = '(' .. page[#page][1]
  count = math.min(count * 2, 16)
end
return entries
`);
