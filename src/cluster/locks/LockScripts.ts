// Locks in Redis. A name has two keys: the token of its holder, which expires with the lease, and the last fence, which
// outlives it. An advisory lock has no fence, and leaves nothing behind.
import { Redis } from "effect/persistence"

/** How long Redis keeps a name's last fence. After that, its clock alone makes the next fence greater. */
const fenceLifetimeMs = 7 * 24 * 3_600_000

// The hash tag keeps both keys in one slot of a Cluster.
const keyOf = (name: string) => `hotpath:lock:{${name.replace(/[%}]/g, encodeURIComponent)}}`
const keysOf = (name: string) => [keyOf(name), `${keyOf(name)}:fence`]

/** Returns the fence, or '' if another token has the lock. A second call with the same token gives a greater fence. */
export const acquireScript = Redis.script(
  (name: string, token: string, ttlMs: number, minFence: number) => [
    ...keysOf(name),
    token,
    ttlMs,
    minFence,
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
 * Returns 1 if the lease was renewed. A local lease (acquired while Redis was away) is acquired in Redis now, unless
 * another token has the lock, or had it with a later fence.
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

/** Acquires or renews an advisory lock. Returns 0 if another token has it. */
export const advisoryScript = Redis.script(
  (name: string, token: string, ttlMs: number) => [keyOf(name), token, ttlMs],
  {
    numberOfKeys: 1,
    lua: `
    local holder = redis.call('GET', KEYS[1])
    if holder and holder ~= ARGV[1] then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1`
  }
).withReturnType<number>()
