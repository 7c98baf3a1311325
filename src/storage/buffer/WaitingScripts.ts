// The write buffer's scripts about what waits: which rooms are due, what is read and settled by a flush, a page of the
// messages, and how much waits and was lost. WriteScripts.ts lists the keys.
import { Redis } from "effect/persistence"
import { type Common, own } from "../../infra/redis/RoomLog.ts"
import { runIdLua } from "../../infra/redis/RunId.ts"
import { claimedAtOnce, dirtyAtOnce, dirtyBytes, type Settled, type WaitingQuery } from "./WriteBuffer.ts"
import { count, depthKey, dueKey, keys, orderLua, rememberedMs, sinceKey, start, timeLua } from "./WriteScripts.ts"

/** Flushing must go on when Redis is full, because it frees memory. The first line of a script, from Redis 7 on. */
const allowedWhenFull = "#!lua flags=allow-oom"
const now = `${timeLua}
    local now = millis(redis.call('TIME'))`

/**
 * Of rooms with any of the hash tags, which in a Cluster is one: without one, an idle instance asks Redis a few times a
 * second, and not 64 times as often.
 */
export const claim = Redis.script(
  (tags: ReadonlyArray<string>, all: boolean, leaseMs: number) => [...tags.map(dueKey), all ? 1 : 0, leaseMs],
  {
    numberOfKeys: (tags) => tags.length,
    lua: `${allowedWhenFull}
    ${now}
    local claimed, upTo = {}, ARGV[1] == '1' and '+inf' or now
    for _, key in ipairs(KEYS) do
      local rooms = redis.call('ZRANGEBYSCORE', key, '-inf', upTo, 'LIMIT', 0, ${claimedAtOnce} - #claimed)
      for _, room in ipairs(rooms) do
        redis.call('ZADD', key, now + ARGV[2], room)
        claimed[#claimed + 1] = room
      end
      if #claimed == ${claimedAtOnce} then break end
    end
    return claimed`
  }
).withReturnType<ReadonlyArray<string>>()

type DocumentReply = readonly [name: string, event: string, version: number, author: string, at: string]

export const dirty = (common: Common) =>
  Redis.script((roomId: string) => start(common, roomId), {
    numberOfKeys: count,
    lua: `${orderLua}${now}
    local documents, readAt = {}, now
    for _, name in ipairs(redis.call('SMEMBERS', KEYS[6])) do
      local found = redis.call('HMGET', KEYS[1] .. ':doc:' .. name, 'event', 'version', 'author', 'at')
      if found[2] then table.insert(documents, {name, found[1], tonumber(found[2]), found[3], found[4]}) end
    end
    local count, messages = redis.call('HLEN', KEYS[7]), {}
    local meta = redis.call('HMGET', KEYS[1], 'position', 'indexed', 'leased')
    if meta[1] and meta[1] == meta[2] and redis.call('ZCARD', order) >= count then
      -- The oldest first.
      local bytes = 0
      for _, id in ipairs(redis.call('ZRANGE', order, 0, ${dirtyAtOnce - 1})) do
        local text = redis.call('HGET', KEYS[7], id)
        if text then
          if #messages > 0 and bytes + #text > ${dirtyBytes} then break end
          table.insert(messages, text)
          bytes = bytes + #text
        end
      end
    end
    if #messages == 0 and count > 0 then
      if count <= ${dirtyAtOnce} then messages = redis.call('HVALS', KEYS[7]) else
        for i, value in ipairs(redis.call('HSCAN', KEYS[7], '0', 'COUNT', '${dirtyAtOnce}')[2]) do
          if i % 2 == 0 then table.insert(messages, value) end
        end
      end
    end
    -- With messages left out, the room waits since when it did before.
    if #messages < count then readAt = tonumber(redis.call('ZSCORE', KEYS[4], ARGV[4]) or readAt) end
    return {readAt, documents, messages, count, meta[3]}`
  }).withReturnType<
    readonly [readAt: number, ReadonlyArray<DocumentReply>, ReadonlyArray<string>, count: number, lease: string | null]
  >()

/** Documents' versions by name, then messages' versions by id. */
export const settle = (common: Common) =>
  Redis.script(
    (roomId: string, { documents, lease, messages, readAt }: Settled, interval: number) => [
      ...start(common, roomId),
      interval,
      readAt,
      lease ?? "",
      documents.length,
      ...documents.flatMap(({ name, version }) => [name, version]),
      ...messages.flatMap(({ message, version }) => [message.messageId, version])
    ],
    {
      numberOfKeys: count,
      lua: `${allowedWhenFull}
      ${orderLua}${now}
      local done, first, bytes = 0, ${own + 5}, 0
      local between = first + 2 * tonumber(ARGV[${own + 4}])
      for i = first, between - 1, 2 do
        local key, version = KEYS[1] .. ':doc:' .. ARGV[i], tonumber(ARGV[i + 1])
        local found = redis.call('HMGET', key, 'version', 'saved')
        if found[1] then
          redis.call('HSET', key, 'saved', string.format('%.0f', math.max(tonumber(found[2] or 0), version)))
          if tonumber(found[1]) == version then
            done = done + redis.call('SREM', KEYS[6], ARGV[i])
            redis.call('PEXPIRE', key, ${rememberedMs})
          end
        else done = done + redis.call('SREM', KEYS[6], ARGV[i]) end
      end
      for i = between, #ARGV, 2 do
        local there = redis.call('HGET', KEYS[7], ARGV[i])
        if there and versionOf(there) == ARGV[i + 1] then
          done = done + redis.call('HDEL', KEYS[7], ARGV[i])
          redis.call('ZREM', order, ARGV[i])
          bytes = bytes + #there
        end
      end
      local left, meta = redis.call('HLEN', KEYS[7]), redis.call('HMGET', KEYS[1], 'position', 'indexed', 'waiting')
      if left == 0 then redis.call('DEL', order)
      elseif meta[1] and meta[1] ~= meta[2] then
        -- An instance of an early release appended: the index is built anew.
        redis.call('DEL', order)
        bytes = tonumber(meta[3] or 0)
        local all = redis.call('HGETALL', KEYS[7])
        for i = 1, #all, 2 do
          redis.call('ZADD', order, positionOf(all[i + 1]), all[i])
          bytes = bytes - #all[i + 1]
        end
        redis.call('HSET', KEYS[1], 'indexed', meta[1])
      end
      -- A room's hash that has expired is not made again: it would have no time to live.
      if meta[1] then redis.call('HSET', KEYS[1], 'waiting', math.max(0, tonumber(meta[3] or 0) - bytes)) end
      if done > 0 then redis.call('HINCRBY', KEYS[5], 'entries', -done) end
      if redis.call('SCARD', KEYS[6]) == 0 and left == 0 then
        redis.call('ZREM', KEYS[3], ARGV[4])
        redis.call('ZREM', KEYS[4], ARGV[4])
      else
        redis.call('ZADD', KEYS[3], now + tonumber(ARGV[${own + 1}]), ARGV[4])
        redis.call('ZADD', KEYS[4], ARGV[${own + 2}], ARGV[4])
        if meta[1] and ARGV[${own + 3}] ~= '' then redis.call('HSET', KEYS[1], 'leased', ARGV[${own + 3}]) end
      end`
    }
  )

/** A script looks at no more than this, so that others get their turn in between. */
const lookedAt = { messages: 200, bytes: 1_000_000 }

/**
 * A page, newest first: from the index or, while that is not complete (`orderLua`), from all messages. It writes
 * nothing, so it works while Redis is full. `from`: the ordinal of the last message that was looked at, "" when there
 * are no older ones. `isCut`: 1 when a limit of the query was reached. `end` and `oldest`: "" when there is no such
 * message.
 */
export const page = Redis.script(
  (roomId: string, { before, containing = [], limit, maxBytes }: WaitingQuery) => [
    ...keys(roomId),
    typeof before === "string" ? before : "",
    typeof before === "number" ? before.toFixed(0) : "",
    limit,
    maxBytes,
    ...containing
  ],
  {
    numberOfKeys: count,
    lua: `${orderLua}
    local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
    local meta, waiting = redis.call('HMGET', KEYS[1], 'position', 'indexed'), redis.call('HLEN', KEYS[7])
    if waiting == 0 then return {{}, '', 0, '', ''} end
    local stop, last = false, ''
    if ARGV[1] ~= '' then
      local there = redis.call('HGET', KEYS[7], ARGV[1])
      stop = there and positionOf(there) or '0'
      last = there and stop or ''
    elseif ARGV[2] ~= '' then stop = ARGV[2] end

    -- Ids, ordinals and texts, newest first; and the oldest ordinal.
    local found, oldest = {}, ''
    if meta[1] and meta[1] == meta[2] and redis.call('ZCARD', order) >= waiting then
      oldest = string.format('%.0f', redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')[2])
      if stop ~= '0' then
        local scored = redis.call('ZREVRANGEBYSCORE', order, stop and '(' .. stop or '+inf', '-inf', 'WITHSCORES',
          'LIMIT', 0, ${lookedAt.messages})
        for i = 1, #scored, 2 do table.insert(found, {scored[i], tonumber(scored[i + 1])}) end
      end
    else
      local all, lowest = redis.call('HGETALL', KEYS[7]), math.huge
      for i = 1, #all, 2 do
        local position = tonumber(positionOf(all[i + 1]))
        lowest = math.min(lowest, position)
        if not stop or position < tonumber(stop) then table.insert(found, {all[i], position, all[i + 1]}) end
      end
      oldest = string.format('%.0f', lowest)
      table.sort(found, function(one, other) return one[2] > other[2] end)
    end

    local texts, looked, bytes, from, cut = {}, 0, 0, '', 0
    for n, one in ipairs(found) do
      local text = one[3] or redis.call('HGET', KEYS[7], one[1])
      local wanted = text
      for i = 5, #ARGV do wanted = wanted and string.find(text, ARGV[i], 1, true) end
      if text then
        looked = looked + #text
        if wanted and #texts > 0 and bytes + #text > room then cut = 1 break end
        if wanted then
          table.insert(texts, text)
          bytes = bytes + #text
        end
      end
      from = string.format('%.0f', one[2])
      if #texts == limit then cut = 1 break end
      if looked >= ${lookedAt.bytes} then break end
      if n == #found and n < ${lookedAt.messages} then from = '' end
    end
    return {texts, from, cut, last, oldest}`
  }
).withReturnType<readonly [texts: ReadonlyArray<string>, from: string, isCut: number, end: string, oldest: string]>()

/** By hash tag. `born`: the name of this data, unless it has one. The name is lost with the data. */
export const depth = Redis.script(
  (tags: ReadonlyArray<string>, born: ReadonlyArray<string>) => [...tags.map(sinceKey), ...tags.map(depthKey), ...born],
  {
    numberOfKeys: (tags) => 2 * tags.length,
    lua: `${now}
    local depths, run = {}, ${runIdLua}
    for n = 1, #ARGV do
      local since, depth = KEYS[n], KEYS[#ARGV + n]
      local there = redis.call('HMGET', depth, 'entries', 'born')
      if not there[2] then redis.call('HSET', depth, 'born', ARGV[n]) end
      local oldest = redis.call('ZRANGE', since, 0, 0, 'WITHSCORES')[2]
      local age = oldest and math.max(0, now - oldest) or -1
      depths[n] = {tonumber(there[1] or 0), age, run, there[2] or ARGV[n]}
    end
    return depths`
  }
).withReturnType<ReadonlyArray<readonly [entries: number, oldestAgeMs: number, run: string, born: string]>>()

const rescuedKey = (run: string) => `{hotpath:rescued:${run}}`
const countedKey = (run: string) => `${rescuedKey(run)}:counted`
const hourMs = 3_600_000

export const rescued = Redis.script((run: string, entries: number) => [rescuedKey(run), entries], {
  numberOfKeys: 1,
  lua: `
    redis.call('INCRBY', KEYS[1], ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ${hourMs})`
})

export const loss = Redis.script((run: string, missing: number) => [rescuedKey(run), countedKey(run), missing], {
  numberOfKeys: 2,
  lua: `
    if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ${hourMs}) then return 0 end
    return math.max(0, tonumber(ARGV[1]) - tonumber(redis.call('GET', KEYS[1]) or 0))`
}).withReturnType<number>()
