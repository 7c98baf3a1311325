// The commands of presence in Redis. A room has a hash of its users' connections in all (and one of when they entered),
// and a hash for each instance; a script changes them together with the room's events. The instances that are alive
// are in `hotpath:instances`, with the time their lease ends by Redis's clock, the dead in `hotpath:instances:dead`.
import { Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import type { Present } from "../../domain/Room.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { presentKey, roomKey, streamKey, totalsKey } from "../../infra/redis/RoomKeys.ts"
import { type Common, makeCommon, own, prologue } from "../../infra/redis/RoomLog.ts"
import { runIdLua } from "../../infra/redis/RunId.ts"
import { type ConnectionCount, leaseMs, PresenceCommands } from "./PresenceCommands.ts"

const instances = "{hotpath:instances}"
const dead = "{hotpath:instances}:dead"
const roomsOf = (instance: string) => `hotpath:instance:${instance}:rooms`
const sinceKey = (roomId: string) => `${totalsKey(roomId)}:since`

const keys = (roomId: string, instance: string) => [
  roomKey(roomId),
  streamKey(roomId),
  totalsKey(roomId),
  sinceKey(roomId),
  presentKey(roomId, instance)
]

const setCount = `
local function setCount(user, count)
  local delta = count - tonumber(redis.call('HGET', KEYS[5], user) or 0)
  if delta == 0 then return end
  if count == 0 then redis.call('HDEL', KEYS[5], user) else redis.call('HSET', KEYS[5], user, count) end
  local total = redis.call('HINCRBY', KEYS[3], user, delta)
  local at, name = ARGV[${own + 1}], cjson.encode(user)
  if total <= 0 then
    redis.call('HDEL', KEYS[3], user)
    redis.call('HDEL', KEYS[4], user)
    append(0, at, 'presence.left', user, 'none', '{"type":"presence.left","user":' .. name .. '}')
  elseif total == delta then
    redis.call('HSET', KEYS[4], user, at)
    append(0, at, 'presence.joined', user, 'none', '{"type":"presence.joined","user":' .. name .. '}')
  end
end
`

const set = (common: Common) =>
  Redis.script(
    (roomId: string, instance: string, at: string, counts: ReadonlyArray<ConnectionCount>) => [
      ...keys(roomId, instance),
      ...common(roomId, 0),
      at,
      ...counts.flatMap(({ connections, user }) => [user, connections])
    ],
    {
      numberOfKeys: 5,
      lua: `${prologue}${setCount}
    open(true)
    for i = ${own + 2}, #ARGV, 2 do setCount(ARGV[i], tonumber(ARGV[i + 1])) end
    close()`
    }
  )

const empty = (common: Common) =>
  Redis.script(
    (roomId: string, instance: string, at: string) => [...keys(roomId, instance), ...common(roomId, 0), at],
    {
      numberOfKeys: 5,
      lua: `${prologue}${setCount}
    local users = redis.call('HKEYS', KEYS[5])
    if #users == 0 then return end
    open(true)
    for _, user in ipairs(users) do setCount(user, 0) end
    close()`
    }
  )

/** Renews the lease, and moves the instances whose lease has expired. Returns whether ours had not. */
const beat = Redis.script((instance: string) => [instances, dead, instance, leaseMs], {
  numberOfKeys: 2,
  lua: `
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do
      redis.call('ZREM', KEYS[1], gone)
      redis.call('ZADD', KEYS[2], now, gone)
    end
    return {known and 1 or 0, ${runIdLua}}`
}).withReturnType<readonly [isKnown: number, runId: string]>()

/** The fields and values of a HGETALL reply. */
const pairs = (flat: ReadonlyArray<string>) =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] ?? "", flat[2 * i + 1] ?? ""] as const)

export const layer = Layer.effect(
  PresenceCommands,
  Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const common = makeCommon(yield* RedisHealth)
    const setScript = redis.eval(set(common))
    const emptyScript = redis.eval(empty(common))
    const beatScript = redis.eval(beat)
    return PresenceCommands.of({
      set: (roomId, instance, at, counts) => Effect.asVoid(setScript(roomId, instance, at, counts)),
      empty: (roomId, instance, at) => Effect.asVoid(emptyScript(roomId, instance, at)),
      list: (roomId) =>
        Effect.map(
          Effect.all([
            redis.send<Array<string>>("HGETALL", totalsKey(roomId)),
            redis.send<Array<string>>("HGETALL", sinceKey(roomId))
          ]),
          ([totals, since]) => {
            const times = new Map(pairs(since))
            return pairs(totals).map(
              ([user, count]): Present => ({ user, connections: Number(count), since: times.get(user) ?? "" })
            )
          }
        ),
      register: (instance, roomId) => Effect.asVoid(redis.send("SADD", roomsOf(instance), roomId)),
      unregister: (instance, roomId) => Effect.asVoid(redis.send("SREM", roomsOf(instance), roomId)),
      roomsOf: (instance) => redis.send<Array<string>>("SMEMBERS", roomsOf(instance)),
      remove: (instance) =>
        Effect.asVoid(Effect.andThen(redis.send("DEL", roomsOf(instance)), redis.send("ZREM", instances, instance))),
      beat: (instance) => Effect.map(beatScript(instance), ([isKnown, runId]) => ({ isKnown: isKnown === 1, runId })),
      dead: redis.send<Array<string>>("ZRANGE", dead, "0", "99"),
      removeDead: (instance) => Effect.asVoid(redis.send("ZREM", dead, instance))
    })
  })
)
