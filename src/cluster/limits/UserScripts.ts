// The quotas of users in Redis. Each user has a hash with the number of open connections per instance, and a count of
// the day's bytes. Two keys for all users list the live instances, and report the present demand of their users.
//
// An instance's name begins with the time it was taken, by Redis's clock. A count under a name that is not among the
// live instances is not counted, and removed; unless the name is so new that others need not know it yet.
import { Redis } from "effect/persistence"
import { dayMs } from "./UserUse.ts"

/** How long an instance counts as live after its last exchange. */
export const leaseMs = 12_000
/** How long other instances may not know a new name: several exchanges. */
const newMs = 5000
/** How long a user's counts are kept after the last write: longer than a sweep that writes all of them again. */
const retentionMs = 7_200_000

const living = "{hotpath:users}:instances"
const reports = "{hotpath:users}:reports"
// The hash tag keeps both keys of a user in one slot, whatever the user's id: it ends at the first closing brace.
const connectionsKey = (user: string) => `{hotpath:user:${user}}:connections`
const bytesKey = (user: string) => `{hotpath:user:${user}}:bytes`

const time = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Renews this instance's lease and reports the demand of its users; returns the reports of the others. An instance
 * whose lease expired learns it by `isKnown` 0.
 */
export const exchange = Redis.script(
  (instance: string, report: string, isNew: boolean) => [living, reports, instance, leaseMs, report, isNew ? 1 : 0],
  {
    numberOfKeys: 2,
    lua: `${time}
    if ARGV[4] == '0' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0, {}, {}} end
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
      redis.call('ZREM', KEYS[1], gone)
      redis.call('HDEL', KEYS[2], gone)
    end
    local said = redis.call('HGETALL', KEYS[2])
    local others = {}
    for i = 1, #said, 2 do
      if said[i] ~= ARGV[1] then others[#others + 1] = said[i + 1] end
    end
    if ARGV[3] == '[]' then redis.call('HDEL', KEYS[2], ARGV[1]) else redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
    return {1, redis.call('ZRANGE', KEYS[1], 0, -1), others}`
  }
).withReturnType<readonly [isKnown: number, living: ReadonlyArray<string>, reports: ReadonlyArray<string>]>()

export const forget = (instance: string) =>
  [
    ["ZREM", living, instance],
    ["HDEL", reports, instance]
  ] as const

/**
 * Sets this instance's connection count, if all instances together stay within `limit`. Returns the user's bytes of
 * the day as well, and for how many milliseconds they still count.
 */
export const admit = Redis.script(
  (user: string, instance: string, count: number, limit: number, instances: ReadonlyArray<string>) => [
    connectionsKey(user),
    bytesKey(user),
    instance,
    count,
    limit,
    retentionMs,
    newMs,
    ...instances
  ],
  {
    numberOfKeys: 2,
    lua: `${time}
    local alive = {}
    for i = 6, #ARGV do alive[ARGV[i]] = true end
    local said = redis.call('HGETALL', KEYS[1])
    local others = 0
    for i = 1, #said, 2 do
      local name = said[i]
      if name ~= ARGV[1] then
        if alive[name] or now - (tonumber(string.match(name, '^%d+')) or 0) < tonumber(ARGV[5]) then
          others = others + tonumber(said[i + 1])
        else
          redis.call('HDEL', KEYS[1], name)
        end
      end
    end
    if others + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return {0, 0, 0} end
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return {1, tonumber(redis.call('GET', KEYS[2]) or 0), redis.call('PTTL', KEYS[2])}`
  }
).withReturnType<readonly [isIn: number, bytes: number, leftMs: number]>()

/** Sets this instance's connection count, whatever the others have. */
export const setCount = Redis.script(
  (user: string, instance: string, count: number) => [connectionsKey(user), instance, count, retentionMs],
  {
    numberOfKeys: 1,
    lua: `
    if ARGV[2] == '0' then
      redis.call('HDEL', KEYS[1], ARGV[1])
    else
      redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
      redis.call('PEXPIRE', KEYS[1], ARGV[3])
    end`
  }
)

/** Adds to the bytes of the day; returns the total, and for how many milliseconds it still counts. */
export const addBytes = Redis.script((user: string, bytes: number) => [bytesKey(user), bytes, dayMs], {
  numberOfKeys: 1,
  lua: `
    local total = redis.call('INCRBY', KEYS[1], ARGV[1])
    if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    return {total, redis.call('PTTL', KEYS[1])}`
}).withReturnType<readonly [bytes: number, leftMs: number]>()
