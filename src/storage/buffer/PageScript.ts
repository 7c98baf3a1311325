// The script that reads a page of the messages that wait, newest first: from the index of their ordinals or, while
// that is not complete (`orderLua`), from all of them. It writes nothing, so it works while Redis is full.
import { Redis } from "effect/persistence"
import type { WaitingQuery } from "./WriteBuffer.ts"
import { count, keys, orderLua } from "./WriteScripts.ts"

/** The most that one script looks at, so that others get their turn in between. */
const lookedAt = { messages: 200, bytes: 1_000_000 }

/**
 * `from`: the ordinal of the last message that was looked at, "" when there are no older ones. `isCut`: 1 when a limit
 * of the query was reached. `end` and `oldest`: "" when there is no such message.
 */
export type PageReply = readonly [
  texts: ReadonlyArray<string>,
  from: string,
  isCut: number,
  end: string,
  oldest: string
]

export const page = Redis.script(
  (roomId: string, { before, holding = [], limit, maxBytes }: WaitingQuery) => [
    ...keys(roomId),
    typeof before === "string" ? before : "",
    typeof before === "number" ? before.toFixed(0) : "",
    limit,
    maxBytes,
    ...holding
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
).withReturnType<PageReply>()
