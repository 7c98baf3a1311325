// Who is in which room now, over all instances. Each instance sets how many connections every user has with it:
// absolute numbers, so setting them again is harmless. A user's first and last connection are events of the room.
//
// In Redis, a room has a hash of its users' connections in all (and one of when they entered), and a hash for each
// instance; a script changes them together with the room's events. An instance is alive (in `hotpath:instances`, with
// the time its lease ends) or dead (in `hotpath:instances:dead`, after its lease expired by Redis's clock). Any other
// instance moves it from the one to the other. If it was only paused, it finds itself removed and continues under a new
// name. Then its rooms are emptied of it one by one, by any number of instances at once, and at the end it is removed
// from the dead. A reaper that dies half-way leaves it there for the next one.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { Redis } from "effect/persistence"
import type { Present } from "../../domain/Room.ts"
import { now } from "../../domain/Time.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { presentKey, roomKey, streamKey, totalsKey } from "../../infra/redis/RoomKeys.ts"
import { type Common, makeCommon, own, prologue } from "../../infra/redis/RoomLog.ts"
import { type BusUnavailable, type EphemeralEvent, fromRedis, RoomBus } from "./RoomBus.ts"

export interface ConnectionCount {
  readonly user: string
  /** The user's connections in the room on this instance. */
  readonly connections: number
}

/** An instance's lease, and how often it is renewed. */
export const leaseMs = 12_000
export const beatMs = 3000

const eventOf =
  (type: "presence.joined" | "presence.left") =>
  (user: string, at: string): EphemeralEvent => ({ at, type, subject: user, event: JSON.stringify({ type, user }) })
export const joined = eventOf("presence.joined")
export const left = eventOf("presence.left")

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
    return {known and 1 or 0, string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')}`
}).withReturnType<readonly [isKnown: number, runId: string]>()

/** The fields and values of a HGETALL reply. */
const pairs = (flat: ReadonlyArray<string>) =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] ?? "", flat[2 * i + 1] ?? ""] as const)

export class Presence extends Context.Service<
  Presence,
  {
    /** `isEmptied`: this instance has no connection in the room any more. */
    readonly set: (
      roomId: string,
      counts: ReadonlyArray<ConnectionCount>,
      isEmptied: boolean
    ) => Effect.Effect<void, BusUnavailable>
    /** In the order in which they entered. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>, BusUnavailable>
    /** Renews this instance's lease. False: the others removed it, or Redis lost it: all counts are to be set again. */
    readonly beat: Effect.Effect<boolean, BusUnavailable>
    /** Removes the instances whose lease has expired; returns how many. */
    readonly reap: Effect.Effect<number, BusUnavailable>
  }
>()("hotpath/cluster/rooms/Presence") {
  static readonly layer = Layer.effect(
    Presence,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const common = makeCommon(yield* RedisHealth)
      const setScript = redis.eval(set(common))
      const emptyScript = redis.eval(empty(common))
      const beatScript = redis.eval(beat)

      // This instance's present name, and the rooms that it is registered in under it.
      let instance = SecureRandom.uuidV4Unsafe()
      let rooms = new Set<string>()
      let isKnown = false
      let runId: string | undefined
      // Former names of this instance, and the rooms that may still have counts under them: only this instance knows of
      // counts that it set after the others had emptied the room.
      const former = new Map<string, ReadonlySet<string>>()

      const reapInstance = Effect.fnUntraced(function* (gone: string) {
        for (const roomId of yield* redis.send<Array<string>>("SMEMBERS", roomsOf(gone))) {
          yield* emptyScript(roomId, gone, yield* now)
          yield* redis.send("SREM", roomsOf(gone), roomId)
        }
        yield* redis.send("ZREM", dead, gone)
      })

      const emptyAll = (name: string, theirs: ReadonlySet<string>) =>
        Effect.flatMap(now, (at) =>
          Effect.forEach(theirs, (roomId) => emptyScript(roomId, name, at), { concurrency: 20, discard: true })
        )
      const clearFormer = Effect.gen(function* () {
        for (const [name, theirs] of [...former]) {
          yield* emptyAll(name, theirs)
          former.delete(name)
        }
      })

      const leave = Effect.gen(function* () {
        yield* emptyAll(instance, rooms)
        yield* redis.send("DEL", roomsOf(instance))
        yield* redis.send("ZREM", instances, instance)
        yield* clearFormer
      })
      // At an orderly stop the users leave their rooms at once; without Redis they leave when the lease expires.
      yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(leave, "3 seconds")))

      return Presence.of({
        set: Effect.fnUntraced(function* (roomId, counts, isEmptied) {
          const name = instance
          // Registered before the room has a count of ours, so that the others know which rooms to empty of us.
          if (!rooms.has(roomId)) {
            yield* redis.send("SADD", roomsOf(name), roomId)
            if (name === instance) rooms.add(roomId)
          }
          yield* setScript(roomId, name, yield* now, counts)
          // Removed meanwhile: no instance will empty the room of the former name. The tracker sets all counts again.
          if (name !== instance) yield* emptyScript(roomId, name, yield* now)
          if (!isEmptied) return
          rooms.delete(roomId)
          yield* redis.send("SREM", roomsOf(name), roomId)
        }, fromRedis),
        list: (roomId) =>
          Effect.all([
            redis.send<Array<string>>("HGETALL", totalsKey(roomId)),
            redis.send<Array<string>>("HGETALL", sinceKey(roomId))
          ]).pipe(
            Effect.map(([totals, since]) => {
              const times = new Map(pairs(since))
              return pairs(totals)
                .map(([user, count]): Present => ({ user, connections: Number(count), since: times.get(user) ?? "" }))
                .sort((a, b) => (a.since < b.since ? -1 : a.since > b.since ? 1 : a.user < b.user ? -1 : 1))
            }),
            fromRedis
          ),
        beat: Effect.gen(function* () {
          const [known, presentRunId] = yield* beatScript(instance)
          // A server that was restarted may have lost counts and still know us.
          const isSame = runId === presentRunId || runId === undefined
          runId = presentRunId
          if (known === 1 && isSame) return true
          const isFirst = !isKnown
          isKnown = true
          if (isFirst && rooms.size === 0) return true
          // Other instances may still be emptying our rooms of the former name.
          former.set(instance, rooms)
          instance = SecureRandom.uuidV4Unsafe()
          rooms = new Set()
          yield* clearFormer
          yield* beatScript(instance)
          return false
        }).pipe(fromRedis),
        reap: redis.send<Array<string>>("ZRANGE", dead, "0", "99").pipe(
          Effect.flatMap((gone) => Effect.as(Effect.forEach(gone, reapInstance, { discard: true }), gone.length)),
          fromRedis
        )
      })
    })
  )

  /** For an instance without Redis, and for tests. */
  static readonly layerMemory = Layer.effect(
    Presence,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const rooms = new Map<string, Map<string, Present>>()
      return Presence.of({
        set: Effect.fnUntraced(function* (roomId, counts) {
          const at = yield* now
          const room = rooms.get(roomId) ?? new Map<string, Present>()
          const events: Array<EphemeralEvent> = []
          for (const { connections, user } of counts) {
            const before = room.get(user)
            if (connections > 0) room.set(user, { user, connections, since: before?.since ?? at })
            else room.delete(user)
            if (connections > 0 && before === undefined) events.push(joined(user, at))
            if (connections === 0 && before !== undefined) events.push(left(user, at))
          }
          if (room.size > 0) rooms.set(roomId, room)
          else rooms.delete(roomId)
          if (events.length > 0) yield* bus.emit(roomId, events)
        }),
        list: (roomId) => Effect.sync(() => [...(rooms.get(roomId)?.values() ?? [])]),
        beat: Effect.succeed(true),
        reap: Effect.succeed(0)
      })
    })
  )
}
