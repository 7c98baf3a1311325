// What locks are in Redis: a name's holder, a token that is gone after the lease's time; and the last fence, which outlives it.
// A lock that has no fence leaves nothing.
import { Redis } from "effect/persistence"

/** How long Redis remembers a name's last fence. After that, Redis's time alone makes the next one greater. */
const fenceLifetimeMs = 7 * 24 * 3_600_000

// A Cluster keeps both keys in one place, by what is in the braces.
const keyOf = (name: string) => `hotpath:lock:{${name.replace(/[%}]/g, encodeURIComponent)}}`
const keysOf = (name: string) => [keyOf(name), `${keyOf(name)}:fence`]

/** The fence, or '' when somebody else has it. Taken twice under one token it is taken once, with a greater fence. */
export const takeScript = Redis.script(
  (name: string, token: string, ttlMs: number, least: number) => [
    ...keysOf(name),
    token,
    ttlMs,
    least,
    fenceLifetimeMs
  ],
  {
    numberOfKeys: 2,
    lua: `
    local holder = redis.call('GET', KEYS[1])
    if holder and holder ~= ARGV[1] then return '' end
    local last = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
    local time = redis.call('TIME')
    local fence = math.max(last + 1, time[1] * 1000000 + time[2], tonumber(ARGV[3]))
    local text = string.format('%.0f', fence)
    redis.call('SET', KEYS[2], text, 'PX', ARGV[4])
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return text`
  }
).withReturnType<string>()

/**
 * 1: it is ours for another while. A lock that was taken while Redis was away ('1') is taken here now, if nobody else has
 * it, or had it after us.
 */
export const renewScript = Redis.script(
  (name: string, token: string, ttlMs: number, fence: number, isLocal: boolean) => [
    ...keysOf(name),
    token,
    ttlMs,
    fence,
    isLocal ? 1 : 0,
    fenceLifetimeMs
  ],
  {
    numberOfKeys: 2,
    lua: `
    local holder = redis.call('GET', KEYS[1])
    if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    if holder or ARGV[4] == '0' then return 0 end
    local last = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
    if last > tonumber(ARGV[3]) then return 0 end
    redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[5])
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1`
  }
).withReturnType<number>()

export const releaseScript = Redis.script((name: string, token: string) => [keyOf(name), token], {
  numberOfKeys: 1,
  lua: `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('DEL', KEYS[1])`
}).withReturnType<number>()

/** Takes it, or keeps it for another while: 0: somebody else has it. It has no fence. */
export const holdScript = Redis.script((name: string, token: string, ttlMs: number) => [keyOf(name), token, ttlMs], {
  numberOfKeys: 1,
  lua: `
    local holder = redis.call('GET', KEYS[1])
    if holder and holder ~= ARGV[1] then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1`
}).withReturnType<number>()
